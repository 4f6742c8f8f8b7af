//! Sounds that go round: hold music and call progress tones, encoded once in both laws.

use super::frame::RATE_HZ;
use super::g711::Law;
use std::io::Read;
use std::sync::Arc;

/// Ten minutes; a longer file is no loop.
pub const SAMPLES_MAX: usize = 600 * RATE_HZ as usize;

/// Our own chords, see `config/sounds/README.md`.
static HOLD: &[u8] = include_bytes!("../../config/sounds/hold.wav");

#[derive(Debug, thiserror::Error)]
pub enum MusicError {
    #[error("not a WAV file: {0}")]
    Wav(#[from] hound::Error),
    #[error(
        "must be 8,000 Hz, 16 bits, mono; it is {rate_hz} Hz, {bits} bits, {channels} channels"
    )]
    Format {
        rate_hz: u32,
        bits: u16,
        channels: u16,
    },
    #[error("holds no sound, or more than ten minutes")]
    Length,
}

/// A sound without an end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Looped {
    mu: Arc<[u8]>,
    a: Arc<[u8]>,
}

impl Looped {
    /// Silence where there are no samples.
    #[must_use]
    pub fn new(samples: &[i16]) -> Looped {
        let samples = if samples.is_empty() { &[0] } else { samples };
        Looped {
            mu: Law::Mu.encode_all(samples).into(),
            a: Law::A.encode_all(samples).into(),
        }
    }

    /// Fills `into` from `cursor` on; where the next frame begins.
    #[must_use]
    pub fn play(&self, law: Law, cursor: usize, into: &mut [u8]) -> usize {
        let bytes = match law {
            Law::Mu => &self.mu,
            Law::A => &self.a,
        };
        let mut at = cursor % bytes.len();
        let mut filled = 0;
        while filled < into.len() {
            let len = (into.len() - filled).min(bytes.len() - at);
            into[filled..filled + len].copy_from_slice(&bytes[at..at + len]);
            filled += len;
            at = (at + len) % bytes.len();
        }
        at
    }
}

/// The built-in hold music.
#[must_use]
pub fn default_hold() -> Vec<i16> {
    // Built in, and read by a test: it cannot be anything but a good file.
    read_wav(HOLD).unwrap_or_default()
}

/// Reads a WAV file of telephone sound.
pub fn read_wav(reader: impl Read) -> Result<Vec<i16>, MusicError> {
    let mut wav = hound::WavReader::new(reader)?;
    let spec = wav.spec();
    if spec.sample_rate != RATE_HZ || spec.bits_per_sample != 16 || spec.channels != 1 {
        return Err(MusicError::Format {
            rate_hz: spec.sample_rate,
            bits: spec.bits_per_sample,
            channels: spec.channels,
        });
    }
    let samples: Vec<i16> = wav
        .samples::<i16>()
        .take(SAMPLES_MAX + 1)
        .collect::<Result<_, _>>()?;
    if samples.is_empty() || samples.len() > SAMPLES_MAX {
        return Err(MusicError::Length);
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::gain::level_dbfs;

    #[test]
    fn the_built_in_music_is_quiet_long_and_seamless() {
        let hold = read_wav(HOLD).expect("the built-in file is telephone sound");
        assert!(hold.len() >= 15 * 8_000);
        let level = level_dbfs(&hold);
        assert!((-32.0..-18.0).contains(&level), "{level} dBFS");
        let inside = hold.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max();
        let seam = hold[hold.len() - 1].abs_diff(hold[0]);
        assert!(
            Some(seam) <= inside,
            "{seam} at the seam, {inside:?} inside"
        );
        for second in hold.chunks_exact(8_000) {
            assert!(level_dbfs(second) > -45.0, "no second is dead");
        }
    }

    #[test]
    fn a_loop_goes_round_without_a_gap() {
        let looped = Looped::new(&[1_000, 2_000, 3_000]);
        let (mut first, mut second) = ([0; 4], [0; 4]);
        let cursor = looped.play(Law::A, 0, &mut first);
        let _ = looped.play(Law::A, cursor, &mut second);
        let byte = |sample| Law::A.encode(sample);
        assert_eq!(first, [byte(1_000), byte(2_000), byte(3_000), byte(1_000)]);
        assert_eq!(second, [byte(2_000), byte(3_000), byte(1_000), byte(2_000)]);
    }

    #[test]
    fn a_loop_of_nothing_is_silence() {
        let mut frame = [0; 4];
        let _ = Looped::new(&[]).play(Law::Mu, 7, &mut frame);
        assert_eq!(frame, [Law::Mu.silence(); 4]);
    }

    #[test]
    fn other_formats_are_told_apart() {
        let mut file = std::io::Cursor::new(vec![]);
        let spec = hound::WavSpec {
            channels: 2,
            sample_rate: 44_100,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        hound::WavWriter::new(&mut file, spec)
            .expect("in memory")
            .finalize()
            .expect("in memory");
        let read = read_wav(file.get_ref().as_slice());
        assert!(matches!(
            read,
            Err(MusicError::Format {
                rate_hz: 44_100,
                channels: 2,
                ..
            })
        ));
        assert!(matches!(
            read_wav(&b"RIFFxxxx"[..]),
            Err(MusicError::Wav(_))
        ));
    }
}
