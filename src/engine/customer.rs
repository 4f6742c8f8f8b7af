//! Customer calls over trunks: from the click on Call to the end of the far leg.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use serde_json::{Value, json};

use super::commands::{no_call, no_card, wrong_state};
use super::handle::Problem;
use super::media_worker::{MediaCommand, Source};
use super::resolved::{Campaign, Trunk};
use super::switch::{LegOf, ReplyId, SessionOf, Switch, sdp_body};
use super::writes::Write;
use crate::agent::seat::Seat;
use crate::agent::state::State;
use crate::call::result::{CallResult, CancelledBy};
use crate::dialer::gate::Origination;
use crate::id::{AgentId, AttemptId, CallId, FenceToken, LegId, PhoneId, TrunkId};
use crate::media::g711::Law;
use crate::now::{Now, UtcMs};
use crate::sdp::negotiate::{Agreed, Local, Negotiation};
use crate::sdp::{Codec, Direction};
use crate::sip::{Body, EndedBy, InvitePlan, InviteTimers, NameAddr, Reason, SessionId, SipEvent};
use crate::store::fact::PhoneView;
use crate::store::{self, AttemptStep, Spans};

/// One attempt's call. It stays on the desk, ended, until its card is disposed of.
pub(super) struct Call {
    pub id: CallId,
    pub attempt: AttemptId,
    pub agent: AgentId,
    pub token: FenceToken,
    pub phone: PhoneId,
    pub key: String,
    pub campaign: Arc<Campaign>,
    pub trunk: Trunk,
    pub leg: LegId,
    pub port: u16,
    pub phase: Phase,
    pub controls: Controls,
    pub created: UtcMs,
    pub ringing: Option<UtcMs>,
    pub answered: Option<UtcMs>,
    pub recording: Recording,
    /// The INVITE's identity in its stored form.
    plan: String,
    /// Offers and answers on the trunk's side.
    sdp: Negotiation,
    hold_since: Option<UtcMs>,
    hold_ms: u64,
    mute_since: Option<UtcMs>,
    mute_ms: u64,
    early_media: bool,
}

pub(super) enum Phase {
    /// The attempt's row is being committed; nothing has left yet.
    Committing {
        plan: Box<InvitePlan>,
        reply: ReplyId,
        given_up: bool,
    },
    /// INVITE sent. The ring limit runs.
    Inviting {
        session: SessionId,
        ring_until: Instant,
    },
    /// The customer is on the line.
    Answered { session: SessionId },
    Ended {
        at: UtcMs,
        result: CallResult,
        detail: String,
    },
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Controls {
    pub muted: bool,
    pub held: bool,
    pub volume_db: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recording {
    Off,
    Running { path: PathBuf },
    Done,
    Failed,
}

/// How a call came to its end, as the network and the agent told it.
struct Ending {
    result: CallResult,
    detail: String,
    status: Option<u16>,
    q850: Option<u16>,
    by: store::EndedBy,
}

impl Call {
    pub fn session(&self) -> Option<SessionId> {
        match self.phase {
            Phase::Inviting { session, .. } | Phase::Answered { session } => Some(session),
            Phase::Committing { .. } | Phase::Ended { .. } => None,
        }
    }

    pub fn is_answered(&self) -> bool {
        matches!(self.phase, Phase::Answered { .. })
    }

    pub fn is_recording(&self) -> bool {
        matches!(self.recording, Recording::Running { .. })
    }

    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    /// Hold begins or ends: its seconds are part of the call's record.
    pub fn note_hold(&mut self, at: UtcMs, on: bool) {
        span(&mut self.hold_since, &mut self.hold_ms, at, on);
    }

    pub fn note_mute(&mut self, at: UtcMs, on: bool) {
        span(&mut self.mute_since, &mut self.mute_ms, at, on);
    }

    fn state_name(&self) -> &'static str {
        match self.phase {
            Phase::Committing { .. } => "dialing",
            Phase::Inviting { .. } if self.ringing.is_none() => "dialing",
            Phase::Inviting { .. } => "ringing",
            Phase::Answered { .. } if self.controls.held => "held",
            Phase::Answered { .. } => "talking",
            Phase::Ended { .. } => "ended",
        }
    }

    /// As a page shows it.
    pub fn picture(&self) -> Value {
        let (ended, result, detail) = match &self.phase {
            Phase::Ended { at, result, detail } => {
                (Some(at.0), Some(result.name()), Some(detail.as_str()))
            }
            _ => (None, None, None),
        };
        json!({
            "id": self.id.to_string(),
            "phone": self.phone.0,
            "state": self.state_name(),
            "started_ms": self.created.0,
            "ringing_ms": self.ringing.map(|at| at.0),
            "answered_ms": self.answered.map(|at| at.0),
            "ended_ms": ended,
            "muted": self.controls.muted,
            "held": self.controls.held,
            "volume_db": self.controls.volume_db,
            "recording": self.is_recording() && !self.is_ended(),
            "recording_failed": self.recording == Recording::Failed,
            "recording_ready": self.recording == Recording::Done,
            "result": result,
            "detail": detail,
        })
    }

    /// For people who look at the whole switch: no number, no name.
    pub fn summary(&self) -> Value {
        json!({
            "id": self.id.to_string(),
            "agent": self.agent.as_str(),
            "campaign": self.campaign.id.as_str(),
            "trunk": self.trunk.id.as_str(),
            "state": self.state_name(),
            "started_ms": self.created.0,
        })
    }
}

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
        let route = campaign
            .rules
            .routes
            .iter()
            .find_map(|route| Some((self.config.trunks.get(&route.trunk)?.clone(), route)));
        let Some((trunk, caller_id)) = route.map(|(trunk, route)| (trunk, route.caller_id.clone()))
        else {
            let problem = Problem::new(
                503,
                "no_trunk",
                "No trunk for this campaign",
                format!("Campaign {} names no trunk that exists.", campaign.id),
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
                controls: Controls::default(),
                created: now.utc,
                ringing: None,
                answered: None,
                recording: Recording::Off,
                plan: plan_text,
                sdp,
                hold_since: None,
                hold_ms: 0,
                mute_since: None,
                mute_ms: 0,
                early_media: false,
            },
        );
        self.attempts.insert(attempt, call);
        self.legs.insert(leg, LegOf::Customer(call));
        if let Some(desk) = self.desk(agent) {
            desk.call = Some(call);
            // `dialable` has seen PREVIEWING.
            let _ = desk.agent.dial(now.utc);
        }
        self.write(Write::Begin { call }, command);
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
            at: now.utc,
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
            return self.finish(now, id, Ending::ours(CallResult::AgentCancelled, detail));
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
        self.attempts.remove(&call.attempt);
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

    pub(super) fn customer_event(&mut self, now: Now, id: CallId, event: SipEvent) {
        match event {
            SipEvent::Provisional { status, body, .. } => self.provisional(now, id, status, body),
            SipEvent::Answered {
                session,
                dialog,
                body,
            } => {
                self.customer_answered(now, id, session, dialog.to_text(), body);
            }
            SipEvent::Failed {
                session,
                status,
                phrase,
                reason,
                ..
            } => {
                self.sessions.remove(&session);
                self.customer_failed(now, id, status, &phrase, &reason);
            }
            SipEvent::Reoffer { session, body } => self.customer_reoffered(now, id, session, body),
            SipEvent::Ended {
                session,
                by,
                reason,
            } => {
                self.sessions.remove(&session);
                let by = match by {
                    EndedBy::Remote => store::EndedBy::Customer,
                    EndedBy::Local => store::EndedBy::Agent,
                    EndedBy::Timeout | EndedBy::FlowClosed => store::EndedBy::Network,
                };
                let ending = Ending {
                    result: CallResult::Connected,
                    detail: String::new(),
                    status: Some(200),
                    q850: reason.q850,
                    by,
                };
                self.finish(now, id, ending);
            }
            _ => {}
        }
    }

    fn provisional(&mut self, now: Now, id: CallId, status: u16, body: Option<Body>) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if !matches!(call.phase, Phase::Inviting { .. }) {
            return;
        }
        let (attempt, leg, agent) = (call.attempt, call.leg, call.agent.clone());
        let dialog = call.plan.clone();
        let first_ring = status > 100 && call.ringing.is_none();
        if first_ring {
            call.ringing = Some(now.utc);
        }
        let agreed = body.and_then(|body| agree(&mut call.sdp, &body));
        let early_media = agreed.is_some();
        call.early_media |= early_media;
        if first_ring {
            self.desk(&agent);
            self.step(attempt, AttemptStep::Alerting { dialog });
        }
        if let Some(agreed) = agreed {
            self.aim(leg, &agreed);
            if let Some(seat) = self.desks.get(&agent).and_then(|desk| desk.seat.live_leg()) {
                self.media(MediaCommand::Listen {
                    leg: seat,
                    to: Source::Leg(leg),
                });
            }
        }
    }

    fn customer_answered(
        &mut self,
        now: Now,
        id: CallId,
        session: SessionId,
        dialog: String,
        body: Option<Body>,
    ) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if !matches!(call.phase, Phase::Inviting { .. }) {
            // Ended here while the 200 was on its way.
            self.sip.hang_up(now, session, None);
            return;
        }
        let agreed = body.as_ref().and_then(|body| agree(&mut call.sdp, body));
        call.phase = Phase::Answered { session };
        call.answered = Some(now.utc);
        let (attempt, agent, leg) = (call.attempt, call.agent.clone(), call.leg);
        self.counters.answered += 1;
        if let Some(desk) = self.desk(&agent) {
            desk.agent.answered(now.utc);
        }
        // The ACK leaves when the answer is on disk: after a crash in between, the far end still
        // repeats its 200, and the restarted switch can end the call properly.
        let step = AttemptStep::Answered { dialog };
        self.write(
            Write::Answered { session },
            store::Command::Step { attempt, step },
        );
        let Some(agreed) = agreed else {
            self.hang_up_customer(
                now,
                id,
                CallResult::TrunkFailure,
                "no usable codec in the answer",
            );
            return;
        };
        self.aim(leg, &agreed);
        self.start_recording(now, id);
        match self.desks.get(&agent).and_then(|desk| desk.seat.live_leg()) {
            Some(seat) => self.rejoin(now, id, seat),
            // Her browser went while it rang: the customer hears music, and is recorded.
            None => {
                self.agent_leg_gone(id);
                self.record_with(id, None);
            }
        }
        self.step(attempt, AttemptStep::Bridged);
    }

    fn customer_failed(
        &mut self,
        now: Now,
        id: CallId,
        status: u16,
        phrase: &str,
        reason: &Reason,
    ) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        let result = CallResult::from_final(status, reason.q850, call.ringing.is_some(), None)
            .with_reason_text(reason.text.as_deref().unwrap_or_default());
        let ending = Ending {
            result,
            detail: format!("{status} {phrase}"),
            status: Some(status),
            q850: reason.q850,
            by: store::EndedBy::Network,
        };
        self.finish(now, id, ending);
    }

    /// The far end offers again: hold, another address, another codec.
    fn customer_reoffered(&mut self, now: Now, id: CallId, session: SessionId, body: Option<Body>) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let leg = call.leg;
        let Some(body) = body else {
            // Offerless: ours is the offer; its answer comes in the ACK.
            let offer = call.sdp.offer(Direction::SendRecv);
            return self.sip.answer_reoffer(now, session, Some(sdp_body(offer)));
        };
        let answer = std::str::from_utf8(&body.bytes)
            .ok()
            .and_then(|text| call.sdp.answer(text, Direction::SendRecv).ok());
        match answer {
            Some((answer, agreed)) => {
                self.aim(leg, &agreed);
                self.sip
                    .answer_reoffer(now, session, Some(sdp_body(answer)));
            }
            None => self.sip.refuse_reoffer(now, session, 488),
        }
    }

    pub(super) fn agent_hangs_up(&mut self, now: Now, agent: &AgentId) -> Result<(), Problem> {
        let call = self.live_call_mut(agent)?;
        let id = call.id;
        match &mut call.phase {
            Phase::Committing { given_up, .. } => *given_up = true,
            Phase::Inviting { .. } => {
                let (status, alerted) = (487, call.ringing.is_some());
                let result =
                    CallResult::from_final(status, None, alerted, Some(CancelledBy::Agent));
                self.hang_up_customer(now, id, result, "given up by the agent");
            }
            Phase::Answered { .. } => {
                self.hang_up_customer(now, id, CallResult::Connected, "");
            }
            Phase::Ended { .. } => return Err(no_call()),
        }
        Ok(())
    }

    /// Ends the far leg from our side, whatever state it is in, with the result as judged here.
    pub(super) fn hang_up_customer(
        &mut self,
        now: Now,
        id: CallId,
        result: CallResult,
        detail: &str,
    ) {
        if let Some(session) = self.calls.get(&id).and_then(Call::session) {
            // What the far end still has to say about this session concerns nobody any more.
            self.sessions.remove(&session);
            self.sip.hang_up(now, session, None);
        }
        self.finish(now, id, Ending::ours(result, detail.to_owned()));
    }

    /// One result for each call: the first ending wins, whatever else is on its way.
    fn finish(&mut self, now: Now, id: CallId, ending: Ending) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if call.is_ended() {
            return;
        }
        let answered = call.is_answered();
        call.note_hold(now.utc, false);
        call.note_mute(now.utc, false);
        call.phase = Phase::Ended {
            at: now.utc,
            result: ending.result,
            detail: ending.detail.clone(),
        };
        let (leg, port, agent) = (call.leg, call.port, call.agent.clone());
        let limit = match answered {
            true => call.campaign.rules.wrap_up.answered_ms,
            false => call.campaign.rules.wrap_up.unanswered_ms,
        };
        let command = store::Command::Finish {
            attempt: call.attempt,
            result: ending.result,
            status: ending.status,
            q850: ending.q850,
            ended_by: ending.by,
            spans: Spans {
                hold_ms: call.hold_ms,
                mute_ms: call.mute_ms,
                early_media: call.early_media,
            },
        };
        let recording = call.is_recording();
        *self
            .counters
            .results
            .entry(ending.result.name())
            .or_default() += 1;
        self.counters.ended += 1;
        self.write(
            Write::Outcome {
                command: Box::new(command.clone()),
            },
            command,
        );
        if recording {
            self.media(MediaCommand::StopRecording { call: id });
        }
        self.legs.remove(&leg);
        self.media(MediaCommand::CloseLeg { leg });
        self.ports.release(port, now.instant);
        if let Some(seat) = self.desks.get(&agent).and_then(|desk| desk.seat.live_leg()) {
            self.media(MediaCommand::Mute {
                leg: seat,
                on: false,
            });
            self.media(MediaCommand::Listen {
                leg: seat,
                to: Source::Silence,
            });
        }
        if let Some(desk) = self.desk(&agent) {
            desk.agent
                .wrap_up(now.utc.plus(Duration::from_millis(limit)), now.utc);
            if matches!(desk.seat, Seat::Lost { .. }) {
                desk.seat = Seat::Absent;
            }
        }
    }

    pub(super) fn hold(&mut self, now: Now, agent: &AgentId, on: bool) -> Result<(), Problem> {
        let call = self.live_call_mut(agent)?;
        if !call.is_answered() {
            return Err(Problem::new(
                409,
                "not_answered",
                "Nobody to hold",
                "The phone still rings.",
            ));
        }
        call.controls.held = on;
        call.note_hold(now.utc, on);
        let id = call.id;
        let seat = self.desks.get(agent).and_then(|desk| desk.seat.live_leg());
        match seat {
            Some(seat) => self.connect_ears(id, seat),
            None => self.agent_leg_gone(id),
        }
        Ok(())
    }

    /// Puts the agent's leg, new or the same, back where the call's controls say.
    pub(super) fn rejoin(&mut self, now: Now, id: CallId, seat: LegId) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        let (leg, controls) = (call.leg, call.controls);
        match call.phase {
            Phase::Answered { .. } => {
                self.media(MediaCommand::Mute {
                    leg: seat,
                    on: controls.muted,
                });
                self.media(MediaCommand::Gain {
                    leg,
                    db: controls.volume_db as f32,
                });
                self.connect_ears(id, seat);
                self.record_with(id, Some(seat));
            }
            Phase::Inviting { .. } if call.early_media => {
                self.media(MediaCommand::Listen {
                    leg: seat,
                    to: Source::Leg(leg),
                });
            }
            Phase::Inviting { .. } | Phase::Committing { .. } => {
                self.media(MediaCommand::Listen {
                    leg: seat,
                    to: Source::Ringback,
                });
            }
            Phase::Ended { .. } => {}
        }
        let _ = now;
    }

    fn connect_ears(&mut self, id: CallId, seat: LegId) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        let (leg, held) = (call.leg, call.controls.held);
        let (customer, agent) = match held {
            true => (Source::Music, Source::Silence),
            false => (Source::Leg(seat), Source::Leg(leg)),
        };
        self.media(MediaCommand::Listen { leg, to: customer });
        self.media(MediaCommand::Listen {
            leg: seat,
            to: agent,
        });
    }

    /// The agent's browser is gone: the customer stays and hears music.
    pub(super) fn agent_leg_gone(&mut self, id: CallId) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        if call.is_answered() {
            let leg = call.leg;
            self.media(MediaCommand::Listen {
                leg,
                to: Source::Music,
            });
        }
    }

    fn start_recording(&mut self, now: Now, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if !call.campaign.record {
            return;
        }
        let path = recording_path(&self.config.recordings, now.utc, id);
        call.recording = Recording::Running { path: path.clone() };
        let attempt = call.attempt;
        let path = self.recording_name(&path);
        self.write(
            Write::Step,
            store::Command::RecordingStarted { attempt, path },
        );
    }

    fn record_with(&mut self, id: CallId, seat: Option<LegId>) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        if let Recording::Running { path } = &call.recording {
            let (path, customer) = (path.clone(), call.leg);
            self.media(MediaCommand::Record {
                call: id,
                agent: seat,
                customer,
                path,
            });
        }
    }

    fn aim(&mut self, leg: LegId, agreed: &Agreed) {
        self.media(MediaCommand::AimTrunk {
            leg,
            remote: agreed.remote,
            law: match agreed.codec {
                Codec::Pcmu => Law::Mu,
                Codec::Pcma => Law::A,
            },
            payload_type: agreed.payload_type,
            telephone_event: agreed.telephone_event,
            send: agreed.direction.send(),
            receive: agreed.direction.receive(),
        });
    }

    fn step(&mut self, attempt: AttemptId, step: AttemptStep) {
        self.write(Write::Step, store::Command::Step { attempt, step });
    }

    pub(super) fn port_taken(&mut self, now: Now, leg: LegId, port: u16) {
        let Some(LegOf::Customer(id)) = self.legs.get(&leg).cloned() else {
            return;
        };
        tracing::error!(
            port,
            "RTP port is taken by another program; see [media] rtp_ports"
        );
        self.hang_up_customer(now, id, CallResult::SystemFailure, "RTP port taken");
    }

    /// Neither RTP nor RTCP for the media time-out: nobody is there.
    pub(super) fn leg_stalled(&mut self, now: Now, leg: LegId, silent_ms: u64) {
        let Some(LegOf::Customer(id)) = self.legs.get(&leg).cloned() else {
            return;
        };
        let detail = format!("no media for {} s", silent_ms / 1000);
        self.hang_up_customer(now, id, CallResult::Connected, &detail);
    }

    pub(super) fn leg_died(&mut self, now: Now, leg: LegId, reason: &str) {
        tracing::error!(%leg, reason, "a leg's media failed");
        match self.legs.get(&leg).cloned() {
            Some(LegOf::Customer(id)) => {
                self.hang_up_customer(now, id, CallResult::SystemFailure, "media failed");
            }
            Some(LegOf::Seat(_)) => self.seat_media_lost(now, leg),
            None => {}
        }
    }

    /// The call on the agent's desk while it is not over.
    pub(super) fn live_call(&self, agent: &AgentId) -> Option<&Call> {
        self.call_on_desk(agent).filter(|call| !call.is_ended())
    }

    pub(super) fn live_call_mut(&mut self, agent: &AgentId) -> Result<&mut Call, Problem> {
        let call = self
            .desk(agent)
            .and_then(|desk| desk.call)
            .ok_or_else(no_call)?;
        self.calls
            .get_mut(&call)
            .filter(|call| !call.is_ended())
            .ok_or_else(no_call)
    }

    pub(super) fn call_on_desk(&self, agent: &AgentId) -> Option<&Call> {
        let call = self.desks.get(agent)?.call?;
        self.calls.get(&call)
    }
}

impl Ending {
    fn ours(result: CallResult, detail: String) -> Ending {
        Ending {
            result,
            detail,
            status: None,
            q850: None,
            by: store::EndedBy::Agent,
        }
    }
}

/// Adds the time since `since` to `total_ms`, and starts again when `on`.
fn span(since: &mut Option<UtcMs>, total_ms: &mut u64, at: UtcMs, on: bool) {
    if let Some(since) = since.take() {
        *total_ms += at.ms_since(since);
    }
    *since = on.then_some(at);
}

fn agree(sdp: &mut Negotiation, body: &Body) -> Option<Agreed> {
    let text = std::str::from_utf8(&body.bytes).ok()?;
    sdp.read_answer(text).ok()
}

/// `recordings/YYYY/MM/DD/<call-id>.wav`, by UTC date.
fn recording_path(root: &std::path::Path, at: UtcMs, call: CallId) -> PathBuf {
    let date = jiff::Timestamp::from_millisecond(at.0)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .strftime("%Y/%m/%d")
        .to_string();
    root.join(date).join(format!("{call}.wav"))
}
