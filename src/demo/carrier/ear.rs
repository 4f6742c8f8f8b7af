//! What the called party hears: packets counted, loss and silence noted, levels measured.

use std::f32::consts::TAU;
use std::time::Instant;

use super::law::Law;
use super::voice::SAMPLE_RATE_HZ;

/// One level every 100 ms.
pub(super) const LEVEL_SAMPLES: usize = 800;
/// An hour of levels; what is said after that is counted but not measured.
const LEVELS_MAX: usize = 36_000;
/// A pause between packets that a listener notices.
const GAP_MS: u64 = 100;
/// Digits kept.
const DIGITS_MAX: usize = 256;

/// 100 ms of what was heard.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// When its first packet came, since the carrier started.
    pub at_ms: u64,
    /// Root mean square, of full scale: 0.0 ..= 1.0.
    pub rms: f32,
    /// Amplitude at each of `CarrierConfig::listen_hz`, in their order, of full scale.
    pub tones: Vec<f32>,
}

/// What was heard of one call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heard {
    pub packets: u64,
    /// Sequence numbers never seen between the first and the last.
    pub lost: u64,
    pub duplicates: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Pauses of more than 100 ms between two packets.
    pub gaps: u64,
    pub longest_gap_ms: u64,
    /// Of a payload type that was not agreed, or no RTP at all.
    pub foreign: u64,
    /// How many different synchronisation sources spoke.
    pub sources: u64,
    pub first_ms: Option<u64>,
    pub last_ms: Option<u64>,
    pub levels: Vec<Level>,
    /// RFC 4733 events, as the keys of a phone.
    pub digits: String,
}

impl Heard {
    /// The loudest amplitude at the `tone`-th listened frequency within a span of time.
    pub fn loudest(&self, tone: usize, from_ms: u64, to_ms: u64) -> f32 {
        self.between(from_ms, to_ms)
            .filter_map(|level| level.tones.get(tone).copied())
            .fold(0.0, f32::max)
    }

    /// The mean amplitude at the `tone`-th listened frequency within a span of time.
    pub fn mean(&self, tone: usize, from_ms: u64, to_ms: u64) -> f32 {
        let amplitudes: Vec<f32> = self
            .between(from_ms, to_ms)
            .filter_map(|level| level.tones.get(tone).copied())
            .collect();
        amplitudes.iter().sum::<f32>() / amplitudes.len().max(1) as f32
    }

    fn between(&self, from_ms: u64, to_ms: u64) -> impl Iterator<Item = &Level> {
        self.levels
            .iter()
            .filter(move |level| (from_ms..to_ms).contains(&level.at_ms))
    }
}

/// One RTP packet, as far as the ear cares (RFC 3550 5.1).
pub(super) struct Packet<'a> {
    pub(super) payload_type: u8,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    pub(super) payload: &'a [u8],
}

impl<'a> Packet<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Packet<'a>> {
        let fixed: &[u8; 12] = bytes.first_chunk()?;
        if fixed[0] >> 6 != 2 {
            return None;
        }
        let mut start = 12 + 4 * usize::from(fixed[0] & 0x0f);
        if fixed[0] & 0x10 != 0 {
            let length = bytes.get(start + 2..start + 4)?;
            start += 4 + 4 * usize::from(u16::from_be_bytes([length[0], length[1]]));
        }
        let padding = if fixed[0] & 0x20 != 0 {
            usize::from(*bytes.last()?)
        } else {
            0
        };
        let end = bytes.len().checked_sub(padding)?;
        Some(Packet {
            payload_type: fixed[1] & 0x7f,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            payload: bytes.get(start..end)?,
        })
    }
}

/// The measuring side of one call.
pub(super) struct Ear {
    listen_hz: Vec<f32>,
    heard: Heard,
    source: Option<Source>,
    last_at: Option<Instant>,
    window: Vec<f32>,
    window_at_ms: u64,
    event_timestamp: Option<u32>,
}

/// Where the present synchronisation source stands.
struct Source {
    ssrc: u32,
    highest: u16,
    /// Which of the 64 numbers up to `highest` have come, the newest in bit 0.
    seen: u64,
}

impl Ear {
    pub(super) fn new(listen_hz: Vec<f32>) -> Self {
        Self {
            listen_hz,
            heard: Heard::default(),
            source: None,
            last_at: None,
            window: Vec::with_capacity(LEVEL_SAMPLES),
            window_at_ms: 0,
            event_timestamp: None,
        }
    }

    pub(super) fn heard(&self) -> Heard {
        self.heard.clone()
    }

    pub(super) fn handle_foreign(&mut self) {
        self.heard.foreign += 1;
    }

    /// Audio. `at_ms` is since the carrier started.
    pub(super) fn handle_audio(&mut self, now: Instant, at_ms: u64, law: Law, packet: &Packet<'_>) {
        if !self.note_arrival(now, at_ms, packet) {
            return;
        }
        for octet in packet.payload {
            if self.window.is_empty() {
                self.window_at_ms = at_ms;
            }
            self.window.push(f32::from(law.decode(*octet)) / 32_768.0);
            if self.window.len() == LEVEL_SAMPLES {
                self.close_window();
            }
        }
    }

    /// RFC 4733 2.3: one event is many packets of one timestamp.
    pub(super) fn handle_event(&mut self, now: Instant, at_ms: u64, packet: &Packet<'_>) {
        if !self.note_arrival(now, at_ms, packet) || packet.payload.len() < 4 {
            return;
        }
        if self.event_timestamp != Some(packet.timestamp) && self.heard.digits.len() < DIGITS_MAX {
            self.event_timestamp = Some(packet.timestamp);
            let key = b"0123456789*#ABCD".get(usize::from(packet.payload[0]));
            self.heard.digits.extend(key.map(|key| char::from(*key)));
        }
    }

    /// Counts the packet; false when it has been heard before.
    fn note_arrival(&mut self, now: Instant, at_ms: u64, packet: &Packet<'_>) -> bool {
        if let Some(last) = self.last_at.replace(now) {
            let pause_ms = now.saturating_duration_since(last).as_millis() as u64;
            self.heard.longest_gap_ms = self.heard.longest_gap_ms.max(pause_ms);
            if pause_ms > GAP_MS {
                self.heard.gaps += 1;
                // Levels of before and after a pause must not mix.
                self.window.clear();
            }
        }
        self.heard.packets += 1;
        self.heard.first_ms.get_or_insert(at_ms);
        self.heard.last_ms = Some(at_ms);
        self.place(packet)
    }

    fn place(&mut self, packet: &Packet<'_>) -> bool {
        let Some(source) = self
            .source
            .as_mut()
            .filter(|source| source.ssrc == packet.ssrc)
        else {
            self.heard.sources += 1;
            self.source = Some(Source {
                ssrc: packet.ssrc,
                highest: packet.sequence,
                seen: !0,
            });
            return true;
        };
        let ahead = packet.sequence.wrapping_sub(source.highest);
        if (1..0x8000).contains(&ahead) {
            self.heard.lost += u64::from(ahead) - 1;
            source.seen = source.seen.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
            source.highest = packet.sequence;
            return true;
        }
        let behind = source.highest.wrapping_sub(packet.sequence);
        let bit = 1u64.checked_shl(u32::from(behind)).unwrap_or(0);
        if source.seen & bit != 0 {
            self.heard.duplicates += 1;
            return false;
        }
        source.seen |= bit;
        self.heard.reordered += 1;
        self.heard.lost = self.heard.lost.saturating_sub(1);
        true
    }

    fn close_window(&mut self) {
        if self.heard.levels.len() < LEVELS_MAX {
            let energy: f32 = self.window.iter().map(|sample| sample * sample).sum();
            self.heard.levels.push(Level {
                at_ms: self.window_at_ms,
                rms: (energy / self.window.len() as f32).sqrt(),
                tones: self
                    .listen_hz
                    .iter()
                    .map(|hz| amplitude_at(&self.window, *hz))
                    .collect(),
            });
        }
        self.window.clear();
    }
}

/// Goertzel's algorithm: the amplitude of the sine of `hz` in `samples`.
fn amplitude_at(samples: &[f32], hz: f32) -> f32 {
    let turn = TAU * hz / SAMPLE_RATE_HZ;
    let coefficient = 2.0 * turn.cos();
    let (mut s1, mut s2) = (0.0f32, 0.0f32);
    for sample in samples {
        let s0 = sample + coefficient * s1 - s2;
        (s2, s1) = (s1, s0);
    }
    let power = s1 * s1 + s2 * s2 - coefficient * s1 * s2;
    2.0 * power.max(0.0).sqrt() / samples.len() as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn rtp(sequence: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x80, 0];
        bytes.extend(sequence.to_be_bytes());
        bytes.extend((u32::from(sequence) * 160).to_be_bytes());
        bytes.extend(7u32.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    fn listen(sequences: &[u16], payload: &[u8]) -> Heard {
        let mut ear = Ear::new(vec![1_000.0, 400.0]);
        let start = Instant::now();
        for (index, sequence) in sequences.iter().enumerate() {
            let at_ms = 20 * index as u64;
            let bytes = rtp(*sequence, payload);
            let packet = Packet::parse(&bytes).expect("built above");
            ear.handle_audio(
                start + Duration::from_millis(at_ms),
                at_ms,
                Law::Pcmu,
                &packet,
            );
        }
        ear.heard()
    }

    #[test]
    fn loss_duplicates_and_reordering_are_told_apart() {
        let heard = listen(&[65_534, 65_535, 2, 1, 2, 3], &[0xff; 160]);
        assert_eq!((heard.lost, heard.reordered, heard.duplicates), (1, 1, 1));
        assert_eq!((heard.packets, heard.sources), (6, 1));
    }

    #[test]
    fn a_sine_is_measured_at_its_frequency_and_not_at_another() {
        let payload: Vec<u8> = (0..160)
            .map(|n| Law::Pcmu.encode(((TAU * n as f32 / 8.0).sin() * 8_192.0) as i16))
            .collect();
        let heard = listen(&(0..10).collect::<Vec<_>>(), &payload);
        assert_eq!(heard.levels.len(), 2);
        for level in &heard.levels {
            assert!((level.tones[0] - 0.25).abs() < 0.01, "{level:?}");
            assert!(level.tones[1] < 0.005, "{level:?}");
            assert!((level.rms - 0.177).abs() < 0.01, "{level:?}");
        }
    }

    #[test]
    fn a_cut_packet_is_no_packet() {
        let whole = rtp(1, &[0xff; 4]);
        for length in 0..12 {
            assert!(Packet::parse(&whole[..length]).is_none());
        }
        // A padding count longer than the packet, and an extension that is not there.
        assert!(Packet::parse(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 200]).is_none());
        assert!(Packet::parse(&[0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]).is_none());
    }
}
