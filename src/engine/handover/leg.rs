//! Two legs hear each other on one media worker only: the customer's leg goes to that of the seat
//! it is taken over at. Its port stays; the worker it leaves lets go of it within a tick, and
//! until then it is tried again.

use std::time::Duration;

use crate::engine::call::{Recording, Reopen};
use crate::engine::media_worker::MediaCommand;
use crate::engine::switch::{LegOf, Switch};
use crate::id::{CallId, LegId};
use crate::now::Now;

/// The pause before a port that another worker has just closed is tried again.
const REOPEN_AFTER: Duration = Duration::from_millis(20);
const REOPENS_MAX: u8 = 25;

impl Switch {
    /// The customer's leg goes to the media worker of this seat.
    pub(super) fn customer_moves(&mut self, id: CallId, seat: LegId) {
        let Some(old) = self.calls.get(&id).map(|call| call.leg) else {
            return;
        };
        if self.are_beside(old, seat) {
            return;
        }
        let leg = self.new_leg(Some(seat));
        self.legs.remove(&old);
        self.legs.insert(leg, LegOf::Customer(id));
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.leg = leg;
        call.reopen = Some(Reopen {
            at: None,
            left: REOPENS_MAX,
        });
        if let Recording::Running { path } = &call.recording {
            // The old worker writes the first agent's voice into it no longer.
            let path = path.clone();
            self.media(MediaCommand::Record {
                call: id,
                agent: None,
                customer: old,
                path,
            });
        }
        self.media(MediaCommand::CloseLeg { leg: old });
        self.opens_here(id);
    }

    fn opens_here(&mut self, id: CallId) {
        let Some(call) = self.calls.get(&id).filter(|call| call.is_answered()) else {
            return;
        };
        let (leg, port) = (call.leg, call.port);
        let agreed = call.sdp.agreed().copied();
        self.media(MediaCommand::OpenTrunk { leg, port });
        if let Some(agreed) = agreed {
            self.aim(leg, &agreed);
        }
    }

    /// Its port is taken. False: and that is for good.
    pub(in crate::engine) fn moved_leg_waits(&mut self, now: Now, id: CallId) -> bool {
        let reopen = self.calls.get_mut(&id).and_then(|it| it.reopen.as_mut());
        let Some(reopen) = reopen.filter(|it| it.left > 0) else {
            return false;
        };
        reopen.left -= 1;
        reopen.at = Some(now.instant + REOPEN_AFTER);
        true
    }

    pub(in crate::engine) fn moved_legs_timeout(&mut self, now: Now) {
        let mut due: Vec<CallId> = Vec::new();
        for call in self.calls.values_mut() {
            let at = call.reopen.as_mut().map(|reopen| &mut reopen.at);
            if at.is_some_and(|at| at.take_if(|at| *at <= now.instant).is_some()) {
                due.push(call.id);
            }
        }
        for id in due {
            self.opens_here(id);
            self.told_again(id);
        }
    }
}
