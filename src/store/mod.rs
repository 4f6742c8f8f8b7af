//! The store: SQLite behind use-cases.

pub mod command;
mod error;
pub mod fact;

pub use command::{AttemptStep, Command, EndedBy, Spans};
pub use error::StoreError;
pub use fact::Fact;
