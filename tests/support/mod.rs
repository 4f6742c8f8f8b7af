//! What the integration tests and benches share: a browser's half of a leg, an agent who uses it,
//! and an ear that can tell tones apart. Independent of the crate under test, so that a bug is
//! never on both ends.
#![allow(dead_code, reason = "each test takes what it needs")]

pub mod agent;
pub mod bench;
pub mod browser;
pub mod ear;
pub mod line;
