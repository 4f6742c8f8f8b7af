//! The switch and the loop that drives it: the only place where running machines are wired
//! together. Facts of one room become commands to another here, and nowhere else.

mod bridge;
mod call;
pub mod card;
mod commands;
mod customer;
mod desk;
mod dial;
pub mod driver;
mod ending;
pub mod handle;
pub mod media_worker;
pub mod recorder;
pub mod resolved;
mod restore;
mod seat;
pub mod start;
pub mod switch;
mod timers;
mod trunk_call;
mod trunks;
mod writes;

pub use switch::{Input, Output, Switch};
