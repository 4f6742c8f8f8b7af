//! The end of a call through us: both sides are told, with the reason as it came, and all that it
//! held is given back.

use super::arrive::RETRY_AFTER_S;
use super::passed::reason_value;
use super::progress::after_answer;
use super::{Leave, Phase, Refusal, Side, Through};
use crate::engine::media_worker::{MediaCommand, MediaFact};
use crate::engine::switch::{LegOf, Switch};
use crate::id::{CallId, LegId};
use crate::now::Now;
use crate::sip::{Reason, SessionId};

impl Switch {
    /// A side hung up, gave up, or fell silent.
    pub(super) fn through_side_ended(
        &mut self,
        now: Now,
        id: CallId,
        session: SessionId,
        reason: &Reason,
    ) {
        let Some(call) = self.through.call(id) else {
            return;
        };
        let callee = call.callee().is_some_and(|side| side.session == session);
        if call.caller.session == session || callee {
            let reason = reason_value(reason);
            return self.through_close(now, id, reason.as_deref());
        }
        if let Phase::Referred(referral) = &mut call.phase
            && referral.is_of(session)
        {
            // Who has asked need not stay.
            let side = referral.side.take();
            if let Some(side) = side {
                self.through_release(now, &side);
            }
            return;
        }
        // One of several phones, gone without a final answer.
        self.through_failed(now, id, session, Refusal::ours(480), after_answer(480));
    }

    /// Nobody is left to ask.
    pub(super) fn through_give_up(&mut self, now: Now, id: CallId) {
        let Some(call) = self.through.call(id) else {
            return;
        };
        let refusal = call.best.take().unwrap_or_else(|| Refusal::ours(480));
        if matches!(call.phase, Phase::Referred(_)) {
            return self.through_not_referred(now, id, &refusal);
        }
        let session = call.caller.session;
        if call.accepted {
            let reason = format!("SIP;cause={}", refusal.status);
            self.through.counters.unanswered += 1;
            return self.through_close(now, id, Some(&reason));
        }
        // What we say of ourselves is said as it is.
        let ours = refusal.phrase.is_none();
        let status = if ours {
            refusal.status
        } else {
            mapped(refusal.status)
        };
        let phrase = refusal.phrase.filter(|_| status == refusal.status);
        let reason = reason_value(&refusal.reason);
        let reason = reason.map(|value| ("Reason".to_owned(), value));
        let wait = ("Retry-After".to_owned(), RETRY_AFTER_S.to_string());
        let headers = reason.into_iter().chain((status == 503).then_some(wait));
        self.sessions.remove(&session);
        self.sip
            .reject(now, session, status, phrase.as_deref(), headers.collect());
        self.through.counters.unanswered += 1;
        self.through_close(now, id, None);
    }

    /// Ends a call from here, in whatever state it is.
    pub(super) fn through_dismiss(&mut self, now: Now, id: CallId, status: u16, why: &str) {
        let Some(call) = self.through.call(id) else {
            return;
        };
        if matches!(call.phase, Phase::Calling) {
            call.best = Some(Refusal::ours(status));
            self.through_forks_cancelled(now, id, None);
            return self.through_give_up(now, id);
        }
        let reason = format!("SIP;cause={status};text=\"{why}\"");
        self.through_close(now, id, Some(&reason));
    }

    /// The process is about to stop.
    pub(in crate::engine) fn end_throughs(&mut self, now: Now) {
        for id in self.through.calls.keys().copied().collect::<Vec<_>>() {
            self.through_dismiss(now, id, 503, "stopped");
        }
    }

    /// Everybody still in the call is told, and nothing of it is left.
    pub(super) fn through_close(&mut self, now: Now, id: CallId, reason: Option<&str>) {
        self.through.set_deadline(id, None);
        let Some(call) = self.through.calls.remove(&id) else {
            return;
        };
        self.caller_gone(now, id);
        let Through {
            caller,
            phase,
            forks,
            recording,
            leave,
            leaves,
            ..
        } = call;
        for leave in leave.into_iter().chain(leaves) {
            self.through_leave_ended(now, &leave);
        }
        if recording.is_some() {
            self.media(MediaCommand::StopRecording { call: id });
        }
        self.through_side_closed(now, &caller, reason);
        let second = match phase {
            Phase::Talking(side) => Some(*side),
            Phase::Referred(referral) => {
                if let Some(side) = &referral.side {
                    let phrase = "Request Terminated";
                    self.sip.notify_refer(now, side.session, 487, phrase);
                }
                referral.side
            }
            Phase::Calling | Phase::Playing => None,
        };
        let forks = forks.into_iter().map(|fork| fork.side);
        for side in second.into_iter().chain(forks) {
            self.through_side_closed(now, &side, reason);
        }
        tracing::info!(call = %id, "a call through us is over");
    }

    pub(super) fn through_leave_ended(&mut self, now: Now, leave: &Leave) {
        let talked = leave
            .since
            .map(|at| now.instant.saturating_duration_since(at));
        self.outside_call_ended(now, leave.ticket, talked.unwrap_or_default());
    }

    /// Tells a side that it is over, and gives back what it held.
    pub(super) fn through_side_closed(&mut self, now: Now, side: &Side, reason: Option<&str>) {
        // A session that has ended by itself is not in the list any more.
        if self.sessions.remove(&side.session).is_some() {
            self.sip.hang_up(now, side.session, reason);
        }
        self.through_release(now, side);
    }

    /// Gives back what a side held.
    pub(super) fn through_release(&mut self, now: Now, side: &Side) {
        if let Some(way) = &side.way {
            self.leave_way(way);
        }
        self.legs.remove(&side.leg);
        self.media(MediaCommand::CloseLeg { leg: side.leg });
        self.ports.release(side.port, now.instant);
    }

    /// Keeps the refusal that tells the caller most.
    pub(super) fn note_refusal(&mut self, id: CallId, refusal: Refusal) {
        let Some(call) = self.through.call(id) else {
            return;
        };
        let better = call
            .best
            .as_ref()
            .is_none_or(|best| weight(refusal.status) <= weight(best.status));
        if better {
            call.best = Some(refusal);
        }
    }

    /// What media says of a leg or a recording of ours; the fact itself when it is not of ours.
    pub(in crate::engine) fn through_media(
        &mut self,
        now: Now,
        fact: MediaFact,
    ) -> Option<MediaFact> {
        match &fact {
            MediaFact::PortTaken { leg, port } => {
                let Some(id) = self.through_of(*leg) else {
                    return Some(fact);
                };
                if self.port_tried_again(now, id) {
                    return None;
                }
                tracing::error!(
                    port,
                    "RTP port is taken by another program; see [media] rtp_ports"
                );
                self.through_leg_failed(now, id, *leg, "RTP port taken");
            }
            MediaFact::LegDied { leg, reason } => {
                let Some(id) = self.through_of(*leg) else {
                    return Some(fact);
                };
                tracing::error!(%leg, reason, "a leg's media failed");
                self.through_leg_failed(now, id, *leg, "media failed");
            }
            MediaFact::Stalled { leg, .. } => {
                let Some(id) = self.through_of(*leg) else {
                    return Some(fact);
                };
                let talking = |call: &mut Through| matches!(call.phase, Phase::Talking(_));
                if self.through.call(id).is_some_and(talking) {
                    self.through_dismiss(now, id, 408, "no media");
                }
            }
            MediaFact::Recorded { call, .. } if self.through.recordings.remove(call) => {
                self.counters.recordings += 1;
            }
            MediaFact::RecordingFailed { call, reason } if self.through.recordings.remove(call) => {
                self.counters.recordings_failed += 1;
                tracing::error!(%call, reason, "recording failed; the call goes on");
            }
            _ => return Some(fact),
        }
        None
    }

    /// A leg that cannot be heard ends the call, but of a transfer only the new call.
    fn through_leg_failed(&mut self, now: Now, id: CallId, leg: LegId, why: &str) {
        let Some(call) = self.through.call(id) else {
            return;
        };
        let fork = call.forks.iter().find(|fork| fork.side.leg == leg);
        let session = fork.map(|fork| fork.side.session);
        match session.filter(|_| matches!(call.phase, Phase::Referred(_))) {
            Some(session) => {
                self.sessions.remove(&session);
                self.sip.hang_up(now, session, None);
                let refusal = Refusal::ours(500);
                self.through_failed(now, id, session, refusal, after_answer(500));
            }
            None => self.through_dismiss(now, id, 500, why),
        }
    }

    /// From `foredial ctl`: whether there was such a call.
    pub(in crate::engine) fn through_hang_up(&mut self, now: Now, id: CallId) -> bool {
        let known = self.through.call(id).is_some();
        self.through_dismiss(now, id, 480, "ended by an administrator");
        known
    }

    fn through_of(&self, leg: LegId) -> Option<CallId> {
        match self.legs.get(&leg) {
            Some(LegOf::Through(id)) => Some(*id),
            _ => None,
        }
    }
}

/// RFC 3261 16.7: a decline by everybody says most, then what one called party said of itself.
fn weight(status: u16) -> u8 {
    match status {
        600.. => 0,
        404 | 408 | 480 => 2,
        400..=499 => 1,
        300..=399 => 3,
        _ => 4,
    }
}

/// What the caller is told: a trunk's want of our password, its overload and its other addresses
/// are not his affair.
pub(super) fn mapped(status: u16) -> u16 {
    match status {
        300..=399 => 480,
        401 | 407 | 503 => 500,
        _ => status,
    }
}
