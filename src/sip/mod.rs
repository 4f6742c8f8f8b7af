//! SIP (RFC 3261) as values: messages and time go in, messages and events come out. No socket,
//! no clock; bodies are opaque, so SDP is someone else's.
//!
//! The door is [`Endpoint`]. Times are `std::time::Instant` through [`crate::now::Now`];
//! expiries are seconds.

mod accounts;
mod auth;
mod dialog;
mod doors;
mod endpoint;
mod event;
mod frame;
pub mod guard;
pub mod message;
mod nonce;
pub mod register;
mod registrar;
mod replaces;
mod session;
mod stack;
mod timer;
mod transaction;

pub use auth::{Algorithm, Credentials, Secret};
pub use dialog::{DialogIdentity, InvitePlan, Orphan};
pub use doors::Door;
pub use endpoint::{Counters, Endpoint, EndpointConfig, RegisterId, RegisterPlan, Snapshot};
pub use event::{
    EndedBy, Flow, InfoDigit, InviteTimers, Output, Party, PingId, Reason, RedirectContact,
    Reliability, SessionId, SipEvent, Transport,
};
pub use frame::{Broken, Framed, Framer};
pub use guard::{SecurityEvent, SecurityNote};
pub use message::{Body, Headers, Limits, NameAddr, Target, Uri, phrase};
pub use registrar::{Reach, Registered, RegistrarLimits, SavedBinding};
pub use replaces::Replaces;
pub use timer::{Deadline, Timers};
pub use transaction::Counts;
