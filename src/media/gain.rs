//! Loudness: gain in decibels, and levels in dBFS (0 dBFS = a full-scale square wave).

/// The widest gain anybody may ask for, either way.
pub const GAIN_DB_MAX: f32 = 24.0;

/// The factor for a gain, held within ±[`GAIN_DB_MAX`]; nonsense is no gain.
#[must_use]
pub fn factor(db: f32) -> f32 {
    if db.is_nan() {
        return 1.0;
    }
    10_f32.powf(db.clamp(-GAIN_DB_MAX, GAIN_DB_MAX) / 20.0)
}

/// One sample, louder or softer, clipped at full scale.
#[must_use]
pub fn scale(sample: i16, factor: f32) -> i16 {
    // A float cast saturates, which is the clipping wanted here.
    (f32::from(sample) * factor).round() as i16
}

/// The root-mean-square level; silence is -∞.
#[must_use]
pub fn level_dbfs(samples: &[i16]) -> f32 {
    let sum: f64 = samples
        .iter()
        .map(|sample| f64::from(*sample).powi(2))
        .sum();
    let mean = sum / samples.len().max(1) as f64;
    (10.0 * (mean / (32_768.0 * 32_768.0)).log10()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::g711::{Law, byte_map};
    use crate::media::tone::sine;

    #[test]
    fn minus_twelve_decibels_through_the_byte_table_is_within_one() {
        for law in [Law::Mu, Law::A] {
            let loud = law.encode_all(&sine(1_000.0, -10.0, 8_000));
            let map = byte_map(law, law, factor(-12.0)).expect("softer is not the same");
            let soft: Vec<i16> = loud
                .iter()
                .map(|b| law.decode(map[usize::from(*b)]))
                .collect();
            let level = level_dbfs(&soft);
            assert!((level + 22.0).abs() < 0.5, "{law:?}: {level} dBFS");
        }
    }

    #[test]
    fn gain_clips_instead_of_wrapping() {
        assert_eq!(scale(30_000, 2.0), i16::MAX);
        assert_eq!(scale(-30_000, 2.0), i16::MIN);
    }

    #[test]
    fn nonsense_gain_changes_nothing() {
        assert!((factor(f32::NAN) - 1.0).abs() < f32::EPSILON);
        assert!((factor(f32::INFINITY) - factor(GAIN_DB_MAX)).abs() < f32::EPSILON);
    }

    #[test]
    fn a_full_square_wave_is_zero_dbfs() {
        assert!(level_dbfs(&[i16::MIN; 80]).abs() < 0.01);
        assert_eq!(level_dbfs(&[0; 80]), f32::NEG_INFINITY);
    }
}
