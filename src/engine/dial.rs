//! From the click on Call to the INVITE: card, seat, trunk, gate, row on disk, and only then the
//! phone rings.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;

use super::call::{Call, Phase, Recording};
use super::commands::{no_card, wrong_state};
use super::ending::Ending;
use super::handle::Problem;
use super::media_worker::{MediaCommand, Source};
use super::resolved::{Campaign, Trunk};
use super::switch::{LegOf, ReplyId, SessionOf, Switch, sdp_body};
use super::writes::Write;
use crate::agent::state::State;
use crate::call::progress::Progress;
use crate::call::result::CallResult;
use crate::dialer::gate::Origination;
use crate::id::{AgentId, AttemptId, CallId, FenceToken, PhoneId, TrunkId};
use crate::now::Now;
use crate::sdp::negotiate::{Local, Negotiation};
use crate::sdp::{Codec, Direction};
use crate::sip::{InviteTimers, NameAddr};
use crate::store::fact::PhoneView;
use crate::store::{self, AttemptStep};

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
        let (campaign, phone) = match self.dialable(agent, token, phone) {
            Ok(found) => found,
            Err(problem) => return self.refuse_dial(agent, token, key, problem, reply),
        };
        let Some((trunk, caller_id)) = self.free_trunk(&campaign) else {
            let problem = Problem::new(
                503,
                "no_trunk",
                "No trunk is free",
                format!(
                    "Every trunk of campaign {} is in use or missing.",
                    campaign.id
                ),
            );
            return self.reply(reply, Err(problem));
        };
        let Some(port) = self.ports.allocate(now.instant) else {
            return self.reply(reply, Err(Problem::overload()));
        };
        let seat = self.desks.get(agent).and_then(|desk| desk.seat.live_leg());
        let leg = self.new_leg(seat);
        let call = CallId(self.new_uuid(now));
        let attempt = AttemptId(call.0);
        let called = trunk.request_uri(&phone.e164);
        let plan = self.sip.plan_invite(
            &called,
            NameAddr::new(None, &format!("sip:{caller_id}@{}", trunk.domain)),
            NameAddr::new(None, &called),
            &trunk.flow(&self.config.trunk_flow),
        );
        let command = store::Command::BeginAttempt {
            token,
            agent: agent.clone(),
            key: key.clone(),
            attempt,
            phone: phone.id,
            trunk: trunk.id.clone(),
            caller_id,
            dialog: plan.to_text(),
        };
        let plan_text = plan.to_text();
        let local = Local {
            address: self.config.media_address,
            port,
            codecs: vec![Codec::Pcma, Codec::Pcmu],
            telephone_event: true,
        };
        let sdp = Negotiation::new(local, self.rng.random::<u64>() >> 1);
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
                trunk,
                leg,
                port,
                phase,
                progress: Progress::new(now.utc),
                volume_db: 0,
                recording: Recording::Off,
                plan: plan_text,
                sdp,
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

    /// The first of the campaign's trunks with a call to spare, with the caller ID shown on it.
    fn free_trunk(&self, campaign: &Campaign) -> Option<(Trunk, String)> {
        campaign.rules.routes.iter().find_map(|route| {
            let trunk = self.config.trunks.get(&route.trunk)?;
            let free = self.calls_on_trunk(&trunk.id) < trunk.calls_max;
            free.then(|| (trunk.clone(), route.caller_id.clone()))
        })
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
        if desk.seat.live_leg().is_none() {
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
        let (seat, offer) = (
            self.desks.get(&call.agent).map(|desk| desk.seat),
            call.sdp.offer(Direction::SendRecv),
        );
        let (credentials, timeout) = (call.trunk.credentials.clone(), call.trunk.invite_timeout);
        let session = self.sip.invite(
            now,
            *plan,
            vec![],
            Some(sdp_body(offer)),
            credentials,
            InviteTimers {
                answer: Some(timeout),
            },
        );
        self.sessions.insert(session, SessionOf::Customer(id));
        if let Some(call) = self.calls.get_mut(&id) {
            call.phase = Phase::Inviting {
                session,
                ring_until,
            };
        }
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

    /// The gate said no at the last moment, or the store could not write: the card is back.
    pub(super) fn dial_refused(&mut self, now: Now, call: CallId, problem: Problem) {
        let Some(call) = self.calls.remove(&call) else {
            return;
        };
        self.legs.remove(&call.leg);
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
