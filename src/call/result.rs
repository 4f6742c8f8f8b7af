//! What the network said happened to an attempt: the closed set of call results.

/// How an attempt ended, in the network's words. `dialer/retry` decides what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallResult {
    Busy,
    NoAnswer,
    Unavailable,
    Rejected,
    Unwanted,
    InvalidNumber,
    Machine,
    Fax,
    TrunkFailure,
    FalseAnswer,
    AgentCancelled,
    OneWayAudio,
    SystemFailure,
    Connected,
}
