//! (room under construction)

pub mod media_worker;

