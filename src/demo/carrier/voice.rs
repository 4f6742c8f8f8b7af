//! What the called party says, synthesised at 8 kHz.

use std::f32::consts::TAU;

pub(super) const SAMPLE_RATE_HZ: f32 = 8_000.0;

/// What the called party says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Voice {
    /// A short tune, its bars separated by rests, pleasant enough to be heard all day.
    Melody,
    /// A steady sine of so many hertz at −12 dB of full scale.
    Tone(f32),
    /// What it hears, sent straight back.
    Echo,
    /// Packets of silence.
    Silence,
}

/// Of full scale: −12 dB.
const TONE_AMPLITUDE: f32 = 0.25 * 32_767.0;
const NOTE_AMPLITUDE: f32 = 0.18 * 32_767.0;
/// One note of the tune.
const NOTE_SAMPLES: u32 = 2_400;
/// A pentatonic tune in semitones above A3; `None` is a rest.
const TUNE: [Option<f32>; 16] = {
    const fn n(semitones: f32) -> Option<f32> {
        Some(semitones)
    }
    [
        n(3.0),
        n(7.0),
        n(10.0),
        n(12.0),
        n(10.0),
        n(7.0),
        n(3.0),
        None,
        n(5.0),
        n(7.0),
        n(12.0),
        n(15.0),
        n(12.0),
        n(10.0),
        n(7.0),
        None,
    ]
};
/// A ringing tone as in China: 450 Hz, one second on, four off.
const RINGING_HZ: f32 = 450.0;
const RINGING_ON_SAMPLES: u32 = 8_000;
const RINGING_PERIOD_SAMPLES: u32 = 40_000;

/// A voice in the middle of what it says.
pub(super) struct Speaker {
    voice: Voice,
    sample: u32,
    /// Turns of the sine so far, within one turn, so that hours do not cost precision.
    phase: f32,
}

impl Speaker {
    pub(super) fn new(voice: Voice) -> Self {
        Self {
            voice,
            sample: 0,
            phase: 0.0,
        }
    }

    /// The next sample of the voice. An echo says nothing of its own.
    pub(super) fn speak(&mut self) -> i16 {
        let level = match self.voice {
            Voice::Tone(hz) => TONE_AMPLITUDE * self.sine(hz),
            Voice::Melody => self.note(),
            Voice::Echo | Voice::Silence => 0.0,
        };
        self.sample = self.sample.wrapping_add(1);
        level as i16
    }

    /// The next sample of a ringing tone.
    pub(super) fn ring(&mut self) -> i16 {
        let on = self.sample % RINGING_PERIOD_SAMPLES < RINGING_ON_SAMPLES;
        let level = if on {
            TONE_AMPLITUDE * self.sine(RINGING_HZ)
        } else {
            0.0
        };
        self.sample = self.sample.wrapping_add(1);
        level as i16
    }

    fn note(&mut self) -> f32 {
        let place = (self.sample / NOTE_SAMPLES) as usize % TUNE.len();
        let within = (self.sample % NOTE_SAMPLES) as f32 / NOTE_SAMPLES as f32;
        let Some(semitones) = TUNE[place] else {
            return 0.0;
        };
        let fundamental = self.sine(220.0 * 2f32.powf(semitones / 12.0));
        let third = (3.0 * TAU * self.phase).sin();
        // A plucked string: 10 ms of attack, then dying away to nothing by the note's end.
        let attack = (within * 30.0).min(1.0);
        let decay = (-3.0 * within).exp() * (1.0 - within);
        NOTE_AMPLITUDE * attack * decay * (fundamental + 0.2 * third)
    }

    fn sine(&mut self, hz: f32) -> f32 {
        self.phase = (self.phase + hz / SAMPLE_RATE_HZ).fract();
        (TAU * self.phase).sin()
    }
}
