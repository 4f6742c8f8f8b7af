//! One recording: a timeline and the file it is written to.

use crate::media::frame::{RATE_HZ, ms_of};
use crate::media::g711::Law;
use crate::media::packet::RtpHeader;
use crate::media::wave::{Channel, Timeline};
use hound::{SampleFormat, WavSpec, WavWriter};
use std::io::{Seek, Write};
use std::time::Instant;

/// Left the agent, right the customer.
pub const SPEC: WavSpec = WavSpec {
    channels: 2,
    sample_rate: RATE_HZ,
    bits_per_sample: 16,
    sample_format: SampleFormat::Int,
};

/// A WAV file that grows. Times are instants of the caller's clock.
pub struct Tape<W: Write + Seek> {
    began: Instant,
    timeline: Timeline,
    settled: Vec<i16>,
    wav: WavWriter<W>,
}

impl<W: Write + Seek> Tape<W> {
    /// Writes the header at once: a file without one could not be repaired.
    pub fn new(into: W, began: Instant) -> Result<Tape<W>, hound::Error> {
        let mut wav = WavWriter::new(into, SPEC)?;
        wav.flush()?;
        Ok(Tape {
            began,
            timeline: Timeline::default(),
            settled: vec![],
            wav,
        })
    }

    pub fn voice(
        &mut self,
        channel: Channel,
        at: Instant,
        header: &RtpHeader,
        law: Law,
        payload: &[u8],
    ) {
        let at = at.saturating_duration_since(self.began);
        self.timeline.advance(at, &mut self.settled);
        // What comes too late is counted as loss by the leg's own quality.
        let _ = self.timeline.place(channel, at, header, law, payload);
    }

    /// Writes what no packet can change any more, and lets a reader see it.
    pub fn flush(&mut self, now: Instant) -> Result<(), hound::Error> {
        let at = now.saturating_duration_since(self.began);
        self.timeline.advance(at, &mut self.settled);
        self.write()?;
        self.wav.flush()
    }

    /// Writes the rest up to `end`; how long the recording is, ms.
    pub fn finish(mut self, end: Instant) -> Result<u64, hound::Error> {
        let at = end.saturating_duration_since(self.began);
        self.timeline.finish(at, &mut self.settled);
        self.write()?;
        let duration_ms = ms_of(self.timeline.given());
        self.wav.finalize()?;
        Ok(duration_ms)
    }

    fn write(&mut self) -> Result<(), hound::Error> {
        for sample in self.settled.drain(..) {
            self.wav.write_sample(sample)?;
        }
        Ok(())
    }
}
