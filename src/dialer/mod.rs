//! Preview dialing as pure decisions: who may be called, when, by whom, and what follows.
//! The store keeps the rows and asks these rules; nothing here reads a clock.

pub mod assign;
pub mod campaign;
pub mod disposition;
pub mod gate;
pub mod hours;
pub mod lead;
pub mod preview;
pub mod reservation;
pub mod retry;
