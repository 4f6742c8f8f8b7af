//! Transactions (RFC 3261 §17, RFC 6026, RFC 4320): four machines, one table. A machine knows
//! one request; the table matches messages to machines (§17.1.3, §17.2.3).

pub(super) mod client;
pub(super) mod client_invite;
pub(super) mod server;
pub(super) mod server_invite;
mod table;
#[cfg(test)]
mod tests;

pub use table::Counts;
pub(super) use table::{Arrival, Note, Owner, Transactions};

use super::message::Response;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TxId(pub u64);

/// Why a client transaction ended without a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Timeout,
    /// ICMP, a closed connection: RFC 3261 8.1.3.1 treats it as 503.
    Unreachable,
}

/// What a machine wants done.
#[derive(Debug)]
pub(super) enum Effect {
    Send(Vec<u8>),
    Response(Box<Response>),
    Failed(Failure),
    /// Timer H: the final response was never acknowledged.
    Unacknowledged,
}
