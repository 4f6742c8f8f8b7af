//! Where an agent's voice comes from: a standing seat is one long session of a browser, to which
//! calls attach one after the other; a desk phone is rung for each call.

use std::time::{Duration, Instant};

use crate::id::LegId;

/// What a seat is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Browser,
    /// The user of a phone that registers with us.
    Phone(String),
}

impl Kind {
    /// The stable name in the API.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Browser => "browser",
            Kind::Phone(_) => "phone",
        }
    }
}

/// A seat as it is now. `S` names the signalling session that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat<S> {
    /// Never taken, or given back.
    Absent,
    /// Signalled; its media is not up yet.
    Connecting { session: S, leg: LegId },
    /// Voice can flow.
    Live { session: S, leg: LegId },
    /// The link broke without a word; the agent has until `until` to take it again.
    Lost { until: Instant },
}

impl<S: Copy + PartialEq> Seat<S> {
    /// The leg, when voice can flow.
    pub fn live_leg(&self) -> Option<LegId> {
        match self {
            Seat::Live { leg, .. } => Some(*leg),
            _ => None,
        }
    }

    /// Session and leg, while there are any.
    pub fn held(&self) -> Option<(S, LegId)> {
        match *self {
            Seat::Connecting { session, leg } | Seat::Live { session, leg } => Some((session, leg)),
            Seat::Absent | Seat::Lost { .. } => None,
        }
    }

    pub fn connected(&mut self, of: LegId) -> bool {
        match *self {
            Seat::Connecting { session, leg } if leg == of => {
                *self = Seat::Live { session, leg };
                true
            }
            _ => false,
        }
    }

    pub fn lose(&mut self, now: Instant, grace: Duration) {
        *self = Seat::Lost { until: now + grace };
    }

    /// The stable name in the API.
    pub fn name(&self) -> &'static str {
        match self {
            Seat::Absent => "absent",
            Seat::Connecting { .. } => "connecting",
            Seat::Live { .. } => "live",
            Seat::Lost { .. } => "lost",
        }
    }
}
