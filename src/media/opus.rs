//! Opus (RFC 6716) toward legs that speak nothing else, turned into G.711 as the rest of the house
//! knows it. libopus is opened at 8 kHz, mono: nothing is resampled, whatever band the far side
//! uses. Its RTP clock is 48 kHz always (RFC 7587 section 4.1); the house counts in 8 kHz.

use super::frame::RATE_HZ;
use super::g711::Law;
use super::packet::RtpHeader;
use opus::{Application, Bitrate, Channels, Decoder, Encoder};

/// RFC 7587 section 4.1.
pub const CLOCK_HZ: u32 = 48_000;
/// Ticks of the wire's clock in one of ours.
const TICKS: u32 = CLOCK_HZ / RATE_HZ;
/// The longest packet (RFC 6716 section 3.2.5), at 8 kHz: 120 ms.
pub const SAMPLES_MAX: usize = 960;
/// Room for a packet of ours.
pub const PACKET_BYTES_MAX: usize = 400;
/// The least an encoder takes at once, 2.5 ms.
const SAMPLES_MIN: usize = 20;
const BITRATE_BPS: i32 = 16_000;
/// Of 0 to 10: more is not heard in a telephone's band.
const COMPLEXITY: i32 = 5;
/// What the encoder arms itself against when the far side can make use of it.
const LOSS_EXPECTED_PERCENT: i32 = 5;
/// A packet this much older than the newest is late; further off is a new beginning.
const LATE_MAX: i16 = 100;

/// Both directions of one leg.
#[derive(Debug)]
pub struct Opus {
    decoder: Decoder,
    encoder: Encoder,
    newest: Option<Newest>,
}

/// The newest packet heard, on both clocks.
#[derive(Clone, Copy, Debug)]
struct Newest {
    ssrc: u32,
    sequence: u16,
    wire: u32,
    ours: u32,
}

/// The codec could not be set up, or a packet is none of its.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("opus: {0}")]
pub struct OpusError(&'static str);

impl From<opus::Error> for OpusError {
    fn from(error: opus::Error) -> OpusError {
        OpusError(error.code().description())
    }
}

impl Opus {
    /// # Errors
    /// libopus found no memory.
    pub fn new() -> Result<Opus, OpusError> {
        let mut encoder = Encoder::new(RATE_HZ, Channels::Mono, Application::Voip)?;
        encoder.set_bitrate(Bitrate::Bits(BITRATE_BPS))?;
        encoder.set_complexity(COMPLEXITY)?;
        encoder.set_inband_fec(true)?;
        encoder.set_packet_loss_perc(LOSS_EXPECTED_PERCENT)?;
        Ok(Opus {
            decoder: Decoder::new(RATE_HZ, Channels::Mono)?,
            encoder,
            newest: None,
        })
    }

    /// The header with its timestamp in the house's clock.
    pub fn header(&self, header: &RtpHeader) -> RtpHeader {
        let timestamp = match self.newest.filter(|newest| newest.ssrc == header.ssrc) {
            Some(newest) => newest
                .ours
                .wrapping_add(passed(newest.wire, header.timestamp)),
            None => header.timestamp / TICKS,
        };
        RtpHeader {
            timestamp,
            ..*header
        }
    }

    /// A packet's voice in `law`, at most [`SAMPLES_MAX`] bytes of it, with the header that belongs
    /// to it. `None`: it came after a later one, or is no Opus.
    pub fn hear<'a>(
        &mut self,
        header: &RtpHeader,
        packet: &[u8],
        law: Law,
        into: &'a mut [u8; SAMPLES_MAX],
    ) -> Option<(RtpHeader, &'a [u8])> {
        let known = self.newest.filter(|newest| newest.ssrc == header.ssrc);
        let ahead = known.map(|newest| header.sequence.wrapping_sub(newest.sequence) as i16);
        if packet.is_empty() || ahead.is_some_and(|ahead| (-LATE_MAX..=0).contains(&ahead)) {
            return None;
        }
        let mut samples = [0; SAMPLES_MAX];
        let count = self.decoder.decode(packet, &mut samples, false).ok()?;
        let heard = self.header(header);
        self.newest = Some(Newest {
            ssrc: header.ssrc,
            sequence: header.sequence,
            wire: header.timestamp,
            ours: heard.timestamp,
        });
        for (byte, sample) in into.iter_mut().zip(&samples[..count]) {
            *byte = law.encode(*sample);
        }
        Some((heard, &into[..count]))
    }

    /// Voice in `law` as one packet. `None` when it lasts as no Opus frame does (RFC 6716
    /// section 2.1.4: 2.5, 5, 10, 20, 40 or 60 ms, and from libopus 80, 100 and 120).
    pub fn speak<'a>(
        &mut self,
        law: Law,
        voice: &[u8],
        into: &'a mut [u8; PACKET_BYTES_MAX],
    ) -> Option<&'a [u8]> {
        if voice.len() < SAMPLES_MIN || voice.len() > SAMPLES_MAX {
            return None;
        }
        let mut samples = [0; SAMPLES_MAX];
        law.decode_into(voice, &mut samples);
        let samples = &samples[..voice.len()];
        let len = match self.encoder.encode(samples, into) {
            Ok(len) => len,
            // 30 and 50 ms, as some telephones have it: in pieces of 10.
            Err(_) => self.speak_in_pieces(samples, into)?,
        };
        Some(&into[..len])
    }

    fn speak_in_pieces(&mut self, samples: &[i16], into: &mut [u8]) -> Option<usize> {
        const PIECE: usize = 80;
        if !samples.len().is_multiple_of(PIECE) {
            return None;
        }
        let mut pieces = Vec::new();
        for piece in samples.chunks_exact(PIECE) {
            pieces.push(self.encoder.encode_vec(piece, PACKET_BYTES_MAX).ok()?);
        }
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        opus::Repacketizer::new().ok()?.combine(&pieces, into).ok()
    }
}

/// Of the house's clock, forwards or backwards.
fn passed(from_wire: u32, to_wire: u32) -> u32 {
    (to_wire.wrapping_sub(from_wire) as i32 / TICKS as i32) as u32
}

/// What a leg's timestamps, and the durations of its events (RFC 4733 section 2.3.5), count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// 8 kHz, as everything inside.
    House,
    /// 48 kHz.
    Opus,
}

impl Clock {
    /// A time of ours as it leaves. Both clocks wrap at the same moment this way.
    #[must_use]
    pub fn on_wire(self, timestamp: u32) -> u32 {
        match self {
            Clock::House => timestamp,
            Clock::Opus => timestamp.wrapping_mul(TICKS),
        }
    }
}

/// An RFC 4733 event, its duration told in another clock. Longer than a field can say becomes the
/// longest it can.
#[must_use]
pub fn event(payload: &[u8], from: Clock, to: Clock) -> [u8; 4] {
    let mut event = [0; 4];
    for (byte, of) in event.iter_mut().zip(payload) {
        *byte = *of;
    }
    let duration = u32::from(u16::from_be_bytes([event[2], event[3]]));
    let duration = match (from, to) {
        (Clock::House, Clock::Opus) => duration * TICKS,
        (Clock::Opus, Clock::House) => duration / TICKS,
        _ => duration,
    };
    let duration = u16::try_from(duration).unwrap_or(u16::MAX);
    [event[2], event[3]] = duration.to_be_bytes();
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frame::FRAME_SAMPLES;

    fn header(sequence: u16, timestamp: u32) -> RtpHeader {
        RtpHeader {
            payload_type: 111,
            marker: false,
            sequence,
            timestamp,
            ssrc: 9,
        }
    }

    fn tone(hz: f32, samples: usize) -> Vec<i16> {
        let step = std::f32::consts::TAU * hz / RATE_HZ as f32;
        let sample = |n| ((n as f32 * step).sin() * 8_000.0) as i16;
        (0..samples).map(sample).collect()
    }

    /// Amplitude of one frequency (Goertzel).
    fn amplitude(samples: &[i16], hz: f32) -> f32 {
        let step = std::f32::consts::TAU * hz / RATE_HZ as f32;
        let sum = |of: fn(f32) -> f32| -> f32 {
            let parts = samples.iter().enumerate();
            parts
                .map(|(n, sample)| f32::from(*sample) * of(n as f32 * step))
                .sum()
        };
        let (sine, cosine) = (sum(f32::sin), sum(f32::cos));
        2.0 * sine.hypot(cosine) / samples.len() as f32
    }

    /// Frames of a tone through an encoder and a decoder.
    fn through(frame: usize, frames: usize) -> Vec<i16> {
        let (mut speaks, mut hears) = (Opus::new().unwrap(), Opus::new().unwrap());
        let voice = Law::A.encode_all(&tone(1_000.0, frame * frames));
        let mut heard = vec![];
        for (n, voice) in voice.chunks(frame).enumerate() {
            let (mut packet, mut decoded) = ([0; PACKET_BYTES_MAX], [0; SAMPLES_MAX]);
            let packet = speaks.speak(Law::A, voice, &mut packet).expect("a frame");
            let header = header(n as u16, (n * frame) as u32 * TICKS);
            let (header, voice) = hears
                .hear(&header, packet, Law::Mu, &mut decoded)
                .expect("a packet");
            assert_eq!(header.timestamp, (n * frame) as u32);
            heard.extend(voice.iter().map(|byte| Law::Mu.decode(*byte)));
        }
        heard
    }

    #[test]
    fn a_tone_comes_through_with_its_level_in_every_length_telephones_use() {
        for frame in [80, 160, 240, 320, 480] {
            let heard = through(frame, 8_000 / frame);
            assert_eq!(heard.len(), 8_000 / frame * frame);
            let level = amplitude(&heard[2_000..], 1_000.0);
            assert!((5_600.0..10_000.0).contains(&level), "{frame}: {level}");
            assert!(amplitude(&heard[2_000..], 1_700.0) < 400.0, "{frame}");
        }
    }

    #[test]
    fn a_length_that_is_no_frame_is_not_spoken() {
        let mut opus = Opus::new().unwrap();
        let mut packet = [0; PACKET_BYTES_MAX];
        for samples in [0, 19, 161, 1_040] {
            let voice = vec![Law::A.silence(); samples];
            assert_eq!(opus.speak(Law::A, &voice, &mut packet), None, "{samples}");
        }
    }

    #[test]
    fn what_comes_late_or_is_no_opus_is_not_heard() {
        let mut opus = Opus::new().unwrap();
        let (mut packet, mut into) = ([0; PACKET_BYTES_MAX], [0; SAMPLES_MAX]);
        let silence = [Law::A.silence(); FRAME_SAMPLES];
        let packet = opus.speak(Law::A, &silence, &mut packet).unwrap().to_vec();
        let mut hears = |sequence, bytes: &[u8]| {
            opus.hear(&header(sequence, 0), bytes, Law::A, &mut into)
                .is_some()
        };
        assert!(hears(5, &packet));
        assert!(!hears(5, &packet) && !hears(4, &packet) && !hears(65_500, &packet));
        assert!(!hears(6, &[]) && !hears(6, &[0xFF; 3]));
        assert!(hears(6, &packet) && hears(40_000, &packet));
    }

    #[test]
    fn both_clocks_go_on_over_their_wraps() {
        let mut opus = Opus::new().unwrap();
        let (mut packet, mut into) = ([0; PACKET_BYTES_MAX], [0; SAMPLES_MAX]);
        let silence = [Law::A.silence(); FRAME_SAMPLES];
        let packet = opus.speak(Law::A, &silence, &mut packet).unwrap().to_vec();
        let start = u32::MAX - 2_000;
        let mut before = None;
        for n in 0..6_u16 {
            let wire = start.wrapping_add(u32::from(n) * 960);
            let (heard, _) = opus
                .hear(&header(n, wire), &packet, Law::A, &mut into)
                .unwrap();
            if let Some(before) = before {
                assert_eq!(heard.timestamp.wrapping_sub(before), 160);
            }
            before = Some(heard.timestamp);
        }
        let last = u32::MAX - 159;
        let on_wire = |timestamp| Clock::Opus.on_wire(timestamp);
        assert_eq!(
            on_wire(last.wrapping_add(160)).wrapping_sub(on_wire(last)),
            960
        );
    }

    #[test]
    fn an_event_lasts_as_long_on_either_clock() {
        use Clock::{House, Opus};
        assert_eq!(
            event(&[5, 0x8A, 0x01, 0x90], House, Opus),
            [5, 0x8A, 0x09, 0x60]
        );
        assert_eq!(
            event(&[5, 10, 0x09, 0x60], Opus, House),
            [5, 10, 0x01, 0x90]
        );
        assert_eq!(event(&[5, 10, 0xF0, 0], House, Opus), [5, 10, 0xFF, 0xFF]);
        assert_eq!(event(&[5, 10, 1, 2], House, House), [5, 10, 1, 2]);
    }
}
