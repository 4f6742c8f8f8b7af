//! From the click on Call to the INVITE: card, seat, trunk, gate, row on disk, and only then the
//! phone rings.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call::{Call, Direction, Phase, Recording};
use super::commands::{no_card, wrong_state};
use super::ending::Ending;
use super::handle::Problem;
use super::media_worker::{MediaCommand, Source};
use super::resolved::Campaign;
use super::srtp::Whose;
use super::switch::{LegOf, ReplyId, SessionOf, Switch, sdp_body};
use super::trunk_call::{Way, Ways};
use super::writes::Write;
use crate::agent::state::State;
use crate::call::progress::Progress;
use crate::call::result::CallResult;
use crate::dialer::gate::Origination;
use crate::id::{AgentId, AttemptId, CallId, FenceToken, PhoneId, TrunkId};
use crate::now::Now;
use crate::sdp::negotiate::Negotiation;
use crate::sip::InvitePlan;
use crate::store::fact::PhoneView;
use crate::store::{self, AttemptStep};
use crate::trunk::Full;

impl Switch {
    /// A click on Call. Nothing rings before the store has the attempt on disk and the gate has
    /// said yes in the same transaction.
    pub(super) fn dial(
        &mut self,
        now: Now,
        agent: &AgentId,
        token: FenceToken,
        key: String,
        phone: Option<PhoneId>,
        reply: ReplyId,
    ) {
        // The second half of a double click gets the first one's answer.
        if let Some(call) = self.call_on_desk(agent)
            && call.token == token
            && call.key == key
        {
            return self.reply(reply, Ok(()));
        }
        let wanted = phone;
        let (campaign, phone) = match self.dialable(agent, token, wanted) {
            Ok(found) => found,
            Err(problem) => return self.refuse_dial(agent, token, key, problem, reply),
        };
        if self.summons_first(now, agent, token, &key, wanted, reply) {
            return;
        }
        let mut ways = self.open_ways(now, &campaign.rules.routes, false);
        let Some(way) = self.next_way(now, &mut ways, None) else {
            return self.reply(reply, Err(no_trunk(&campaign, &ways)));
        };
        let plan = self.plan_way(&way, &phone.e164);
        let port = plan.as_ref().and_then(|_| self.ports.allocate(now.instant));
        let (Some(plan), Some(port)) = (plan, port) else {
            self.leave_way(&way);
            return self.reply(reply, Err(Problem::overload()));
        };
        let seat = self.desks.get(agent).and_then(|desk| desk.seat.live_leg());
        let leg = self.new_leg(seat);
        let call = CallId(self.new_uuid(now));
        let attempt = AttemptId(call.0);
        let command = store::Command::BeginAttempt {
            token,
            agent: agent.clone(),
            key: key.clone(),
            attempt,
            phone: phone.id,
            trunk: way.trunk.clone(),
            caller_id: way.caller_id.clone(),
            dialog: plan.to_text(),
        };
        let plan_text = plan.to_text();
        let sdp = self.negotiation_on(&way, port);
        let phase = Phase::Committing {
            plan: Box::new(plan),
            reply,
            given_up: false,
        };
        self.calls.insert(
            call,
            Call {
                id: call,
                attempt,
                agent: agent.clone(),
                token,
                phone: phone.id,
                key,
                campaign,
                direction: Direction::Out,
                number: phone.e164,
                way: Some(way),
                ways,
                leg,
                port,
                phase,
                progress: Progress::new(now.utc),
                volume_db: 0,
                recording: Recording::Off,
                plan: plan_text,
                sdp,
                third: None,
                third_past: None,
                handed_over: None,
                reopen: None,
            },
        );
        self.legs.insert(leg, LegOf::Customer(call));
        if let Some(desk) = self.desk(agent) {
            desk.call = Some(call);
            // `dialable` has seen PREVIEWING.
            let _ = desk.agent.dial(now.utc);
        }
        self.write(Write::Begin { call }, command);
    }

    /// Offers and answers on a trunk, in its codecs.
    pub(super) fn negotiation_on(&mut self, way: &Way, port: u16) -> Negotiation {
        let trunk = self.config.trunks.get(&way.trunk);
        let codecs = trunk.map_or_else(Vec::new, |trunk| trunk.codecs.clone());
        let transport = self.trunk_transport(&way.trunk);
        let sdp = self.negotiation(port, codecs);
        self.secured(sdp, Whose::Trunk(&way.trunk), transport)
    }

    /// Card, seat and phone for a dial, or why there can be none.
    fn dialable(
        &self,
        agent: &AgentId,
        token: FenceToken,
        phone: Option<PhoneId>,
    ) -> Result<(Arc<Campaign>, PhoneView), Problem> {
        let desk = self.desks.get(agent).ok_or_else(no_card)?;
        let card = desk
            .card
            .as_ref()
            .filter(|card| card.token == token)
            .ok_or_else(no_card)?;
        if !matches!(desk.agent.state(), State::Previewing { .. }) {
            return Err(wrong_state(desk.agent.state()));
        }
        if self.draining {
            return Err(Problem::new(
                503,
                "draining",
                "The switch is being stopped",
                "No new dials.",
            ));
        }
        if self.seat_phone(agent).is_none() && desk.seat.live_leg().is_none() {
            return Err(Problem::new(
                409,
                "seat_absent",
                "Your phone is not connected",
                "The page takes its seat by itself; check the microphone permission.",
            ));
        }
        let phone = card.phone(phone).ok_or_else(|| {
            Problem::new(
                422,
                "unknown_phone",
                "No such number",
                "The card has no such number.",
            )
        })?;
        Ok((card.campaign.clone(), phone.clone()))
    }

    /// A token that is not the card's may still be a click repeated late: the store knows.
    fn refuse_dial(
        &mut self,
        agent: &AgentId,
        token: FenceToken,
        key: String,
        problem: Problem,
        reply: ReplyId,
    ) {
        if problem.rule == "stale_token" {
            let command = store::Command::BeginAttempt {
                token,
                agent: agent.clone(),
                key,
                attempt: AttemptId(uuid::Uuid::nil()),
                phone: PhoneId(0),
                trunk: TrunkId::new(""),
                caller_id: String::new(),
                dialog: String::new(),
            };
            return self.write(Write::Judge { reply }, command);
        }
        self.reply(reply, Err(problem));
    }

    /// The attempt is on disk: the INVITE leaves.
    pub(super) fn originate(&mut self, now: Now, call: CallId, origination: &Origination) {
        let Some(call) = self.calls.get_mut(&call) else {
            return;
        };
        let ring_until = now.instant + Duration::from_millis(call.campaign.rules.ring_limit_ms);
        let placeholder = Phase::Ended {
            result: CallResult::SystemFailure,
            detail: String::new(),
        };
        let Phase::Committing {
            plan,
            reply,
            given_up,
        } = std::mem::replace(&mut call.phase, placeholder)
        else {
            return;
        };
        tracing::info!(call = %call.id, trunk = %origination.route().trunk, "dialing");
        let (id, attempt, leg, port) = (call.id, call.attempt, call.leg, call.port);
        if given_up {
            self.reply(reply, Ok(()));
            let detail = "given up before the INVITE".to_owned();
            return self.finish(
                now,
                id,
                Ending::ours(CallResult::AgentCancelled, detail, store::EndedBy::Agent),
            );
        }
        let seat = self.desks.get(&call.agent).map(|desk| desk.seat);
        self.send_invite(now, id, *plan, ring_until);
        self.media(MediaCommand::OpenTrunk { leg, port });
        if let Some(leg) = seat.and_then(|seat| seat.live_leg()) {
            self.media(MediaCommand::Listen {
                leg,
                to: Source::Ringback,
            });
        }
        self.step(attempt, AttemptStep::Invited);
        self.counters.dials += 1;
        self.reply(reply, Ok(()));
    }

    /// Only after its row is on disk.
    fn send_invite(&mut self, now: Now, id: CallId, plan: InvitePlan, ring_until: Instant) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let offer = sdp_body(call.sdp.offer(crate::sdp::Direction::SendRecv));
        let (Some(way), ways) = (call.way.clone(), call.ways.clone()) else {
            return;
        };
        let session = self.invite_way(now, &way, &ways, plan, vec![], Some(offer));
        self.sessions.insert(session, SessionOf::Customer(id));
        if let Some(call) = self.calls.get_mut(&id) {
            call.phase = Phase::Inviting {
                session,
                ring_until,
            };
        }
    }

    /// The server failed and nobody's phone has rung: the next one, when there is one and the
    /// gate lets the call go on. `failed` is how the call ends otherwise.
    pub(super) fn fail_over(&mut self, now: Now, id: CallId, failed: Ending) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let (left, number, mut ways) = (call.way.clone(), call.number.clone(), call.ways.clone());
        let (attempt, port) = (call.attempt, call.port);
        let way = self.next_way(now, &mut ways, left.as_ref());
        let planned = way.and_then(|way| Some((self.plan_way(&way, &number)?, way)));
        let Some((plan, way)) = planned else {
            return self.finish(now, id, failed);
        };
        let elsewhere = left.is_none_or(|left| left.trunk != way.trunk);
        let sdp = elsewhere.then(|| self.negotiation_on(&way, port));
        let command = store::Command::FailOver {
            attempt,
            trunk: way.trunk.clone(),
            caller_id: way.caller_id.clone(),
            dialog: plan.to_text(),
        };
        if let Some(call) = self.calls.get_mut(&id) {
            call.plan = plan.to_text();
            if let Some(sdp) = sdp {
                call.sdp = sdp;
            }
            (call.way, call.ways) = (Some(way), ways);
            call.phase = Phase::FailingOver {
                plan: Box::new(plan),
                failed: Box::new(failed),
            };
        }
        self.write(Write::FailOver { call: id }, command);
    }

    /// The next INVITE's row is on disk. An attempt that ended meanwhile sends nothing.
    pub(super) fn originate_again(&mut self, now: Now, id: CallId, origination: &Origination) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        let (Phase::FailingOver { plan, .. }, Some(way)) = (&call.phase, &call.way) else {
            return;
        };
        let plan = (**plan).clone();
        let ring_until = now.instant + Duration::from_millis(call.campaign.rules.ring_limit_ms);
        let (trunk, server) = (&origination.route().trunk, way.server);
        tracing::info!(call = %id, %trunk, %server, "dialing by another way");
        self.send_invite(now, id, plan, ring_until);
    }

    /// The gate or the store said no to a further INVITE: the call ends as it had failed.
    pub(super) fn no_further_way(&mut self, now: Now, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Phase::FailingOver { failed, .. } = &call.phase else {
            return;
        };
        let failed = (**failed).clone();
        self.finish(now, id, failed);
    }

    /// The gate said no at the last moment, or the store could not write: the card is back.
    pub(super) fn dial_refused(&mut self, now: Now, call: CallId, problem: Problem) {
        let Some(call) = self.calls.remove(&call) else {
            return;
        };
        self.legs.remove(&call.leg);
        if let Some(way) = &call.way {
            self.leave_way(way);
        }
        self.ports.release(call.port, now.instant);
        self.counters.denied += 1;
        if let Some(desk) = self.desk(&call.agent) {
            desk.call = None;
            let (deadline, left) = match &desk.card {
                Some(card) => (card.life.deadline, card.extensions_left),
                None => (now.utc, 0),
            };
            desk.agent.back_to_preview(deadline, left, now.utc);
        }
        if let Phase::Committing { reply, .. } = call.phase {
            self.reply(reply, Err(problem));
        }
    }
}

/// Why no trunk takes the call, and what to do about it.
pub(super) fn no_trunk(campaign: &Campaign, ways: &Ways) -> Problem {
    let detail = match ways.full {
        Some(Full::Calls) => "has as many calls as it may carry ([[trunk]] max_calls)",
        Some(Full::Rate) => "has begun as many calls as it may this second; try again at once",
        None => "is down, asked for a pause or is missing (foredial ctl trunks)",
    };
    let detail = format!("Every trunk of campaign {} {detail}.", campaign.id);
    Problem::new(503, "no_trunk", "No trunk is free", detail)
}
