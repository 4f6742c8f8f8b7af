//! Call progress tones, rendered at 8 kHz: ringback and busy as each country has them
//! (ITU-T E.180 supplement 2), the beep of a recording, and the measuring of a frequency.

use super::frame::RATE_HZ;
use std::f64::consts::TAU;

/// A tone and its rhythm. Rendered once and looped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tone {
    /// Sounded together.
    pub hz: &'static [f64],
    /// Milliseconds on, off, on, off…
    pub cadence_ms: &'static [u32],
}

/// The tones a caller hears in one country.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Country {
    /// ISO 3166-1 alpha-2.
    pub code: &'static str,
    pub ringback: Tone,
    pub busy: Tone,
}

/// Each frequency's level. Two of them stay near -16 dBFS.
const LEVEL_DBFS: f64 = -19.0;
/// Ramps at the edges of each burst keep it from clicking.
const RAMP_SAMPLES: usize = 40;

/// Told to every party that it is recorded.
pub const BEEP: Tone = Tone {
    hz: &[1_400.0],
    cadence_ms: &[400, 100],
};

const DOUBLE_RING_MS: &[u32] = &[400, 200, 400, 2_000];
const RING_1_4_MS: &[u32] = &[1_000, 4_000];
const HALF_MS: &[u32] = &[500, 500];

/// Used where a country is not listed: what E.180 recommends.
pub const ANYWHERE: Country = country("--", (&[425.0], RING_1_4_MS), (&[425.0], HALF_MS));

static COUNTRIES: [Country; 18] = [
    country("AT", (&[420.0], &[1_000, 5_000]), (&[420.0], &[400, 400])),
    country(
        "AU",
        (&[400.0, 450.0], DOUBLE_RING_MS),
        (&[425.0], &[375, 375]),
    ),
    country("BE", (&[425.0], &[1_000, 3_000]), (&[425.0], HALF_MS)),
    country(
        "CA",
        (&[440.0, 480.0], &[2_000, 4_000]),
        (&[480.0, 620.0], HALF_MS),
    ),
    country("CH", (&[425.0], RING_1_4_MS), (&[425.0], HALF_MS)),
    country("CN", (&[450.0], RING_1_4_MS), (&[450.0], &[350, 350])),
    country("DE", (&[425.0], RING_1_4_MS), (&[425.0], &[480, 480])),
    country("ES", (&[425.0], &[1_500, 3_000]), (&[425.0], &[200, 200])),
    country("FR", (&[440.0], &[1_500, 3_500]), (&[440.0], HALF_MS)),
    country(
        "GB",
        (&[400.0, 450.0], DOUBLE_RING_MS),
        (&[400.0], &[375, 375]),
    ),
    country("IE", (&[400.0, 450.0], DOUBLE_RING_MS), (&[425.0], HALF_MS)),
    country("IT", (&[425.0], RING_1_4_MS), (&[425.0], HALF_MS)),
    country(
        "JP",
        (&[384.0, 416.0], &[1_000, 2_000]),
        (&[400.0], HALF_MS),
    ),
    country("NL", (&[425.0], RING_1_4_MS), (&[425.0], HALF_MS)),
    country("NZ", (&[400.0, 450.0], DOUBLE_RING_MS), (&[400.0], HALF_MS)),
    country("PL", (&[425.0], RING_1_4_MS), (&[425.0], HALF_MS)),
    country("SE", (&[425.0], &[1_000, 5_000]), (&[425.0], &[250, 250])),
    country(
        "US",
        (&[440.0, 480.0], &[2_000, 4_000]),
        (&[480.0, 620.0], HALF_MS),
    ),
];

/// The tones of the country with this ISO code, else [`ANYWHERE`].
#[must_use]
pub fn of_country(code: &str) -> &'static Country {
    COUNTRIES
        .iter()
        .find(|country| country.code.eq_ignore_ascii_case(code))
        .unwrap_or(&ANYWHERE)
}

impl Tone {
    /// One round of the cadence, fit to be looped.
    #[must_use]
    pub fn render(&self) -> Vec<i16> {
        let mut samples = Vec::new();
        for (index, ms) in self.cadence_ms.iter().enumerate() {
            let len = (ms * RATE_HZ / 1_000) as usize;
            if index % 2 == 0 {
                samples.extend(self.burst(len));
            } else {
                samples.resize(samples.len() + len, 0);
            }
        }
        samples
    }

    fn burst(&self, len: usize) -> impl Iterator<Item = i16> {
        let peak = peak_of(LEVEL_DBFS);
        (0..len).map(move |index| {
            let seconds = index as f64 / f64::from(RATE_HZ);
            let sum: f64 = self.hz.iter().map(|hz| (TAU * hz * seconds).sin()).sum();
            let ramp = index.min(len - 1 - index).min(RAMP_SAMPLES) as f64 / RAMP_SAMPLES as f64;
            (sum * peak * ramp) as i16
        })
    }
}

/// A plain sine at an RMS level.
#[must_use]
pub fn sine(hz: f64, level_dbfs: f64, samples: usize) -> Vec<i16> {
    let peak = peak_of(level_dbfs);
    let step = TAU * hz / f64::from(RATE_HZ);
    (0..samples)
        .map(|index| ((step * index as f64).sin() * peak) as i16)
        .collect()
}

/// How loud one frequency is in `samples`, dBFS RMS (Goertzel's algorithm).
#[must_use]
pub fn level_at(samples: &[i16], hz: f64) -> f64 {
    let omega = TAU * hz / f64::from(RATE_HZ);
    let coefficient = 2.0 * omega.cos();
    let (mut last, mut before) = (0.0, 0.0);
    for sample in samples {
        let next = f64::from(*sample) / 32_768.0 + coefficient * last - before;
        before = last;
        last = next;
    }
    let power = last * last + before * before - coefficient * last * before;
    // |X|² of a sine of RMS r over N samples is r²·N²/2.
    let count = samples.len().max(1) as f64;
    10.0 * (2.0 * power.max(0.0) / (count * count)).log10()
}

fn peak_of(level_dbfs: f64) -> f64 {
    32_767.0 * std::f64::consts::SQRT_2 * 10_f64.powf(level_dbfs / 20.0)
}

const fn country(
    code: &'static str,
    ringback: (&'static [f64], &'static [u32]),
    busy: (&'static [f64], &'static [u32]),
) -> Country {
    Country {
        code,
        ringback: Tone {
            hz: ringback.0,
            cadence_ms: ringback.1,
        },
        busy: Tone {
            hz: busy.0,
            cadence_ms: busy.1,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::gain::level_dbfs;

    #[test]
    fn british_ringback_is_two_rings_and_a_rest() {
        let ring = of_country("gb").ringback.render();
        assert_eq!(ring.len(), 3 * 8_000);
        for (from_ms, sounds) in [(50, true), (450, false), (700, true), (1_500, false)] {
            let at = from_ms * 8;
            let level = level_dbfs(&ring[at..at + 800]);
            assert_eq!(level > -20.0, sounds, "{from_ms} ms: {level} dBFS");
        }
    }

    #[test]
    fn a_tone_holds_its_frequencies_and_no_other() {
        let ring = of_country("US").ringback.render();
        let sounding = &ring[400..8_400];
        assert!((level_at(sounding, 440.0) - LEVEL_DBFS).abs() < 0.5);
        assert!((level_at(sounding, 480.0) - LEVEL_DBFS).abs() < 0.5);
        assert!(level_at(sounding, 1_000.0) < -60.0);
    }

    #[test]
    fn an_unknown_country_hears_what_the_itu_recommends() {
        assert_eq!(of_country("XX"), &ANYWHERE);
    }

    #[test]
    fn the_measure_agrees_with_the_sine() {
        let samples = sine(700.0, -12.0, 8_000);
        assert!((level_at(&samples, 700.0) + 12.0).abs() < 0.1);
        assert!((level_dbfs(&samples) + 12.0).abs() < 0.1);
    }
}
