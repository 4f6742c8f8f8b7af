//! A worker on real loopback sockets. Two phones of the tests' own speak through it.

use super::*;
use crate::engine::recorder::Recorder;
use crate::id::{CallId, LegId};
use crate::media::coding::Coding;
use crate::media::g711::Law;
use crate::media::gain::level_dbfs;
use crate::media::packet::{RtpHeader, RtpPacket, write};
use crate::media::tone::{ANYWHERE, level_at, sine};
use crate::peer::{Srtp, SrtpKeys, Suite};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Instant;

mod bridge;
mod opus;
mod recording;
mod srtp;

const A: LegId = LegId(1);
const B: LegId = LegId(2);
const CALL: CallId = CallId(uuid::Uuid::from_u128(7));
const FRAME: Duration = Duration::from_millis(20);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// A payload whose arrival panics in a test's build.
const PLANT: &[u8] = b"a planted panic";

pub fn planted(payload: &[u8]) {
    assert!(payload != PLANT, "planted");
}

/// A worker, its recorder and what they told.
struct House {
    worker: MediaWorkerHandle,
    recorder: Recorder,
    facts: Receiver<MediaFact>,
    folder: tempfile::TempDir,
}

/// The phone's end of a leg's keys.
fn theirs(keys: &SrtpKeys) -> Srtp {
    let turned = SrtpKeys {
        suite: keys.suite,
        local: keys.remote.clone(),
        remote: keys.local.clone(),
    };
    Srtp::from_keys(&turned).expect("keys fit")
}

/// The far side of a trunk leg.
struct Phone {
    leg: LegId,
    socket: UdpSocket,
    to: SocketAddr,
    law: Law,
    ssrc: u32,
    sequence: u16,
    /// 20 ms each, since it was switched on.
    frame: u32,
    on: Instant,
    /// What came, in order of arrival.
    heard: Vec<RtpPacket>,
    /// As the leg has them; the phone's own state is the other way round.
    keys: Option<SrtpKeys>,
    srtp: Option<Srtp>,
}

impl House {
    fn new() -> House {
        House::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut WorkerConfig)) -> House {
        let (sender, facts) = mpsc::channel();
        let sink: FactSink = Arc::new(move |fact| {
            let _ = sender.send(fact); // a test that has ended does not listen
        });
        let recorder = Recorder::start(sink.clone()).expect("threads");
        let mut config = WorkerConfig {
            ip: LOOPBACK,
            advertised: vec![],
            browser_port: 0,
            music: sine(500.0, -20.0, 8_000),
            country: &ANYWHERE,
            recorder: recorder.door(),
            stall_after: STALL_AFTER,
            report_every: REPORT_EVERY,
            seed: 1,
        };
        change(&mut config);
        let worker = MediaWorker::start(config, sink).expect("a worker");
        let folder = tempfile::tempdir().expect("a folder");
        House {
            worker,
            recorder,
            facts,
            folder,
        }
    }

    /// Opens and aims a leg, with a phone at its far side.
    fn phone(&self, leg: LegId, law: Law) -> Phone {
        self.phone_with(leg, law, None)
    }

    fn phone_with(&self, leg: LegId, law: Law, keys: Option<SrtpKeys>) -> Phone {
        let socket = UdpSocket::bind((LOOPBACK, 0)).expect("a port");
        socket
            .set_read_timeout(Some(Duration::from_millis(1)))
            .expect("set");
        let port = free_port();
        self.worker.send(MediaCommand::OpenTrunk { leg, port });
        let to = SocketAddr::new(LOOPBACK, port);
        let ssrc = 0x1000 + leg.0 as u32;
        let mut phone = Phone {
            leg,
            socket,
            to,
            law,
            ssrc,
            sequence: 65_500,
            frame: 0,
            on: Instant::now(),
            heard: vec![],
            srtp: keys.as_ref().map(theirs),
            keys,
        };
        self.aim(&phone, true);
        // The leg is there when it sends its silence.
        let deadline = Instant::now() + Duration::from_secs(10);
        while phone.heard.is_empty() {
            assert!(Instant::now() < deadline, "no packet from {leg}");
            phone.listen();
        }
        phone.heard.clear();
        phone
    }

    fn aim(&self, phone: &Phone, both_ways: bool) {
        self.worker.send(MediaCommand::AimTrunk {
            leg: phone.leg,
            remote: phone.socket.local_addr().expect("bound"),
            coding: Coding::G711(phone.law),
            payload_type: phone.law.payload_type(),
            telephone_event: Some(101),
            send: true,
            receive: both_ways,
            srtp: phone.keys.clone(),
        });
    }

    fn bridge(&self) {
        self.worker.send(MediaCommand::Listen {
            leg: A,
            to: Source::Leg(B),
        });
        self.worker.send(MediaCommand::Listen {
            leg: B,
            to: Source::Leg(A),
        });
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("2026/11/22/call.wav")
    }

    fn record(&self, agent: LegId, customer: LegId) -> Instant {
        let now = Instant::now();
        let path = self.path();
        self.worker.send(MediaCommand::Record {
            call: CALL,
            agent: Some(agent),
            customer,
            path,
        });
        now
    }

    /// The next fact that is one of these.
    fn wait<T>(&self, pick: impl Fn(MediaFact) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let fact = self.facts.recv_timeout(left).expect("a fact within 10 s");
            if let Some(found) = pick(fact) {
                return found;
            }
        }
    }

    fn stop_recording(&self) -> (PathBuf, u64) {
        self.worker.send(MediaCommand::StopRecording { call: CALL });
        self.wait(|fact| match fact {
            MediaFact::Recorded {
                path,
                duration_ms,
                gap_ms,
                ..
            } => {
                assert_eq!(gap_ms, 0);
                Some((path, duration_ms))
            }
            _ => None,
        })
    }

    fn end(self) -> Vec<MediaFact> {
        self.worker.join();
        self.recorder.stop();
        self.facts.try_iter().collect()
    }
}

impl Phone {
    fn send(&mut self, payload_type: u8, payload: &[u8]) {
        let header = RtpHeader {
            payload_type,
            marker: false,
            sequence: self.sequence,
            timestamp: self.frame.wrapping_mul(160).wrapping_sub(4_000),
            ssrc: self.ssrc,
        };
        let mut datagram = [0; 400];
        let len = write(&header, payload, &mut datagram).expect("it fits");
        let mut wire = datagram[..len].to_vec();
        if let Some(srtp) = &mut self.srtp {
            let packet = header.with_payload(bytes::Bytes::copy_from_slice(payload));
            wire = srtp
                .protect(&packet, header.ssrc, payload_type)
                .expect("protected");
        }
        self.socket.send_to(&wire, self.to).expect("sent");
        self.sequence = self.sequence.wrapping_add(1);
        self.frame += 1;
    }

    /// A phone's clock goes on while it says nothing.
    fn pause(&mut self) {
        let passed = self.on.elapsed().as_millis() / FRAME.as_millis();
        self.frame = self.frame.max(u32::try_from(passed).expect("a short test"));
    }

    fn listen(&mut self) {
        let mut datagram = [0; 1_500];
        while let Ok((len, _)) = self.socket.recv_from(&mut datagram) {
            let wire = &datagram[..len];
            self.heard.push(match &mut self.srtp {
                Some(srtp) => srtp.unprotect(wire).expect("authentic"),
                None => RtpPacket::read(wire).expect("well formed"),
            });
        }
    }

    fn sound(&self) -> Vec<i16> {
        let voice = self
            .heard
            .iter()
            .filter(|p| p.payload_type == self.law.payload_type());
        voice
            .flat_map(|packet| packet.payload.iter().map(|b| self.law.decode(*b)))
            .collect()
    }

    /// Sequence numbers go on by one and timestamps never go back.
    fn assert_one_stream(&self) {
        for pair in self.heard.windows(2) {
            assert_eq!(pair[1].ssrc, pair[0].ssrc);
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
            let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
            assert!((160..8_000).contains(&step), "{step}");
        }
    }
}

/// Even ports from a range of the tests' own; each process begins elsewhere.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % 900) as u16 * 20;
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(2, Ordering::Relaxed)) % 20_000;
        let free = |port| UdpSocket::bind((LOOPBACK, port)).is_ok();
        if free(port) && free(port + 1) {
            return port;
        }
    }
}

/// When a talk began and ended.
type Span = (Instant, Instant);

/// Lets every phone speak its tone in real time, and listens. Should the machine be too busy for
/// that, the phones pause as for silence instead of catching up: their clocks stay true.
fn talk(seconds: f64, phones: &mut [(&mut Phone, f64)]) -> Span {
    let frames = (seconds * 50.0) as usize;
    let tones: Vec<Vec<u8>> = phones
        .iter()
        .map(|(phone, hz)| phone.law.encode_all(&sine(*hz, -12.0, frames * 160)))
        .collect();
    let start = Instant::now();
    let mut due = start;
    phones.iter_mut().for_each(|(phone, _)| phone.pause());
    for frame in 0..frames {
        if due + FRAME < Instant::now() {
            due = Instant::now();
            phones.iter_mut().for_each(|(phone, _)| phone.pause());
        }
        for ((phone, _), tone) in phones.iter_mut().zip(&tones) {
            phone.send(phone.law.payload_type(), &tone[frame * 160..][..160]);
        }
        due += FRAME;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        for (phone, _) in phones.iter_mut() {
            phone.listen();
        }
    }
    (start, Instant::now())
}

/// What was recorded well inside of a span.
fn inside(side: &[i16], recorded: Instant, (start, end): Span) -> &[i16] {
    let margin = Duration::from_millis(120);
    let place =
        |at: Instant| (at.duration_since(recorded).as_millis() as usize * 8).min(side.len());
    &side[place(start + margin)..place(end.checked_sub(margin).expect("long ago enough"))]
}

fn wait_and_listen(time: Duration, phones: &mut [&mut Phone]) {
    std::thread::sleep(time);
    for phone in phones {
        phone.listen();
    }
}

/// The level of a frequency in the loudest 20 ms, and that there is much of it. On a busy machine
/// the phones pause between any two packets, so a longer piece would measure the pauses.
#[track_caller]
fn assert_recorded(samples: &[i16], hz: f64) {
    let loudest = samples
        .windows(160)
        .step_by(10)
        .map(|one| level_at(one, hz));
    let level = loudest.max_by(f64::total_cmp).expect("20 ms at least");
    assert!(
        (level + 12.0).abs() < 1.0,
        "{hz} Hz: {level} dBFS in {}",
        samples.len()
    );
    let sounding = samples
        .iter()
        .filter(|sample| sample.unsigned_abs() > 500)
        .count();
    assert!(
        sounding > 2_000,
        "{sounding} of {} samples sound",
        samples.len()
    );
}

#[track_caller]
fn assert_level(samples: &[i16], hz: f64, expected: f64, within: f64) {
    let level = level_at(samples, hz);
    assert!(
        (level - expected).abs() <= within,
        "{hz} Hz: {level} dBFS in {}",
        samples.len()
    );
}

#[test]
fn a_panic_in_one_leg_ends_that_leg_alone() {
    let house = House::new();
    let (mut a, mut b) = (house.phone(A, Law::Mu), house.phone(B, Law::Mu));
    house.bridge();
    talk(0.2, &mut [(&mut a, 700.0), (&mut b, 1_100.0)]);
    a.send(0, PLANT);
    let died = house.wait(|fact| match fact {
        MediaFact::LegDied { leg, reason } => Some((leg, reason)),
        _ => None,
    });
    assert_eq!(died, (A, "planted".to_owned()));
    house.worker.send(MediaCommand::Listen {
        leg: B,
        to: Source::Music,
    });
    b.listen();
    b.heard.clear();
    wait_and_listen(FRAME * 15, &mut [&mut b]);
    assert!(b.heard.len() >= 10, "{} packets", b.heard.len());
    // Its port is free for another leg.
    house.worker.send(MediaCommand::OpenTrunk {
        leg: LegId(3),
        port: a.to.port(),
    });
    house.worker.send(MediaCommand::CloseLeg { leg: LegId(3) });
    let facts = house.end();
    assert!(
        !facts
            .iter()
            .any(|fact| matches!(fact, MediaFact::PortTaken { .. }))
    );
}

#[test]
fn a_taken_port_is_told() {
    let house = House::new();
    let port = free_port();
    let _taken = UdpSocket::bind((LOOPBACK, port + 1)).expect("free");
    house.worker.send(MediaCommand::OpenTrunk { leg: A, port });
    let told = house.wait(|fact| match fact {
        MediaFact::PortTaken { leg, port } => Some((leg, port)),
        _ => None,
    });
    assert_eq!(told, (A, port));
    house.end();
}

#[test]
fn silence_of_both_kinds_of_packet_is_told_and_hold_is_not() {
    let house = House::with(|config| {
        config.stall_after = Duration::from_millis(400);
        config.report_every = Duration::from_millis(100);
    });
    let mut a = house.phone(A, Law::Mu);
    let b = house.phone(B, Law::Mu);
    house.aim(&b, false);
    talk(0.6, &mut [(&mut a, 700.0)]);
    let stalled = |fact: &MediaFact| matches!(fact, MediaFact::Stalled { .. });
    assert!(!house.facts.try_iter().any(|fact| stalled(&fact)));
    let (leg, silent_ms) = house.wait(|fact| match fact {
        MediaFact::Stalled { leg, silent_ms } => Some((leg, silent_ms)),
        _ => None,
    });
    assert_eq!(leg, A);
    assert!((400..2_000).contains(&silent_ms), "{silent_ms} ms");
    house.end();
}

#[test]
fn reports_go_to_the_next_port_and_theirs_give_the_round_trip() {
    use crate::media::rtcp::{self, Block, Report};
    let house = House::with(|config| config.report_every = Duration::from_millis(150));
    // A phone with both of its ports.
    let port = free_port();
    let rtcp_socket = UdpSocket::bind((LOOPBACK, port + 1)).expect("free");
    rtcp_socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("set");
    let mut a = house.phone(A, Law::Mu);
    a.socket = UdpSocket::bind((LOOPBACK, port)).expect("free");
    a.socket
        .set_read_timeout(Some(Duration::from_millis(1)))
        .expect("set");
    house.aim(&a, true);
    talk(0.2, &mut [(&mut a, 700.0)]);
    let mut datagram = [0; 256];
    let (report, from) = loop {
        let (len, from) = rtcp_socket.recv_from(&mut datagram).expect("a report");
        let report = rtcp::read(&datagram[..len], a.ssrc).expect("well formed");
        // Before the first packets were in it has no block.
        if report.block.is_some() {
            break (report, from);
        }
    };
    assert_eq!(from.port(), a.to.port() + 1);
    let block = report.block.expect("just looked");
    assert_eq!(block.lost, 0);
    let sender = report.sender.expect("silence was sent");
    assert!(sender.packets > 0 && sender.octets == sender.packets * 160);
    a.listen();
    assert_eq!(a.heard[0].ssrc, report.ssrc);

    let answer = Report {
        ssrc: a.ssrc,
        block: Some(Block {
            ssrc: report.ssrc,
            last_report: sender.at.middle(),
            lost: 3,
            ..block
        }),
        ..Report::default()
    };
    rtcp_socket
        .send_to(&rtcp::write(&answer, "phone"), from)
        .expect("sent");
    let quality = house.wait(|fact| match fact {
        MediaFact::Quality { quality, .. } if quality.lost_far.is_some() => Some(quality),
        _ => None,
    });
    assert_eq!(quality.lost_far, Some(3));
    assert!(
        quality.round_trip_ms.is_some_and(|ms| ms < 1_000.0),
        "{quality:?}"
    );
    assert!(quality.mos > 4.0, "{quality:?}");
    house.end();
}

#[test]
fn a_browser_offer_that_is_none_is_refused() {
    let house = House::new();
    let offer = "v=0\r\n".to_owned();
    house.worker.send(MediaCommand::OpenBrowser {
        leg: A,
        offer: offer.clone(),
        law: Law::A,
    });
    house
        .worker
        .send(MediaCommand::ReofferBrowser { leg: A, offer });
    for _ in 0..2 {
        house.wait(|fact| matches!(fact, MediaFact::BrowserRefused { leg: A, .. }).then_some(()));
    }
    house.end();
}

fn channels(path: &Path) -> (Vec<i16>, Vec<i16>) {
    let mut wav = hound::WavReader::open(path).expect("a WAV file");
    let samples: Vec<i16> = wav.samples().map(|sample| sample.expect("whole")).collect();
    let side = |first| samples.iter().skip(first).step_by(2).copied().collect();
    (side(0), side(1))
}
