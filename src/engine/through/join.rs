//! Who takes whose place in a call, and what must follow: both on one media worker, each told of
//! the other's hold, the recording with the new voices.

use super::{Phase, Side, Through};
use crate::engine::media_worker::MediaCommand;
use crate::engine::switch::{LegOf, Switch, sdp_body};
use crate::id::CallId;
use crate::now::Now;

use crate::sip::SessionId;

impl Through {
    /// Puts `side` where `session` was; gives back who was there.
    pub(super) fn put_in(&mut self, session: SessionId, side: Side) -> Option<Side> {
        if self.caller.session == session {
            return Some(std::mem::replace(&mut self.caller, side));
        }
        match &mut self.phase {
            Phase::Talking(second) if second.session == session => {
                Some(std::mem::replace(second, side))
            }
            _ => None,
        }
    }
}

impl Switch {
    /// Two sides who have not talked to each other yet do so now.
    pub(super) fn through_joined(&mut self, now: Now, id: CallId) {
        self.through_bring_near(now, id);
        let Some(call) = self.through.call(id) else {
            return;
        };
        let (one, until) = (call.caller.leg, call.until);
        let Some(other) = call.callee().map(|side| side.leg) else {
            return;
        };
        self.through.set_deadline(id, until);
        self.through_connect(one, other);
        self.through_align(now, id);
        self.through_record(now, id);
    }

    /// Tells each side whether the other holds, where it has not been told so.
    pub(super) fn through_align(&mut self, now: Now, id: CallId) {
        let Some(call) = self.through.call(id) else {
            return;
        };
        let Phase::Talking(second) = &mut call.phase else {
            return;
        };
        let wishes = (call.caller.own, second.own);
        let mut offers = Vec::new();
        for (side, other) in [(&mut call.caller, wishes.1), (&mut **second, wishes.0)] {
            let told = other.reversed();
            if side.told != told {
                side.told = told;
                offers.push((side.session, side.sdp.offer(told)));
            }
        }
        for (session, offer) in offers {
            self.sip.reoffer(now, session, Some(sdp_body(offer)));
        }
    }

    /// Legs of two workers cannot hear each other: the second side gets a leg beside the first.
    fn through_bring_near(&mut self, now: Now, id: CallId) {
        let legs = self
            .through
            .call(id)
            .and_then(|call| Some((call.caller.leg, call.callee()?.leg)));
        let Some((first, far)) = legs.filter(|(one, other)| !self.are_beside(*one, *other)) else {
            return;
        };
        let Some(port) = self.ports.allocate(now.instant) else {
            tracing::error!(call = %id, "no RTP port is free to join two calls; see [media] rtp_ports");
            return;
        };
        let leg = self.new_leg(Some(first));
        let Some(call) = self.through.call(id) else {
            return;
        };
        let Phase::Talking(side) = &mut call.phase else {
            return;
        };
        let left = std::mem::replace(&mut side.port, port);
        side.leg = leg;
        side.sdp.move_to(port);
        let (agreed, session) = (side.sdp.agreed().copied(), side.session);
        let offer = side.sdp.offer(side.told);
        self.legs.remove(&far);
        self.legs.insert(leg, LegOf::Through(id));
        self.media(MediaCommand::CloseLeg { leg: far });
        self.ports.release(left, now.instant);
        self.media(MediaCommand::OpenTrunk { leg, port });
        if let Some(agreed) = agreed {
            self.aim(leg, &agreed);
        }
        self.sip.reoffer(now, session, Some(sdp_body(offer)));
    }
}
