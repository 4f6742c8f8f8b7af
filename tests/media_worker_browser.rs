//! The main path: a browser (the `webrtc` crate) on DTLS-SRTP through a media worker to a trunk's
//! plain RTP and back, recorded.

mod support;

use foredial::engine::media_worker::{
    FactSink, MediaCommand, MediaFact, MediaWorker, MediaWorkerHandle, REPORT_EVERY, STALL_AFTER,
    Source, WorkerConfig,
};
use foredial::engine::recorder::Recorder;
use foredial::id::{CallId, LegId};
use foredial::media::coding::Coding;
use foredial::media::g711::Law;
use foredial::media::{music, tone};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::browser::Browser;
use support::ear::{self, Arrival, Heard, Tone, amplitude};

const CUSTOMER: LegId = LegId(1);
const AGENT: LegId = LegId(2);
const AGENT_AGAIN: LegId = LegId(3);
const CALL: CallId = CallId(uuid::Uuid::from_u128(1));
const CUSTOMER_HZ: f64 = 1_000.0;
/// A full-scale sine has an amplitude of 32,767; both sides speak at 10,000.
const LOUD: f64 = 7_000.0;
const QUIET: f64 = 400.0;
const SECOND: Duration = Duration::from_secs(1);

/// The carrier's side: speaks A-law all the time, counts what it hears.
struct Carrier {
    address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    gone: Arc<AtomicBool>,
}

impl Carrier {
    fn start(to: SocketAddr) -> Carrier {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = socket.local_addr().expect("bound");
        let heard = Arc::<Mutex<Heard>>::default();
        let gone = Arc::<AtomicBool>::default();
        let (ears, end) = (heard.clone(), gone.clone());
        std::thread::spawn(move || speak(&socket, to, &ears, &end));
        Carrier {
            address,
            heard,
            gone,
        }
    }

    async fn hear(&self, window: Duration) -> Heard {
        *self.heard.lock().expect("not poisoned") = Heard::default();
        tokio::time::sleep(window).await;
        self.heard.lock().expect("not poisoned").clone()
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
    }
}

fn speak(socket: &UdpSocket, to: SocketAddr, heard: &Mutex<Heard>, gone: &AtomicBool) {
    let mut tone = Tone::default();
    let start = Instant::now();
    for index in 0_u32.. {
        if gone.load(Ordering::Relaxed) {
            return;
        }
        let mut datagram = vec![0x80, 8];
        datagram.extend((index as u16).to_be_bytes());
        datagram.extend((index * 160).to_be_bytes());
        datagram.extend(7_u32.to_be_bytes());
        let samples = tone.packet(CUSTOMER_HZ, 10_000.0);
        datagram.extend(samples.into_iter().map(ear::encode_a));
        let _ = socket.send_to(&datagram, to); // the worker may be gone first
        let due = start + Duration::from_millis(20) * (index + 1);
        listen(socket, due, heard);
    }
}

fn listen(socket: &UdpSocket, until: Instant, heard: &Mutex<Heard>) {
    let mut datagram = [0; 1_500];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        socket.set_read_timeout(Some(left)).expect("not zero");
        let Ok((len, _)) = socket.recv_from(&mut datagram) else {
            continue;
        };
        let word = |at: usize| u32::from_be_bytes(datagram[at..at + 4].try_into().expect("four"));
        heard.lock().expect("not poisoned").hear(&Arrival {
            at: Instant::now(),
            payload_type: datagram[1] & 0x7F,
            sequence: word(0) as u16,
            marker: datagram[1] & 0x80 != 0,
            ssrc: word(8),
            payload: &datagram[12..len],
        });
    }
}

fn wait<T>(facts: &Receiver<MediaFact>, pick: impl Fn(MediaFact) -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let fact = facts.recv_timeout(left).expect("the fact within 15 s");
        if let Some(found) = pick(fact) {
            return found;
        }
    }
}

async fn connect(worker: &MediaWorkerHandle, facts: &Receiver<MediaFact>, leg: LegId) -> Browser {
    let browser = Browser::new().await.expect("a browser");
    let offer = browser.offer().await.expect("an offer");
    worker.send(MediaCommand::OpenBrowser {
        leg,
        offer,
        law: Law::Mu,
    });
    let answer = wait(facts, |fact| match fact {
        MediaFact::BrowserAnswer { leg: answered, sdp } if answered == leg => Some(sdp),
        _ => None,
    });
    browser
        .accept(&answer)
        .await
        .expect("the browser takes the answer");
    browser.connected().await.expect("connected");
    wait(facts, |fact| {
        (fact == MediaFact::BrowserConnected { leg }).then_some(())
    });
    browser
}

fn channels(path: &Path) -> (Vec<i16>, Vec<i16>) {
    let mut wav = hound::WavReader::open(path).expect("a WAV file");
    let samples: Vec<i16> = wav.samples().map(|sample| sample.expect("whole")).collect();
    let side = |first| samples.iter().skip(first).step_by(2).copied().collect();
    (side(0), side(1))
}

/// Two ports that are free now.
fn free_port() -> u16 {
    let free = |port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let first = 42_000 + (std::process::id() % 500) as u16 * 20;
    (first..)
        .step_by(2)
        .find(|port| free(*port) && free(port + 1))
        .expect("some are free")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_and_a_trunk_speak_and_are_recorded_across_a_reload() {
    let folder = tempfile::tempdir().expect("a folder");
    let (sender, facts) = std::sync::mpsc::channel();
    let sink: FactSink = Arc::new(move |fact| {
        let _ = sender.send(fact); // the test has ended
    });
    let recorder = Recorder::start(sink.clone()).expect("threads");
    let config = WorkerConfig {
        ip: Ipv4Addr::LOCALHOST.into(),
        advertised: vec![],
        browser_port: 0,
        music: music::default_hold(),
        country: tone::of_country("DE"),
        recorder: recorder.door(),
        stall_after: STALL_AFTER,
        report_every: REPORT_EVERY,
        seed: 7,
    };
    let worker = MediaWorker::start(config, sink).expect("a worker");
    let browser = connect(&worker, &facts, AGENT).await;

    // Ringing: the agent hears ringback.
    worker.send(MediaCommand::Listen {
        leg: AGENT,
        to: Source::Ringback,
    });
    assert!(browser.hears(425.0).await);

    let port = free_port();
    let carrier = Carrier::start(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    worker.send(MediaCommand::OpenTrunk {
        leg: CUSTOMER,
        port,
    });
    worker.send(MediaCommand::AimTrunk {
        leg: CUSTOMER,
        remote: carrier.address,
        coding: Coding::G711(Law::A),
        payload_type: 8,
        telephone_event: None,
        send: true,
        receive: true,
        srtp: None,
    });
    worker.send(MediaCommand::Listen {
        leg: AGENT,
        to: Source::Leg(CUSTOMER),
    });
    worker.send(MediaCommand::Listen {
        leg: CUSTOMER,
        to: Source::Leg(AGENT),
    });
    let path = folder.path().join("2026/11/22/call.wav");
    let record = |agent| MediaCommand::Record {
        call: CALL,
        agent: Some(agent),
        customer: CUSTOMER,
        path: path.clone(),
    };
    worker.send(record(AGENT));
    browser.speak(440);
    assert!(browser.hears(CUSTOMER_HZ).await);
    let at_browser = browser.hear(SECOND).await;
    assert!(at_browser.amplitude(CUSTOMER_HZ, SECOND) > LOUD);
    assert_eq!(
        (at_browser.missing, &at_browser.payload_types[..]),
        (0, &[0][..])
    );
    let at_carrier = carrier.hear(SECOND).await;
    assert!(at_carrier.amplitude(440.0, SECOND) > LOUD);
    assert_eq!(
        (at_carrier.missing, &at_carrier.payload_types[..]),
        (0, &[8][..])
    );
    assert!(
        at_carrier.packets.abs_diff(50) <= 3,
        "{} packets",
        at_carrier.packets
    );

    worker.send(MediaCommand::Mute {
        leg: AGENT,
        on: true,
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let muted = carrier.hear(SECOND / 2).await;
    assert!(muted.packets >= 20 && muted.rms(SECOND / 2) < 20.0);

    // The agent's page goes away without a word and comes back as another leg.
    worker.send(MediaCommand::CloseLeg { leg: AGENT });
    worker.send(MediaCommand::Listen {
        leg: CUSTOMER,
        to: Source::Music,
    });
    drop(browser);
    let on_hold = carrier.hear(SECOND).await;
    assert!(on_hold.packets >= 45 && on_hold.rms(SECOND) > 300.0);
    let again = connect(&worker, &facts, AGENT_AGAIN).await;
    worker.send(MediaCommand::Listen {
        leg: AGENT_AGAIN,
        to: Source::Leg(CUSTOMER),
    });
    worker.send(MediaCommand::Listen {
        leg: CUSTOMER,
        to: Source::Leg(AGENT_AGAIN),
    });
    worker.send(record(AGENT_AGAIN));
    again.speak(700);
    assert!(again.hears(CUSTOMER_HZ).await);
    let at_carrier = carrier.hear(SECOND).await;
    assert!(at_carrier.amplitude(700.0, SECOND / 2) > LOUD);

    worker.send(MediaCommand::StopRecording { call: CALL });
    let (recorded, gap_ms) = wait(&facts, |fact| match fact {
        MediaFact::Recorded { path, gap_ms, .. } => Some((path, gap_ms)),
        _ => None,
    });
    assert_eq!((recorded, gap_ms), (path.clone(), 0));
    let (left, right) = channels(&path);
    let second = |samples: &[i16], at: usize| samples[at..at + 4_000].to_vec();
    let end = left.len() - 5_000;
    assert!(amplitude(&second(&left, 8_000), 440.0) > LOUD);
    assert!(amplitude(&second(&left, end), 700.0) > LOUD);
    for at in [8_000, left.len() / 2, end] {
        assert!(amplitude(&second(&right, at), CUSTOMER_HZ) > LOUD);
        assert!(amplitude(&second(&left, at), CUSTOMER_HZ) < QUIET);
        assert!(amplitude(&second(&right, at), 440.0) < QUIET);
        assert!(
            amplitude(&second(&left, at), 425.0) < QUIET,
            "ringback is not recorded"
        );
    }
    worker.join();
    recorder.stop();
}
