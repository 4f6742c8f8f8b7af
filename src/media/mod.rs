//! The media room: RTP packets and what is in them, as values. No socket and no clock: time comes
//! in as the [`Duration`](std::time::Duration) since the caller's own beginning.

pub mod frame;
pub mod g711;
pub mod gain;
pub mod packet;
pub mod tone;
