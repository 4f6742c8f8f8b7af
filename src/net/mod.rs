//! Sockets of the SIP side, the names of carriers, and the pool the RTP ports come from.

pub mod bind;
mod census;
pub mod certificate;
pub mod dns;
pub mod flood;
pub mod hep;
mod home;
mod judge;
pub mod port_pool;
mod sockets;
pub mod source;
pub mod stream;
pub mod streams;
mod stun;
pub mod tls;
pub mod udp;
pub mod unreachable;

pub use home::Home;
pub use sockets::SipSockets;
pub use streams::{SipStreams, StreamFact, What};

/// Ids of flows. UDP sockets are numbered from 0 and WebSockets from here on,
pub const WEBSOCKETS_FIRST: u64 = 64;
/// connections that were opened to us from here on,
pub const ACCEPTED_FIRST: u64 = 1 << 40;
/// and those we open ourselves from here on.
pub const OPENED_FIRST: u64 = 1 << 48;
/// Local UDP sockets for SIP at most.
pub const SOCKETS_MAX: usize = 32;
