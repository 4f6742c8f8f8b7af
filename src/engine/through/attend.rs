//! An attended transfer (RFC 5589 §7): a phone has two calls with us and asks that its other sides
//! talk to each other. Both of the phone's legs end; what is recorded goes on in its file.

use super::{Phase, Side, Through};
use crate::engine::media_worker::MediaCommand;
use crate::engine::switch::{LegOf, SessionOf, Switch};
use crate::id::CallId;
use crate::now::Now;
use crate::sip::SessionId;

impl Switch {
    /// `asked` is the leg the request came on, `other` what its Replaces names.
    pub(super) fn through_attended(
        &mut self,
        now: Now,
        id: CallId,
        asked: SessionId,
        other: Option<SessionId>,
    ) {
        let found = other.ok_or(481);
        let found = found.and_then(|other| Ok((other, self.attended(id, asked, other)?)));
        let (other, second) = match found {
            Ok(found) => found,
            Err(status) => return self.tell_referrer(now, asked, status, None),
        };
        let is_recorded = |id: &CallId| {
            let call = self.through.calls.get(id);
            call.is_some_and(|call| call.recording.is_some())
        };
        let turned = is_recorded(&second) && !is_recorded(&id);
        let (kept, left, gone, gone_left) = match turned {
            false => (id, asked, second, other),
            true => (second, other, id, asked),
        };
        let Some((leaver, stays)) = self.through_taken_apart(now, gone, gone_left, kept) else {
            return;
        };
        let Some(call) = self.through.call(kept) else {
            return;
        };
        let before = call.put_in(left, stays);
        self.sip.notify_refer(now, asked, 200, "OK");
        for side in before.iter().chain([&leaver]) {
            self.through_side_closed(now, side, None);
        }
        tracing::info!(call = %kept, with = %gone, "two calls are joined");
        self.through_joined(now, kept);
    }

    /// The call of the session that is named, if the same phone may join the two.
    fn attended(&mut self, id: CallId, asked: SessionId, other: SessionId) -> Result<CallId, u16> {
        let second = match self.sessions.get(&other) {
            Some(SessionOf::Through(second)) if *second != id => *second,
            _ => return Err(481),
        };
        let who = |call: &mut Through, session| Some(call.side_mut(session)?.who.clone());
        let asks = self.through.call(id).and_then(|call| who(call, asked));
        let call = self.through.call(second).ok_or(481_u16)?;
        if call.callee().is_none() {
            return Err(481);
        }
        match asks.is_some() && asks == who(call, other) && !call.emergency {
            true => Ok(second),
            false => Err(403),
        }
    }

    /// Ends a call but for one side, who moves to the call `to`: first he who leaves, then he.
    fn through_taken_apart(
        &mut self,
        now: Now,
        id: CallId,
        leaves: SessionId,
        to: CallId,
    ) -> Option<(Side, Side)> {
        self.through.set_deadline(id, None);
        let call = self.through.calls.remove(&id)?;
        let (caller, record, until) = (call.caller, call.record, call.until);
        let Phase::Talking(second) = call.phase else {
            self.through_side_closed(now, &caller, None);
            return None;
        };
        let (leaver, stays) = match caller.session == leaves {
            true => (caller, *second),
            false => (*second, caller),
        };
        if call.recording.is_some() {
            self.media(MediaCommand::StopRecording { call: id });
        }
        self.sessions.insert(stays.session, SessionOf::Through(to));
        self.legs.insert(stays.leg, LegOf::Through(to));
        let kept = self.through.call(to)?;
        kept.leaves
            .extend(call.leave.into_iter().chain(call.leaves));
        kept.record |= record;
        kept.until = kept.until.into_iter().chain(until).min();
        Some((leaver, stays))
    }
}
