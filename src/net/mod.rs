//! Sockets of the SIP side, the names of carriers, and the pool the RTP ports come from.

pub mod dns;
pub mod port_pool;
pub mod udp;
