//! Browser legs against the `webrtc` crate as the browser, over real loopback UDP.

mod support;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use foredial::id::LegId;
use foredial::media::g711::Law;
use foredial::peer::{LinkState, PeerEvent};
use support::bench::Bench;
use support::browser::Browser;
use webrtc::rtp_transceiver::RTCRtpTransceiverDirection as Direction;

async fn connect(bench: &Bench, leg: LegId, law: Law) -> Browser {
    let browser = Browser::new().await.expect("a browser");
    let offer = browser.offer().await.expect("an offer");
    let answer = bench.offer(leg, offer, law).expect("an answer");
    browser
        .accept(&answer)
        .await
        .expect("the browser takes the answer");
    if let Err(error) = browser.connected().await {
        panic!("{error} {:#?}", bench.snapshot());
    }
    assert!(bench.wait(PeerEvent::Connected { leg }).await);
    browser
}

async fn reoffer(bench: &Bench, browser: &Browser, leg: LegId, direction: Direction) -> String {
    browser.set_direction(direction).await.expect("a direction");
    let offer = browser.offer().await.expect("a re-offer");
    let answer = bench.offer(leg, offer, Law::Mu).expect("an answer");
    browser
        .accept(&answer)
        .await
        .expect("the browser takes the answer");
    answer
}

const LEG: LegId = LegId(1);
const HALF_SECOND: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_connects_and_audio_flows_both_ways() {
    let bench = Bench::start();
    let browser = connect(&bench, LEG, Law::Mu).await;
    browser.speak(440);
    bench.speak(LEG, 1_000.0);
    assert!(browser.hears(1_000.0).await);

    let at_us = bench.hear(LEG, HALF_SECOND).await;
    assert!(
        at_us.packets >= 20,
        "{} packets in half a second",
        at_us.packets
    );
    assert_eq!(at_us.payload_types, [0]);
    assert!(at_us.amplitude(440.0, HALF_SECOND) > 7_000.0);
    assert!(at_us.amplitude(1_000.0, HALF_SECOND) < 400.0);

    let at_browser = browser.hear(HALF_SECOND).await;
    assert!(
        at_browser.packets >= 20,
        "{} packets in half a second",
        at_browser.packets
    );
    assert_eq!(at_browser.missing, 0, "the sequence wraps without a gap");
    assert!(at_browser.amplitude(1_000.0, HALF_SECOND) > 7_000.0);

    let snapshot = bench.snapshot();
    assert_eq!(snapshot.legs[0].profile, Some("AEAD_AES_128_GCM"));
    let connect_ms = snapshot.legs[0].connect_ms.expect("connected");
    println!("connected in {connect_ms} ms");
    assert!(connect_ms < 2_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_law_is_taken_if_the_browser_has_no_other() {
    let bench = Bench::start();
    let browser = Browser::speaking(support::ear::Law::A)
        .await
        .expect("a browser");
    let offer = browser.offer().await.expect("an offer");
    let answer = bench.offer(LEG, offer, Law::Mu).expect("an answer");
    browser
        .accept(&answer)
        .await
        .expect("the browser takes the answer");
    assert_eq!(bench.ask(|worker| worker.peers.law(LEG)), Some(Law::A));
    browser.speak(440);
    bench.speak(LEG, 600.0);
    assert!(browser.hears(600.0).await);
    assert_eq!(browser.heard().payload_types, [8]);
    let heard = bench.hear(LEG, HALF_SECOND).await;
    assert_eq!(heard.payload_types, [8]);
    assert!(heard.amplitude(440.0, HALF_SECOND) > 7_000.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn legs_share_one_port_and_hear_only_their_own() {
    let bench = Bench::start();
    let other = LegId(2);
    let first = connect(&bench, LEG, Law::Mu).await;
    let second = connect(&bench, other, Law::Mu).await;
    first.speak(440);
    second.speak(700);
    bench.speak(LEG, 1_000.0);
    bench.speak(other, 1_300.0);
    assert!(first.hears(1_000.0).await && second.hears(1_300.0).await);
    let (one, two) = (
        bench.hear(LEG, HALF_SECOND).await,
        bench.hear(other, HALF_SECOND).await,
    );
    assert!(one.amplitude(440.0, HALF_SECOND) > 7_000.0);
    assert!(one.amplitude(700.0, HALF_SECOND) < 400.0);
    assert!(two.amplitude(700.0, HALF_SECOND) > 7_000.0);
    assert!(two.amplitude(440.0, HALF_SECOND) < 400.0);
    assert!(first.heard().amplitude(1_300.0, HALF_SECOND) < 400.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn hold_and_resume_mirror_the_browsers_direction() {
    let bench = Bench::start();
    let browser = connect(&bench, LEG, Law::Mu).await;
    browser.speak(440);
    bench.speak(LEG, 1_000.0);
    assert!(browser.hears(1_000.0).await);

    let answer = reoffer(&bench, &browser, LEG, Direction::Sendonly).await;
    assert!(answer.contains("a=recvonly\r\n"), "{answer}");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let silent = browser.hear(HALF_SECOND).await;
    assert_eq!(silent.packets, 0, "we send nothing to who only sends");
    assert!(bench.hear(LEG, HALF_SECOND).await.packets >= 20);

    let answer = reoffer(&bench, &browser, LEG, Direction::Inactive).await;
    assert!(answer.contains("a=inactive\r\n"), "{answer}");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bench.hear(LEG, HALF_SECOND).await.packets, 0);
    assert_eq!(bench.link(LEG), Some(LinkState::Connected));

    let answer = reoffer(&bench, &browser, LEG, Direction::Sendrecv).await;
    assert!(answer.contains("a=sendrecv\r\n"), "{answer}");
    browser.listen_anew();
    assert!(browser.hears(1_000.0).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ice_restart_keeps_the_leg() {
    let bench = Bench::start();
    let browser = connect(&bench, LEG, Law::Mu).await;
    bench.speak(LEG, 1_000.0);
    assert!(browser.hears(1_000.0).await);
    let before = bench.snapshot().legs[0].remote;
    browser.restart_ice().await.expect("a restart");
    let answer = reoffer(&bench, &browser, LEG, Direction::Sendrecv).await;
    assert!(answer.contains("a=ice-ufrag:"));
    browser.speak(440);
    browser.listen_anew();
    assert!(
        browser.hears(1_000.0).await,
        "audio returns after the restart"
    );
    tokio::time::sleep(HALF_SECOND).await;
    assert!(
        bench
            .hear(LEG, HALF_SECOND)
            .await
            .amplitude(440.0, HALF_SECOND)
            > 7_000.0
    );
    println!(
        "path before {before:?}, after {:?}",
        bench.snapshot().legs[0].remote
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_reach_nothing() {
    let bench = Bench::start();
    let browser = connect(&bench, LEG, Law::Mu).await;
    browser.speak(440);
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let client_hello = [
        &[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20, 1][..],
        &[0; 64],
    ]
    .concat();
    let rtp = [&[0x80, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7][..], &[0xFF; 160]].concat();
    let rtcp = [0x80, 200, 0, 1, 0, 0, 0, 7, 0, 0, 0, 1];
    for _ in 0..50 {
        for datagram in [&client_hello[..], &rtp, &rtcp, b"hello", &[0xFF; 9], &[]] {
            stranger.send_to(datagram, bench.address).expect("sent");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tokio::time::sleep(HALF_SECOND).await;
    let dropped = bench.dropped();
    assert!(dropped.stranger >= 150, "{dropped:?}");
    assert!(dropped.malformed >= 150, "{dropped:?}");
    stranger
        .set_read_timeout(Some(Duration::from_millis(50)))
        .expect("a time-out");
    assert!(
        stranger.recv_from(&mut [0; 64]).is_err(),
        "a stranger is not answered"
    );
    let heard = bench.hear(LEG, HALF_SECOND).await;
    assert!(
        heard.amplitude(440.0, HALF_SECOND) > 7_000.0,
        "the leg goes on"
    );
    assert_eq!(heard.ssrcs.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn legs_connect_under_a_stranger_racing_their_handshake() {
    let bench = Bench::start();
    let address = bench.address;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let attack = std::thread::spawn(move || {
        let stranger = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let hello = [
            &[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20, 1][..],
            &[0; 64],
        ]
        .concat();
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            stranger.send_to(&hello, address).expect("sent");
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    for number in 0..5 {
        connect(&bench, LegId(number), Law::Mu)
            .await
            .close()
            .await
            .expect("closed");
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    attack.join().expect("the attacker ends");
    assert!(bench.dropped().stranger > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_closes_is_lost_at_once_and_closing_forgets_the_leg() {
    let bench = Bench::start();
    let browser = connect(&bench, LEG, Law::Mu).await;
    browser.close().await.expect("closed");
    assert!(bench.wait(PeerEvent::Lost { leg: LEG }).await);
    bench.ask(|worker| worker.peers.close(Instant::now(), LEG));
    assert_eq!(bench.snapshot().legs, []);

    let _browser = connect(&bench, LegId(2), Law::Mu).await;
    let farewell = bench.ask(|worker| {
        worker.peers.close(Instant::now(), LegId(2));
        worker.peers.poll_transmit()
    });
    let (_, farewell) = farewell.expect("a close_notify");
    assert_eq!(farewell[0], 21, "a DTLS alert");
    assert!(bench.ask(|worker| worker.peers.poll_timeout().is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_vanishes_is_lost_when_consent_ends() {
    let bench = Bench::start();
    let browser = connect(&bench, LEG, Law::Mu).await;
    let gone = Instant::now();
    drop(browser);
    let deadline = gone + Duration::from_secs(20);
    while bench.link(LEG) != Some(LinkState::Lost) && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = gone.elapsed();
    println!("lost after {took:?}");
    assert!(
        took > Duration::from_secs(8) && took < Duration::from_secs(17),
        "{took:?}"
    );
}
