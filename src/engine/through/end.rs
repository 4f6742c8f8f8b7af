//! The end of a call through us: both sides are told, with the reason as it came, and all that it
//! held is given back.

use super::arrive::RETRY_AFTER_S;
use super::passed::reason_value;
use super::progress::after_answer;
use super::{Fork, Phase, Refusal, Side, Through};
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
        // One of several phones, gone without a final answer.
        self.through_failed(now, id, session, Refusal::ours(480), after_answer(480));
    }

    /// Nobody is left to ask.
    pub(super) fn through_give_up(&mut self, now: Now, id: CallId) {
        let Some(call) = self.through.call(id) else {
            return;
        };
        let refusal = call.best.clone().unwrap_or_else(|| Refusal::ours(480));
        let session = call.caller.session;
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

    /// A person on this machine ends the call. `false`: there is none by this id.
    pub(in crate::engine) fn through_hang_up(&mut self, now: Now, id: CallId) -> bool {
        let known = self.through.calls.contains_key(&id);
        self.through_dismiss(now, id, 480, "ended by an administrator");
        known
    }

    /// The process is about to stop.
    pub(in crate::engine) fn end_throughs(&mut self, now: Now) {
        for id in self.through.calls.keys().copied().collect::<Vec<_>>() {
            self.through_dismiss(now, id, 503, "stopped");
        }
    }

    /// Everybody still in the call is told, and nothing of it is left.
    fn through_close(&mut self, now: Now, id: CallId, reason: Option<&str>) {
        self.through.set_deadline(id, None);
        let Some(call) = self.through.calls.remove(&id) else {
            return;
        };
        let Through {
            caller,
            phase,
            forks,
            recording,
            leave,
            answered,
            ..
        } = call;
        if let Some((ticket, _)) = leave {
            let talked = answered.map(|at| now.instant.saturating_duration_since(at));
            self.outside_call_ended(now, ticket, talked.unwrap_or_default());
        }
        if recording.is_some() {
            self.media(MediaCommand::StopRecording { call: id });
        }
        self.through_side_closed(now, &caller, reason);
        let callee = match phase {
            Phase::Talking(fork) => Some(*fork),
            Phase::Calling | Phase::Playing => None,
        };
        for fork in callee.into_iter().chain(forks) {
            if self.sessions.remove(&fork.side.session).is_some() {
                self.sip.hang_up(now, fork.side.session, reason);
            }
            self.through_release(now, &fork);
        }
        tracing::info!(call = %id, "a call through us is over");
    }

    fn through_side_closed(&mut self, now: Now, side: &Side, reason: Option<&str>) {
        // A session that has ended by itself is not in the list any more.
        if self.sessions.remove(&side.session).is_some() {
            self.sip.hang_up(now, side.session, reason);
        }
        self.through_media_closed(now, side);
    }

    /// Gives back what an outgoing leg held.
    pub(super) fn through_release(&mut self, now: Now, fork: &Fork) {
        if let Some(way) = &fork.way {
            self.leave_way(way);
        }
        self.through_media_closed(now, &fork.side);
    }

    fn through_media_closed(&mut self, now: Now, side: &Side) {
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
                tracing::error!(
                    port,
                    "RTP port is taken by another program; see [media] rtp_ports"
                );
                self.through_dismiss(now, id, 500, "RTP port taken");
            }
            MediaFact::LegDied { leg, reason } => {
                let Some(id) = self.through_of(*leg) else {
                    return Some(fact);
                };
                tracing::error!(%leg, reason, "a leg's media failed");
                self.through_dismiss(now, id, 500, "media failed");
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
fn mapped(status: u16) -> u16 {
    match status {
        300..=399 => 480,
        401 | 407 | 503 => 500,
        _ => status,
    }
}
