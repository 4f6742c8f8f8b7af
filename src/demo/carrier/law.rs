//! G.711, from ITU-T G.711's segment description: one sample, one octet.

/// The two laws of G.711, with their static RTP payload types (RFC 3551 table 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    Pcmu,
    Pcma,
}

/// µ-law adds this to a 14-bit magnitude so that every segment begins at a power of two.
const MU_BIAS: i32 = 33;
/// The largest 14-bit magnitude that still fits the top segment with the bias added.
const MU_MAGNITUDE_MAX: i32 = 8_158;

impl Law {
    pub fn payload_type(self) -> u8 {
        match self {
            Law::Pcmu => 0,
            Law::Pcma => 8,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Law::Pcmu => "PCMU",
            Law::Pcma => "PCMA",
        }
    }

    /// One 16-bit linear sample to one octet.
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Law::Pcmu => mu_encode(i32::from(sample)),
            Law::Pcma => a_encode(i32::from(sample)),
        }
    }

    /// One octet to one 16-bit linear sample.
    pub fn decode(self, octet: u8) -> i16 {
        let linear = match self {
            Law::Pcmu => mu_decode(octet),
            Law::Pcma => a_decode(octet),
        };
        // Both decoders end at 32,256 or below.
        i16::try_from(linear).unwrap_or(i16::MAX)
    }
}

fn mu_encode(sample: i32) -> u8 {
    let negative = sample < 0;
    let magnitude = (sample.abs() >> 2).min(MU_MAGNITUDE_MAX) + MU_BIAS;
    // 33 ..= 8,191, so the leading bit is bit 5 ..= 12 and the segment 0 ..= 7.
    let segment = 26 - magnitude.leading_zeros() as i32;
    let step = (magnitude >> (segment + 1)) & 0x0f;
    let octet = !((segment << 4) | step) & 0x7f;
    (if negative { octet } else { octet | 0x80 }) as u8
}

fn mu_decode(octet: u8) -> i32 {
    let bits = i32::from(!octet);
    let (segment, step) = ((bits >> 4) & 7, bits & 0x0f);
    let magnitude = (((2 * step + MU_BIAS) << segment) - MU_BIAS) << 2;
    if octet & 0x80 == 0 {
        -magnitude
    } else {
        magnitude
    }
}

fn a_encode(sample: i32) -> u8 {
    let positive = sample >= 0;
    // 13-bit sign and magnitude; -1 is the first step below zero.
    let magnitude = (if positive { sample } else { -sample - 1 }) >> 4;
    let octet = match magnitude {
        0..=15 => magnitude,
        16..=31 => 0x10 | (magnitude & 0x0f),
        _ => {
            // 32 ..= 2,047: leading bit 5 ..= 10, segment 2 ..= 7.
            let segment = 28 - magnitude.leading_zeros() as i32;
            (segment << 4) | ((magnitude >> (segment - 1)) & 0x0f)
        }
    };
    let signed = if positive { octet | 0x80 } else { octet };
    // Every second bit is inverted on the line.
    (signed ^ 0x55) as u8
}

fn a_decode(octet: u8) -> i32 {
    let bits = i32::from(octet ^ 0x55);
    let (segment, step) = ((bits >> 4) & 7, bits & 0x0f);
    let magnitude = match segment {
        0 => (2 * step + 1) << 3,
        _ => ((2 * step + 33) << (segment - 1)) << 3,
    };
    if bits & 0x80 == 0 {
        -magnitude
    } else {
        magnitude
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_octets_of_g711() {
        // Table values: silence, full scale, the first steps.
        assert_eq!(Law::Pcmu.encode(0), 0xff);
        assert_eq!(Law::Pcmu.encode(32_767), 0x80);
        assert_eq!(Law::Pcmu.encode(-32_768), 0x00);
        assert_eq!(Law::Pcmu.decode(0x80), 32_124);
        assert_eq!(Law::Pcma.encode(0), 0xd5);
        assert_eq!(Law::Pcma.encode(32_767), 0xaa);
        assert_eq!(Law::Pcma.encode(-32_768), 0x2a);
        assert_eq!(Law::Pcma.decode(0xaa), 32_256);
        assert_eq!(Law::Pcma.decode(0xd5), 8);
    }

    #[test]
    fn every_octet_survives_a_round_trip() {
        for law in [Law::Pcmu, Law::Pcma] {
            for octet in 0..=255u8 {
                let again = law.encode(law.decode(octet));
                // µ-law has two zeros.
                assert!(
                    again == octet || (law == Law::Pcmu && octet == 0x7f),
                    "{law:?} {octet}"
                );
            }
        }
    }

    #[test]
    fn the_error_stays_within_half_a_step() {
        for law in [Law::Pcmu, Law::Pcma] {
            for sample in (-32_000..32_000i32).step_by(7) {
                let linear = i16::try_from(sample).expect("within i16");
                let error = (i32::from(law.decode(law.encode(linear))) - sample).abs();
                assert!(error <= 16 + sample.abs() / 30, "{law:?} {sample}: {error}");
            }
        }
    }
}
