//! The store has spoken: the INVITE leaves, or the agent is told which rule said no. And the next
//! way of a number, when the one before could not take the call.

use std::time::Duration;

use super::{Far, Step, To};
use crate::call::result::CallResult;
use crate::call::transfer::Outcome;
use crate::dialer::gate::Origination;
use crate::engine::handle::Problem;
use crate::engine::media_worker::MediaCommand;
use crate::engine::switch::{SessionOf, Switch, sdp_body};
use crate::engine::writes::{Write, not_begun};
use crate::id::{CallId, ThirdId};
use crate::now::Now;
use crate::sdp::Direction;
use crate::sip::InviteTimers;
use crate::store::{self, Fact};

impl Switch {
    pub(in crate::engine) fn third_written(
        &mut self,
        now: Now,
        call: CallId,
        third: ThirdId,
        fact: Fact,
    ) {
        match fact {
            Fact::ThirdBegun { origination, .. } => {
                self.third_placed(now, call, third, origination.as_ref());
            }
            fact => self.third_refused(now, call, third, not_begun(fact)),
        }
    }

    /// Its row is on disk. A leg that nobody wants any more has its row closed and is not called.
    fn third_placed(
        &mut self,
        now: Now,
        id: CallId,
        third_id: ThirdId,
        origination: Option<&Origination>,
    ) {
        let third = self.calls.get_mut(&id).and_then(|it| it.third.as_mut());
        let Some(third) = third else {
            return self.end_third_row(third_id, Outcome::Dropped);
        };
        let reply = third.reply.take();
        let ways = third.ways.clone();
        let Some(far) = third.far_named(third_id) else {
            return self.end_third_row(third_id, Outcome::Dropped);
        };
        let Step::Committing(plan) = &far.step else {
            return;
        };
        let plan = (**plan).clone();
        let (leg, port, way) = (far.leg, far.port, far.way.clone());
        let offer = sdp_body(far.sdp.offer(Direction::SendRecv));
        let trunk = origination.map(|it| it.route().trunk.as_str().to_owned());
        tracing::info!(call = %id, trunk, "calling a third party");
        let session = match (&way, &ways) {
            (Some(way), Some(ways)) => self.invite_way(now, way, ways, plan, vec![], Some(offer)),
            _ => {
                let timers = InviteTimers::default();
                self.sip
                    .invite(now, plan, vec![], Some(offer), None, timers)
            }
        };
        self.sessions.insert(session, SessionOf::Third(id));
        self.media(MediaCommand::OpenTrunk { leg, port });
        if let Some(call) = self.calls.get_mut(&id)
            && let Some(third) = &mut call.third
        {
            let limit = Duration::from_millis(call.campaign.rules.ring_limit_ms);
            third.deadline = third.deadline.or_else(|| now.instant.checked_add(limit));
            if let Some(far) = third.far_named(third_id) {
                far.step = Step::Inviting(session);
            }
        }
        self.hear(now, id);
        if let Some(reply) = reply {
            self.reply(reply, Ok(()));
        }
    }

    /// Gate or store said no.
    pub(in crate::engine) fn third_refused(
        &mut self,
        now: Now,
        id: CallId,
        third_id: ThirdId,
        problem: Problem,
    ) {
        let third = self.calls.get_mut(&id).and_then(|it| it.third.as_mut());
        let Some(third) = third else {
            return;
        };
        let Some(at) = third.fars.iter().position(|far| far.id == third_id) else {
            return;
        };
        let far = third.fars.swap_remove(at);
        let last = third.fars.is_empty();
        let reply = match last {
            true => third.reply.take(),
            false => None,
        };
        self.release_far(now, &far, Outcome::Denied);
        if last {
            self.third_over(now, id, Outcome::Denied);
        }
        if let Some(reply) = reply {
            self.counters.denied += 1;
            self.reply(reply, Err(problem));
        }
    }

    /// The next server or trunk for a number's leg. False: there is none, and the leg is gone.
    pub(super) fn third_next_way(&mut self, now: Now, id: CallId, mut far: Far) -> bool {
        let missed = Outcome::NotReached(CallResult::TrunkFailure);
        let third = self.calls.get_mut(&id).and_then(|it| it.third.as_mut());
        let asked = third.and_then(|third| Some((third.to.clone(), third.ways.take()?)));
        let (Some((To::Number(e164), mut ways)), Some(left)) = (asked, far.way.clone()) else {
            self.release_far(now, &far, missed);
            return false;
        };
        let Some(way) = self.next_way(now, &mut ways, Some(&left)) else {
            self.release_far(now, &far, missed);
            return false;
        };
        // The place of the one that failed has gone along or back.
        far.way = Some(way.clone());
        let Some(plan) = self.plan_way(&way, &e164) else {
            self.release_far(now, &far, missed);
            return false;
        };
        if way.trunk != left.trunk {
            far.sdp = self.negotiation_on(&way, far.port);
        }
        far.plan = plan.to_text();
        far.step = Step::Committing(Box::new(plan));
        far.alerted = false;
        let command = store::Command::FailOverThird {
            third: far.id,
            trunk: way.trunk,
            caller_id: way.caller_id,
            dialog: far.plan.clone(),
        };
        let third = far.id;
        if let Some(it) = self.calls.get_mut(&id).and_then(|it| it.third.as_mut()) {
            it.ways = Some(ways);
            it.fars.push(far);
        }
        self.write(Write::Third { call: id, third }, command);
        true
    }
}
