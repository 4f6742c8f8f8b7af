//! An INVITE with Replaces (RFC 3891): a phone of ours takes the place of a side of a call, or
//! answers what rings at another phone.

use super::arrive::{Arrived, RETRY_AFTER_S};
use super::progress::ELSEWHERE;
use super::{Phase, Side};
use crate::engine::media_worker::MediaCommand;
use crate::engine::switch::{LegOf, SessionOf, Switch, sdp_body};
use crate::id::{CallId, LegId};
use crate::now::Now;
use crate::route::Source;
use crate::sdp::Direction;
use crate::sip::SessionId;

/// RFC 3326, for the one whose place is taken.
const REPLACED: &str = "SIP;cause=200;text=\"Replaced\"";

/// What the replaced session was in its call.
#[derive(Clone, Copy)]
enum Place {
    /// It rings; the leg is that of the one who waits for an answer.
    Ringing(LegId),
    /// It talks with this leg.
    Talking(LegId),
}

impl Switch {
    /// The endpoint has seen that the dialog is there and may be replaced.
    pub(in crate::engine) fn through_replaces(
        &mut self,
        now: Now,
        arrived: Arrived,
        replaced: SessionId,
    ) {
        let session = arrived.session;
        let who = self.source_of(&arrived.flow, arrived.user.as_deref());
        if !matches!(who, Source::Phone(_)) {
            return self.sip.reject(now, session, 403, None, vec![]);
        }
        let id = match self.sessions.get(&replaced) {
            Some(SessionOf::Through(id)) => *id,
            // An agent's call and her seat are not to be taken over.
            _ => return self.sip.reject(now, session, 603, None, vec![]),
        };
        let Some(place) = self.place_of(id, replaced) else {
            return self.sip.reject(now, session, 481, None, vec![]);
        };
        let Some(port) = self.ports.allocate(now.instant) else {
            let wait = vec![("Retry-After".to_owned(), RETRY_AFTER_S.to_string())];
            return self.sip.reject(now, session, 503, None, wait);
        };
        let (Place::Ringing(beside) | Place::Talking(beside)) = place;
        let (mut side, answer) = match self.caller_side(&arrived, &who, port, Some(beside)) {
            Ok(made) => made,
            Err(status) => {
                self.ports.release(port, now.instant);
                return self.sip.reject(now, session, status, None, vec![]);
            }
        };
        let leg = side.leg;
        self.sessions.insert(session, SessionOf::Through(id));
        self.legs.insert(leg, LegOf::Through(id));
        self.media(MediaCommand::OpenTrunk { leg, port });
        let body = match answer {
            Some((body, agreed)) => {
                self.aim(leg, &agreed);
                body
            }
            None => side.sdp.offer(Direction::SendRecv),
        };
        self.sip.accept(now, session, vec![], Some(sdp_body(body)));
        tracing::info!(call = %id, "a phone takes a call over");
        match place {
            Place::Ringing(_) => {
                self.through_forks_cancelled(now, id, Some(ELSEWHERE));
                self.through_taken(now, id, side);
            }
            Place::Talking(_) => self.through_replaced(now, id, replaced, side),
        }
    }

    fn place_of(&mut self, id: CallId, session: SessionId) -> Option<Place> {
        let call = self.through.call(id)?;
        let rings = call.fork_mut(session).is_some();
        let caller = call.caller.leg;
        match &call.phase {
            Phase::Calling | Phase::Referred(_) => rings.then_some(Place::Ringing(caller)),
            Phase::Talking(second) if second.session == session => Some(Place::Talking(caller)),
            Phase::Talking(second) => Some(Place::Talking(second.leg)),
            Phase::Playing => None,
        }
    }

    fn through_replaced(&mut self, now: Now, id: CallId, replaced: SessionId, side: Side) {
        let before = self
            .through
            .call(id)
            .and_then(|call| call.put_in(replaced, side));
        if let Some(before) = before {
            self.through_side_closed(now, &before, Some(REPLACED));
        }
        self.through_joined(now, id);
    }
}
