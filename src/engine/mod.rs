//! (room under construction)

pub mod media_worker;
pub mod recorder;
