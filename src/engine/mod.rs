//! The switch and the loop that drives it: the only place where running machines are wired
//! together. Facts of one room become commands to another here, and nowhere else.

mod bindings;
mod bridge;
mod call;
pub mod card;
mod commands;
mod connections;
mod customer;
mod desk;
mod dial;
pub mod driver;
mod ending;
mod figures;
pub mod handle;
mod handover;
mod inbound;
pub mod kept_phones;
mod large;
mod lease;
pub mod media_worker;
mod phone_seat;
mod recorded;
pub mod recorder;
mod redirect;
mod reload;
pub mod resolved;
mod restore;
mod seat;
pub mod security;
pub mod srtp;
pub mod start;
mod streams;
pub mod switch;
mod tally;
pub mod tap;
mod through;
mod timers;
mod transfer;
mod trunk_call;
mod trunk_flow;
mod trunk_register;
mod trunks;
pub mod ways;
mod writes;

pub use switch::{Input, Output, Switch};
