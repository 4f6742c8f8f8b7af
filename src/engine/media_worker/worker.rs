//! The loop: commands, datagrams, deadlines. One clock read a turn.

use super::command::{MediaCommand, MediaFact};
use super::leg::{Leg, Side};
use super::plane::{BROWSER_KEY, BUFFER_BYTES, Moment, Plane};
use super::report::{read_reports, take_report};
use super::trunk::{Aim, Kind, QUEUE_BYTES, Trunk};
use crate::id::LegId;
use crate::media::bridge::Voice;
use crate::media::coding::Coding;
use crate::media::frame::FRAME_MS;
use crate::media::g711::Law;
use crate::media::packet::{is_rtcp, read};
use crate::peer::{PeerEvent, SrtpKeys};
use crate::rtpio::{PortPair, Ready};
use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(FRAME_MS);
/// A worker that slept longer plays on from now instead of catching up.
const TICKS_CAUGHT_UP_MAX: u32 = 5;
/// Read from one socket before the others have their turn.
const DATAGRAMS_A_TURN: usize = 64;
const BROWSER_DATAGRAMS_A_TURN: usize = 512;
/// A worker's share of any machine's ports and attention.
const LEGS_MAX: usize = 4_096;

pub struct Worker {
    plane: Plane,
    commands: Receiver<MediaCommand>,
    /// Sockets with more to read than one turn allowed; their edge will not come again.
    unread: BTreeSet<usize>,
    next_tick: Instant,
}

enum Flow {
    GoOn,
    End,
}

impl Worker {
    pub fn new(plane: Plane, commands: Receiver<MediaCommand>) -> Worker {
        Worker {
            plane,
            commands,
            unread: BTreeSet::new(),
            next_tick: Instant::now(),
        }
    }

    pub fn run(mut self) {
        let mut ready = vec![];
        loop {
            ready.clear();
            if let Err(error) = self.plane.reactor.wait(self.timeout(), &mut ready) {
                // epoll fails only when its descriptor is gone, and then nothing can go on.
                tracing::error!(%error, "a media worker's wait failed");
                return self.end();
            }
            let now = self.plane.now();
            if let Flow::End = self.obey(now) {
                return self.end();
            }
            self.unread
                .extend(ready.iter().filter_map(|ready| match ready {
                    Ready::Socket(key) => Some(*key),
                    Ready::Bell => None,
                }));
            for key in std::mem::take(&mut self.unread) {
                self.read(now, key);
            }
            self.browsers(now);
            self.tick(now);
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.unread.is_empty() {
            return Some(Duration::ZERO);
        }
        let tick = (self.plane.legs.len() > 0).then_some(self.next_tick);
        let deadline = tick
            .into_iter()
            .chain(self.plane.browsers.poll_timeout())
            .min()?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    fn obey(&mut self, now: Moment) -> Flow {
        loop {
            match self.commands.try_recv() {
                Ok(MediaCommand::Shutdown) | Err(TryRecvError::Disconnected) => return Flow::End,
                Ok(command) => self.command(now, command),
                Err(TryRecvError::Empty) => return Flow::GoOn,
            }
        }
    }

    fn command(&mut self, now: Moment, command: MediaCommand) {
        let plane = &mut self.plane;
        match command {
            MediaCommand::OpenTrunk { leg, port } => self.open_trunk(now, leg, port),
            MediaCommand::AimTrunk {
                leg,
                remote,
                coding,
                payload_type,
                telephone_event,
                send,
                receive,
                srtp,
            } => {
                let aim = Aim::new(remote, payload_type, telephone_event, send, receive);
                self.aim_trunk(now, leg, aim, coding, srtp);
            }
            MediaCommand::OpenBrowser { leg, offer, law } => {
                self.open_browser(now, leg, &offer, law);
            }
            MediaCommand::ReofferBrowser { leg, offer } => self.reoffer_browser(now, leg, &offer),
            MediaCommand::CloseLeg { leg } => self.close(now, leg),
            MediaCommand::Listen { leg, to } => plane.legs.listen(leg, to),
            MediaCommand::Mute { leg, on } => {
                if let Some(leg) = plane.legs.named(leg) {
                    leg.voice.mute(on);
                }
            }
            MediaCommand::Gain { leg, db } => {
                if let Some(leg) = plane.legs.named(leg) {
                    leg.voice.gain(db);
                }
            }
            MediaCommand::Record {
                call,
                agent,
                customer,
                path,
            } => {
                plane.recordings.record(now, call, agent, customer, path);
                plane.recordings.retap(&mut plane.legs);
            }
            MediaCommand::StopRecording { call } => {
                plane.recordings.stop(now, call);
                plane.recordings.retap(&mut plane.legs);
            }
            MediaCommand::Shutdown => {} // ended in obey
        }
    }

    fn open_trunk(&mut self, now: Moment, id: LegId, port: u16) {
        let plane = &mut self.plane;
        let place = plane.legs.next_place();
        let bound = PortPair::bind(plane.config.ip, port, QUEUE_BYTES).and_then(|mut sockets| {
            plane.reactor.add(&mut sockets.rtp, place * 2)?;
            plane.reactor.add(&mut sockets.rtcp, place * 2 + 1)?;
            Ok(sockets)
        });
        match bound {
            Ok(sockets) if self.may_open(id) => {
                let side = Side::Trunk(Box::new(Trunk::new(sockets)));
                // The law is not known before the aim, and nothing is sent or heard before it.
                self.open(now, id, side, Law::A);
            }
            Ok(_) => self.plane.tell(MediaFact::PortTaken { leg: id, port }),
            Err(error) => {
                tracing::warn!(leg = %id, port, %error, "no trunk port");
                self.plane.tell(MediaFact::PortTaken { leg: id, port });
            }
        }
    }

    fn may_open(&self, id: LegId) -> bool {
        let legs = &self.plane.legs;
        let may = legs.len() < LEGS_MAX && legs.place_of(id).is_none();
        if !may {
            tracing::error!(leg = %id, legs = legs.len(), "a leg is opened twice, or too many");
        }
        may
    }

    fn open(&mut self, now: Moment, id: LegId, side: Side, law: Law) {
        if self.plane.legs.len() == 0 {
            self.next_tick = now.instant; // nothing ticked while there was nobody
        }
        let out = self.plane.outgoing();
        let mut leg = Box::new(Leg::new(id, side, Voice::new(law), out));
        leg.counts.heard = now.at;
        leg.counts.report_due = now.at + self.plane.config.report_every;
        let plane = &mut self.plane;
        plane.legs.open(leg);
        plane.recordings.retap(&mut plane.legs);
    }

    fn aim_trunk(
        &mut self,
        now: Moment,
        id: LegId,
        aim: Aim,
        coding: Coding,
        srtp: Option<SrtpKeys>,
    ) {
        let Some(leg) = self.plane.legs.named(id) else {
            return;
        };
        leg.voice.speak(coding.law());
        leg.counts.heard = now.at;
        let prepared = match &mut leg.side {
            Side::Trunk(trunk) => prepare(trunk, coding, srtp).map(|()| trunk.aim(aim)),
            Side::Browser => Ok(()),
        };
        if let Err(reason) = prepared {
            // Never in the clear instead.
            self.close(now, id);
            self.plane.tell(MediaFact::LegDied { leg: id, reason });
        }
    }

    fn open_browser(&mut self, now: Moment, id: LegId, offer: &str, law: Law) {
        if !self.may_open(id) {
            let reason = "no room for another leg".into();
            return self
                .plane
                .tell(MediaFact::BrowserRefused { leg: id, reason });
        }
        match self.plane.browsers.offer(now.instant, id, offer, law) {
            Ok(sdp) => {
                let law = self.plane.browsers.law(id).unwrap_or(law);
                self.open(now, id, Side::Browser, law);
                self.plane.tell(MediaFact::BrowserAnswer { leg: id, sdp });
            }
            Err(reason) => self
                .plane
                .tell(MediaFact::BrowserRefused { leg: id, reason }),
        }
    }

    fn reoffer_browser(&mut self, now: Moment, id: LegId, offer: &str) {
        let plane = &mut self.plane;
        let Some(law) = plane.browsers.law(id) else {
            let reason = "the leg is gone".into();
            return plane.tell(MediaFact::BrowserRefused { leg: id, reason });
        };
        match plane.browsers.offer(now.instant, id, offer, law) {
            Ok(sdp) => {
                if let (Some(law), Some(leg)) = (plane.browsers.law(id), plane.legs.named(id)) {
                    leg.voice.speak(law);
                }
                plane.tell(MediaFact::BrowserAnswer { leg: id, sdp });
            }
            Err(reason) => plane.tell(MediaFact::BrowserRefused { leg: id, reason }),
        }
    }

    fn close(&mut self, now: Moment, id: LegId) {
        let plane = &mut self.plane;
        let Some(mut leg) = plane.legs.close(id) else {
            return;
        };
        plane.report_end(now, &mut leg);
        if let Side::Browser = leg.side {
            plane.browsers.close(now.instant, id);
        }
        plane.recordings.retap(&mut plane.legs);
    }

    fn end(mut self) {
        let now = self.plane.now();
        self.plane.recordings.stop_all(now);
        for id in self.plane.legs.ids() {
            self.close(now, id);
        }
    }

    fn read(&mut self, now: Moment, key: usize) {
        if key == BROWSER_KEY {
            if !self
                .plane
                .browsers
                .read(now.instant, BROWSER_DATAGRAMS_A_TURN)
            {
                self.unread.insert(key);
            }
            return;
        }
        let mut empty = true;
        self.step(now, key / 2, |plane, leg| {
            let mut buffer = [0; BUFFER_BYTES];
            empty = if key.is_multiple_of(2) {
                read_voice(plane, now, leg, &mut buffer)
            } else {
                read_reports(now, leg, &mut buffer, DATAGRAMS_A_TURN)
            };
        });
        if !empty {
            self.unread.insert(key);
        }
    }

    fn browsers(&mut self, now: Moment) {
        self.plane.browsers.handle_timeout(now.instant);
        while let Some(event) = self.plane.browsers.poll_event() {
            match event {
                PeerEvent::Connected { leg } => {
                    self.plane.tell(MediaFact::BrowserConnected { leg })
                }
                PeerEvent::Lost { leg } => self.plane.tell(MediaFact::BrowserLost { leg }),
                PeerEvent::Rtp { leg, packet } => {
                    let Some(place) = self.plane.legs.place_of(leg) else {
                        continue;
                    };
                    self.step(now, place, |plane, leg| {
                        let header = packet.header();
                        plane.spread(now, leg, Kind::Voice, &header, &packet.payload);
                    });
                }
            }
        }
        self.plane.browsers.flush();
    }

    /// Generated sound and reports, on the 20 ms grid that began with the first leg.
    fn tick(&mut self, now: Moment) {
        if self.plane.legs.len() == 0 {
            return;
        }
        let mut ticks = 0;
        while self.next_tick <= now.instant {
            ticks += 1;
            if ticks > TICKS_CAUGHT_UP_MAX {
                self.next_tick = now.instant + TICK;
                return;
            }
            self.next_tick += TICK;
            for place in self.plane.legs.places() {
                self.step(now, place, |plane, leg| {
                    plane.play(now, leg);
                    plane.report(now, leg);
                });
            }
        }
    }

    /// One leg's step, outside of the others. If it panics the leg is gone, and nothing else.
    fn step(&mut self, now: Moment, place: usize, act: impl FnOnce(&mut Plane, &mut Leg)) {
        let Some(mut leg) = self.plane.legs.take(place) else {
            return;
        };
        let id = leg.id;
        let plane = &mut self.plane;
        match catch_unwind(AssertUnwindSafe(|| act(plane, &mut leg))) {
            Ok(()) => plane.legs.put_back(place, leg),
            Err(panic) => {
                let reason = reason(&*panic).to_owned();
                tracing::error!(leg = %id, reason, "a leg's step panicked");
                plane.legs.close(id);
                if let Side::Browser = leg.side {
                    plane.browsers.close(now.instant, id);
                }
                plane.tell(MediaFact::LegDied { leg: id, reason });
            }
        }
    }
}

fn prepare(trunk: &mut Trunk, coding: Coding, srtp: Option<SrtpKeys>) -> Result<(), String> {
    trunk.secure(srtp).map_err(|error| error.to_string())?;
    trunk.code(coding).map_err(|error| error.to_string())
}

/// Whether the socket is empty.
fn read_voice(plane: &mut Plane, now: Moment, leg: &mut Leg, buffer: &mut [u8]) -> bool {
    for _ in 0..DATAGRAMS_A_TURN {
        let Side::Trunk(trunk) = &mut leg.side else {
            return true;
        };
        let Some((len, from)) = trunk.sockets.rtp.receive(buffer) else {
            return true;
        };
        let datagram = &buffer[..len];
        if is_rtcp(datagram) {
            take_report(now, leg, from, datagram);
            continue;
        }
        if let Some(srtp) = trunk.srtp() {
            // RFC 3711 3.3: an address is believed only with a packet whose tag verified.
            match srtp.unprotect(datagram) {
                Err(_) => leg.counts.refused += 1,
                Ok(packet) => match trunk.judge(from, &packet.header()) {
                    Kind::Refused => leg.counts.refused += 1,
                    kind => plane.spread(now, leg, kind, &packet.header(), &packet.payload),
                },
            }
            continue;
        }
        match read(datagram).map(|(header, payload)| (trunk.judge(from, &header), header, payload))
        {
            Err(_) | Ok((Kind::Refused, ..)) => leg.counts.refused += 1,
            Ok((kind, header, payload)) => plane.spread(now, leg, kind, &header, payload),
        }
    }
    false
}

fn reason(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without words")
}
