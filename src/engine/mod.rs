//! The switch and its loop. See `handle` for what the top floor holds.

pub mod handle;
