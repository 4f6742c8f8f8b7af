//! G.711 (ITU-T, 11/1988): both laws. Samples are 16-bit linear PCM at 8 kHz.
//!
//! Decoding, changing the law, and gain on encoded bytes are tables of 256, so a packet that only
//! changes law or loudness is never decoded.

/// One of G.711's two companding laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// µ-law, RTP payload type 0, PCMU.
    Mu,
    /// A-law, RTP payload type 8, PCMA.
    A,
}

/// What becomes of each encoded byte.
pub type ByteMap = [u8; 256];

impl Law {
    /// RFC 3551 table 4: the static payload types.
    #[must_use]
    pub fn payload_type(self) -> u8 {
        match self {
            Law::Mu => 0,
            Law::A => 8,
        }
    }

    #[must_use]
    pub fn from_payload_type(payload_type: u8) -> Option<Law> {
        match payload_type {
            0 => Some(Law::Mu),
            8 => Some(Law::A),
            _ => None,
        }
    }

    /// The byte that stands for no sound.
    #[must_use]
    pub fn silence(self) -> u8 {
        match self {
            Law::Mu => 0xFF,
            Law::A => 0xD5,
        }
    }

    #[must_use]
    pub fn decode(self, byte: u8) -> i16 {
        match self {
            Law::Mu => MU_LINEAR[usize::from(byte)],
            Law::A => A_LINEAR[usize::from(byte)],
        }
    }

    #[must_use]
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Law::Mu => encode_mu(sample),
            Law::A => encode_a(sample),
        }
    }

    /// Decodes as many bytes as both sides have room for.
    pub fn decode_into(self, bytes: &[u8], samples: &mut [i16]) {
        for (sample, byte) in samples.iter_mut().zip(bytes) {
            *sample = self.decode(*byte);
        }
    }

    #[must_use]
    pub fn encode_all(self, samples: &[i16]) -> Vec<u8> {
        samples.iter().map(|sample| self.encode(*sample)).collect()
    }
}

/// Changes the law and the loudness in one step. `None` when every byte stays as it is.
#[must_use]
pub fn byte_map(from: Law, to: Law, factor: f32) -> Option<ByteMap> {
    if from == to && (factor - 1.0).abs() < f32::EPSILON {
        return None;
    }
    Some(std::array::from_fn(|index| {
        // An index into 256 places is a byte.
        let sample = from.decode(index as u8);
        to.encode(super::gain::scale(sample, factor))
    }))
}

static MU_LINEAR: [i16; 256] = mu_linear();
static A_LINEAR: [i16; 256] = a_linear();

/// Table 2 of G.711 scaled from 14 to 16 bits: 33 is the law's bias, 132 its 16-bit value.
const MU_BIAS: i32 = 132;
/// The largest magnitude µ-law can say before the bias overflows its 13 bits.
const MU_CLIP: i32 = 32_635;

const fn mu_linear() -> [i16; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let code = !(index as u8);
        let segment = (code >> 4) & 7;
        let magnitude = ((((code & 15) as i32) << 3) + MU_BIAS) << segment;
        let linear = magnitude - MU_BIAS;
        table[index] = if code & 0x80 != 0 {
            -linear as i16
        } else {
            linear as i16
        };
        index += 1;
    }
    table
}

const fn a_linear() -> [i16; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let code = index as u8 ^ 0x55;
        let segment = (code >> 4) & 7;
        let step = (((code & 15) as i32) << 4) + 8;
        let linear = if segment == 0 {
            step
        } else {
            (step + 256) << (segment - 1)
        };
        table[index] = if code & 0x80 != 0 {
            linear as i16
        } else {
            -linear as i16
        };
        index += 1;
    }
    table
}

fn encode_mu(sample: i16) -> u8 {
    let sample = i32::from(sample);
    let sign = if sample < 0 { 0x80 } else { 0 };
    let biased = sample.abs().min(MU_CLIP) + MU_BIAS; // 132 ..= 32767: the top bit is 7 ..= 14
    let segment = 24 - biased.leading_zeros(); // 0 ..= 7
    let step = (biased >> (segment + 3)) & 15;
    !(sign | (segment << 4) as u8 | step as u8)
}

fn encode_a(sample: i16) -> u8 {
    let sample = i32::from(sample);
    // G.711 table 1: a negative value's magnitude counts from -1, so that no code means -0.
    let (sign, magnitude) = if sample < 0 {
        (0, -sample - 1)
    } else {
        (0x80, sample)
    };
    let code = if magnitude < 256 {
        magnitude >> 4
    } else {
        let segment = 24 - magnitude.leading_zeros() as i32; // the top bit is 8 ..= 14
        (segment << 4) | ((magnitude >> (segment + 3)) & 15)
    };
    (sign | code as u8) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mu_law_meets_the_recommendations_points() {
        // G.711 table 2, decoder output values y0, y1, y15, y16, y127 times 4 (14 to 16 bits).
        for (code, linear) in [
            (0xFF, 0),
            (0xFE, 8),
            (0xF0, 120),
            (0xEF, 132),
            (0x80, 32_124),
            (0x00, -32_124),
        ] {
            assert_eq!(Law::Mu.decode(code), linear, "{code:#x}");
        }
        assert_eq!(Law::Mu.encode(0), 0xFF);
        assert_eq!(Law::Mu.encode(i16::MAX), 0x80);
        assert_eq!(Law::Mu.encode(i16::MIN), 0x00);
        assert_eq!(
            Law::Mu.encode(4),
            0xFE,
            "the decision value x1 = 1 lies at 4"
        );
        assert_eq!(Law::Mu.encode(3), 0xFF);
    }

    #[test]
    fn a_law_meets_the_recommendations_points() {
        // G.711 table 1, decoder output values 1, 3, 31, 33, 4032 times 8 (13 to 16 bits).
        for (code, linear) in [
            (0xD5, 8),
            (0xD4, 24),
            (0xDA, 248),
            (0xC5, 264),
            (0xAA, 32_256),
            (0x2A, -32_256),
        ] {
            assert_eq!(Law::A.decode(code), linear, "{code:#x}");
        }
        assert_eq!(Law::A.encode(0), 0xD5);
        assert_eq!(Law::A.encode(-1), 0x55);
        assert_eq!(Law::A.encode(i16::MAX), 0xAA);
        assert_eq!(Law::A.encode(i16::MIN), 0x2A);
    }

    #[test]
    fn every_code_survives_decoding_and_encoding() {
        for code in 0..=255 {
            assert_eq!(Law::A.encode(Law::A.decode(code)), code);
            // µ-law has two zeros; ours is the positive one.
            let expected = if code == 0x7F { 0xFF } else { code };
            assert_eq!(Law::Mu.encode(Law::Mu.decode(code)), expected);
        }
    }

    #[test]
    fn encoding_takes_the_nearest_code_for_every_sample() {
        for law in [Law::Mu, Law::A] {
            for sample in i16::MIN..=i16::MAX {
                let error = i32::from(law.decode(law.encode(sample))) - i32::from(sample);
                // Half of the segment's step: the steps are at most 1/16 of the magnitude.
                let magnitude = i32::from(sample).abs();
                assert!(
                    error.abs() <= (magnitude / 32 + 8).min(644),
                    "{law:?} {sample}: {error}"
                );
            }
        }
    }

    #[test]
    fn changing_the_law_keeps_the_value_within_a_step() {
        for (from, to) in [(Law::Mu, Law::A), (Law::A, Law::Mu)] {
            let map = byte_map(from, to, 1.0).expect("the laws differ");
            for code in 0..=255_u8 {
                let before = i32::from(from.decode(code));
                let after = i32::from(to.decode(map[usize::from(code)]));
                assert!(
                    (before - after).abs() <= before.abs() / 32 + 8,
                    "{from:?} {code:#x}"
                );
            }
            // A-law has no zero: its silence is its smallest step.
            assert!(to.decode(map[usize::from(from.silence())]).abs() <= 8);
        }
    }

    #[test]
    fn same_law_at_full_loudness_needs_no_table() {
        assert!(byte_map(Law::A, Law::A, 1.0).is_none());
        assert!(byte_map(Law::A, Law::A, 0.5).is_some());
    }
}
