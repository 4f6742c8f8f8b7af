//! What the third party's legs say: ringing, early media, the first answer wins, refusals, changes
//! and the end.

use std::time::Duration;

use super::Step;
use crate::call::result::CallResult;
use crate::call::transfer::Outcome;
use crate::engine::customer::agree;
use crate::engine::switch::{Switch, sdp_body};
use crate::engine::writes::Write;
use crate::id::{CallId, ThirdId};
use crate::now::Now;
use crate::sdp::Direction;
use crate::sip::{Body, SessionId, SipEvent};
use crate::store::{self, ThirdStep};
use crate::trunk::{Failure, Next};

/// RFC 3326: why the phones that were slower are cancelled.
const ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";

impl Switch {
    pub(in crate::engine) fn third_event(&mut self, now: Now, id: CallId, event: SipEvent) {
        match event {
            SipEvent::Provisional { session, body, .. } => {
                self.third_rings(now, id, session, body);
            }
            SipEvent::Answered {
                session,
                dialog,
                body,
            } => self.third_answered(now, id, session, dialog.to_text(), body),
            SipEvent::Failed {
                session,
                status,
                phrase,
                reason,
                retry_after_s,
                local,
            } => {
                self.sessions.remove(&session);
                let failure = Failure {
                    status,
                    q850: reason.q850,
                    retry_after: retry_after_s.map(|span| Duration::from_secs(span.into())),
                    local,
                    alerted: false,
                };
                self.third_failed(now, id, session, failure, &phrase);
            }
            SipEvent::Reoffer { session, body } => self.third_reoffered(now, id, session, body),
            SipEvent::Confirmed { session, body } => self.third_confirmed(now, id, session, body),
            SipEvent::Ended { session, .. } => {
                self.sessions.remove(&session);
                self.third_left(now, id);
            }
            _ => {}
        }
    }

    fn third_rings(&mut self, now: Now, id: CallId, session: SessionId, body: Option<Body>) {
        let third = self.calls.get_mut(&id).and_then(|it| it.third.as_mut());
        let Some(third) = third else {
            return;
        };
        third.rings = true;
        let Some(far) = third.far_of(session) else {
            return;
        };
        let (leg, name, dialog) = (far.leg, far.id, far.plan.clone());
        let way = far.way.clone();
        let first = !std::mem::replace(&mut far.alerted, true);
        let agreed = body.and_then(|body| agree(&mut far.sdp, &body));
        if first {
            if let Some(way) = &way {
                self.way_alive(way);
            }
            self.step_third(name, ThirdStep::Alerting { dialog });
        }
        if let Some(agreed) = &agreed {
            self.aim(leg, agreed);
            self.third_early(id);
        }
        self.hear(now, id);
    }

    fn third_early(&mut self, id: CallId) {
        if let Some(third) = self.calls.get_mut(&id).and_then(|it| it.third.as_mut()) {
            third.talk.early_media(true);
        }
    }

    fn third_answered(
        &mut self,
        now: Now,
        id: CallId,
        session: SessionId,
        dialog: String,
        body: Option<Body>,
    ) {
        let third = self.calls.get_mut(&id).and_then(|it| it.third.as_mut());
        let far = third.and_then(|third| third.far_of(session));
        let Some(far) = far else {
            // Dropped while the 200 was on its way.
            self.sessions.remove(&session);
            return self.sip.hang_up(now, session, None);
        };
        // Some carriers answer in the 183 and leave the body of their 200 empty.
        let agreed = match &body {
            Some(body) => agree(&mut far.sdp, body),
            None => far.sdp.agreed().copied(),
        };
        far.step = Step::Answered(session);
        let (leg, name, way) = (far.leg, far.id, far.way.clone());
        if let Some(way) = &way {
            self.way_answered(way);
        }
        // The ACK leaves when the answer is on disk, as for the customer's.
        let step = ThirdStep::Answered { dialog };
        let command = store::Command::StepThird { third: name, step };
        self.write(Write::Answered { session }, command);
        let Some(agreed) = agreed else {
            return self.third_over(now, id, Outcome::NotReached(CallResult::TrunkFailure));
        };
        self.aim(leg, &agreed);
        self.slower_cancelled(now, id, name);
        let third = self.calls.get_mut(&id).and_then(|it| it.third.as_mut());
        let Some(third) = third else {
            return;
        };
        third.answered = Some((now.utc, now.instant));
        let longest = third.leave.and_then(|(_, longest)| longest);
        third.deadline = longest.and_then(|longest| now.instant.checked_add(longest));
        match third.talk.answered() {
            true => self.join(now, id),
            false => self.hear(now, id),
        }
    }

    fn slower_cancelled(&mut self, now: Now, id: CallId, winner: ThirdId) {
        let third = self.calls.get_mut(&id).and_then(|it| it.third.as_mut());
        let Some(third) = third else {
            return;
        };
        let legs = std::mem::take(&mut third.fars);
        let (won, lost) = legs.into_iter().partition(|far| far.id == winner);
        third.fars = won;
        for far in lost {
            if let Some(session) = far.session()
                && self.sessions.remove(&session).is_some()
            {
                self.sip.hang_up(now, session, Some(ELSEWHERE));
            }
            self.release_far(now, &far, Outcome::Dropped);
        }
    }

    fn third_failed(
        &mut self,
        now: Now,
        id: CallId,
        session: SessionId,
        failure: Failure,
        phrase: &str,
    ) {
        let third = self.calls.get_mut(&id).and_then(|it| it.third.as_mut());
        let Some(third) = third else {
            return;
        };
        let found = third.fars.iter();
        let Some(at) = found.clone().position(|it| it.session() == Some(session)) else {
            return;
        };
        let far = third.fars.swap_remove(at);
        let result = CallResult::from_final(failure.status, failure.q850, far.alerted, None);
        let missed = Outcome::NotReached(result);
        third.missed = Some(missed);
        let everywhere = failure.status >= 600;
        let mut ways = third.ways.clone();
        let failure = Failure {
            alerted: far.alerted,
            ..failure
        };
        let next = match (&far.way, &mut ways) {
            (Some(way), Some(ways)) => {
                let words = format!("{} {phrase}", failure.status);
                self.way_failed(now, way, ways, &failure, &words)
            }
            _ => Next::Nothing,
        };
        if let Some(third) = self.calls.get_mut(&id).and_then(|it| it.third.as_mut()) {
            third.ways = ways;
            let early = third.fars.iter().any(|far| far.sdp.agreed().is_some());
            third.talk.early_media(early);
        }
        match next {
            Next::Server | Next::Trunk => {
                if self.third_next_way(now, id, far) {
                    return;
                }
            }
            Next::Nothing => self.release_far(now, &far, missed),
        }
        let third = self.calls.get(&id).and_then(|it| it.third.as_ref());
        match third.is_some_and(|third| everywhere || third.fars.is_empty()) {
            true => self.third_over(now, id, missed),
            false => self.hear(now, id),
        }
    }

    /// The third party offers again: hold in either dialect (RFC 3264 8.4), another address or
    /// codec. Answered here; who holds sends its own music or nothing.
    fn third_reoffered(&mut self, now: Now, id: CallId, session: SessionId, body: Option<Body>) {
        let third = self.calls.get_mut(&id).and_then(|it| it.third.as_mut());
        let Some(far) = third.and_then(|third| third.far_of(session)) else {
            return self.sip.refuse_reoffer(now, session, 481);
        };
        let leg = far.leg;
        let Some(body) = body else {
            // Offerless: ours is the offer; its answer comes in the ACK.
            let offer = far.sdp.offer(Direction::SendRecv);
            return self.sip.answer_reoffer(now, session, Some(sdp_body(offer)));
        };
        let offer = std::str::from_utf8(&body.bytes).ok();
        let answer = offer.and_then(|offer| far.sdp.answer(offer, Direction::SendRecv).ok());
        match answer {
            Some((answer, agreed)) => {
                self.aim(leg, &agreed);
                self.sip
                    .answer_reoffer(now, session, Some(sdp_body(answer)));
                self.hear(now, id);
            }
            None => self.sip.refuse_reoffer(now, session, 488),
        }
    }

    fn third_confirmed(&mut self, now: Now, id: CallId, session: SessionId, body: Option<Body>) {
        let third = self.calls.get_mut(&id).and_then(|it| it.third.as_mut());
        let far = third.and_then(|third| third.far_of(session));
        let Some((far, body)) = far.zip(body) else {
            return;
        };
        let leg = far.leg;
        if let Some(agreed) = agree(&mut far.sdp, &body) {
            self.aim(leg, &agreed);
            self.hear(now, id);
        }
    }

    fn step_third(&mut self, third: ThirdId, step: ThirdStep) {
        self.write(Write::Step, store::Command::StepThird { third, step });
    }
}
