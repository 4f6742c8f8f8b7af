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
        leg.counts.heard = now.at;
        leg.counts.reception.packet(now.at, header);
        leg.counts.octets_in += payload.len() as u64;
        if !leg.counts.heard_once {
            leg.counts.heard_once = true;
            self.tell(MediaFact::FirstPacket { leg: leg.id });
        }
        match kind {
            Kind::Voice if payload.len() <= PAYLOAD_BYTES_MAX => {
                self.recordings.tap(now, leg, header, payload);
                self.spread_voice(now, leg, header, payload);
            }
            Kind::Event => self.spread_event(now, leg, header, payload),
            Kind::Voice | Kind::Held | Kind::Refused => {}
        }
    }

    fn spread_voice(&mut self, now: Moment, leg: &Leg, header: &RtpHeader, payload: &[u8]) {
        let samples = payload.len() as u32; // at most PAYLOAD_BYTES_MAX
        let mut scratch = [0; PAYLOAD_BYTES_MAX];
        for &place in &leg.listeners {
            let Some(listener) = self.legs.at(place).filter(|one| one.is_open_out()) else {
                continue;
            };
            if let Some(stamp) = listener.out.forwarded(now.at, header, samples) {
                let heard = leg.voice.heard(payload, listener.voice.law(), &mut scratch);
                transmit(&mut self.browsers, now, listener, stamp, heard, None);
            }
        }
    }

    /// RFC 4733: as it is, to those who understand it.
    fn spread_event(&mut self, now: Moment, leg: &Leg, header: &RtpHeader, payload: &[u8]) {
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
                transmit(
                    &mut self.browsers,
                    now,
                    listener,
                    stamp,
                    payload,
                    Some(payload_type),
                );
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
        transmit(&mut self.browsers, now, leg, stamp, &frame, None);
    }
}

/// Sends one packet to a leg; `payload_type` only where it is not the leg's voice.
fn transmit(
    browsers: &mut Browsers,
    now: Moment,
    leg: &mut Leg,
    stamp: Stamp,
    payload: &[u8],
    payload_type: Option<u8>,
) {
    let Stamp {
        sequence,
        timestamp,
        marker,
    } = stamp;
    let ssrc = leg.out.ssrc();
    let mut header = RtpHeader {
        payload_type: 0,
        marker,
        sequence,
        timestamp,
        ssrc,
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
            header.payload_type = leg.voice.law().payload_type();
            let packet = header.with_payload(Bytes::copy_from_slice(payload));
            browsers.send(now.instant, leg.id, &packet);
        }
    }
    leg.counts.packets_out += 1;
    leg.counts.octets_out += payload.len() as u64;
}
