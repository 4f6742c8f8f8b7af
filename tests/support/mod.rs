//! What the integration tests and benches share. The far ends in here (a trunk's, a browser's) are
//! independent of the crate under test, so that a bug is never on both sides of the wire.
#![allow(dead_code, reason = "each test takes what it needs")]

pub mod agent;
pub mod baresip;
pub mod bench;
pub mod browser;
pub mod call_in;
pub mod churn;
pub mod daemon;
pub mod desk;
pub mod ear;
pub mod far_end;
pub mod floor;
pub mod kamailio;
pub mod line;
pub mod names;
pub mod namespace;
pub mod page;
pub mod sipp;
pub mod wire;
pub mod world;
