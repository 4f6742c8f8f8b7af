//! What all legs of a worker share, and how a voice gets from one to the others.

use super::WorkerConfig;
use super::browser::Browsers;
use super::command::{FactSink, MediaFact, Source};
use super::leg::{Leg, Side};
use super::legs::Legs;
use super::recording::Recordings;
use super::trunk::Kind;
use crate::media::bridge::{Outgoing, Stamp};
use crate::media::frame::FRAME_SAMPLES;
use crate::media::music::Looped;
use crate::media::opus::{self, Clock, PACKET_BYTES_MAX, SAMPLES_MAX};
use crate::media::packet::{DATAGRAM_BYTES_MAX, RtpHeader};
use crate::rtpio::Reactor;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::io;
use std::time::{Duration, Instant};

/// One more than the longest datagram, so that a longer one shows.
pub const BUFFER_BYTES: usize = DATAGRAM_BYTES_MAX + 1;
/// 120 ms of G.711; a longer packet is not telephony.
pub const PAYLOAD_BYTES_MAX: usize = 960;
/// The browser socket's reactor key; legs' keys are two a place below it.
pub const BROWSER_KEY: usize = usize::MAX - 1;

pub struct Plane {
    pub legs: Legs,
    pub browsers: Browsers,
    pub recordings: Recordings,
    pub facts: FactSink,
    pub reactor: Reactor,
    pub config: WorkerConfig,
    pub random: StdRng,
    began: Instant,
    silence: Looped,
    music: Looped,
    ringback: Looped,
    busy: Looped,
}

/// One reading of the clock: for machines, and as the time since the worker began.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub instant: Instant,
    pub at: Duration,
}

impl Plane {
    pub fn new(config: WorkerConfig, facts: FactSink, reactor: Reactor) -> io::Result<Plane> {
        let mut random = StdRng::seed_from_u64(config.seed);
        let advertised = config.advertised.clone();
        let mut browsers =
            Browsers::bind(config.ip, config.browser_port, advertised, random.random())?;
        reactor.add(&mut browsers.socket, BROWSER_KEY)?;
        Ok(Plane {
            legs: Legs::default(),
            browsers,
            recordings: Recordings::new(config.recorder.clone()),
            facts,
            reactor,
            random,
            began: Instant::now(),
            silence: Looped::new(&[]),
            music: Looped::new(&config.music),
            ringback: Looped::new(&config.country.ringback.render()),
            busy: Looped::new(&config.country.busy.render()),
            config,
        })
    }

    pub fn now(&self) -> Moment {
        self.moment(Instant::now())
    }

    pub fn moment(&self, instant: Instant) -> Moment {
        Moment {
            instant,
            at: instant.saturating_duration_since(self.began),
        }
    }

    pub fn tell(&self, fact: MediaFact) {
        (self.facts)(fact);
    }

    pub fn outgoing(&mut self) -> Outgoing {
        Outgoing::new(
            self.random.random(),
            self.random.random(),
            self.random.random(),
        )
    }

    /// A packet of `leg`, which stands outside of [`Self::legs`] meanwhile: to the recording and to
    /// everybody who hears it.
    pub fn spread(
        &mut self,
        now: Moment,
        leg: &mut Leg,
        kind: Kind,
        header: &RtpHeader,
        payload: &[u8],
    ) {
        #[cfg(test)]
        super::tests::planted(payload);
        let wire = header;
        let header = &match leg.opus() {
            Some(opus) => opus.header(wire),
            None => *wire,
        };
        leg.counts.heard = now.at;
        leg.counts.reception.packet(now.at, header);
        leg.counts.octets_in += payload.len() as u64;
        if !leg.counts.heard_once {
            leg.counts.heard_once = true;
            self.tell(MediaFact::FirstPacket { leg: leg.id });
        }
        match kind {
            Kind::Voice if leg.clock() == Clock::Opus => self.spread_opus(now, leg, wire, payload),
            Kind::Voice if payload.len() <= PAYLOAD_BYTES_MAX => {
                self.recordings.tap(now, leg, header, payload);
                self.spread_voice(now, leg, header, payload, None);
            }
            Kind::Event => self.spread_event(now, leg, header, payload),
            Kind::Voice | Kind::Held | Kind::Refused => {}
        }
    }

    fn spread_opus(&mut self, now: Moment, leg: &mut Leg, wire: &RtpHeader, packet: &[u8]) {
        let law = leg.voice.law();
        let mut voice = [0; SAMPLES_MAX];
        let heard = leg
            .opus()
            .and_then(|opus| opus.hear(wire, packet, law, &mut voice));
        if let Some((header, voice)) = heard {
            self.recordings.tap(now, leg, &header, voice);
            self.spread_voice(now, leg, &header, voice, Some(packet));
        }
    }

    /// `packet` is the same voice as Opus, for those who speak it too.
    fn spread_voice(
        &mut self,
        now: Moment,
        leg: &Leg,
        header: &RtpHeader,
        payload: &[u8],
        packet: Option<&[u8]>,
    ) {
        let samples = payload.len() as u32; // at most PAYLOAD_BYTES_MAX
        let packet = packet.filter(|_| leg.voice.is_as_spoken());
        let mut scratch = [0; PAYLOAD_BYTES_MAX];
        for &place in &leg.listeners {
            let Some(listener) = self.legs.at(place).filter(|one| one.is_open_out()) else {
                continue;
            };
            let Some(stamp) = listener.out.forwarded(now.at, header, samples) else {
                continue;
            };
            let sound = match packet.filter(|_| listener.clock() == Clock::Opus) {
                Some(packet) => Sound::Packet(packet),
                None => Sound::Voice(leg.voice.heard(payload, listener.voice.law(), &mut scratch)),
            };
            transmit(&mut self.browsers, now, listener, stamp, sound);
        }
    }

    /// RFC 4733: as it is but for its clock, to those who understand it.
    fn spread_event(&mut self, now: Moment, leg: &Leg, header: &RtpHeader, payload: &[u8]) {
        let clock = leg.clock();
        for &place in &leg.listeners {
            let Some(listener) = self.legs.at(place).filter(|one| one.is_open_out()) else {
                continue;
            };
            let payload_type = match &listener.side {
                Side::Trunk(trunk) => trunk.telephone_event(),
                Side::Browser => None,
            };
            let Some(payload_type) = payload_type else {
                listener.out.skipped(header);
                continue;
            };
            // An event's packets all carry its beginning: they take no samples of their own.
            if let Some(stamp) = listener.out.forwarded(now.at, header, 0) {
                let told = opus::event(payload, clock, listener.clock());
                let payload = match listener.clock() == clock {
                    true => payload,
                    false => &told,
                };
                let sound = Sound::Event(payload_type, payload);
                transmit(&mut self.browsers, now, listener, stamp, sound);
            }
        }
    }

    /// 20 ms of what the leg hears, if we make it.
    pub fn play(&mut self, now: Moment, leg: &mut Leg) {
        let sound = match leg.hears {
            Source::Leg(_) => return,
            Source::Silence => &self.silence,
            Source::Music => &self.music,
            Source::Ringback => &self.ringback,
            Source::Busy => &self.busy,
        };
        if !leg.is_open_out() {
            return;
        }
        let mut frame = [0; FRAME_SAMPLES];
        leg.cursor = sound.play(leg.voice.law(), leg.cursor, &mut frame);
        let stamp = leg.out.generated(now.at, FRAME_SAMPLES as u32);
        let sound = Sound::Voice(&frame);
        transmit(&mut self.browsers, now, leg, stamp, sound);
    }
}

/// What one packet carries.
enum Sound<'a> {
    /// In the listener's law.
    Voice(&'a [u8]),
    /// As the listener's codec has it already.
    Packet(&'a [u8]),
    /// With its payload type.
    Event(u8, &'a [u8]),
}

/// Sends one packet to a leg.
fn transmit(browsers: &mut Browsers, now: Moment, leg: &mut Leg, stamp: Stamp, sound: Sound<'_>) {
    let Stamp {
        sequence,
        timestamp,
        marker,
    } = stamp;
    let mut header = RtpHeader {
        payload_type: 0,
        marker,
        sequence,
        timestamp: leg.clock().on_wire(timestamp),
        ssrc: leg.out.ssrc(),
    };
    let mut coded;
    let law = leg.voice.law();
    let (payload_type, payload) = match (sound, leg.opus()) {
        (Sound::Voice(voice), None) => (None, voice),
        (Sound::Voice(voice), Some(opus)) => {
            coded = [0; PACKET_BYTES_MAX];
            let Some(packet) = opus.speak(law, voice, &mut coded) else {
                return;
            };
            (None, packet)
        }
        (Sound::Packet(packet), _) => (None, packet),
        (Sound::Event(payload_type, event), _) => (Some(payload_type), event),
    };
    match &mut leg.side {
        Side::Trunk(trunk) => {
            let Some((to, voice)) = trunk.target() else {
                return;
            };
            header.payload_type = payload_type.unwrap_or(voice);
            if !trunk.send(&header, payload, to) {
                return;
            }
        }
        Side::Browser => {
            header.payload_type = law.payload_type();
            let packet = header.with_payload(Bytes::copy_from_slice(payload));
            browsers.send(now.instant, leg.id, &packet);
        }
    }
    leg.counts.packets_out += 1;
    leg.counts.octets_out += payload.len() as u64;
}
