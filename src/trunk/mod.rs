//! A carrier as a value: which of its servers is tried next, whether it is up, what it may carry
//! and how it wants numbers written. Times are `std::time::Instant`, rates calls per second.
//!
//! [`Carrier`] is the machine; the other files are its parts and can be used without it.

mod block;
mod carrier;
pub mod fraud;
pub mod health;
mod identity;
mod limit;
mod number;
mod policy;
mod redirect;
mod target;

pub use block::Block;
pub use carrier::{Ask, Carrier, Counters, Full, Server, Slot, Terms};
pub use health::Turn;
pub use identity::{Caller, Identity, Outgoing, Show, caller, pass_on};
pub use limit::Bucket;
pub use number::NumberRule;
pub use policy::{Failover, Failure, Next, Srtp, Statuses};
pub use redirect::{Elsewhere, HOPS_MAX, Redirects, elsewhere};
pub use target::{Answer, Place, Target, order};
