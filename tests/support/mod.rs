//! What the stories share.

#![allow(dead_code, reason = "every test file uses its own part")]

pub mod far_end;
pub mod world;
