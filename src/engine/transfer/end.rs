//! A third party's end. Before it is joined, the call is the agent's again; after, its end is the
//! end of the call.

use std::collections::BTreeMap;

use super::{Far, Past, Third, To};
use crate::agent::seat::Seat;
use crate::call::result::{CallResult, CancelledBy};
use crate::call::transfer::{Outcome, State};
use crate::engine::media_worker::MediaCommand;
use crate::engine::switch::{LegOf, Switch};
use crate::engine::writes::Write;
use crate::id::{AgentId, CallId, LegId, ThirdId};
use crate::now::Now;
use crate::store;

/// Third parties since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub outcomes: BTreeMap<&'static str, u64>,
    pub kinds: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(in crate::engine) fn count(&mut self, kind: &'static str, outcome: Outcome) {
        *self.outcomes.entry(outcome.name()).or_default() += 1;
        *self.kinds.entry(kind).or_default() += 1;
    }
}

impl Switch {
    /// The third party has hung up.
    pub(super) fn third_left(&mut self, now: Now, id: CallId) {
        if self.calls.get(&id).is_some_and(|it| it.is_handed_over()) {
            let by = store::EndedBy::Third;
            return self.hang_up_customer(now, id, CallResult::Connected, "", by);
        }
        self.third_over(now, id, Outcome::ThirdLeft);
    }

    /// The third party is out of the call, and the call is the agent's again. When nobody sits
    /// there any more it ends, and says why.
    pub(in crate::engine) fn third_over(&mut self, now: Now, id: CallId, outcome: Outcome) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Some(third) = call.third.take() else {
            return;
        };
        let outcome = match outcome {
            // A further way that is denied is not why the call failed.
            Outcome::Denied => third.missed.unwrap_or(outcome),
            outcome => outcome,
        };
        call.third_past = Some(Past {
            kind: third.to.kind(),
            name: third.name.clone(),
            outcome,
        });
        call.progress.hold(false, now.utc);
        let agent = call.agent.clone();
        tracing::info!(call = %id, outcome = outcome.name(), "the third party is gone");
        self.counters.transfers.count(third.to.kind(), outcome);
        self.release_third(now, third, outcome);
        self.show_call(id);
        match self.desks.get(&agent).map(|desk| desk.seat) {
            Some(Seat::Live { leg, .. }) => self.rejoin(id, leg),
            Some(Seat::Connecting { .. }) => self.agent_leg_gone(id),
            Some(Seat::Lost { .. }) => {
                self.agent_leg_gone(id);
                self.wait_for_seat(now, &agent);
            }
            Some(Seat::Absent) | None => {
                let why = format!(
                    "the transfer failed ({}), the agent was gone",
                    outcome.name()
                );
                let by = store::EndedBy::System;
                self.hang_up_customer(now, id, CallResult::Connected, &why, by);
            }
        }
    }

    /// The call itself has ended: so does the third party's part.
    pub(in crate::engine) fn third_dismissed(&mut self, now: Now, id: CallId) {
        let third = self.calls.get_mut(&id).and_then(|call| call.third.take());
        let Some(third) = third else { return };
        let outcome = match third.talk.is_joined() {
            true => Outcome::Completed,
            false => Outcome::CallEnded,
        };
        if outcome != Outcome::Completed {
            self.counters.transfers.count(third.to.kind(), outcome);
        }
        self.release_third(now, third, outcome);
    }

    pub(in crate::engine) fn release_third(&mut self, now: Now, third: Third, outcome: Outcome) {
        if let To::Agent(agent) = &third.to {
            self.offer_withdrawn(now, agent, outcome);
        }
        if let Some(reply) = third.reply {
            self.reply(reply, Err(super::control::nobody()));
        }
        for far in &third.fars {
            self.release_far(now, far, outcome);
        }
        self.give_leave_back(now, &third);
    }

    /// One leg is told and gives back what it held.
    pub(super) fn release_far(&mut self, now: Now, far: &Far, outcome: Outcome) {
        if let Some(session) = far.session()
            && self.sessions.remove(&session).is_some()
        {
            self.sip.hang_up(now, session, None);
        }
        if let Some(way) = &far.way {
            self.leave_way(way);
        }
        self.legs.remove(&far.leg);
        self.media(MediaCommand::CloseLeg { leg: far.leg });
        self.ports.release(far.port, now.instant);
        self.end_third_row(far.id, outcome);
    }

    /// A live row keeps its number from being called: it must not be lost.
    pub(super) fn end_third_row(&mut self, third: ThirdId, outcome: Outcome) {
        let outcome = outcome.name();
        let command = store::Command::EndThird { third, outcome };
        self.write(
            Write::Outcome {
                command: Box::new(command.clone()),
            },
            command,
        );
    }

    pub(super) fn give_leave_back(&mut self, now: Now, third: &Third) {
        if let Some((ticket, _)) = third.leave {
            let talked = third
                .answered
                .map(|(_, at)| now.instant.saturating_duration_since(at));
            self.outside_call_ended(now, ticket, talked.unwrap_or_default());
        }
    }

    /// Rang long enough, or talked as long as anybody may outside.
    pub(in crate::engine) fn third_limits(&mut self, now: Now) {
        let due = |third: &Third| third.deadline.is_some_and(|at| at <= now.instant);
        let over: Vec<CallId> = self
            .calls
            .values()
            .filter(|call| call.third.as_ref().is_some_and(due))
            .map(|call| call.id)
            .collect();
        for id in over {
            let Some(call) = self.calls.get(&id) else {
                continue;
            };
            let third = call.third.as_ref();
            if third.is_some_and(|third| third.answered.is_none()) {
                let rang = third.is_some_and(|third| third.rings);
                let by = Some(CancelledBy::RingLimit);
                let result = CallResult::from_final(487, None, rang, by);
                self.third_over(now, id, Outcome::NotReached(result));
            } else if call.is_handed_over() {
                let by = store::EndedBy::System;
                let why = "the longest call";
                self.hang_up_customer(now, id, CallResult::Connected, why, by);
            } else {
                self.third_over(now, id, Outcome::ThirdLeft);
            }
        }
    }

    /// The media of a third party's leg have failed or gone silent for good.
    pub(in crate::engine) fn third_media_gone(&mut self, now: Now, leg: LegId, why: &str) {
        let Some(LegOf::Third(id)) = self.legs.get(&leg).cloned() else {
            return;
        };
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        let answered = call.third.as_ref().is_some_and(|it| it.answered.is_some());
        match (call.is_handed_over(), answered) {
            (true, _) => {
                let by = store::EndedBy::Network;
                self.hang_up_customer(now, id, CallResult::Connected, why, by);
            }
            (false, true) => self.third_over(now, id, Outcome::ThirdLeft),
            (false, false) => {
                let missed = Outcome::NotReached(CallResult::SystemFailure);
                self.third_over(now, id, missed);
            }
        }
    }

    /// Before the answer silence means nothing.
    pub(in crate::engine) fn third_is_talking(&self, leg: LegId) -> bool {
        let Some(LegOf::Third(id)) = self.legs.get(&leg) else {
            return false;
        };
        let third = self.calls.get(id).and_then(|call| call.third.as_ref());
        third.is_some_and(|third| third.answered.is_some())
    }

    /// The customer is on the way to a third party: that does not need the agent any more.
    pub(in crate::engine) fn leaves_without_agent(&self, agent: &AgentId) -> bool {
        let third = self.live_call(agent).and_then(|call| call.third.as_ref());
        third.is_some_and(|third| third.talk.state() == State::Leaving)
    }
}
