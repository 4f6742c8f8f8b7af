//! When to turn new work away (503, RFC 3261 §21.5.4): by how full the queue in front of us is
//! and how late we are. What is up goes on; registrations last longer than calls.

/// What the loop tells of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Messages that wait, and how many may.
    pub queued: usize,
    pub queued_max: usize,
    /// How late the latest timer was, in milliseconds.
    pub late_ms: u32,
}

/// In thousandths of the queue: where calls and registrations are refused, and where both are
/// taken again.
const CALLS_REFUSED: usize = 500;
const REGISTRATIONS_REFUSED: usize = 700;
const EASED: usize = 250;
/// Timers this late refuse calls, and twice as late registrations as well.
const LATE_MS: u32 = 500;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sip) enum Overload {
    #[default]
    None,
    Calls,
    CallsAndRegistrations,
}

impl Overload {
    #[must_use]
    pub fn after(self, load: Load) -> Overload {
        let full = load.queued * 1_000 / load.queued_max.max(1);
        if full >= REGISTRATIONS_REFUSED || load.late_ms >= 2 * LATE_MS {
            Overload::CallsAndRegistrations
        } else if full >= CALLS_REFUSED || load.late_ms >= LATE_MS {
            self.max(Overload::Calls)
        } else if full >= EASED || load.late_ms >= LATE_MS / 2 {
            self.min(Overload::Calls)
        } else {
            Overload::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(queued: usize) -> Load {
        Load {
            queued,
            queued_max: 1_000,
            late_ms: 0,
        }
    }

    #[test]
    fn calls_are_refused_first_and_taken_again_only_when_the_queue_has_drained() {
        let mut state = Overload::None;
        let mut after = |load| {
            state = state.after(load);
            state
        };
        assert_eq!(after(queued(499)), Overload::None);
        assert_eq!(after(queued(500)), Overload::Calls);
        assert_eq!(after(queued(300)), Overload::Calls);
        assert_eq!(after(queued(249)), Overload::None);
        assert_eq!(after(queued(300)), Overload::None);
        assert_eq!(after(queued(900)), Overload::CallsAndRegistrations);
        assert_eq!(after(queued(300)), Overload::Calls);
        assert_eq!(after(queued(0)), Overload::None);
    }

    #[test]
    fn a_loop_that_is_late_refuses_as_well() {
        let late = |late_ms| Load {
            late_ms,
            ..queued(0)
        };
        assert_eq!(Overload::None.after(late(499)), Overload::None);
        assert_eq!(Overload::None.after(late(500)), Overload::Calls);
        assert_eq!(
            Overload::None.after(late(1_000)),
            Overload::CallsAndRegistrations
        );
        assert_eq!(Overload::default().after(Load::default()), Overload::None);
    }
}
