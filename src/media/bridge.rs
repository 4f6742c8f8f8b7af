//! Pass-through, the bridge's cheap mode: another stream's packets go on as our own.
//!
//! [`Outgoing`] keeps one SSRC, one sequence and one timeline toward a leg whatever it hears,
//! RFC 3550 section 5.1; [`Voice`] is what others hear of a leg: mute, law and gain, by table.

use super::frame::{FRAME_SAMPLES, samples_in};
use super::g711::{ByteMap, Law, byte_map};
use super::gain;
use super::packet::RtpHeader;
use std::time::Duration;

/// A jump further than this is a new beginning (RFC 3550 A.1).
const DROPOUT_MAX: i16 = 3_000;
const MISORDER_MAX: i16 = 100;
/// How far a generated stream may fall behind the clock before its timestamps skip.
const LAG_SAMPLES_MAX: i64 = 800;

/// The sequence, timestamp and marker that one packet leaves with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub sequence: u16,
    pub timestamp: u32,
    pub marker: bool,
}

/// One stream toward one leg.
#[derive(Clone, Debug)]
pub struct Outgoing {
    ssrc: u32,
    next_sequence: u16,
    sent: Option<Sent>,
    flow: Flow,
    /// Where the timestamps begin; RFC 3550 section 5.1 wants it random.
    first_timestamp: u32,
}

/// The newest packet sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Duration,
    timestamp: u32,
    samples: u32,
}

#[derive(Clone, Copy, Debug)]
enum Flow {
    /// The source has changed; the next packet begins a talk spurt.
    Fresh,
    Generated,
    Forwarded {
        ssrc: u32,
        /// Incoming plus this is outgoing.
        sequence_shift: u16,
        timestamp_shift: u32,
        first: u16,
        highest: u16,
    },
}

impl Outgoing {
    /// RFC 3550 section 5.1: all three are to be random.
    #[must_use]
    pub fn new(ssrc: u32, first_sequence: u16, first_timestamp: u32) -> Outgoing {
        let flow = Flow::Fresh;
        Outgoing {
            ssrc,
            next_sequence: first_sequence,
            sent: None,
            flow,
            first_timestamp,
        }
    }

    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The leg hears something else from now on.
    pub fn turn(&mut self) {
        self.flow = Flow::Fresh;
    }

    /// Stamps a packet made by us `at` that lasts `samples`.
    pub fn generated(&mut self, at: Duration, samples: u32) -> Stamp {
        let marker = !matches!(self.flow, Flow::Generated);
        self.flow = Flow::Generated;
        let timestamp = match self.sent {
            Some(sent) if !marker && self.lag(sent, at) <= LAG_SAMPLES_MAX => {
                sent.timestamp.wrapping_add(sent.samples)
            }
            _ => self.timestamp_at(at),
        };
        let sequence = self.next_sequence;
        self.remember(at, sequence, timestamp, samples);
        Stamp {
            sequence,
            timestamp,
            marker,
        }
    }

    /// Stamps another's packet that arrived `at` and lasts `samples`. `None`: it is older than the
    /// moment this leg began to hear that source.
    pub fn forwarded(&mut self, at: Duration, header: &RtpHeader, samples: u32) -> Option<Stamp> {
        let fresh = !self.continues(header);
        if fresh {
            self.flow = Flow::Forwarded {
                ssrc: header.ssrc,
                sequence_shift: self.next_sequence.wrapping_sub(header.sequence),
                timestamp_shift: self.timestamp_at(at).wrapping_sub(header.timestamp),
                first: header.sequence,
                highest: header.sequence,
            };
        }
        let Flow::Forwarded {
            sequence_shift,
            timestamp_shift,
            first,
            highest,
            ..
        } = &mut self.flow
        else {
            return None; // set above when it was anything else
        };
        if distance(header.sequence, *first) < 0 {
            return None;
        }
        let newest = fresh || distance(header.sequence, *highest) > 0;
        if newest {
            *highest = header.sequence;
            // Far from the beginning `first` would come round again with the sequence's wrap.
            if distance(header.sequence, *first) > MISORDER_MAX {
                *first = header.sequence.wrapping_sub(MISORDER_MAX as u16);
            }
        }
        let sequence = header.sequence.wrapping_add(*sequence_shift);
        let timestamp = header.timestamp.wrapping_add(*timestamp_shift);
        if newest {
            self.remember(at, sequence, timestamp, samples);
        }
        Some(Stamp {
            sequence,
            timestamp,
            marker: fresh || header.marker,
        })
    }

    /// The packet is not for this leg (an event it does not understand): closes the gap, so that
    /// it is not taken for loss.
    pub fn skipped(&mut self, header: &RtpHeader) {
        if !self.continues(header) {
            return;
        }
        if let Flow::Forwarded {
            sequence_shift,
            highest,
            ..
        } = &mut self.flow
            && distance(header.sequence, *highest) > 0
        {
            *highest = header.sequence;
            *sequence_shift = sequence_shift.wrapping_sub(1);
        }
    }

    /// For a sender report: the timestamp that belongs to `at`.
    #[must_use]
    pub fn timestamp_now(&self, at: Duration) -> u32 {
        let Some(sent) = self.sent else {
            return self.first_timestamp;
        };
        sent.timestamp
            .wrapping_add(samples_in(at.saturating_sub(sent.at)) as u32)
    }

    fn continues(&self, header: &RtpHeader) -> bool {
        let Flow::Forwarded { ssrc, highest, .. } = self.flow else {
            return false;
        };
        ssrc == header.ssrc
            && (-MISORDER_MAX..DROPOUT_MAX).contains(&distance(header.sequence, highest))
    }

    /// Wall time goes on in the timestamps, but two packets never share a sample.
    fn timestamp_at(&self, at: Duration) -> u32 {
        let Some(sent) = self.sent else {
            return self.first_timestamp;
        };
        let passed = samples_in(at.saturating_sub(sent.at)).max(i64::from(sent.samples));
        sent.timestamp.wrapping_add(passed as u32)
    }

    fn lag(&self, sent: Sent, at: Duration) -> i64 {
        samples_in(at.saturating_sub(sent.at)) - i64::from(sent.samples)
    }

    fn remember(&mut self, at: Duration, sequence: u16, timestamp: u32, samples: u32) {
        self.next_sequence = sequence.wrapping_add(1);
        self.sent = Some(Sent {
            at,
            timestamp,
            samples,
        });
    }
}

/// From `from` to `to`, the short way round.
fn distance(to: u16, from: u16) -> i16 {
    to.wrapping_sub(from) as i16
}

/// What others hear of a leg. Mute stands first: it is heard by the tap too; gain stands last.
#[derive(Clone, Debug)]
pub struct Voice {
    law: Law,
    muted: bool,
    gain_db: f32,
    to_mu: Option<Box<ByteMap>>,
    to_a: Option<Box<ByteMap>>,
}

impl Voice {
    #[must_use]
    pub fn new(law: Law) -> Voice {
        let mut voice = Voice {
            law,
            muted: false,
            gain_db: 0.0,
            to_mu: None,
            to_a: None,
        };
        voice.rebuild();
        voice
    }

    #[must_use]
    pub fn law(&self) -> Law {
        self.law
    }

    #[must_use]
    pub fn is_muted(&self) -> bool {
        self.muted
    }

    /// Neither muted nor louder nor softer.
    #[must_use]
    pub fn is_as_spoken(&self) -> bool {
        !self.muted && self.gain_db == 0.0
    }

    pub fn speak(&mut self, law: Law) {
        if law != self.law {
            self.law = law;
            self.rebuild();
        }
    }

    pub fn mute(&mut self, on: bool) {
        self.muted = on;
    }

    pub fn gain(&mut self, db: f32) {
        self.gain_db = db;
        self.rebuild();
    }

    /// What the recording's tap gets, in this leg's own law.
    pub fn tapped<'a>(&self, payload: &'a [u8], scratch: &'a mut [u8]) -> &'a [u8] {
        if !self.muted {
            return payload;
        }
        let len = payload.len().min(scratch.len());
        scratch[..len].fill(self.law.silence());
        &scratch[..len]
    }

    /// What a listener gets, in its law; as much as `into` holds.
    pub fn heard<'a>(&self, payload: &[u8], to: Law, into: &'a mut [u8]) -> &'a [u8] {
        let len = payload.len().min(into.len());
        let into = &mut into[..len];
        if self.muted {
            into.fill(to.silence());
            return into;
        }
        let map = match to {
            Law::Mu => &self.to_mu,
            Law::A => &self.to_a,
        };
        match map {
            None => into.copy_from_slice(&payload[..len]),
            Some(map) => {
                for (byte, spoken) in into.iter_mut().zip(payload) {
                    *byte = map[usize::from(*spoken)];
                }
            }
        }
        into
    }

    fn rebuild(&mut self) {
        let factor = gain::factor(self.gain_db);
        self.to_mu = byte_map(self.law, Law::Mu, factor).map(Box::new);
        self.to_a = byte_map(self.law, Law::A, factor).map(Box::new);
    }
}

const _: () = assert!(FRAME_SAMPLES < LAG_SAMPLES_MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: u32 = FRAME_SAMPLES as u32;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn header(ssrc: u32, sequence: u16, timestamp: u32) -> RtpHeader {
        RtpHeader {
            payload_type: 0,
            marker: false,
            sequence,
            timestamp,
            ssrc,
        }
    }

    fn stamp(sequence: u16, timestamp: u32, marker: bool) -> Stamp {
        Stamp {
            sequence,
            timestamp,
            marker,
        }
    }

    #[test]
    fn a_forwarded_stream_keeps_its_gaps_and_wraps_with_ours() {
        let mut out = Outgoing::new(9, 65_534, u32::MAX - 100);
        let mut stamps = vec![];
        for (index, sequence) in [65_535_u16, 0, 2, 1, 3].into_iter().enumerate() {
            let timestamp = 5_000 + u32::from(sequence.wrapping_add(1)) * 160;
            let header = header(1, sequence, timestamp);
            stamps.extend(out.forwarded(at(index as u64 * 20), &header, SAMPLES));
        }
        let start = u32::MAX - 100;
        let expected = [
            (65_534, 0, true),
            (65_535, 1, false),
            (1, 3, false),
            (0, 2, false),
            (2, 4, false),
        ]
        .map(|(sequence, frames, marker)| {
            stamp(sequence, start.wrapping_add(frames * 160), marker)
        });
        assert_eq!(stamps, expected);
    }

    #[test]
    fn a_change_of_source_goes_on_with_wall_time_and_a_marker() {
        let mut out = Outgoing::new(9, 10, 1_000);
        assert_eq!(out.generated(at(0), SAMPLES), stamp(10, 1_000, true));
        assert_eq!(out.generated(at(20), SAMPLES), stamp(11, 1_160, false));
        // 480 ms of nothing, then a leg's packets
        let from_leg = out.forwarded(at(500), &header(1, 777, 99), SAMPLES);
        assert_eq!(from_leg, Some(stamp(12, 1_160 + 480 * 8, true)));
        let next = out.forwarded(at(520), &header(1, 778, 259), SAMPLES);
        assert_eq!(next, Some(stamp(13, 5_160, false)));
        // back to music 5 ms later: no sample is used twice
        out.turn();
        assert_eq!(out.generated(at(525), SAMPLES), stamp(14, 5_320, true));
    }

    #[test]
    fn a_new_ssrc_or_a_wild_jump_is_a_new_source() {
        let mut out = Outgoing::new(9, 10, 0);
        out.forwarded(at(0), &header(1, 5, 50), SAMPLES);
        assert_eq!(
            out.forwarded(at(20), &header(2, 900, 7), SAMPLES),
            Some(stamp(11, 160, true))
        );
        let jumped = out.forwarded(at(40), &header(2, 30_000, 99_999), SAMPLES);
        assert_eq!(jumped, Some(stamp(12, 320, true)));
    }

    #[test]
    fn a_packet_from_before_the_change_does_not_repeat_a_sequence_number() {
        let mut out = Outgoing::new(9, 10, 0);
        out.generated(at(0), SAMPLES);
        out.forwarded(at(20), &header(1, 100, 1_600), SAMPLES);
        assert_eq!(out.forwarded(at(21), &header(1, 99, 1_440), SAMPLES), None);
        assert!(
            out.forwarded(at(40), &header(1, 101, 1_760), SAMPLES)
                .is_some()
        );
    }

    #[test]
    fn a_long_stream_wraps_many_times_without_a_break() {
        let mut out = Outgoing::new(9, 3, 0);
        let mut expected = 3_u16;
        for index in 0..200_000_u32 {
            let header = header(1, index as u16, index.wrapping_mul(160));
            let stamp = out
                .forwarded(at(u64::from(index) * 20), &header, SAMPLES)
                .expect("goes on");
            assert_eq!((stamp.sequence, stamp.marker), (expected, index == 0));
            expected = expected.wrapping_add(1);
        }
    }

    #[test]
    fn what_is_not_passed_on_is_not_loss() {
        let mut out = Outgoing::new(9, 10, 0);
        out.forwarded(at(0), &header(1, 5, 0), SAMPLES);
        out.skipped(&header(1, 6, 160));
        out.skipped(&header(1, 7, 160));
        let next = out.forwarded(at(60), &header(1, 8, 480), SAMPLES);
        assert_eq!(next, Some(stamp(11, 480, false)));
    }

    #[test]
    fn generated_timestamps_do_not_drift_with_the_ticks_and_skip_a_stall() {
        let mut out = Outgoing::new(9, 0, 0);
        for index in 0..100_u64 {
            let late = index % 3;
            assert_eq!(
                out.generated(at(index * 20 + late), SAMPLES).timestamp,
                index as u32 * 160
            );
        }
        let stalled = out.generated(at(99 * 20 + 1_000), SAMPLES);
        assert_eq!(stalled, stamp(100, 99 * 160 + 8_000, false));
    }

    #[test]
    fn mute_silences_exactly_one_voice_and_its_tap() {
        let mut agent = Voice::new(Law::Mu);
        let customer = Voice::new(Law::Mu);
        agent.mute(true);
        let (mut a, mut b, mut c) = ([0; 8], [0; 8], [0; 8]);
        let spoken = [0x12; 8];
        assert_eq!(agent.heard(&spoken, Law::A, &mut a), [Law::A.silence(); 8]);
        assert_eq!(agent.tapped(&spoken, &mut b), [Law::Mu.silence(); 8]);
        assert_eq!(customer.heard(&spoken, Law::Mu, &mut c), spoken);
        agent.mute(false);
        assert_eq!(agent.heard(&spoken, Law::Mu, &mut a), spoken);
    }

    #[test]
    fn gain_changes_what_is_heard_but_not_the_tap() {
        let mut voice = Voice::new(Law::A);
        voice.gain(-12.0);
        let spoken = [Law::A.encode(8_000); 4];
        let (mut heard, mut tapped) = ([0; 4], [0; 4]);
        assert_eq!(voice.tapped(&spoken, &mut tapped), spoken);
        let soft = Law::Mu.decode(voice.heard(&spoken, Law::Mu, &mut heard)[0]);
        assert!((f32::from(soft) - 8_000.0 * 0.251).abs() < 70.0, "{soft}");
    }
}
