//! The switch and the loop that drives it: the only place where running machines are wired
//! together. Facts of one room become commands to another here, and nowhere else.

pub mod card;
mod commands;
mod customer;
mod desk;
pub mod driver;
pub mod handle;
pub mod media_worker;
pub mod recorder;
pub mod resolved;
mod restore;
mod seat;
pub mod start;
pub mod switch;
mod timers;
mod writes;

pub use switch::{Input, Output, Switch};
