use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rtc::crypto::{HashAlgorithm, RTCCryptoProvider, default_provider};
use rtc::dtls::config::{ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::endpoint::Endpoint;
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::TransportProtocol;
use rtc::stun::attributes::{
    ATTR_ICE_CONTROLLED, ATTR_ICE_CONTROLLING, ATTR_USE_CANDIDATE, ATTR_USERNAME,
};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{
    BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Getter, Message, Setter, TransactionId,
};
use rtc::stun::textattrs::TextAttribute;
use rtc::stun::xoraddr::XorMappedAddress;

use super::description::Fingerprint;
use super::{LinkState, PeerError, PeerEvent, Peers, PeersConfig};
use crate::id::LegId;
use crate::media::g711::Law;
use crate::media::packet::RtpHeader;
use crate::sdp::Description;

const LEG: LegId = LegId(1);
const CHROMIUM: [&str; 5] = [
    include_str!("../../tests/data/chromium_offer_0.sdp"),
    include_str!("../../tests/data/chromium_offer_1.sdp"),
    include_str!("../../tests/data/chromium_offer_2.sdp"),
    include_str!("../../tests/data/chromium_offer_3.sdp"),
    include_str!("../../tests/data/chromium_offer_4.sdp"),
];
const CLIENT_HELLO: [u8; 14] = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20, 1];

fn peers() -> Peers {
    let local = "127.0.0.1:7000".parse().expect("an address");
    Peers::new(
        PeersConfig {
            local,
            advertised: vec![],
        },
        1,
    )
    .expect("a certificate")
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 2], port))
}

fn attribute(sdp: &str, name: &str) -> String {
    let description = Description::parse(sdp).expect("readable");
    let media = description
        .media
        .iter()
        .find(|media| media.port != 0)
        .expect("audio");
    description
        .attribute_of(media, name)
        .expect("there")
        .to_owned()
}

/// An attribute as it stands.
struct Plain(rtc::stun::attributes::AttrType, &'static [u8]);

impl Setter for Plain {
    fn add_to(&self, message: &mut Message) -> rtc::shared::error::Result<()> {
        message.add(self.0, self.1);
        Ok(())
    }
}

/// A browser's checks for the leg of this offer and answer.
struct Checker {
    username: String,
    password: String,
    provider: Arc<dyn RTCCryptoProvider>,
}

impl Checker {
    fn new(offer: &str, answer: &str) -> Checker {
        let theirs = attribute(offer, "ice-ufrag");
        Checker {
            username: format!("{}:{theirs}", attribute(answer, "ice-ufrag")),
            password: attribute(answer, "ice-pwd"),
            provider: default_provider().expect("ring"),
        }
    }

    fn check(&self, nominate: bool) -> Vec<u8> {
        self.message(nominate, ATTR_ICE_CONTROLLING).raw
    }

    fn message(&self, nominate: bool, role: rtc::stun::attributes::AttrType) -> Message {
        let mut setters: Vec<Box<dyn Setter + '_>> = vec![
            Box::new(BINDING_REQUEST),
            Box::new(TransactionId::new()),
            Box::new(TextAttribute::new(ATTR_USERNAME, self.username.clone())),
            Box::new(Plain(role, b"12345678")),
        ];
        if nominate {
            setters.push(Box::new(Plain(ATTR_USE_CANDIDATE, b"")));
        }
        let key = self.password.as_bytes().to_vec();
        let crypto = self.provider.crypto();
        setters.push(Box::new(MessageIntegrity::new_raw_integrity_with_provider(
            key, crypto,
        )));
        let mut message = Message::new();
        message.build(&setters).expect("a check");
        message
    }
}

fn leg(now: Instant, peers: &mut Peers, id: LegId) -> Checker {
    let answer = peers
        .offer(now, id, CHROMIUM[0], Law::Mu)
        .expect("an answer");
    Checker::new(CHROMIUM[0], &answer)
}

/// The kind of the one reply, if there is one.
fn reply(peers: &mut Peers) -> Option<(SocketAddr, Message)> {
    let (to, bytes) = peers.poll_transmit()?;
    let mut message = Message {
        raw: bytes,
        ..Message::default()
    };
    message.decode().expect("STUN");
    assert_eq!(peers.poll_transmit(), None);
    Some((to, message))
}

fn remote(peers: &Peers) -> Option<SocketAddr> {
    peers.snapshot().legs[0].remote
}

#[test]
fn real_chromium_offers_are_answered() {
    let (now, mut peers) = (Instant::now(), peers());
    for (offer, direction) in CHROMIUM
        .into_iter()
        .zip(["sendrecv", "recvonly", "inactive", "sendrecv", "sendrecv"])
    {
        let answer = peers.offer(now, LEG, offer, Law::Mu).expect("an answer");
        let read = Description::parse(&answer).expect("readable");
        assert_eq!(read.media.len(), 1);
        let media = &read.media[0];
        assert_eq!(
            (media.port, media.formats.as_slice()),
            (7_000, &["0".to_owned()][..])
        );
        for wanted in [direction, "rtcp-mux", "end-of-candidates"] {
            assert!(media.attribute(wanted).is_some(), "{wanted} in {answer}");
        }
        assert!(read.attribute("ice-lite").is_some());
        assert_eq!(read.attribute("group"), Some("BUNDLE 0"));
        assert_eq!(media.attribute("setup"), Some("passive"));
        assert_eq!(
            media.attribute("candidate"),
            Some("1 1 udp 2130706431 127.0.0.1 7000 typ host")
        );
        assert!(!answer.contains("telephone-event") && !answer.contains("extmap"));
    }
    let first = peers.snapshot().legs.len();
    assert_eq!(first, 1, "re-offers belong to the same leg");
}

#[test]
fn the_law_follows_the_preference() {
    let mut peers = peers();
    let answer = peers
        .offer(Instant::now(), LEG, CHROMIUM[0], Law::A)
        .expect("an answer");
    assert!(answer.contains("RTP/SAVPF 8\r\na="), "{answer}");
    assert_eq!(peers.law(LEG), Some(Law::A));
    let held = peers.offer(Instant::now(), LEG, CHROMIUM[1], Law::Mu);
    assert!(held.is_ok());
    assert_eq!(peers.law(LEG), Some(Law::A), "a call keeps its law");
}

#[test]
fn other_sections_are_refused_in_place_and_leave_the_bundle() {
    let offer = CHROMIUM[0].replace("BUNDLE 0", "BUNDLE v 0 d").replacen(
        "m=audio",
        "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\na=rtpmap:96 VP8/90000\r\nm=audio",
        1,
    ) + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\n";
    let answer = peers()
        .offer(Instant::now(), LEG, &offer, Law::Mu)
        .expect("an answer");
    let read = Description::parse(&answer).expect("readable");
    let sections: Vec<_> = read
        .media
        .iter()
        .map(|media| (media.port, media.attribute("mid")))
        .collect();
    assert_eq!(
        sections,
        [(0, Some("v")), (7_000, Some("0")), (0, Some("d"))]
    );
    assert_eq!(read.attribute("group"), Some("BUNDLE 0"));
}

#[test]
fn offers_without_what_we_need_are_refused() {
    let refused = |from: &str, to: &str| {
        let offer = CHROMIUM[0].replace(from, to);
        assert_ne!(offer, CHROMIUM[0], "{from} is in it");
        peers()
            .offer(Instant::now(), LEG, &offer, Law::Mu)
            .expect_err("refused")
    };
    assert_eq!(refused("a=rtcp-mux\r\n", ""), PeerError::Lacks("rtcp-mux"));
    assert_eq!(refused("a=ice-ufrag", "a=x"), PeerError::Lacks("ice-ufrag"));
    assert_eq!(refused("a=ice-pwd", "a=x"), PeerError::Lacks("ice-pwd"));
    assert_eq!(
        refused("sha-256", "sha-1"),
        PeerError::Lacks("a sha-256 fingerprint")
    );
    assert_eq!(
        refused("actpass", "holdconn"),
        PeerError::Lacks("a usable setup")
    );
    assert_eq!(refused("m=audio", "m=video"), PeerError::NoAudio);
    assert_eq!(refused("UDP/TLS/RTP/SAVPF", "RTP/AVP"), PeerError::NoAudio);
    assert_eq!(
        refused("v=0", "x=0"),
        PeerError::Unreadable(crate::sdp::SdpError::NotSdp)
    );
    let opus_only = refused("PCM", "XXX");
    assert_eq!(opus_only, PeerError::NoCommonCodec);
}

#[test]
fn a_refused_re_offer_leaves_the_leg_as_it_was() {
    let (now, mut peers) = (Instant::now(), peers());
    let checker = leg(now, &mut peers, LEG);
    let other = CHROMIUM[0].replace("sha-256 ", "sha-256 00:");
    assert!(peers.offer(now, LEG, &other, Law::Mu).is_err());
    let line = CHROMIUM[0]
        .lines()
        .find(|line| line.starts_with("a=fingerprint"))
        .expect("there");
    let zeros = format!("a=fingerprint:sha-256 {}", ["00"; 32].join(":"));
    let other = CHROMIUM[0].replace(line, &zeros);
    let refused = peers.offer(now, LEG, &other, Law::Mu);
    assert_eq!(refused, Err(PeerError::Changes("the fingerprint")));
    peers.handle_datagram(now, address(1), &checker.check(true));
    assert_eq!(reply(&mut peers).expect("a reply").1.typ, BINDING_SUCCESS);
}

#[test]
fn a_check_with_the_right_password_is_answered_and_opens_its_address() {
    let (now, mut peers) = (Instant::now(), peers());
    let checker = leg(now, &mut peers, LEG);
    peers.handle_datagram(now, address(1), &CLIENT_HELLO);
    assert_eq!(peers.snapshot().dropped.stranger, 1);
    let check = checker.message(true, ATTR_ICE_CONTROLLING);
    peers.handle_datagram(now, address(1), &check.raw);
    let (to, mut answer) = reply(&mut peers).expect("a reply");
    assert_eq!((to, answer.typ), (address(1), BINDING_SUCCESS));
    assert_eq!(answer.transaction_id, check.transaction_id);
    let mut mapped = XorMappedAddress::default();
    mapped.get_from(&answer).expect("the address");
    assert_eq!(SocketAddr::new(mapped.ip, mapped.port), address(1));
    FINGERPRINT.check(&answer).expect("the fingerprint");
    let crypto = checker.provider.crypto();
    MessageIntegrity::check(&mut answer, checker.password.as_bytes(), crypto).expect("signed");
    peers.handle_datagram(now, address(1), &CLIENT_HELLO);
    assert_eq!(peers.snapshot().dropped.stranger, 1, "no stranger any more");
    assert_eq!(remote(&peers), Some(address(1)));
}

#[test]
fn a_check_that_cannot_be_authenticated_is_not_answered() {
    let (now, mut peers) = (Instant::now(), peers());
    let mut checker = leg(now, &mut peers, LEG);
    let right = checker.username.clone();
    for username in [
        format!("{right}x"),
        format!("x{right}"),
        right.replace(':', ""),
        String::new(),
    ] {
        checker.username = username;
        peers.handle_datagram(now, address(1), &checker.check(true));
    }
    checker.username = right;
    let mut spoilt = checker.check(true);
    spoilt[12] ^= 1;
    peers.handle_datagram(now, address(1), &spoilt);
    checker.password = "guessguessguessguessguess".into();
    peers.handle_datagram(now, address(1), &checker.check(true));
    assert_eq!(peers.poll_transmit(), None);
    assert_eq!(peers.snapshot().dropped.unauthenticated, 6);
    peers.handle_datagram(now, address(1), &CLIENT_HELLO);
    assert_eq!(peers.snapshot().dropped.stranger, 1);
    assert_eq!(remote(&peers), None);
}

#[test]
fn a_browser_that_thinks_it_is_controlled_is_told_so() {
    let (now, mut peers) = (Instant::now(), peers());
    let checker = leg(now, &mut peers, LEG);
    let check = checker.message(false, ATTR_ICE_CONTROLLED);
    peers.handle_datagram(now, address(1), &check.raw);
    assert_eq!(reply(&mut peers).expect("a reply").1.typ, BINDING_ERROR);
    assert_eq!(remote(&peers), None);
}

#[test]
fn the_last_nomination_wins_but_only_a_signed_one() {
    let (now, mut peers) = (Instant::now(), peers());
    let checker = leg(now, &mut peers, LEG);
    peers.handle_datagram(now, address(1), &checker.check(true));
    peers.handle_datagram(now, address(2), &checker.check(false));
    assert_eq!(remote(&peers), Some(address(1)));
    // USE-CANDIDATE behind MESSAGE-INTEGRITY: anyone on the path could have put it there.
    let mut appended = checker.message(false, ATTR_ICE_CONTROLLING);
    appended.add(ATTR_USE_CANDIDATE, &[]);
    peers.handle_datagram(now, address(2), &appended.raw);
    assert_eq!(remote(&peers), Some(address(1)));
    peers.handle_datagram(now, address(2), &checker.check(true));
    assert_eq!(remote(&peers), Some(address(2)));
}

#[test]
fn a_live_legs_address_cannot_be_taken_by_another() {
    let (now, mut peers) = (Instant::now(), peers());
    let (victim, thief) = (leg(now, &mut peers, LEG), leg(now, &mut peers, LegId(2)));
    peers.handle_datagram(now, address(1), &victim.check(true));
    assert!(reply(&mut peers).is_some());
    peers.handle_datagram(now, address(1), &thief.check(true));
    assert_eq!(
        (reply(&mut peers), peers.snapshot().dropped.contested),
        (None, 1)
    );
    // Once the first one has been silent, the port may have a new owner.
    let later = now + Duration::from_secs(16);
    peers.handle_datagram(later, address(1), &thief.check(true));
    assert!(reply(&mut peers).is_some());
    let legs = peers.snapshot().legs;
    assert_eq!((legs[0].remote, legs[1].remote), (None, Some(address(1))));
}

#[test]
fn an_ice_restart_keeps_the_old_path_until_the_first_new_check() {
    let (now, mut peers) = (Instant::now(), peers());
    let old = leg(now, &mut peers, LEG);
    peers.handle_datagram(now, address(1), &old.check(true));
    assert!(reply(&mut peers).is_some());
    let answer = peers
        .offer(now, LEG, CHROMIUM[4], Law::Mu)
        .expect("an answer");
    let new = Checker::new(CHROMIUM[4], &answer);
    assert_ne!(new.password, old.password);
    assert_eq!(remote(&peers), Some(address(1)));
    peers.handle_datagram(now, address(1), &old.check(true));
    assert!(reply(&mut peers).is_some(), "the old path holds on");
    peers.handle_datagram(now, address(2), &new.check(true));
    assert!(reply(&mut peers).is_some());
    assert_eq!(remote(&peers), Some(address(2)));
    peers.handle_datagram(now, address(1), &old.check(true));
    assert_eq!(reply(&mut peers), None, "the old credentials are spent");
}

#[test]
fn a_leg_has_a_limited_number_of_addresses() {
    let (now, mut peers) = (Instant::now(), peers());
    let checker = leg(now, &mut peers, LEG);
    for port in 1..=20 {
        let at = now + Duration::from_millis(port.into());
        peers.handle_datagram(at, address(port), &checker.check(port == 1));
    }
    assert_eq!(remote(&peers), Some(address(1)), "the path in use stays");
    assert_eq!(peers.by_address.len(), 8);
    peers.close(now, LEG);
    assert_eq!(
        (
            peers.by_address.len(),
            peers.by_ufrag.len(),
            peers.deadlines.len()
        ),
        (0, 0, 0)
    );
}

#[test]
fn a_browser_that_never_comes_is_lost_after_30_s() {
    let (now, mut peers) = (Instant::now(), peers());
    leg(now, &mut peers, LEG);
    assert_eq!(peers.poll_timeout(), Some(now + Duration::from_secs(30)));
    peers.handle_timeout(now + Duration::from_secs(29));
    assert_eq!(peers.poll_event(), None);
    peers.handle_timeout(now + Duration::from_secs(30));
    assert_eq!(peers.poll_event(), Some(PeerEvent::Lost { leg: LEG }));
    assert_eq!((peers.poll_event(), peers.poll_timeout()), (None, None));
    assert_eq!(peers.snapshot().legs[0].link, LinkState::Lost);
}

/// The DTLS and SRTP of a browser, in memory.
struct FarEnd {
    endpoint: Endpoint,
    config: Arc<HandshakeConfig>,
    fingerprint: String,
}

const US: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7_000);

impl FarEnd {
    fn new(profiles: Vec<SrtpProtectionProfile>) -> FarEnd {
        let provider = default_provider().expect("ring");
        let crypto = provider.crypto();
        let certificate = Certificate::generate_self_signed(vec!["far".to_owned()], crypto);
        let certificate = certificate.expect("a certificate");
        let hash = crypto
            .hash(HashAlgorithm::Sha256, &certificate.certificate[0])
            .expect("a hash");
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider.clone())
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(profiles)
            .with_insecure_skip_verify(true)
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .build(true, None)
            .expect("a configuration");
        let endpoint = Endpoint::new(address(1), TransportProtocol::UDP, None);
        let fingerprint = Fingerprint(hash).to_string();
        FarEnd {
            endpoint,
            config: Arc::new(config),
            fingerprint,
        }
    }

    fn offer(&self) -> String {
        let line = CHROMIUM[0]
            .lines()
            .find(|line| line.starts_with("a=fingerprint"));
        CHROMIUM[0].replace(
            line.expect("there"),
            &format!("a=fingerprint:{}", self.fingerprint),
        )
    }

    /// Shakes hands as far as it goes.
    fn connect(&mut self, now: Instant, peers: &mut Peers) {
        self.endpoint
            .connect(now, US, self.config.clone(), None)
            .expect("begun");
        for _ in 0..20 {
            while let Some(transmit) = self.endpoint.poll_transmit() {
                peers.handle_datagram(now, address(1), &transmit.message);
            }
            while let Some((to, bytes)) = peers.poll_transmit() {
                assert_eq!(to, address(1));
                // A refusal comes as an alert, which is an error here.
                let _ = self.endpoint.read(now, US, None, bytes.as_slice().into());
            }
        }
    }
}

/// A connected leg and who keeps its consent.
fn connected(now: Instant, peers: &mut Peers) -> Checker {
    let mut far = FarEnd::new(vec![
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
    ]);
    let answer = peers
        .offer(now, LEG, &far.offer(), Law::Mu)
        .expect("an answer");
    let checker = Checker::new(CHROMIUM[0], &answer);
    peers.handle_datagram(now, address(1), &checker.check(true));
    assert!(reply(peers).is_some());
    far.connect(now, peers);
    assert_eq!(peers.poll_event(), Some(PeerEvent::Connected { leg: LEG }));
    checker
}

#[test]
fn gcm_wins_over_the_browsers_order_and_sha1_is_taken_if_it_has_no_gcm() {
    let (now, mut peers) = (Instant::now(), peers());
    connected(now, &mut peers);
    assert_eq!(peers.snapshot().legs[0].profile, Some("AEAD_AES_128_GCM"));

    let mut peers = self::peers();
    let mut far = FarEnd::new(vec![SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80]);
    let answer = peers
        .offer(now, LEG, &far.offer(), Law::Mu)
        .expect("an answer");
    let checker = Checker::new(CHROMIUM[0], &answer);
    peers.handle_datagram(now, address(1), &checker.check(true));
    assert!(reply(&mut peers).is_some());
    far.connect(now, &mut peers);
    assert_eq!(
        peers.snapshot().legs[0].profile,
        Some("AES_CM_128_HMAC_SHA1_80")
    );
}

#[test]
fn another_certificate_than_the_offers_never_connects() {
    let (now, mut peers) = (Instant::now(), peers());
    let profiles = vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm];
    let (honest, mut other) = (FarEnd::new(profiles.clone()), FarEnd::new(profiles));
    let answer = peers
        .offer(now, LEG, &honest.offer(), Law::Mu)
        .expect("an answer");
    let checker = Checker::new(CHROMIUM[0], &answer);
    peers.handle_datagram(now, address(1), &checker.check(true));
    assert!(reply(&mut peers).is_some());
    other.connect(now, &mut peers);
    assert_eq!(peers.poll_event(), None);
    assert_eq!(peers.snapshot().legs[0].link, LinkState::Connecting);
    assert_eq!(peers.snapshot().legs[0].profile, None);
}

#[test]
fn a_lost_leg_heals_when_checks_return() {
    let (now, mut peers) = (Instant::now(), peers());
    let checker = connected(now, &mut peers);
    let silence = now + Duration::from_secs(15);
    assert_eq!(peers.poll_timeout(), Some(silence));
    peers.handle_timeout(silence);
    assert_eq!(peers.poll_event(), Some(PeerEvent::Lost { leg: LEG }));
    let packet = RtpHeader {
        payload_type: 0,
        marker: false,
        sequence: 1,
        timestamp: 1,
        ssrc: 1,
    };
    let packet = packet.with_payload(vec![0xFF; 160].into());
    peers.send(silence, LEG, &packet);
    assert_eq!(
        peers.poll_transmit(),
        None,
        "nothing is sent without consent"
    );
    let back = silence + Duration::from_secs(5);
    peers.handle_datagram(back, address(3), &checker.check(true));
    assert!(reply(&mut peers).is_some());
    assert_eq!(peers.poll_event(), Some(PeerEvent::Connected { leg: LEG }));
    peers.send(back, LEG, &packet);
    let (to, bytes) = peers.poll_transmit().expect("audio again");
    assert_eq!((to, bytes.len()), (address(3), 12 + 160 + 16));
}

#[test]
fn workers_without_an_address_to_tell_do_not_start() {
    let local = "0.0.0.0:7000".parse().expect("an address");
    let none = Peers::new(
        PeersConfig {
            local,
            advertised: vec![],
        },
        1,
    );
    assert_eq!(none.err(), Some(PeerError::NoAddress));
    let told = vec![
        "203.0.113.9".parse().expect("an address"),
        "2001:db8::9".parse().expect("one"),
    ];
    let mut peers = Peers::new(
        PeersConfig {
            local,
            advertised: told,
        },
        1,
    )
    .expect("a certificate");
    let answer = peers
        .offer(Instant::now(), LEG, CHROMIUM[0], Law::Mu)
        .expect("an answer");
    assert!(answer.contains("c=IN IP4 203.0.113.9\r\n"));
    assert!(answer.contains(" 203.0.113.9 7000 typ host\r\n"));
    assert!(answer.contains(" 2001:db8::9 7000 typ host\r\n"));
}

#[test]
fn a_worker_may_move_between_threads() {
    fn sendable<T: Send>(_: &T) {}
    sendable(&peers());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_datagram_panics_and_no_deadline_stays_behind(
        datagrams in prop::collection::vec((any::<bool>(), 0u8..5, prop::collection::vec(any::<u8>(), 0..200)), 0..40),
    ) {
        let (mut now, mut peers) = (Instant::now(), peers());
        let checker = leg(now, &mut peers, LEG);
        peers.handle_datagram(now, address(1), &checker.check(true));
        for (known, kind, mut bytes) in datagrams {
            let head: &[u8] = match kind {
                0 => &[0, 1, 0, 40, 0x21, 0x12, 0xA4, 0x42],
                1 => &CLIENT_HELLO,
                2 => &[0x90, 0],
                3 => &[0x80, 200],
                _ => &[],
            };
            bytes.splice(0..0, head.iter().copied());
            peers.handle_datagram(now, address(if known { 1 } else { 9 }), &bytes);
            now += Duration::from_millis(250);
            peers.handle_timeout(now);
            prop_assert!(peers.poll_timeout().is_none_or(|deadline| deadline > now));
            while peers.poll_transmit().is_some() {}
        }
        let heard = matches!(peers.poll_event(), Some(PeerEvent::Rtp { .. }));
        prop_assert!(!heard);
    }
}
