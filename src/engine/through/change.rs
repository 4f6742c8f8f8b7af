//! A side offers again (RFC 3264 §8): answered here and at once. When it holds or takes back, the
//! other side is offered the same direction, in either dialect of hold.

use super::progress::read_answer;
use crate::engine::switch::{Switch, sdp_body};
use crate::id::CallId;
use crate::now::Now;
use crate::sdp::Direction;
use crate::sdp::negotiate::Agreed;
use crate::sip::{Body, InfoDigit, SessionId};

impl Switch {
    pub(super) fn through_reoffered(
        &mut self,
        now: Now,
        id: CallId,
        session: SessionId,
        body: Option<Body>,
    ) {
        let side = self
            .through
            .call(id)
            .and_then(|call| call.side_mut(session));
        let Some(side) = side else {
            return self.sip.refuse_reoffer(now, session, 481);
        };
        let before = side.sdp.agreed().map(|agreed| agreed.direction);
        let leg = side.leg;
        let Some(body) = body else {
            // Offerless: ours is the offer; its answer comes in the ACK.
            let offer = side.sdp.offer(Direction::SendRecv);
            return self.sip.answer_reoffer(now, session, Some(sdp_body(offer)));
        };
        let offer = std::str::from_utf8(&body.bytes).ok();
        let answer = offer.and_then(|offer| side.sdp.answer(offer, Direction::SendRecv).ok());
        let Some((answer, agreed)) = answer else {
            return self.sip.refuse_reoffer(now, session, 488);
        };
        if before != Some(agreed.direction) {
            side.own = agreed.direction;
        }
        self.aim(leg, &agreed);
        self.sip
            .answer_reoffer(now, session, Some(sdp_body(answer)));
        self.through_pass_direction(now, id, session, before, agreed.direction);
    }

    /// The ACK carried the answer to an offer of ours.
    pub(super) fn through_confirmed(
        &mut self,
        now: Now,
        id: CallId,
        session: SessionId,
        body: Option<Body>,
    ) {
        let Some(body) = body else { return };
        let side = self
            .through
            .call(id)
            .and_then(|call| call.side_mut(session));
        let before = side.and_then(|side| side.sdp.agreed().map(|agreed| agreed.direction));
        let Some(agreed) = self.through_agree(id, session, &body) else {
            return self.through_dismiss(now, id, 488, "No codec in common");
        };
        let before = before.unwrap_or(Direction::SendRecv);
        if let Some(side) = self
            .through
            .call(id)
            .and_then(|call| call.side_mut(session))
            && before != agreed.direction
        {
            side.own = agreed.direction;
        }
        self.through_pass_direction(now, id, session, Some(before), agreed.direction);
    }

    /// The other side's answer to a hold that was passed on. A refusal changes nothing: the one
    /// who holds is held by us all the same.
    pub(super) fn through_reoffer_answered(
        &mut self,
        id: CallId,
        session: SessionId,
        status: u16,
        body: Option<Body>,
    ) {
        if let Some(body) = body.filter(|_| (200..300).contains(&status)) {
            self.through_agree(id, session, &body);
        }
    }

    /// Takes a side's answer: media goes where it says.
    fn through_agree(&mut self, id: CallId, session: SessionId, body: &Body) -> Option<Agreed> {
        let side = self.through.call(id)?.side_mut(session)?;
        let leg = side.leg;
        let agreed = read_answer(&mut side.sdp, body)?;
        self.aim(leg, &agreed);
        Some(agreed)
    }

    /// A digit by INFO goes on as it came; digits in RTP pass with the audio.
    pub(super) fn through_digit(
        &mut self,
        now: Now,
        id: CallId,
        session: SessionId,
        digit: InfoDigit,
    ) {
        let other = self
            .through
            .call(id)
            .and_then(|call| call.other_mut(session));
        if let Some(other) = other.map(|side| side.session) {
            self.sip.info_digit(now, other, digit);
        }
    }

    /// `now_is` is ours toward the side that spoke; what it sends, the other side is sent.
    fn through_pass_direction(
        &mut self,
        now: Now,
        id: CallId,
        session: SessionId,
        before: Option<Direction>,
        now_is: Direction,
    ) {
        if before == Some(now_is) {
            return;
        }
        let other = self
            .through
            .call(id)
            .and_then(|call| call.other_mut(session));
        let Some(other) = other else { return };
        other.told = now_is.reversed();
        let offer = other.sdp.offer(other.told);
        let session = other.session;
        self.sip.reoffer(now, session, Some(sdp_body(offer)));
    }
}
