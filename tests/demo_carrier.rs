//! The built-in carrier, called over real sockets by a caller that is not of this crate's making.

#[path = "support/caller.rs"]
mod caller;

use std::time::Duration;

use caller::{Caller, amplitude, header};
use foredial::demo::carrier::{
    Behaviour, CallReport, CallState, Carrier, CarrierConfig, EndedBy, Voice, What,
};

async fn carrier() -> Carrier {
    let config = CarrierConfig {
        voice: Voice::Tone(1_000.0),
        answer_after_ms: 60,
        hang_up_after_ms: 150,
        listen_hz: vec![400.0, 1_000.0],
        seed: Some(7),
        ..CarrierConfig::default()
    };
    Carrier::start(config).await.expect("a free loopback port")
}

async fn new_caller(carrier: &Carrier, number: &str) -> Caller {
    Caller::new(carrier.local_addr(), number)
        .await
        .expect("free ports")
}

/// Waits for the only call of the test to come to a state.
async fn settle(carrier: &Carrier, fits: impl Fn(&CallReport) -> bool) -> CallReport {
    for _ in 0..250 {
        let calls = carrier.calls();
        if let [call] = &calls[..]
            && fits(call)
        {
            return call.clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the call never got there: {:?}", carrier.calls());
}

fn ended(by: EndedBy) -> impl Fn(&CallReport) -> bool {
    move |call| call.state == CallState::Ended { by }
}

#[tokio::test]
async fn it_rings_answers_and_both_hear_each_other() {
    let carrier = carrier().await;
    let mut caller = Caller::talk(carrier.local_addr(), "+8613800138005").await;
    let heard = caller.say(400.0, 50).await;
    assert!(
        (40..=55).contains(&heard.len()),
        "{} packets in a second",
        heard.len()
    );
    assert!((amplitude(&heard[5..], 1_000.0) - 0.25).abs() < 0.02);
    assert!(amplitude(&heard[5..], 400.0) < 0.01);
    for pair in heard.windows(2) {
        let field = |packet: &[u8], at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        assert_eq!(
            field(&pair[1], 2).wrapping_sub(field(&pair[0], 2)),
            1,
            "sequence"
        );
        assert_eq!(
            field(&pair[1], 6).wrapping_sub(field(&pair[0], 6)),
            160,
            "timestamp"
        );
    }
    caller.bye().await;
    let call = settle(&carrier, ended(EndedBy::CallerBye)).await;
    assert_eq!(
        (call.number.as_str(), call.heard.packets, call.heard.lost),
        ("8613800138005", 50, 0)
    );
    let level = &call.heard.levels[4];
    assert!(
        (level.tones[0] - 0.25).abs() < 0.02 && level.tones[1] < 0.01,
        "{level:?}"
    );
    assert_eq!(carrier.live_calls(), 0);
    let steps: Vec<String> = carrier
        .journal()
        .into_iter()
        .filter(|entry| entry.call_id == caller.call_id)
        .map(|entry| match entry.what {
            What::Received { method, .. } => method,
            What::Sent { status, .. } => status.to_string(),
            other => format!("{other:?}"),
        })
        .collect();
    let expected = [
        "INVITE",
        "100",
        "180",
        "200",
        "ACK",
        "BYE",
        "200",
        "Ended(CallerBye)",
    ];
    assert_eq!(steps, expected);
    carrier.stop().await;
}

#[tokio::test]
async fn refusals_follow_the_number_and_repeat_until_their_ack() {
    let carrier = carrier().await;
    for (number, status, cause) in [
        ("10070", 486, "17"),
        ("10080", 603, "21"),
        ("10085", 404, "1"),
        ("10090", 503, "34"),
    ] {
        let mut caller = new_caller(&carrier, number).await;
        caller.call().await;
        let refusal = caller.expect(status, "INVITE").await;
        assert!(
            header(&refusal, "Reason").contains(&format!("cause={cause};")),
            "{refusal}"
        );
        // Timer G: 500 ms.
        caller.expect(status, "INVITE").await;
        caller.ack_refusal().await;
        let more = caller.next(Duration::from_millis(1_200)).await;
        assert_eq!(more, None, "{status} went on after its ACK");
    }
    assert_eq!(carrier.live_calls(), 0);
}

#[tokio::test]
async fn it_rings_until_the_caller_gives_up() {
    let carrier = carrier().await;
    let mut caller = new_caller(&carrier, "10075").await;
    caller.call().await;
    caller.expect(180, "INVITE").await;
    assert_eq!(caller.next(Duration::from_millis(300)).await, None);
    caller.cancel().await;
    caller.expect(200, "CANCEL").await;
    caller.expect(487, "INVITE").await;
    caller.ack_refusal().await;
    settle(&carrier, ended(EndedBy::Cancelled)).await;
}

#[tokio::test]
async fn it_hangs_up_by_itself() {
    let carrier = carrier().await;
    let mut caller = Caller::talk(carrier.local_addr(), "10095").await;
    let bye = caller.expect_request("BYE").await;
    assert!(header(&bye, "From").contains("tag=") && header(&bye, "To").ends_with("tag=c1"));
    let call = settle(&carrier, ended(EndedBy::OurBye)).await;
    let talked_ms = call
        .ended_ms
        .zip(call.answered_ms)
        .map(|(end, start)| end - start);
    assert!(
        talked_ms.is_some_and(|ms| (150..400).contains(&ms)),
        "{talked_ms:?}"
    );
    // The 200 to our BYE ends its repetition.
    assert_eq!(caller.next(Duration::from_millis(700)).await, None);
}

#[tokio::test]
async fn a_200_repeats_until_its_ack_and_a_repeated_invite_is_one_call() {
    let carrier = carrier().await;
    let mut caller = new_caller(&carrier, "10000").await;
    let text = caller.call().await;
    caller.send(&text).await;
    caller.expect(200, "INVITE").await;
    caller.expect(200, "INVITE").await;
    caller.ack("").await;
    assert_eq!(caller.next(Duration::from_millis(1_200)).await, None);
    caller.bye().await;
    assert_eq!(carrier.calls().len(), 1);
}

#[tokio::test]
async fn a_held_call_is_silent_and_comes_back() {
    let carrier = carrier().await;
    let mut caller = Caller::talk(carrier.local_addr(), "10000").await;
    for (offered, answered, speaks) in [
        ("sendonly", "recvonly", false),
        ("sendrecv", "sendrecv", true),
        ("inactive", "inactive", false),
        ("recvonly", "sendonly", true),
    ] {
        let sdp = caller.sdp(offered);
        caller.invite(Some(&sdp)).await;
        let answer = caller.expect(200, "INVITE").await;
        assert!(answer.contains(&format!("a={answered}\r\n")), "{answer}");
        caller.ack("").await;
        let _before = caller.say(400.0, 5).await;
        let after = caller.say(400.0, 15).await;
        assert_eq!(
            after.len() > 8,
            speaks,
            "{} packets while {offered}",
            after.len()
        );
        assert!(speaks || after.is_empty());
    }
    caller.bye().await;
}

#[tokio::test]
async fn it_can_pick_up_as_the_cancel_arrives() {
    let carrier = carrier().await;
    carrier.set_behaviour("10001", Behaviour::AnswerOnCancel);
    let mut caller = new_caller(&carrier, "10001").await;
    caller.call().await;
    caller.expect(180, "INVITE").await;
    caller.cancel().await;
    caller.expect(200, "INVITE").await;
    caller.expect(200, "CANCEL").await;
    caller.ack("").await;
    caller.bye().await;
    settle(&carrier, ended(EndedBy::CallerBye)).await;
}

#[tokio::test]
async fn it_can_answer_twice() {
    let carrier = carrier().await;
    carrier.set_behaviour("10002", Behaviour::AnswerTwice { after_ms: 20 });
    let mut caller = new_caller(&carrier, "10002").await;
    caller.call().await;
    let first = header(&caller.expect(200, "INVITE").await, "To");
    caller.ack("").await;
    let second = header(&caller.expect(200, "INVITE").await, "To");
    assert_ne!(first, second);
    caller.ack("").await;
    caller.bye().await;
    assert_eq!(carrier.live_calls(), 1);
    caller.to = first;
    caller.bye().await;
    assert_eq!((carrier.live_calls(), carrier.calls().len()), (0, 2));
}

#[tokio::test]
async fn it_can_lose_responses_and_keep_silent() {
    let carrier = carrier().await;
    let then = Box::new(Behaviour::Answer { after_ms: 10 });
    carrier.set_behaviour("10003", Behaviour::LoseResponses { count: 3, then });
    let mut caller = new_caller(&carrier, "10003").await;
    caller.call().await;
    let first = caller
        .next(Duration::from_secs(2))
        .await
        .unwrap_or_default();
    assert!(
        first.starts_with("SIP/2.0 200 "),
        "100, 180 and the first 200 are lost: {first}"
    );
    carrier.set_behaviour("10004", Behaviour::Silent);
    let mut caller = new_caller(&carrier, "10004").await;
    caller.call().await;
    caller.cancel().await;
    assert_eq!(caller.next(Duration::from_millis(300)).await, None);
}

#[tokio::test]
async fn the_called_party_can_put_the_phone_down_at_any_time() {
    let carrier = carrier().await;
    let mut caller = Caller::talk(carrier.local_addr(), "10000").await;
    carrier.hang_up(&caller.call_id);
    caller.expect_request("BYE").await;
    let mut caller = new_caller(&carrier, "10075").await;
    caller.call().await;
    caller.expect(180, "INVITE").await;
    carrier.hang_up(&caller.call_id);
    caller.expect(603, "INVITE").await;
    caller.ack_refusal().await;
    // Before the ACK there is no BYE (RFC 3261 15); after it, at once.
    let mut caller = new_caller(&carrier, "10000").await;
    caller.call().await;
    caller.expect(200, "INVITE").await;
    carrier.hang_up(&caller.call_id);
    let early = caller.next(Duration::from_millis(200)).await;
    assert_eq!(early, None);
    caller.ack("").await;
    caller.expect_request("BYE").await;
}

#[tokio::test]
async fn an_invite_without_an_offer_is_given_one() {
    let carrier = carrier().await;
    let mut caller = new_caller(&carrier, "10000").await;
    caller.invite(None).await;
    let offer = caller.expect(200, "INVITE").await;
    assert!(
        offer.contains("a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"),
        "{offer}"
    );
    let answer = caller.sdp("sendrecv");
    caller.ack(&answer).await;
    let heard = caller.say(400.0, 25).await;
    assert!(heard.len() > 15, "{} packets", heard.len());
    caller.bye().await;
}

#[tokio::test]
async fn early_media_rings_in_the_audio() {
    let carrier = carrier().await;
    carrier.set_behaviour("10006", Behaviour::EarlyMedia { after_ms: 700 });
    let mut caller = new_caller(&carrier, "10006").await;
    caller.call().await;
    caller.expect(183, "INVITE").await;
    let ringing = caller.say(400.0, 25).await;
    assert!((amplitude(&ringing[2..], 450.0) - 0.25).abs() < 0.03);
    caller.expect(200, "INVITE").await;
    caller.ack("").await;
    let _between = caller.say(400.0, 5).await;
    let talking = caller.say(400.0, 25).await;
    assert!((amplitude(&talking[2..], 1_000.0) - 0.25).abs() < 0.03);
    caller.bye().await;
}

#[tokio::test]
async fn an_echo_comes_back_and_digits_are_read() {
    let carrier = carrier().await;
    carrier.set_voice("10007", Voice::Echo);
    let caller = Caller::talk(carrier.local_addr(), "10007").await;
    let heard = caller.say(400.0, 50).await;
    assert!(amplitude(&heard[10..], 400.0) > 0.15);
    let far = caller.far_rtp.expect("an answer with audio");
    for (timestamp, key) in [(9_000u32, 4), (10_000, 11)] {
        for end in [0, 0, 0x80] {
            let mut packet = vec![0x80, 101, 0x20, (timestamp % 7) as u8 + end / 64];
            packet.extend(timestamp.to_be_bytes());
            packet.extend(77u32.to_be_bytes());
            packet.extend([key, end | 10, 0, 160]);
            caller
                .rtp
                .send_to(&packet, far)
                .await
                .expect("loopback takes a datagram");
        }
    }
    settle(&carrier, |call| call.heard.digits == "4#").await;
}

#[tokio::test]
async fn what_belongs_to_no_call_is_answered_alone() {
    let carrier = carrier().await;
    let mut caller = new_caller(&carrier, "10000").await;
    caller.request("OPTIONS").await;
    assert!(header(&caller.expect(200, "OPTIONS").await, "Allow").contains("INVITE"));
    caller.request("PUBLISH").await;
    caller.expect(501, "PUBLISH").await;
    caller.request("BYE").await;
    caller.expect(481, "BYE").await;
    caller.cancel().await;
    caller.expect(481, "CANCEL").await;
    assert!(carrier.calls().is_empty());
}

#[tokio::test]
async fn garbage_is_dropped_and_calls_go_on() {
    let carrier = carrier().await;
    let caller = new_caller(&carrier, "10000").await;
    for text in [
        "",
        "\r\n\r\n",
        "INVITE\r\n\r\n",
        "INVITE sip:x SIP/2.0\r\nVia:\r\n\r\n",
        "\0\u{1}",
    ] {
        caller.send(text).await;
    }
    caller.send(&"a: b\r\n".repeat(9_000)).await;
    Caller::talk(carrier.local_addr(), "10000")
        .await
        .bye()
        .await;
}

#[tokio::test]
async fn it_serves_loopback_only() {
    let config = CarrierConfig {
        bind: ([0, 0, 0, 0], 0).into(),
        ..CarrierConfig::default()
    };
    assert!(Carrier::start(config).await.is_err());
}
