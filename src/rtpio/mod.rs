//! The media workers' sockets: nonblocking UDP on epoll, read until empty.
//!
//! Edges are told once, so whoever is told that a socket is ready reads it to the end or remembers
//! that it did not.

mod reactor;
mod socket;

pub use reactor::{Bell, Reactor, Ready};
pub use socket::{PortPair, Socket};
