//! What a trunk says of a customer's call: ringing, answered, refused, changed, ended.

use super::call::Phase;
use super::ending::Ending;
use super::media_worker::{MediaCommand, Source};
use super::switch::{LegOf, Switch, sdp_body};
use super::trunk_call::failure;
use super::writes::Write;
use crate::call::result::CallResult;
use crate::id::{CallId, LegId};
use crate::now::Now;
use crate::sdp::Direction;
use crate::sdp::negotiate::{Agreed, Negotiation};
use crate::sip::{Body, EndedBy, Reason, SessionId, SipEvent};
use crate::store::{self, AttemptStep};
use crate::trunk::{Failure, Next};

impl Switch {
    pub(super) fn customer_event(&mut self, now: Now, id: CallId, event: SipEvent) {
        match event {
            SipEvent::Provisional { body, .. } => self.provisional(now, id, body),
            SipEvent::Redirected {
                session, contacts, ..
            } => self.note_redirect(session, contacts),
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
                retry_after_s,
                local,
            } => {
                self.sessions.remove(&session);
                let failure = failure(status, &reason, retry_after_s, local);
                self.customer_failed(now, id, session, failure, &phrase, &reason);
            }
            SipEvent::Reoffer { session, body } => self.customer_reoffered(now, id, session, body),
            SipEvent::Confirmed {
                body: Some(body), ..
            } => self.customer_confirmed(id, &body),
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

    fn provisional(&mut self, now: Now, id: CallId, body: Option<Body>) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if !matches!(call.phase, Phase::Inviting { .. }) {
            return;
        }
        let (attempt, leg, agent) = (call.attempt, call.leg, call.agent.clone());
        let (dialog, way) = (call.plan.clone(), call.way.clone());
        let first_ring = call.progress.ring(now.utc);
        let agreed = body.and_then(|body| agree(&mut call.sdp, &body));
        let early_media = agreed.is_some();
        call.progress.early_media |= early_media;
        if first_ring {
            if let Some(way) = &way {
                self.way_alive(way);
            }
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
        // Some carriers answer in the 183 and leave the body of their 200 empty.
        let agreed = match &body {
            Some(body) => agree(&mut call.sdp, body),
            None => call.sdp.agreed().copied(),
        };
        call.phase = Phase::Answered { session };
        call.progress.answer(now.utc);
        let (attempt, agent, leg) = (call.attempt, call.agent.clone(), call.leg);
        let way = call.way.clone();
        if let Some(way) = &way {
            self.way_answered(way);
        }
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
            let why = self.unusable_answer(id);
            self.hang_up_customer(
                now,
                id,
                CallResult::TrunkFailure,
                &why,
                store::EndedBy::System,
            );
            return;
        };
        self.aim(leg, &agreed);
        self.start_recording(now, id);
        match self.desks.get(&agent).and_then(|desk| desk.seat.live_leg()) {
            Some(seat) => self.rejoin(id, seat),
            // Her browser went while it rang: the customer hears music, and is recorded.
            None => {
                self.agent_leg_gone(id);
                self.record_with(id, None);
                self.wait_for_seat(now, &agent);
            }
        }
        self.step(attempt, AttemptStep::Bridged);
    }

    fn customer_failed(
        &mut self,
        now: Now,
        id: CallId,
        session: SessionId,
        failure: Failure,
        phrase: &str,
        reason: &Reason,
    ) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        let (status, alerted) = (failure.status, call.progress.has_alerted());
        let failure = Failure { alerted, ..failure };
        let inviting = matches!(call.phase, Phase::Inviting { .. });
        let (way, mut ways) = (call.way.clone(), call.ways.clone());
        let number = call.number.clone();
        let result = CallResult::from_final(status, reason.q850, alerted, None)
            .with_reason_text(reason.text.as_deref().unwrap_or_default());
        let ending = Ending {
            result,
            detail: format!("{status} {phrase}"),
            status: Some(status),
            q850: reason.q850,
            by: store::EndedBy::Network,
        };
        let next = way.map_or(Next::Nothing, |way| {
            let next = self.way_failed(now, &way, &mut ways, &failure, &ending.detail);
            // The gate has let this number be called, and no other.
            match self.open_redirect(now, session, &way, &number, &mut ways, |_, _| false) {
                true => Next::Server,
                false => next,
            }
        });
        if let Some(call) = self.calls.get_mut(&id) {
            call.ways = ways;
        }
        match next {
            Next::Server | Next::Trunk if inviting => self.fail_over(now, id, ending),
            _ => self.finish(now, id, ending),
        }
    }

    /// The far end offers again: hold, another address, another codec.
    fn customer_reoffered(&mut self, now: Now, id: CallId, session: SessionId, body: Option<Body>) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let (leg, agent) = (call.leg, call.agent.clone());
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
                // It may be a hold, or the end of one.
                self.desk(&agent);
                self.sip
                    .answer_reoffer(now, session, Some(sdp_body(answer)));
            }
            None => {
                let refusal = call.sdp.refused().cloned();
                self.note_sdp_refusal(refusal.as_ref());
                self.sip.refuse_reoffer(now, session, 488);
            }
        }
    }

    /// Why the answer to our offer cannot be used, for people.
    fn unusable_answer(&mut self, id: CallId) -> String {
        let refusal = self.calls.get(&id).and_then(|call| call.sdp.refused());
        let refusal = refusal.cloned();
        self.note_sdp_refusal(refusal.as_ref());
        match refusal {
            Some(refusal) if refusal.is_for_srtp() => format!("the answer: {refusal}"),
            _ => "no usable codec in the answer".to_owned(),
        }
    }

    /// The ACK brought the answer to an offer of ours.
    fn customer_confirmed(&mut self, id: CallId, body: &Body) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let (leg, agent) = (call.leg, call.agent.clone());
        if let Some(agreed) = agree(&mut call.sdp, body) {
            self.aim(leg, &agreed);
            self.desk(&agent);
        }
    }

    pub(super) fn port_taken(&mut self, now: Now, leg: LegId, port: u16) {
        self.third_media_gone(now, leg, "RTP port taken");
        let Some(LegOf::Customer(id)) = self.legs.get(&leg).cloned() else {
            return;
        };
        if self.moved_leg_waits(now, id) {
            return;
        }
        tracing::error!(
            port,
            "RTP port is taken by another program; see [media] rtp_ports"
        );
        self.hang_up_customer(
            now,
            id,
            CallResult::SystemFailure,
            "RTP port taken",
            store::EndedBy::System,
        );
    }

    /// Neither RTP nor RTCP for the media time-out: nobody is there.
    pub(super) fn leg_stalled(&mut self, now: Now, leg: LegId, silent_ms: u64) {
        if self.phone_leg_lost(now, leg) {
            return;
        }
        if self.third_is_talking(leg) {
            self.third_media_gone(now, leg, "no media");
        }
        let Some(LegOf::Customer(id)) = self.legs.get(&leg).cloned() else {
            return;
        };
        let detail = format!("no media for {} s", silent_ms / 1000);
        self.hang_up_customer(
            now,
            id,
            CallResult::Connected,
            &detail,
            store::EndedBy::Network,
        );
    }

    pub(super) fn leg_died(&mut self, now: Now, leg: LegId, reason: &str) {
        tracing::error!(%leg, reason, "a leg's media failed");
        match self.legs.get(&leg).cloned() {
            Some(LegOf::Customer(id)) => {
                self.hang_up_customer(
                    now,
                    id,
                    CallResult::SystemFailure,
                    "media failed",
                    store::EndedBy::System,
                );
            }
            Some(LegOf::Seat(_)) => self.seat_media_lost(now, leg),
            Some(LegOf::Third(_)) => self.third_media_gone(now, leg, "media failed"),
            Some(LegOf::Through(_)) | None => {}
        }
    }
}

pub(super) fn agree(sdp: &mut Negotiation, body: &Body) -> Option<Agreed> {
    let text = std::str::from_utf8(&body.bytes).ok()?;
    sdp.read_answer(text).ok()
}
