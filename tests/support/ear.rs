//! Tones and how loud they are heard: generation, µ- and A-law by the definition of G.711, and the
//! Goertzel filter. 8 kHz throughout.

use std::f64::consts::TAU;
use std::time::{Duration, Instant};

pub const RATE_HZ: u32 = 8_000;
pub const PACKET_SAMPLES: usize = 160;
/// A gap longer than this between packets counts as one.
pub const GAP: Duration = Duration::from_millis(60);
/// Kept samples: ten minutes.
const SAMPLES_MAX: usize = 8_000 * 600;

/// The two laws of G.711 and their static payload types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    Mu,
    A,
}

impl Law {
    pub fn payload_type(self) -> u8 {
        if self == Law::A { 8 } else { 0 }
    }

    pub fn name(self) -> &'static str {
        if self == Law::A {
            "audio/PCMA"
        } else {
            "audio/PCMU"
        }
    }

    pub fn encode(self, sample: i16) -> u8 {
        if self == Law::A {
            encode_a(sample)
        } else {
            encode_mu(sample)
        }
    }
}

/// The codec's static payload type decides the law.
pub fn decode(payload_type: u8, byte: u8) -> i16 {
    if payload_type == 8 {
        decode_a(byte)
    } else {
        decode_mu(byte)
    }
}

pub fn decode_mu(byte: u8) -> i16 {
    let byte = !byte;
    let segment = (byte >> 4) & 7;
    let magnitude = (((i32::from(byte & 0x0F) << 3) + 132) << segment) - 132;
    (if byte & 0x80 == 0 {
        magnitude
    } else {
        -magnitude
    }) as i16
}

pub fn decode_a(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let segment = (byte >> 4) & 7;
    let step = i32::from(byte & 0x0F) << 4;
    let magnitude = if segment == 0 {
        step + 8
    } else {
        (step + 264) << (segment - 1)
    };
    (if byte & 0x80 == 0 {
        -magnitude
    } else {
        magnitude
    }) as i16
}

pub fn encode_mu(sample: i16) -> u8 {
    let negative = sample < 0;
    let magnitude = i32::from(sample).abs().min(32_635) + 132;
    let segment = (0..8)
        .rev()
        .find(|segment| magnitude >> (segment + 7) != 0)
        .unwrap_or(0);
    let step = (magnitude >> (segment + 3)) & 0x0F;
    !((u8::from(negative) << 7) | ((segment as u8) << 4) | step as u8)
}

/// The nearest code by search: slow, and impossible to get wrong.
pub fn encode_a(sample: i16) -> u8 {
    let distance = |byte: u8| (i32::from(decode_a(byte)) - i32::from(sample)).abs();
    (0..=255).min_by_key(|byte| distance(*byte)).unwrap_or(0xD5)
}

/// A sine that goes on from packet to packet.
#[derive(Clone, Debug, Default)]
pub struct Tone {
    phase: f64,
}

impl Tone {
    /// The next 20 ms at this frequency, peak `amplitude`; 0 Hz is silence.
    pub fn packet(&mut self, hz: f64, amplitude: f64) -> Vec<i16> {
        (0..PACKET_SAMPLES)
            .map(|_| {
                self.phase = (self.phase + hz / f64::from(RATE_HZ)).fract();
                if hz == 0.0 {
                    0
                } else {
                    ((self.phase * TAU).sin() * amplitude) as i16
                }
            })
            .collect()
    }
}

/// The peak amplitude of one frequency in these samples (Goertzel), in the samples' own units.
pub fn amplitude(samples: &[i16], hz: f64) -> f64 {
    if samples.is_empty() {
        return 0.0;
    }
    let step = TAU * hz / f64::from(RATE_HZ);
    let coefficient = 2.0 * step.cos();
    let (mut last, mut before) = (0.0, 0.0);
    for sample in samples {
        (last, before) = (f64::from(*sample) + coefficient * last - before, last);
    }
    let power = last * last + before * before - coefficient * last * before;
    2.0 * power.max(0.0).sqrt() / samples.len() as f64
}

pub fn rms(samples: &[i16]) -> f64 {
    let sum: f64 = samples
        .iter()
        .map(|sample| f64::from(*sample).powi(2))
        .sum();
    (sum / samples.len().max(1) as f64).sqrt()
}

/// What came in, in the order it came.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub packets: u64,
    /// Sequence numbers that never came.
    pub missing: u64,
    /// Packets that came behind a later one.
    pub late: u64,
    /// Silences on the wire longer than [`GAP`].
    pub gaps: u64,
    pub longest_gap: Duration,
    pub markers: u64,
    pub ssrcs: Vec<u32>,
    pub payload_types: Vec<u8>,
    pub samples: Vec<i16>,
    pub first_at: Option<Instant>,
    pub last_at: Option<Instant>,
    last_sequence: Option<u16>,
}

/// One packet off the wire.
pub struct Arrival<'a> {
    pub at: Instant,
    pub payload_type: u8,
    pub sequence: u16,
    pub marker: bool,
    pub ssrc: u32,
    pub payload: &'a [u8],
}

impl Heard {
    pub fn hear(&mut self, arrival: &Arrival<'_>) {
        self.packets += 1;
        self.markers += u64::from(arrival.marker);
        self.first_at.get_or_insert(arrival.at);
        if let Some(last) = self.last_at.replace(arrival.at) {
            let gap = arrival.at.saturating_duration_since(last);
            self.gaps += u64::from(gap > GAP);
            self.longest_gap = self.longest_gap.max(gap);
        }
        if !self.ssrcs.contains(&arrival.ssrc) {
            self.ssrcs.push(arrival.ssrc);
        }
        if !self.payload_types.contains(&arrival.payload_type) {
            self.payload_types.push(arrival.payload_type);
        }
        match self
            .last_sequence
            .map(|last| arrival.sequence.wrapping_sub(last))
        {
            None => self.last_sequence = Some(arrival.sequence),
            Some(step @ 1..0x8000) => {
                self.missing += u64::from(step) - 1;
                self.last_sequence = Some(arrival.sequence);
            }
            Some(_) => self.late += 1,
        }
        let law = arrival.payload_type;
        if self.samples.len() < SAMPLES_MAX {
            self.samples
                .extend(arrival.payload.iter().map(|byte| decode(law, *byte)));
        }
    }

    /// The peak amplitude of a frequency in the last `window` of what was heard.
    pub fn amplitude(&self, hz: f64, window: Duration) -> f64 {
        amplitude(self.tail(window), hz)
    }

    pub fn rms(&self, window: Duration) -> f64 {
        rms(self.tail(window))
    }

    pub fn tail(&self, window: Duration) -> &[i16] {
        let wanted = (window.as_secs_f64() * f64::from(RATE_HZ)) as usize;
        &self.samples[self.samples.len().saturating_sub(wanted)..]
    }
}
