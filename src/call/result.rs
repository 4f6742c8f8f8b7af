//! What the network said happened to an attempt: the closed set of call results.
//!
//! Statuses are RFC 3261 section 21, causes ITU-T Q.850 carried by RFC 3326.

use std::fmt;
use std::str::FromStr;

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

/// Who of us sent the CANCEL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelledBy {
    Agent,
    RingLimit,
}

impl CallResult {
    pub const ALL: [CallResult; 14] = [
        CallResult::Busy,
        CallResult::NoAnswer,
        CallResult::Unavailable,
        CallResult::Rejected,
        CallResult::Unwanted,
        CallResult::InvalidNumber,
        CallResult::Machine,
        CallResult::Fax,
        CallResult::TrunkFailure,
        CallResult::FalseAnswer,
        CallResult::AgentCancelled,
        CallResult::OneWayAudio,
        CallResult::SystemFailure,
        CallResult::Connected,
    ];

    /// The result of an attempt that ended with this final response, or never got one
    /// (a local time-out is given as 408, a transport failure as 503).
    ///
    /// `alerted` says whether any 18x came; `cancelled_by` who of us cancelled, and then it does
    /// not matter with which status the carrier acknowledged it.
    pub fn from_final(
        status: u16,
        q850: Option<u16>,
        alerted: bool,
        cancelled_by: Option<CancelledBy>,
    ) -> CallResult {
        match cancelled_by {
            Some(CancelledBy::Agent) => CallResult::AgentCancelled,
            Some(CancelledBy::RingLimit) => CallResult::NoAnswer,
            None => q850
                .and_then(CallResult::from_q850)
                .unwrap_or_else(|| CallResult::from_status(status, alerted)),
        }
    }

    /// A 603 whose Reason names an analytics block ("603+", ATIS-1000099) is a 607 in disguise.
    #[must_use]
    pub fn with_reason_text(self, reason: &str) -> CallResult {
        let reason = reason.to_ascii_lowercase();
        let is_block = ["analytics", "network blocked", "spam"]
            .iter()
            .any(|w| reason.contains(w));
        if self == CallResult::Rejected && is_block {
            CallResult::Unwanted
        } else {
            self
        }
    }

    /// Causes that win over the status. 16, 31 and 127 say too little, and so do causes without a
    /// row of their own.
    fn from_q850(cause: u16) -> Option<CallResult> {
        match cause {
            17 => Some(CallResult::Busy),
            18 | 19 => Some(CallResult::NoAnswer),
            20 => Some(CallResult::Unavailable),
            21 => Some(CallResult::Rejected),
            1 | 28 => Some(CallResult::InvalidNumber),
            34 | 38 | 41 | 42 => Some(CallResult::TrunkFailure),
            _ => None,
        }
    }

    fn from_status(status: u16, alerted: bool) -> CallResult {
        match status {
            200..=299 => CallResult::Connected,
            486 | 600 => CallResult::Busy,
            408 if alerted => CallResult::NoAnswer,
            408 => CallResult::TrunkFailure,
            403 if alerted => CallResult::Rejected,
            603 => CallResult::Rejected,
            607 | 608 => CallResult::Unwanted,
            404 | 410 | 484 | 604 => CallResult::InvalidNumber,
            401 | 402 | 407 | 487 | 488 | 606 => CallResult::TrunkFailure,
            400..=499 => CallResult::Unavailable,
            // A 6xx we do not know still says that no place wants the call: the longest wait.
            600..=699 => CallResult::Rejected,
            _ => CallResult::TrunkFailure,
        }
    }

    /// The stable name, as stored and shown to programs.
    pub fn name(self) -> &'static str {
        match self {
            CallResult::Busy => "busy",
            CallResult::NoAnswer => "no_answer",
            CallResult::Unavailable => "unavailable",
            CallResult::Rejected => "rejected",
            CallResult::Unwanted => "unwanted",
            CallResult::InvalidNumber => "invalid_number",
            CallResult::Machine => "machine",
            CallResult::Fax => "fax",
            CallResult::TrunkFailure => "trunk_failure",
            CallResult::FalseAnswer => "false_answer",
            CallResult::AgentCancelled => "agent_cancelled",
            CallResult::OneWayAudio => "one_way_audio",
            CallResult::SystemFailure => "system_failure",
            CallResult::Connected => "connected",
        }
    }

    /// Whether somebody or something took the call, so that its agent must say what happened.
    pub fn is_answered(self) -> bool {
        matches!(
            self,
            CallResult::Connected | CallResult::OneWayAudio | CallResult::Machine | CallResult::Fax
        )
    }
}

impl fmt::Display for CallResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name is none of the closed set.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no call result")]
pub struct UnknownResult(String);

impl FromStr for CallResult {
    type Err = UnknownResult;
    fn from_str(name: &str) -> Result<Self, UnknownResult> {
        CallResult::ALL
            .into_iter()
            .find(|result| result.name() == name)
            .ok_or_else(|| UnknownResult(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(status: u16) -> CallResult {
        CallResult::from_final(status, None, false, None)
    }

    #[test]
    fn every_final_status_and_every_cause_has_a_result_that_is_not_connected() {
        for status in 300..=699 {
            for cause in (0..=127).map(Some).chain([None]) {
                for alerted in [false, true] {
                    let result = CallResult::from_final(status, cause, alerted, None);
                    assert_ne!(result, CallResult::Connected, "{status} {cause:?}");
                    assert_ne!(result, CallResult::AgentCancelled, "{status} {cause:?}");
                    for (who, expected) in [
                        (CancelledBy::Agent, CallResult::AgentCancelled),
                        (CancelledBy::RingLimit, CallResult::NoAnswer),
                    ] {
                        let cancelled = CallResult::from_final(status, cause, alerted, Some(who));
                        assert_eq!(cancelled, expected);
                    }
                }
            }
        }
    }

    #[test]
    fn each_row_of_the_table_gives_its_result() {
        for (statuses, expected) in [
            (&[486, 600][..], CallResult::Busy),
            (&[480, 400, 420, 423, 491], CallResult::Unavailable),
            (&[603, 601, 699], CallResult::Rejected),
            (&[607, 608], CallResult::Unwanted),
            (&[404, 410, 484, 604], CallResult::InvalidNumber),
            (
                &[503, 500, 599, 488, 401, 402, 407, 487, 606, 302, 408],
                CallResult::TrunkFailure,
            ),
        ] {
            for &status in statuses {
                assert_eq!(plain(status), expected, "{status}");
            }
        }
    }

    #[test]
    fn an_18x_turns_a_408_into_no_answer_and_a_403_into_rejected() {
        assert_eq!(
            CallResult::from_final(408, None, true, None),
            CallResult::NoAnswer
        );
        assert_eq!(
            CallResult::from_final(403, None, true, None),
            CallResult::Rejected
        );
        assert_eq!(plain(403), CallResult::Unavailable);
    }

    #[test]
    fn a_cause_wins_over_the_status_unless_it_says_nothing() {
        let with = |status, cause| CallResult::from_final(status, Some(cause), false, None);
        assert_eq!(with(503, 17), CallResult::Busy);
        assert_eq!(with(480, 19), CallResult::NoAnswer);
        assert_eq!(with(503, 20), CallResult::Unavailable);
        assert_eq!(with(500, 21), CallResult::Rejected);
        assert_eq!(with(503, 1), CallResult::InvalidNumber);
        assert_eq!(with(486, 34), CallResult::TrunkFailure);
        for silent in [16, 31, 127] {
            assert_eq!(with(486, silent), CallResult::Busy);
        }
        assert_eq!(with(480, 31), CallResult::Unavailable);
    }

    #[test]
    fn a_603_that_names_analytics_is_unwanted() {
        let rejected = plain(603);
        let reason = "SIP;cause=603;text=\"Network Blocked\";v=analytics1";
        assert_eq!(rejected.with_reason_text(reason), CallResult::Unwanted);
        assert_eq!(
            rejected.with_reason_text("SIP;cause=603;text=\"Decline\""),
            rejected
        );
        assert_eq!(plain(486).with_reason_text(reason), CallResult::Busy);
    }

    #[test]
    fn names_read_back() {
        for result in CallResult::ALL {
            assert_eq!(result.name().parse::<CallResult>().unwrap(), result);
        }
        assert!("BUSY".parse::<CallResult>().is_err());
    }
}
