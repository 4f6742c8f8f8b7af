//! Recordings, on one thread for all calls.
//!
//! Workers hand packets over and never wait: beyond [`PACKETS_QUEUED_MAX`] a packet is refused and
//! stays silence in the file. The thread lays packets on each call's timeline and appends what is
//! settled to `<path>.part`; a second thread does what may take long (fsync, rename), so that one
//! call's end does not hold up the others' sound.

mod closer;
mod repair;
mod tape;
mod writer;

use super::media_worker::{FactSink, MediaFact};
use crate::id::CallId;
use crate::media::g711::Law;
use crate::media::packet::RtpHeader;
use crate::media::wave::Channel;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Instant;

pub use closer::sha256;
pub use repair::{Repaired, repair};

/// About 160 ms of a thousand calls; 5 MB.
pub const PACKETS_QUEUED_MAX: usize = 16_384;

/// 30 ms; a longer packet goes in pieces.
const PIECE_BYTES: usize = 240;

/// The recorder, as its owner holds it.
pub struct Recorder {
    door: RecorderDoor,
    threads: [JoinHandle<()>; 2],
}

/// The recorder, as a worker holds it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RecorderDoor {
    sender: mpsc::Sender<Message>,
    queued: Arc<AtomicUsize>,
}

/// Some of a leg's voice, as its packet had it.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    pub call: CallId,
    pub channel: Channel,
    pub at: Instant,
    pub header: RtpHeader,
    pub law: Law,
    pub payload: &'a [u8],
}

#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly every message is a voice; a box would be an allocation a packet"
)]
enum Message {
    Begin {
        call: CallId,
        path: PathBuf,
        at: Instant,
    },
    Voice(Voice),
    End {
        call: CallId,
        at: Instant,
        gap_ms: u64,
    },
    /// After what is queued already.
    Stop,
}

#[derive(Debug)]
struct Voice {
    call: CallId,
    channel: Channel,
    at: Instant,
    header: RtpHeader,
    law: Law,
    len: usize,
    bytes: [u8; PIECE_BYTES],
}

impl Recorder {
    /// Starts both threads.
    pub fn start(facts: FactSink) -> io::Result<Recorder> {
        let (sender, messages) = mpsc::channel();
        let (to_closer, closings) = mpsc::channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let closer_facts = facts.clone();
        let closer = thread::Builder::new()
            .name("recorder-closer".into())
            .spawn(move || closer::run(&closings, &closer_facts))?;
        let count = queued.clone();
        let writer = thread::Builder::new()
            .name("recorder".into())
            .spawn(move || writer::Writer::new(to_closer, facts).run(&messages, &count))?;
        Ok(Recorder {
            door: RecorderDoor { sender, queued },
            threads: [writer, closer],
        })
    }

    #[must_use]
    pub fn door(&self) -> RecorderDoor {
        self.door.clone()
    }

    /// Finishes every open recording and waits for the files to be closed. Workers come first:
    /// what they hand over later is lost.
    pub fn stop(self) {
        // If the writer is gone already there is nothing left to stop.
        let _ = self.door.sender.send(Message::Stop);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a recorder thread panicked");
            }
        }
    }
}

impl RecorderDoor {
    /// A file begins at `path`, time 0 of it is `at`. Never refused.
    pub fn begin(&self, call: CallId, path: PathBuf, at: Instant) {
        self.tell(Message::Begin { call, path, at });
    }

    /// Whether the packet was taken; if not, the caller counts the gap.
    #[must_use]
    pub fn voice(&self, piece: &Piece<'_>) -> bool {
        if self.queued.load(Ordering::Relaxed) >= PACKETS_QUEUED_MAX {
            return false;
        }
        let mut header = piece.header;
        for part in piece.payload.chunks(PIECE_BYTES) {
            let mut bytes = [0; PIECE_BYTES];
            bytes[..part.len()].copy_from_slice(part);
            let Piece {
                call,
                channel,
                at,
                law,
                ..
            } = *piece;
            self.queued.fetch_add(1, Ordering::Relaxed);
            let len = part.len();
            self.tell(Message::Voice(Voice {
                call,
                channel,
                at,
                header,
                law,
                len,
                bytes,
            }));
            header.timestamp = header.timestamp.wrapping_add(len as u32);
        }
        true
    }

    /// The file ends at `at`. Never refused.
    pub fn end(&self, call: CallId, at: Instant, gap_ms: u64) {
        self.tell(Message::End { call, at, gap_ms });
    }

    fn tell(&self, message: Message) {
        if self.sender.send(message).is_err() {
            tracing::error!("the recorder is gone; nothing is recorded");
        }
    }
}

fn failed(call: CallId, error: &impl std::fmt::Display) -> MediaFact {
    MediaFact::RecordingFailed {
        call,
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
