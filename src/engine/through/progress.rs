//! What the called say: ringing, early media, the first answer wins, refusals and silence.

use super::passed::reason_value;
use super::{Phase, Refusal, Side};
use crate::engine::bridge::recording_path;
use crate::engine::media_worker::{MediaCommand, Source as Sound};
use crate::engine::switch::{Switch, sdp_body};
use crate::engine::trunk_call::Way;
use crate::id::{CallId, LegId};
use crate::now::Now;
use crate::sdp::Direction;
use crate::sdp::negotiate::{Agreed, Negotiation};
use crate::sip::{Body, Reason, SessionId};
use crate::trunk::{Failure, Next};

/// RFC 3326: why the phones that were slower are cancelled.
pub(super) const ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";
/// Q.850: no answer from user (user alerted).
const NO_ANSWER: u16 = 19;

impl Switch {
    pub(super) fn through_rings(
        &mut self,
        now: Now,
        id: CallId,
        session: SessionId,
        status: u16,
        body: Option<Body>,
    ) {
        let Some(call) = self.through.call(id) else {
            return;
        };
        let (caller, caller_leg) = (call.caller.session, call.caller.leg);
        let heard = call.early;
        let answer = call.answer.clone();
        let Some(fork) = call.fork_mut(session) else {
            return;
        };
        let leg = fork.side.leg;
        let way = fork.side.way.clone().filter(|_| !fork.alerted);
        fork.alerted = true;
        let agreed = body.and_then(|body| read_answer(&mut fork.side.sdp, &body));
        if let Some(way) = &way {
            self.way_alive(way);
        }
        if let Some(agreed) = &agreed {
            self.aim(leg, agreed);
            self.media(MediaCommand::Listen {
                leg,
                to: Sound::Leg(caller_leg),
            });
        }
        // Of several phones that speak early, the caller hears the first.
        let first = agreed.is_some() && heard.is_none();
        if first {
            if let Some(call) = self.through.call(id) {
                call.early = Some(session);
            }
            self.media(MediaCommand::Listen {
                leg: caller_leg,
                to: Sound::Leg(leg),
            });
        }
        let hears = agreed.is_some() && (first || heard == Some(session));
        if self.through_referral_rings(now, id, status, heard.is_some() || first) {
            return;
        }
        let early = answer.filter(|_| hears).map(sdp_body);
        self.sip.ring(now, caller, status, early);
    }

    pub(super) fn through_answered(
        &mut self,
        now: Now,
        id: CallId,
        session: SessionId,
        body: Option<Body>,
    ) {
        let Some(call) = self.through.call(id) else {
            return self.sip.hang_up(now, session, None);
        };
        let Some(fork) = call.fork_mut(session) else {
            self.sessions.remove(&session);
            return self.sip.hang_up(now, session, None);
        };
        // Some answer in the 183 and leave the body of their 200 empty.
        let agreed = match &body {
            Some(body) => read_answer(&mut fork.side.sdp, body),
            None => fork.side.sdp.agreed().copied(),
        };
        let (leg, way) = (fork.side.leg, fork.side.way.clone());
        let refusal = fork
            .side
            .sdp
            .refused()
            .filter(|_| agreed.is_none())
            .cloned();
        self.note_sdp_refusal(refusal.as_ref());
        if let Some(way) = &way {
            self.way_answered(way);
        }
        self.sip.acknowledge(now, session, None);
        let Some(agreed) = agreed else {
            self.sessions.remove(&session);
            let why = "SIP;cause=488;text=\"No codec in common\"";
            self.sip.hang_up(now, session, Some(why));
            let failure = after_answer(488);
            return self.through_failed(now, id, session, Refusal::ours(488), failure);
        };
        self.through_others_cancelled(now, id, session);
        let fork = self.through.call(id).and_then(|call| call.forks.pop());
        if let Some(fork) = fork {
            self.aim(leg, &agreed);
            self.through_taken(now, id, fork.side);
        }
    }

    /// The call has its other end: both are put through, and whoever asked for it is told.
    pub(super) fn through_taken(&mut self, now: Now, id: CallId, side: Side) {
        let Some(call) = self.through.call(id) else {
            return;
        };
        let (caller_leg, leg) = (call.caller.leg, side.leg);
        let first = call.answered.is_none();
        call.answered = call.answered.or(Some(now.instant));
        if let Some(leave) = &mut call.leave {
            leave.since = Some(now.instant);
            let longest = leave.longest.and_then(|span| now.instant.checked_add(span));
            call.until = call.until.into_iter().chain(longest).min();
        }
        let until = call.until;
        let before = std::mem::replace(&mut call.phase, Phase::Talking(Box::new(side)));
        self.through.set_deadline(id, until);
        self.through_connect(caller_leg, leg);
        if first {
            self.through.counters.answered += 1;
            self.through_accept(now, id);
        }
        if let Phase::Referred(referral) = before {
            self.through_was_referred(now, *referral);
            self.through_align(now, id);
        }
        self.through_record(now, id);
    }

    pub(super) fn through_connect(&mut self, one: LegId, other: LegId) {
        for (leg, heard) in [(one, other), (other, one)] {
            self.media(MediaCommand::Listen {
                leg,
                to: Sound::Leg(heard),
            });
        }
    }

    /// 200 to the caller, with our answer to his offer, or with our offer when he made none.
    pub(super) fn through_accept(&mut self, now: Now, id: CallId) {
        let Some(call) = self.through.call(id).filter(|call| !call.accepted) else {
            return;
        };
        call.accepted = true;
        let body = match &call.answer {
            Some(answer) => answer.clone(),
            None => call.caller.sdp.offer(Direction::SendRecv),
        };
        let session = call.caller.session;
        self.sip.accept(now, session, vec![], Some(sdp_body(body)));
    }

    /// Left is the caller, right the called. A call that is recorded already goes on in its file.
    pub(super) fn through_record(&mut self, now: Now, id: CallId) {
        let folder = self.config.recordings.clone();
        let Some(call) = self.through.call(id).filter(|call| call.record) else {
            return;
        };
        let (caller, callee) = (call.caller.leg, call.callee().map(|side| side.leg));
        let Some(callee) = callee else { return };
        let (left, right) = match call.mirrored {
            false => (caller, callee),
            true => (callee, caller),
        };
        // No attempt's name: the store looks for attempts by the name of their file.
        let path = recording_path(&folder, now.utc, id).with_file_name(format!("through-{id}.wav"));
        let path = call.recording.get_or_insert(path).clone();
        self.through.recordings.insert(id);
        self.media(MediaCommand::Record {
            call: id,
            agent: Some(left),
            customer: right,
            path,
        });
    }

    /// A called party that said no, or nothing.
    pub(super) fn through_failed(
        &mut self,
        now: Now,
        id: CallId,
        session: SessionId,
        refusal: Refusal,
        failure: Failure,
    ) {
        let Some(call) = self.through.call(id) else {
            return;
        };
        let Some(at) = call
            .forks
            .iter()
            .position(|fork| fork.side.session == session)
        else {
            return;
        };
        let mut fork = call.forks.swap_remove(at);
        if call.early == Some(session) {
            call.early = None;
        }
        let last = call.forks.is_empty();
        let way = fork.side.way.take();
        let (alerted, everywhere) = (failure.alerted || fork.alerted, refusal.status >= 600);
        let failure = Failure { alerted, ..failure };
        let phrase = refusal.phrase.clone().unwrap_or_default();
        self.note_refusal(id, refusal);
        self.through_release(now, &fork.side);
        if let Some(way) = way
            && self.through_next_way(now, id, session, &way, &failure, &phrase)
        {
            return;
        }
        if everywhere {
            self.through_forks_cancelled(now, id, None);
            return self.through_give_up(now, id);
        }
        if !last {
            return;
        }
        self.through_next_step(now, id);
    }

    /// Who cannot take the call is passed over; who will not is believed. Whether another trunk or
    /// server is called now; `left` is given up in any case.
    fn through_next_way(
        &mut self,
        now: Now,
        id: CallId,
        session: SessionId,
        left: &Way,
        failure: &Failure,
        phrase: &str,
    ) -> bool {
        let words = format!("{} {phrase}", failure.status);
        let ways = self.through.call(id).and_then(|call| call.ways.take());
        let Some(mut ways) = ways else {
            self.leave_way(left);
            return false;
        };
        let mut next = self.way_failed(now, left, &mut ways, failure, &words);
        if self.through_redirected(now, id, session, left, &mut ways) {
            next = Next::Server;
        }
        if let Some(call) = self.through.call(id) {
            call.ways = Some(ways);
        }
        if next == Next::Nothing {
            self.leave_way(left);
            return false;
        }
        self.through_next_trunk(now, id, Some(left))
    }

    pub(super) fn through_others_cancelled(&mut self, now: Now, id: CallId, winner: SessionId) {
        let Some(call) = self.through.call(id) else {
            return;
        };
        let forks = std::mem::take(&mut call.forks);
        let (won, lost) = forks
            .into_iter()
            .partition(|fork| fork.side.session == winner);
        call.forks = won;
        for fork in &lost {
            self.sessions.remove(&fork.side.session);
            self.sip.hang_up(now, fork.side.session, Some(ELSEWHERE));
            self.through_release(now, &fork.side);
        }
    }

    /// Everybody still being called is told that it is over.
    pub(super) fn through_forks_cancelled(&mut self, now: Now, id: CallId, reason: Option<&str>) {
        let Some(call) = self.through.call(id) else {
            return;
        };
        call.early = None;
        for fork in std::mem::take(&mut call.forks) {
            self.sessions.remove(&fork.side.session);
            self.sip.hang_up(now, fork.side.session, reason);
            self.through_release(now, &fork.side);
        }
    }

    /// What is due: a step that rang long enough, a tone or a talk that was long enough.
    pub(in crate::engine) fn through_timeout(&mut self, now: Now) {
        while let Some((at, id)) = self.through.deadlines.first().copied() {
            if at > now.instant {
                return;
            }
            self.through.set_deadline(id, None);
            let playing = |call: &mut super::Through| {
                matches!(call.phase, Phase::Playing) && call.answered.is_none()
            };
            if self.through.call(id).is_some_and(playing) {
                self.through_give_up(now, id);
                continue;
            }
            let talking = |call: &mut super::Through| !call.is_calling();
            if self.through.call(id).is_some_and(talking) {
                self.through_dismiss(now, id, 403, "the longest call");
                continue;
            }
            let reason = Reason {
                q850: Some(NO_ANSWER),
                ..Reason::default()
            };
            self.through_forks_cancelled(now, id, reason_value(&reason).as_deref());
            let mut silent = Refusal::ours(480);
            silent.reason = reason;
            self.note_refusal(id, silent);
            self.through_next_step(now, id);
        }
    }
}

/// A fault of ours with a call that had been taken: no other way is tried.
pub(super) fn after_answer(status: u16) -> Failure {
    Failure {
        status,
        q850: None,
        retry_after: None,
        local: true,
        alerted: true,
    }
}

pub(super) fn read_answer(sdp: &mut Negotiation, body: &Body) -> Option<Agreed> {
    let text = std::str::from_utf8(&body.bytes).ok()?;
    sdp.read_answer(text).ok()
}
