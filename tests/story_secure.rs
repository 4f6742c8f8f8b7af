//! SRTP by policy and trunks over connections, on the virtual clock: who is encrypted, who is
//! refused, whose key is whose, and where a call goes when a connection is dead.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use foredial::engine::Input;
use foredial::engine::media_worker::MediaCommand;
use foredial::engine::resolved::{EngineConfig, Phone, Trunk};
use foredial::engine::srtp::KeySource;
use foredial::id::TrunkId;
use foredial::route::{Match, Outward, Rewrite, Rule, Step};
use foredial::sip::{Algorithm, Flow, Secret, Transport};
use foredial::trunk::{Place, Srtp};
use support::wire::{Letter, Made, Wire, sdp};
use support::world::{TRUNK, config, world_of_trunks};

const PEER: &str = "127.0.26.3:5080";
const CALLER: &str = "127.0.34.2:5070";
const SECOND: &str = "127.0.34.11:5061";
const SUITE: &str = "AES_CM_128_HMAC_SHA1_80";

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn rule(prefix: &str, steps: Vec<Step>) -> Rule {
    Rule {
        name: prefix.to_owned(),
        number: Match::Prefix(prefix.to_owned()),
        from: Vec::new(),
        window: None,
        rewrite: Rewrite::default(),
        steps,
        ring_ms: 20_000,
        record: false,
    }
}

/// 8… goes to the peer, 9… to the trunk, 101 to the phone. Keys count up from 1.
fn with(srtp: Srtp, change: impl FnOnce(&mut Trunk)) -> EngineConfig {
    let mut config = config();
    config.permit = vec![at(CALLER).ip().to_string().parse().expect("an address")];
    config.phones = vec![Phone {
        user: "101".to_owned(),
        secret: Secret::Password("p".to_owned()),
        order: vec![Algorithm::Sha256],
        srtp,
        srtp_over_plain: false,
    }];
    let trunk = config.trunks.get_mut(&TrunkId::new("t")).expect("a trunk");
    trunk.srtp = srtp;
    change(trunk);
    let outward = Outward {
        trunk: TrunkId::new("t"),
        caller_id: "+862110000000".to_owned(),
    };
    config.plan.rules = vec![
        rule("8", vec![Step::Uri(format!("sip:{PEER}"))]),
        rule("9", vec![Step::Trunks(vec![outward])]),
        rule("101", vec![Step::Phone("101".to_owned())]),
    ];
    let drawn = Arc::new(AtomicU8::new(0));
    config.keys = KeySource::of(move |octets| {
        octets.fill(drawn.fetch_add(1, Ordering::Relaxed) + 1);
        true
    });
    config
}

/// A key of 30 octets, in base64, and the octets.
fn key(fill: u8) -> (String, Vec<u8>) {
    let octets = vec![fill; 30];
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = octets.chunks(3).flat_map(|three| {
        let bits = three
            .iter()
            .fold(0_u32, |bits, octet| bits << 8 | u32::from(*octet));
        (0..4).map(move |at| char::from(ALPHABET[(bits >> (18 - 6 * at)) as usize & 63]))
    });
    (text.collect(), octets)
}

/// G.711 over SRTP with this key.
fn encrypted(at: SocketAddr, fill: u8, direction: &str) -> String {
    let body = sdp(at, "0 8", direction).replace("RTP/AVP", "RTP/SAVP");
    format!("{body}a=crypto:1 {SUITE} inline:{}\r\n", key(fill).0)
}

fn plain(at: SocketAddr) -> String {
    sdp(at, "0 8", "sendrecv")
}

/// What the media was last told to encrypt a leg with: whose key is whose.
fn keys(wire: &Wire) -> Vec<Option<(Vec<u8>, Vec<u8>)>> {
    let mut last: Vec<(u64, _)> = Vec::new();
    for command in &wire.media {
        if let MediaCommand::AimTrunk { leg, srtp, .. } = command {
            let keys = srtp
                .as_ref()
                .map(|keys| (keys.local.clone(), keys.remote.clone()));
            last.retain(|(known, _)| *known != leg.0);
            last.push((leg.0, keys));
        }
    }
    last.into_iter().map(|(_, keys)| keys).collect()
}

fn protocol(letter: &Letter) -> &'static str {
    match letter.body().contains("RTP/SAVP") {
        true => "SAVP",
        false => "AVP",
    }
}

fn refused(wire: &Wire) -> u64 {
    wire.snapshot("counters")["srtp_refused"]
        .as_u64()
        .expect("a count")
}

fn connected(wire: &mut Wire, at: SocketAddr) -> Flow {
    let mut opened = wire.connects.iter();
    let flow = opened
        .find(|(flow, _)| flow.remote == at)
        .expect("a connection")
        .0;
    wire.input(Input::SipConnected { flow });
    flow
}

#[test]
fn a_carriers_offer_is_answered_by_policy_and_transport() {
    // Policy, TLS, over plain: what becomes of an offer of RTP and of one of SRTP.
    let table = [
        (Srtp::Off, false, false, "AVP", "488"),
        (Srtp::Off, true, false, "AVP", "488"),
        (Srtp::Optional, false, false, "AVP", "488"),
        (Srtp::Optional, true, false, "AVP", "SAVP"),
        (Srtp::Optional, false, true, "AVP", "SAVP"),
        (Srtp::Required, false, false, "488", "488"),
        (Srtp::Required, true, false, "488", "SAVP"),
        (Srtp::Required, false, true, "488", "SAVP"),
    ];
    for (policy, tls, over_plain, of_plain, of_encrypted) in table {
        for (offer, expected) in [
            (plain(at(TRUNK)), of_plain),
            (encrypted(at(TRUNK), 7, "sendrecv"), of_encrypted),
        ] {
            let case = format!("{policy:?} tls={tls} over_plain={over_plain}: {expected}");
            let mut wire = Wire::new(with(policy, |trunk| trunk.srtp_over_plain = over_plain));
            if tls {
                wire.speaks_tls(at(TRUNK));
            }
            let made = wire.invite(at(TRUNK), "8001", "", &offer);
            if expected == "488" {
                let refusal = wire.read(at(TRUNK), "SIP/2.0 488");
                assert!(
                    refusal.header("Warning").starts_with("302 "),
                    "{case}: {}",
                    refusal.0
                );
                assert!(refused(&wire) > 0, "{case}");
                assert_eq!(wire.rest(at(PEER)), Vec::<String>::new(), "{case}");
                wire.inside(&made, &refusal, "ACK", 1, "", "");
                continue;
            }
            let invite = wire.read(at(PEER), "INVITE");
            assert_eq!(
                protocol(&invite),
                "AVP",
                "{case}: the peer's leg is another"
            );
            wire.send(
                at(PEER),
                &invite.answer("200 OK", "t", at(PEER), &plain(at(PEER))),
            );
            let answer = wire.read(at(TRUNK), "SIP/2.0 200");
            assert_eq!(protocol(&answer), expected, "{case}");
            wire.inside(&made, &answer, "ACK", 1, "", "");
            let call = &wire.snapshot("through")["calls"][0];
            assert_eq!(call["secured"]["caller"], expected == "SAVP", "{case}");
            assert_eq!(call["secured"]["callee"], false, "{case}");
            let encrypted = keys(&wire).into_iter().flatten().next();
            assert_eq!(
                encrypted.map(|(_, theirs)| theirs),
                (expected == "SAVP").then(|| key(7).1),
                "{case}"
            );
        }
    }
}

/// The permitted caller calls out over the trunk, which speaks TLS.
fn outward(policy: Srtp) -> (Wire, Made, Letter) {
    let mut wire = Wire::new(with(policy, |trunk| {
        trunk.transport = Transport::Tls;
        trunk.certificate_name = Some("sip.carrier.example".to_owned());
    }));
    let made = wire.invite(at(CALLER), "9001", "", &plain(at(CALLER)));
    assert_eq!(wire.connects.len(), 1);
    assert_eq!(wire.connects[0].1.as_deref(), Some("sip.carrier.example"));
    connected(&mut wire, at(TRUNK));
    let invite = wire.read(at(TRUNK), "INVITE");
    assert!(
        invite.header("Via").starts_with("SIP/2.0/TLS "),
        "{}",
        invite.0
    );
    (wire, made, invite)
}

#[test]
fn what_is_offered_to_a_carrier_is_its_policy() {
    for (policy, expected) in [
        (Srtp::Off, "AVP"),
        (Srtp::Optional, "AVP"),
        (Srtp::Required, "SAVP"),
    ] {
        let (_, _, invite) = outward(policy);
        assert_eq!(protocol(&invite), expected, "{policy:?}");
        assert_eq!(
            invite
                .body()
                .contains("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"),
            expected == "SAVP"
        );
    }
}

#[test]
fn a_carrier_that_must_encrypt_and_does_is_heard_and_sent_to_with_the_right_keys() {
    let (mut wire, made, invite) = outward(Srtp::Required);
    let body = encrypted(at(TRUNK), 9, "sendrecv");
    wire.send(at(TRUNK), &invite.answer("200 OK", "t", at(TRUNK), &body));
    let ack = wire.read(at(TRUNK), "ACK");
    assert!(ack.header("Via").starts_with("SIP/2.0/TLS "));
    let answer = wire.read(at(CALLER), "SIP/2.0 200");
    wire.inside(&made, &answer, "ACK", 1, "", "");
    // The first suite was given the first key.
    assert_eq!(
        keys(&wire).into_iter().flatten().collect::<Vec<_>>(),
        [(vec![1; 30], key(9).1)]
    );
    assert_eq!(wire.snapshot("counters")["srtp_legs"], 1);
    // It holds: the keys are the same, in both directions.
    let (one, two) = (
        encrypted(at(TRUNK), 9, "sendonly"),
        encrypted(at(TRUNK), 10, "sendrecv"),
    );
    for (body, theirs) in [(one, 9), (two, 10)] {
        reinvite(&mut wire, &invite, &body);
        let answered = wire.read(at(TRUNK), "SIP/2.0 200");
        wire.back(&invite, "t", at(TRUNK), "ACK", "");
        assert!(
            answered.body().contains(&format!("inline:{}", key(1).0)),
            "{}",
            answered.0
        );
        assert_eq!(
            keys(&wire).into_iter().flatten().collect::<Vec<_>>(),
            [(vec![1; 30], key(theirs).1)]
        );
    }
    // It may not fall back to voice in the clear.
    reinvite(&mut wire, &invite, &plain(at(TRUNK)));
    wire.read(at(TRUNK), "SIP/2.0 488");
    assert_eq!(refused(&wire), 1);
    assert_eq!(
        keys(&wire).into_iter().flatten().count(),
        1,
        "the call goes on encrypted"
    );
    assert!(!wire.switch.snapshot().to_string().contains(&key(1).0));
}

/// The called trunk's re-INVITE.
fn reinvite(wire: &mut Wire, invite: &Letter, body: &str) {
    let head = format!("Contact: <sip:far@{TRUNK};transport=tls>\r\n");
    wire.back_with(invite, "t", at(TRUNK), "INVITE", &head, body);
}

#[test]
fn a_carrier_that_must_encrypt_and_does_not_is_hung_up_on_and_counted() {
    let (mut wire, _, invite) = outward(Srtp::Required);
    wire.send(
        at(TRUNK),
        &invite.answer("200 OK", "t", at(TRUNK), &plain(at(TRUNK))),
    );
    wire.read(at(TRUNK), "ACK");
    let bye = wire.read(at(TRUNK), "BYE");
    assert!(bye.header("Reason").contains("488"), "{}", bye.0);
    wire.read(at(CALLER), "SIP/2.0 488");
    assert_eq!(refused(&wire), 1);
    assert!(keys(&wire).into_iter().all(|keys| keys.is_none()));
}

#[test]
fn an_agents_call_that_must_be_encrypted_and_is_not_ends_before_anybody_talks() {
    let mut trunk = Trunk::new(TrunkId::new("t"), vec![Place::At(at(TRUNK))], TRUNK);
    (trunk.srtp, trunk.srtp_over_plain) = (Srtp::Required, true);
    let mut world = world_of_trunks(&["+8613812340001"], vec![trunk]);
    world.sit_down("agent1");
    world.next_card("agent1");
    world.dial("agent1").expect("the gate allows it");
    world.until("wrap-up", |world| world.state("agent1") == "wrap_up");
    assert_eq!(world.result("agent1"), "trunk_failure");
    assert_eq!(world.switch.snapshot()["counters"]["srtp_refused"], 1);
}

#[test]
fn a_phone_that_must_encrypt_is_called_over_tls_only_and_each_device_has_its_own_key() {
    let mut wire = Wire::new(with(Srtp::Required, |_| {}));
    let (one, two, open) = (
        at("127.0.34.20:5061"),
        at("127.0.34.21:5061"),
        at("127.0.34.22:5060"),
    );
    wire.register("101", "p", open);
    wire.invite(at(CALLER), "101", "", &plain(at(CALLER)));
    wire.read(at(CALLER), "SIP/2.0 488");
    assert_eq!(refused(&wire), 1);
    for device in [one, two] {
        wire.speaks_tls(device);
        wire.register("101", "p", device);
    }
    wire.invite(at(CALLER), "101", "", &plain(at(CALLER)));
    let offers = [one, two].map(|device| wire.read(device, "INVITE"));
    wire.send(one, &offers[0].answer("180 Ringing", "r", one, ""));
    let lines = offers.clone().map(|offer| {
        let mut lines = offer.body().lines().map(str::to_owned);
        lines
            .find(|line| line.starts_with("a=crypto:1 "))
            .expect("a key")
    });
    assert_ne!(lines[0], lines[1]);
    wire.send(
        two,
        &offers[1].answer("200 OK", "t", two, &encrypted(two, 9, "sendrecv")),
    );
    let both: Vec<_> = keys(&wire).into_iter().flatten().collect();
    assert_eq!(both.len(), 1);
    assert!(
        lines[1].contains(&key(both[0].0[0]).0),
        "its own: {lines:?}"
    );
    wire.read(one, "CANCEL");
}

#[test]
fn a_dead_connection_sends_the_call_to_the_next_server_at_once_and_is_opened_again_for_the_next() {
    let mut wire = Wire::new(with(Srtp::Off, |trunk| {
        trunk.transport = Transport::Tcp;
        trunk.terms.places.push(Place::At(at(SECOND)));
    }));
    wire.invite(at(CALLER), "9001", "", &plain(at(CALLER)));
    let first = wire.connects[0].0;
    assert_eq!((first.remote, first.transport), (at(TRUNK), Transport::Tcp));
    let before = wire.now.instant;
    wire.input(Input::SipClosed { flow: first.id });
    connected(&mut wire, at(SECOND));
    let invite = wire.read(at(SECOND), "INVITE");
    assert_eq!(wire.now.instant, before, "nobody waits for a refusal");
    wire.send(
        at(SECOND),
        &invite.answer("486 Busy Here", "t", at(SECOND), ""),
    );
    wire.read(at(CALLER), "SIP/2.0 486");
    wire.connects.clear();
    wire.invite(at(CALLER), "9002", "", &plain(at(CALLER)));
    assert_eq!(
        wire.connects[0].0.id, first.id,
        "tried again, as the same peer"
    );
    assert_eq!(wire.connects.len(), 1, "the other is still up");
    let trunks = wire.switch.trunk_snapshot();
    assert_eq!(
        (
            &trunks[0]["counters"]["unreachable"],
            &trunks[0]["transport"]
        ),
        (&1.into(), &"TCP".into())
    );
}

#[test]
fn a_signature_goes_on_byte_for_byte_and_the_carriers_finding_is_kept() {
    let identity = "eyJhbGciOiJFUzI1NiIsInBwdCI6InNoYWtlbiJ9.eyJhdHRlc3QiOiJBIn0.c2ln-_==;info=<https://c.example/a.pem>;alg=ES256;ppt=\"shaken\"";
    for (believed, expected) in [(true, "passed"), (false, "unknown")] {
        let mut wire = Wire::new(with(Srtp::Off, |trunk| trunk.verstat = believed));
        let asserted = "P-Asserted-Identity: <sip:+14155550100;verstat=TN-Validation-Passed@c.example;user=phone>";
        let headers = format!("Identity: {identity}\r\n{asserted}\r\n");
        wire.invite(at(TRUNK), "8001", &headers, &plain(at(TRUNK)));
        let invite = wire.read(at(PEER), "INVITE");
        assert_eq!(invite.headers("Identity"), [identity]);
        assert_eq!(wire.snapshot("through")["calls"][0]["verstat"], expected);
    }
}
