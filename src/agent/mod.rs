//! An agent at work: what she is doing, and what she has asked to do next.

pub mod seat;
pub mod state;
