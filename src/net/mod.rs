//! Sockets of the SIP side, and the pool the RTP ports come from.

pub mod flood;
pub mod port_pool;
pub mod udp;
