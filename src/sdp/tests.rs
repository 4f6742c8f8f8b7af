use std::net::SocketAddr;

use proptest::prelude::*;

use super::negotiate::Refusal;
use super::{
    Agreed, Codec, Description, Direction, Key, Local, Negotiation, SdpError, Security, Suite,
};

fn local() -> Local {
    Local {
        address: "127.0.0.1".parse().expect("an address"),
        port: 10_000,
        codecs: vec![Codec::Pcma, Codec::Pcmu],
        telephone_event: true,
    }
}

fn negotiation() -> Negotiation {
    Negotiation::new(local(), 42)
}

fn remote(address: &str) -> SocketAddr {
    address.parse().expect("an address")
}

/// A carrier's body with these lines in its one audio section.
fn body(connection: &str, media: &str) -> String {
    format!(
        "v=0\r\no=carrier 1 1 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 {connection}\r\nt=0 0\r\n{media}\r\n"
    )
}

const ANSWER: &str =
    "m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:30";

fn version(body: &str) -> u64 {
    Description::parse(body)
        .expect("our own body")
        .origin
        .version
}

#[test]
fn an_offer_lists_both_laws_events_and_20_ms() {
    let offer = negotiation().offer(Direction::SendRecv);
    assert_eq!(
        offer,
        "v=0\r\no=foredial 42 42 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio 10000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
    );
}

#[test]
fn a_section_lists_no_more_formats_than_there_are_payload_types() {
    let with = |count: usize| {
        let formats = vec!["8"; count].join(" ");
        Description::parse(&body(
            "203.0.113.1",
            &format!("m=audio 4000 RTP/AVP {formats}"),
        ))
    };
    assert!(with(128).is_ok());
    assert!(matches!(with(129), Err(SdpError::TooMuch(_))));
}

#[test]
fn an_answer_settles_codec_address_events_and_ptime() {
    let mut negotiation = negotiation();
    negotiation.offer(Direction::SendRecv);
    let agreed = negotiation
        .read_answer(&body("203.0.113.1", ANSWER))
        .expect("agreed");
    let expected = Agreed {
        remote: remote("203.0.113.1:4000"),
        codec: Codec::Pcmu,
        payload_type: 0,
        telephone_event: Some(101),
        direction: Direction::SendRecv,
        ptime_ms: 30,
    };
    assert_eq!(agreed, expected);
    assert_eq!(negotiation.agreed(), Some(&expected));
}

#[test]
fn the_later_of_two_answers_holds() {
    let mut negotiation = negotiation();
    negotiation.offer(Direction::SendRecv);
    negotiation
        .read_answer(&body("203.0.113.1", ANSWER))
        .expect("early media");
    let agreed = negotiation
        .read_answer(&body("203.0.113.2", "m=audio 6 RTP/AVP 8"))
        .expect("200");
    assert_eq!(
        (agreed.remote, agreed.codec),
        (remote("203.0.113.2:6"), Codec::Pcma)
    );
}

#[test]
fn the_answerers_order_decides_between_two_codecs() {
    let mut negotiation = negotiation();
    negotiation.offer(Direction::SendRecv);
    let agreed = negotiation.read_answer(&body("203.0.113.1", "m=audio 4000 RTP/AVP 0 8"));
    assert_eq!(agreed.expect("agreed").codec, Codec::Pcmu);
}

#[test]
fn a_law_may_come_under_a_dynamic_number() {
    let mut negotiation = negotiation();
    negotiation.offer(Direction::SendRecv);
    let media = "m=audio 4000 RTP/AVP 97\r\na=rtpmap:97 pcma/8000/1";
    let agreed = negotiation
        .read_answer(&body("203.0.113.1", media))
        .expect("agreed");
    assert_eq!((agreed.codec, agreed.payload_type), (Codec::Pcma, 97));
}

#[test]
fn every_kind_of_hold_is_answered_and_resumed() {
    let (mut leg, theirs) = (negotiation(), remote("203.0.113.1:4000"));
    leg.answer(&body("203.0.113.1", ANSWER), Direction::SendRecv)
        .expect("the call");
    let holds = [
        ("203.0.113.1", "a=sendonly", "recvonly", Direction::RecvOnly),
        ("203.0.113.1", "a=inactive", "inactive", Direction::Inactive),
        ("0.0.0.0", "a=sendrecv", "recvonly", Direction::RecvOnly),
        ("0.0.0.0", "a=inactive", "inactive", Direction::Inactive),
    ];
    for (address, line, ours, direction) in holds {
        let offer = body(address, &format!("{ANSWER}\r\n{line}"));
        let (answer, agreed) = leg.answer(&offer, Direction::SendRecv).expect("held");
        assert!(
            answer.contains(&format!("a={ours}\r\n")),
            "{line}: {answer}"
        );
        assert_eq!(
            (agreed.direction, agreed.held(), agreed.remote),
            (direction, true, theirs)
        );
        let offer = body("203.0.113.1", ANSWER);
        let (_, agreed) = leg.answer(&offer, Direction::SendRecv).expect("resumed");
        assert_eq!(
            (agreed.direction, agreed.held()),
            (Direction::SendRecv, false)
        );
    }
}

#[test]
fn the_version_grows_with_each_changed_body_and_only_then() {
    let mut leg = negotiation();
    let first = leg.offer(Direction::SendRecv);
    assert_eq!(version(&first), version(&leg.offer(Direction::SendRecv)));
    let held = leg.offer(Direction::SendOnly);
    assert_eq!(version(&held), version(&first) + 1);
    assert_eq!(version(&leg.offer(Direction::SendOnly)), version(&held));
    assert_eq!(version(&leg.offer(Direction::SendRecv)), version(&held) + 1);
}

#[test]
fn sections_we_do_not_do_are_refused_in_place() {
    let mut leg = negotiation();
    let media = "m=video 5000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\nm=audio 4000 RTP/AVP 8 96\r\n\
                 a=rtpmap:96 telephone-event/8000\r\nm=image 6000 udptl t38";
    let (answer, agreed) = leg
        .answer(&body("203.0.113.1", media), Direction::SendRecv)
        .expect("audio");
    let answer = Description::parse(&answer).expect("our own body");
    let sections: Vec<_> = answer
        .media
        .iter()
        .map(|it| (it.kind.as_str(), it.port))
        .collect();
    assert_eq!(sections, [("video", 0), ("audio", 10_000), ("image", 0)]);
    assert_eq!((agreed.payload_type, agreed.telephone_event), (8, Some(96)));
    let offer = Description::parse(&leg.offer(Direction::SendOnly)).expect("our own body");
    assert_eq!(offer.media.len(), 3, "the layout stays");
    assert_eq!(
        offer.media[1].formats,
        ["8", "0", "96"],
        "numbers keep their meaning"
    );
}

#[test]
fn t38_alone_is_refused_and_the_audio_stays() {
    let mut leg = negotiation();
    leg.answer(&body("203.0.113.1", ANSWER), Direction::SendRecv)
        .expect("the call");
    let before = leg.agreed().copied();
    let refusal = leg.answer(
        &body("203.0.113.1", "m=image 6000 udptl t38"),
        Direction::SendRecv,
    );
    let refusal = refusal.expect_err("no audio");
    assert_eq!((refusal.clone(), refusal.status()), (Refusal::NoAudio, 488));
    assert_eq!(leg.agreed().copied(), before);
}

#[test]
fn what_cannot_be_agreed_is_refused_with_a_reason() {
    let answer = |text: &str| {
        let mut leg = negotiation();
        leg.offer(Direction::SendRecv);
        leg.read_answer(text).expect_err("refused")
    };
    assert_eq!(answer("hello"), Refusal::Unreadable(SdpError::NotSdp));
    assert_eq!(answer("hello").status(), 400);
    assert_eq!(
        answer(&body("203.0.113.1", "m=audio 0 RTP/AVP 0")),
        Refusal::AudioRefused
    );
    assert_eq!(
        answer(&body("203.0.113.1", "m=audio 4000 RTP/AVP 18")),
        Refusal::NoCommonCodec
    );
    assert_eq!(
        answer(&body("pbx.example", "m=audio 4000 RTP/AVP 0")),
        Refusal::NoAddress
    );
    assert_eq!(
        answer(&body("203.0.113.1", "m=video 4000 RTP/AVP 0")),
        Refusal::NoAudio
    );
    let unasked = negotiation().read_answer(&body("203.0.113.1", ANSWER));
    assert_eq!(unasked, Err(Refusal::NothingOffered));
    let secure = negotiation().answer(
        &body("203.0.113.1", "m=audio 4000 RTP/SAVP 0"),
        Direction::SendRecv,
    );
    assert_eq!(secure.expect_err("no SDES here"), Refusal::NoAudio);
}

#[test]
fn the_codec_in_use_outlives_a_re_offer_of_both() {
    let mut leg = negotiation();
    leg.answer(
        &body("203.0.113.1", "m=audio 4000 RTP/AVP 0"),
        Direction::SendRecv,
    )
    .expect("call");
    let (_, agreed) = leg
        .answer(
            &body("203.0.113.1", "m=audio 4000 RTP/AVP 8 0"),
            Direction::SendRecv,
        )
        .expect("again");
    assert_eq!(agreed.codec, Codec::Pcmu);
}

#[test]
fn bodies_are_read_as_carriers_write_them() {
    let body = "\n v=0\no=- x y IN IP4\ns=\nc=IN IP4 203.0.113.1/127\nb=AS:64\nt=0 0\n\
                m = audio 4000/2 RTP/AVP 0\na=rtpmap: 0 PCMU/8000\nz=junk\na=SendOnly\n";
    let description = Description::parse(body).expect("lenient");
    let media = &description.media[0];
    assert_eq!(
        (media.port, media.encoding_of(0).as_deref()),
        (4_000, Some("PCMU/8000"))
    );
    assert_eq!(
        description.address_of(media),
        Some("203.0.113.1".parse().expect("an address"))
    );
    assert_eq!(description.direction_of(media), Direction::SendOnly);
    let v6 = "v=0\r\nm=audio 4 RTP/AVP 0\r\nc=IN IP6 2001:db8::1\r\n";
    let description = Description::parse(v6).expect("no session c=");
    let address = description.address_of(&description.media[0]);
    assert_eq!(address, Some("2001:db8::1".parse().expect("an address")));
    assert!(description.to_string().contains("c=IN IP6 2001:db8::1\r\n"));
}

fn key(suite: Suite, fill: u8) -> Key {
    Key::new(suite, vec![fill; suite.key_bytes()]).expect("the suite's length")
}

fn secure(fill: u8) -> Security {
    Security::Required(vec![
        key(Suite::AeadAes128Gcm, fill),
        key(Suite::AesCm128HmacSha1_80, fill),
    ])
}

#[test]
fn two_sides_agree_on_keys_and_keep_them() {
    let only = Security::Accepted(vec![key(Suite::AesCm128HmacSha1_80, 9)]);
    let mut caller = negotiation().with_security(secure(1));
    let mut called = negotiation().with_security(only);
    let offer = caller.offer(Direction::SendRecv);
    assert!(offer.contains("m=audio 10000 RTP/SAVP 8 0 101\r\n"));
    assert!(offer.contains("a=crypto:1 AEAD_AES_128_GCM inline:"));
    let (answer, _) = called
        .answer(&offer, Direction::SendRecv)
        .expect("answered");
    assert!(answer.contains("a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:"));
    caller.read_answer(&answer).expect("agreed");
    let (ours, theirs) = (
        caller.secured().expect("keys"),
        called.secured().expect("keys"),
    );
    assert_eq!((&ours.ours, &ours.theirs), (&theirs.theirs, &theirs.ours));
    assert_eq!(version(&offer), version(&caller.offer(Direction::SendRecv)));
    let again = called.offer(Direction::SendOnly);
    assert!(again.contains("RTP/SAVP"), "what is encrypted stays so");
}

#[test]
fn security_is_a_matter_of_policy() {
    let plain = body("203.0.113.1", "m=audio 4000 RTP/AVP 0");
    let mut strict = negotiation().with_security(secure(1));
    let refusal = strict.answer(&plain, Direction::SendRecv);
    assert_eq!(refusal.expect_err("plain").status(), 488);
    strict.offer(Direction::SendRecv);
    assert_eq!(strict.read_answer(&plain), Err(Refusal::NoCrypto));
    let unknown = "m=audio 4000 RTP/SAVP 0\r\na=crypto:1 F8_128_HMAC_SHA1_80 inline:AAAA";
    let refusal = strict.answer(&body("203.0.113.1", unknown), Direction::SendRecv);
    assert_eq!(refusal.expect_err("no suite of ours"), Refusal::NoCrypto);
    let keys = vec![key(Suite::AesCm128HmacSha1_80, 2)];
    let mut lenient = negotiation().with_security(Security::Accepted(keys));
    let (answer, _) = lenient.answer(&plain, Direction::SendRecv).expect("plain");
    assert!(answer.contains("RTP/AVP 0") && lenient.secured().is_none());
}

#[test]
fn rtcp_may_have_an_address_of_its_own_and_the_protocol_is_the_offers() {
    let mut leg = negotiation();
    let media = "m=audio 4000 RTP/AVPF 0\r\na=rtcp:5001 IN IP4 203.0.113.9";
    let (answer, _) = leg
        .answer(&body("203.0.113.1", media), Direction::SendRecv)
        .expect("answered");
    assert_eq!(leg.remote_rtcp(), Some(remote("203.0.113.9:5001")));
    assert!(answer.contains("m=audio 10000 RTP/AVPF 0"));
    leg.answer(&body("203.0.113.1", ANSWER), Direction::SendRecv)
        .expect("answered");
    assert_eq!(leg.remote_rtcp(), Some(remote("203.0.113.1:4001")));
}

#[test]
fn the_callers_wish_orders_the_codecs() {
    let mut leg = negotiation();
    leg.allow(vec![Codec::Pcmu]);
    let both = body("203.0.113.1", "m=audio 4000 RTP/AVP 8 0");
    let (_, agreed) = leg.answer(&both, Direction::SendRecv).expect("agreed");
    assert_eq!(agreed.codec, Codec::Pcmu);
    assert!(leg.offer(Direction::SendRecv).contains("RTP/AVP 0 101"));
}

#[test]
fn opus_is_spoken_where_there_is_no_g711_with_events_on_its_clock() {
    let all = || {
        let mut leg = negotiation();
        leg.allow(vec![Codec::Pcma, Codec::Pcmu, Codec::Opus]);
        leg
    };
    let only = body(
        "203.0.113.1",
        "m=audio 4000 RTP/AVP 96 97 98\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:97 telephone-event/8000\r\na=rtpmap:98 telephone-event/48000",
    );
    let (answer, agreed) = all().answer(&only, Direction::SendRecv).expect("agreed");
    assert_eq!((agreed.codec, agreed.payload_type), (Codec::Opus, 96));
    assert_eq!(agreed.telephone_event, Some(98));
    for line in [
        "m=audio 10000 RTP/AVP 96 98\r\n",
        "a=rtpmap:96 opus/48000/2\r\n",
        "a=rtpmap:98 telephone-event/48000\r\n",
    ] {
        assert!(answer.contains(line), "{answer}");
    }
    assert!(!answer.contains("telephone-event/8000"), "{answer}");
    let both = body(
        "203.0.113.1",
        "m=audio 4000 RTP/AVP 96 0\r\na=rtpmap:96 opus/48000/2",
    );
    let (_, agreed) = all().answer(&both, Direction::SendRecv).expect("agreed");
    assert_eq!(agreed.codec, Codec::Pcmu);
    let mut caller = all();
    let offer = caller.offer(Direction::SendRecv);
    for line in [
        "RTP/AVP 8 0 111 101 110\r\n",
        "a=rtpmap:101 telephone-event/8000\r\n",
        "a=rtpmap:110 telephone-event/48000\r\n",
        "a=fmtp:111 maxplaybackrate=8000;",
    ] {
        assert!(offer.contains(line), "{offer}");
    }
    let answer = body(
        "203.0.113.1",
        "m=audio 4000 RTP/AVP 111 110\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:110 telephone-event/48000",
    );
    let agreed = caller.read_answer(&answer).expect("agreed");
    assert_eq!(
        (agreed.codec, agreed.telephone_event),
        (Codec::Opus, Some(110))
    );
}

#[test]
fn limits_hold() {
    let many = format!("v=0\r\n{}", "m=audio 4 RTP/AVP 0\r\n".repeat(33));
    assert!(matches!(
        Description::parse(&many),
        Err(SdpError::TooMuch(_))
    ));
    let many = format!("v=0\r\n{}", "a=x\r\n".repeat(513));
    assert!(matches!(
        Description::parse(&many),
        Err(SdpError::TooMuch(_))
    ));
    let long = format!("v=0\r\ns={}\r\n", "x".repeat(65_536));
    assert!(matches!(
        Description::parse(&long),
        Err(SdpError::TooMuch(_))
    ));
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        "[vosctbam]=.{0,40}",
        "a=(rtpmap|fmtp|ptime|mid|group|candidate):[ -~]{0,30}",
        "m=(audio|video|image) [0-9]{1,6}(/[0-9])? (RTP/AVP|udptl)( [0-9]{1,3}){0,5}",
        "c=IN IP[46] [0-9a-f.:/]{0,20}",
        "a=(sendrecv|sendonly|recvonly|inactive)",
        ".{0,20}",
    ]
}

proptest! {
    #[test]
    fn reading_never_panics(text in ".{0,300}") {
        let _ = Description::parse(&text);
    }

    #[test]
    fn what_was_read_and_written_reads_the_same(lines in prop::collection::vec(line(), 0..30)) {
        let body = format!("v=0\r\n{}\r\n", lines.join("\r\n"));
        if let Ok(description) = Description::parse(&body) {
            let written = description.to_string();
            let again = Description::parse(&written).expect("our own writing");
            prop_assert_eq!(&again, &description);
            prop_assert_eq!(again.to_string(), written);
        }
    }

    #[test]
    fn any_body_is_agreed_to_or_refused(lines in prop::collection::vec(line(), 0..20)) {
        let body = format!("v=0\r\nc=IN IP4 203.0.113.1\r\n{}\r\n", lines.join("\r\n"));
        let mut leg = negotiation();
        if let Ok((answer, agreed)) = leg.answer(&body, Direction::SendRecv) {
            let offered = Description::parse(&body).expect("it was answered");
            let answer = Description::parse(&answer).expect("our own body");
            prop_assert_eq!(answer.media.len(), offered.media.len());
            prop_assert_eq!(answer.media.iter().filter(|media| media.port != 0).count(), 1);
            prop_assert_eq!(leg.agreed(), Some(&agreed));
        }
        let mut leg = negotiation();
        leg.offer(Direction::SendRecv);
        let agreed = leg.read_answer(&body).ok();
        prop_assert_eq!(leg.agreed().copied(), agreed);
    }
}
