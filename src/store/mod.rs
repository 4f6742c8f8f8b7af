//! The store: SQLite behind use-cases. [`Db`] is the synchronous core: `apply` takes a time and a
//! [`Command`] and answers with a [`Fact`]; [`Store`] puts one writer thread with group commit
//! before it. Rows are truth, and the events that tell of them are written in the same transaction.
//!
//! Times are UTC in milliseconds.

mod assign_sql;
mod card;
mod checkpoint;
mod column;
pub mod command;
mod db;
mod dial;
mod dispose;
mod error;
mod event_log;
pub mod fact;
mod finish;
mod idempotency;
mod import;
mod inbound;
mod lead_row;
pub mod phone;
pub mod read;
mod recording;
mod recover;
mod registration;
mod release;
mod reserve;
mod session;
mod standing;
mod take_over;
mod third;
mod writer;

pub use command::{AttemptStep, Command, EndedBy, Spans, ThirdStep, ThirdTo};
pub use db::{Db, Place};
pub use error::StoreError;
pub use fact::Fact;
pub use inbound::{INBOUND, Ring, RingEnd};
pub use read::{Reader, View};
pub use writer::{Refused, Store, StoreHandle};

#[cfg(test)]
mod tests;
