//! What the house asks of, and tells, other people's systems.

pub mod crm;
