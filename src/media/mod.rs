//! The media room: RTP packets and what is in them, as values. No socket and no clock: time comes
//! in as the [`Duration`](std::time::Duration) since the caller's own beginning.

pub mod bridge;
pub mod coding;
pub mod frame;
pub mod g711;
pub mod gain;
pub mod music;
pub mod opus;
pub mod packet;
pub mod quality;
pub mod rtcp;
pub mod tone;
pub mod wave;
