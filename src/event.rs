//! The kinds of facts the house tells the world. The store numbers them and keeps each with its
//! moment and its JSON, in the transaction of the rows it tells of; pages, reports and exports
//! fold the same numbered events. A name is never changed or given another meaning: what is years
//! old must still be read.

use std::fmt;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal),* $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            pub const ALL: &'static [Kind] = &[$(Kind::$kind),*];

            /// The stable serial form.
            pub fn name(self) -> &'static str {
                match self {
                    $(Kind::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    LeadReserved = "lead.reserved",
    LeadReleased = "lead.released",
    LeadSkipped = "lead.skipped",
    LeadSuppressed = "lead.suppressed",
    LeadDisposed = "lead.disposed",
    /// An answered call whose wrap-up ran out without a word.
    LeadUndisposed = "lead.undisposed",
    LeadClosed = "lead.closed",
    LeadsImported = "leads.imported",
    /// The attempt is on disk; nothing has rung yet.
    AttemptBegun = "attempt.begun",
    AttemptInvited = "attempt.invited",
    AttemptTrying = "attempt.trying",
    AttemptAlerting = "attempt.alerting",
    AttemptAnswered = "attempt.answered",
    AttemptBridged = "attempt.bridged",
    /// A further INVITE inside the same attempt.
    AttemptFailover = "attempt.failover",
    AttemptEnded = "attempt.ended",
    /// The agent has handed her call over; it goes on without her.
    AttemptTransferred = "attempt.transferred",
    /// Another agent has taken the call over, card and all.
    AttemptTakenOver = "attempt.taken_over",
    /// A third party's leg is on disk; nothing has rung yet.
    ThirdBegun = "third.begun",
    ThirdFailover = "third.failover",
    ThirdAlerting = "third.alerting",
    ThirdAnswered = "third.answered",
    ThirdEnded = "third.ended",
    RecordingStarted = "recording.started",
    RecordingDone = "recording.done",
    RecordingFailed = "recording.failed",
    /// A number that nobody has: never dialed again.
    PhoneBad = "phone.bad",
    NumberSuppressed = "number.suppressed",
    /// What a start found of the process before it.
    StoreRecovered = "store.recovered",
    AgentState = "agent.state",
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Kind, UnknownKind> {
        let known = Kind::ALL.iter().find(|kind| kind.name() == name);
        known.copied().ok_or_else(|| UnknownKind(name.to_owned()))
    }
}

/// An event of a later version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no event is called {0}")]
pub struct UnknownKind(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_from_its_name_and_no_two_share_one() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(*kind));
        }
        assert!("lead.forgotten".parse::<Kind>().is_err());
    }
}
