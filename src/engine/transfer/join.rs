//! Customer and third party are joined: the agent is out of the call and wraps up; it goes on in
//! the same attempt and the same recording until either of them hangs up.

use std::time::Duration;

use crate::agent::seat::Seat;
use crate::call::transfer::Outcome;
use crate::engine::media_worker::{MediaCommand, Source};
use crate::engine::switch::Switch;
use crate::engine::writes::Write;
use crate::id::CallId;
use crate::now::Now;
use crate::store;

impl Switch {
    pub(super) fn join(&mut self, now: Now, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Some(third) = &call.third else { return };
        let (kind, far) = (third.to.kind(), third.far().map(|far| far.leg));
        call.progress.hold(false, now.utc);
        call.progress.mute(false, now.utc);
        call.handed_over = Some(now.utc);
        call.volume_db = 0;
        let (attempt, leg, agent) = (call.attempt, call.leg, call.agent.clone());
        let (spans, limit) = (call.spans(), call.campaign.rules.wrap_up.answered_ms);
        tracing::info!(call = %id, to = kind, "handed over");
        self.counters.transfers.count(kind, Outcome::Completed);
        // How loud she heard the customer was her own affair.
        self.media(MediaCommand::Gain { leg, db: 0.0 });
        self.leave_ears(&agent);
        self.connect_third(id);
        self.record_with(id, far);
        let command = store::Command::HandOver {
            attempt,
            to: kind,
            spans,
        };
        self.write(
            Write::Outcome {
                command: Box::new(command.clone()),
            },
            command,
        );
        if let Some(desk) = self.desk(&agent) {
            let until = now.utc.plus(Duration::from_millis(limit));
            desk.agent.wrap_up(until, now.utc);
            if matches!(desk.seat, Seat::Lost { .. }) {
                desk.seat = Seat::Absent;
            }
        }
    }

    /// Her seat hears nothing any more, and is heard again in her next call.
    pub(in crate::engine) fn leave_ears(&mut self, agent: &crate::id::AgentId) {
        let seat = self.desks.get(agent).and_then(|desk| desk.seat.live_leg());
        if let Some(leg) = seat {
            let to = Source::Silence;
            self.media(MediaCommand::Mute { leg, on: false });
            self.media(MediaCommand::Listen { leg, to });
        }
    }
}
