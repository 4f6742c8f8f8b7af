//! What carriers do to calls that pass through, on the virtual clock: they send them elsewhere, ask
//! to be registered at and call what is registered, and are told of persons by trust.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use foredial::engine::resolved::{EngineConfig, Phone};
use foredial::id::TrunkId;
use foredial::route::{Match, Outward, Rewrite, Rule, Step};
use foredial::sip::{Algorithm, Credentials, Secret};
use foredial::trunk::{Place, Redirects, Show};
use support::wire::{Letter, Wire, sdp};
use support::world::{TRUNK, config};

const SECOND: &str = "127.0.26.20:5060";
const PEER: &str = "127.0.26.3:5080";
const NUMBER: &str = "+8613800138000";
const OTHER: &str = "+8613900139000";

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn caller() -> SocketAddr {
    at("127.0.26.2:5070")
}

fn offer() -> String {
    sdp(caller(), "8", "sendrecv")
}

fn rule(name: &str, prefix: &str, steps: Vec<Step>) -> Rule {
    Rule {
        name: name.to_owned(),
        number: Match::Prefix(prefix.to_owned()),
        from: Vec::new(),
        window: None,
        rewrite: Rewrite::default(),
        steps,
        ring_ms: 20_000,
        record: false,
    }
}

fn out(prefix: &str) -> Rule {
    let outward = Outward {
        trunk: TrunkId::new("t"),
        caller_id: "+862110000000".to_owned(),
    };
    rule("out", prefix, vec![Step::Trunks(vec![outward])])
}

/// One trunk of two servers that follows what its 3xx say.
fn following(prefix: &str) -> EngineConfig {
    let mut config = config();
    config.permit = vec![caller().ip()];
    config.plan.rules = vec![out(prefix)];
    let trunk = config
        .trunks
        .get_mut(&TrunkId::new("t"))
        .expect("the trunk");
    trunk.terms.places = vec![Place::At(at(TRUNK)), Place::At(at(SECOND))];
    trunk.redirects = Redirects::Follow;
    config
}

/// This server's 302 to there.
fn moved(wire: &mut Wire, server: &str, invite: &Letter, uri: &str) {
    let text = invite.answer("302 Moved Temporarily", "t", at(server), "");
    let lines = text
        .split("\r\n")
        .filter(|line| !line.starts_with("Contact:"));
    let text: Vec<&str> = lines.collect();
    let contact = format!("\r\nContact: <{uri}>\r\nContent-Length:");
    let text = text
        .join("\r\n")
        .replacen("\r\nContent-Length:", &contact, 1);
    wire.send(at(server), &text);
}

#[test]
fn a_redirection_is_followed_to_another_number_that_the_caller_may_call() {
    let mut wire = Wire::new(following("+"));
    wire.invite(caller(), NUMBER, "", &offer());
    let invite = wire.read(at(TRUNK), "INVITE");
    moved(&mut wire, TRUNK, &invite, &format!("sip:{OTHER}@{SECOND}"));
    let invite = wire.read(at(SECOND), &format!("INVITE sip:{OTHER}@"));
    let body = sdp(at(SECOND), "8", "sendrecv");
    wire.send(at(SECOND), &invite.answer("200 OK", "t", at(SECOND), &body));
    wire.read(caller(), "SIP/2.0 200");
}

#[test]
fn a_redirection_to_a_number_the_plan_does_not_give_the_caller_is_refused() {
    let mut wire = Wire::new(following("+86138"));
    wire.invite(caller(), NUMBER, "", &offer());
    let invite = wire.read(at(TRUNK), "INVITE");
    moved(&mut wire, TRUNK, &invite, &format!("sip:{OTHER}@{SECOND}"));
    wire.read(caller(), "SIP/2.0 480");
    assert_eq!(wire.rest(at(SECOND)), Vec::<String>::new());
    wire.assert_nothing_is_held();
}

#[test]
fn a_phone_is_led_only_where_phones_may_call() {
    let mut config = following("+");
    config.phones = vec![Phone {
        user: "101".to_owned(),
        secret: Secret::Password("p".to_owned()),
        order: vec![Algorithm::Sha256],
    }];
    config.fraud.allowed = vec!["+86138".to_owned()];
    let mut wire = Wire::new(config);
    let desk = at("127.0.26.10:5060");
    wire.invite_by(("101", "p"), desk, NUMBER, &offer());
    let invite = wire.read(at(TRUNK), "INVITE");
    moved(&mut wire, TRUNK, &invite, &format!("sip:{OTHER}@{SECOND}"));
    wire.read(desk, "SIP/2.0 480");
    assert_eq!(wire.rest(at(SECOND)), Vec::<String>::new());
}

#[test]
fn a_strangers_address_is_never_called() {
    let mut wire = Wire::new(following("+"));
    wire.invite(caller(), NUMBER, "", &offer());
    let invite = wire.read(at(TRUNK), "INVITE");
    moved(&mut wire, TRUNK, &invite, "sip:operator@127.0.26.66:5060");
    wire.read(caller(), "SIP/2.0 480");
    assert_eq!(wire.rest(at("127.0.26.66:5060")), Vec::<String>::new());
}

#[test]
fn a_circle_of_redirections_is_left() {
    let mut wire = Wire::new(following("+"));
    wire.invite(caller(), NUMBER, "", &offer());
    let invite = wire.read(at(TRUNK), "INVITE");
    moved(&mut wire, TRUNK, &invite, &format!("sip:{NUMBER}@{SECOND}"));
    let invite = wire.read(at(SECOND), "INVITE");
    moved(&mut wire, SECOND, &invite, &format!("sip:{NUMBER}@{TRUNK}"));
    wire.read(caller(), "SIP/2.0 480");
    wire.run_for(Duration::from_secs(40));
    assert!(
        !wire
            .rest(at(TRUNK))
            .iter()
            .any(|line| line.starts_with("INVITE"))
    );
    wire.assert_nothing_is_held();
}

#[test]
fn no_more_than_three_redirections_are_followed() {
    let mut wire = Wire::new(following("+"));
    wire.invite(caller(), NUMBER, "", &offer());
    let mut followed = 0;
    for next in 0..5 {
        let waiting = match next {
            0 => "INVITE sip:+8613800138000@".to_owned(),
            _ => format!("INVITE sip:+861390013900{next}@"),
        };
        if next == 4 {
            break;
        }
        let invite = wire.read(at(TRUNK), &waiting);
        followed = next;
        let number = format!("+861390013900{}", next + 1);
        moved(&mut wire, TRUNK, &invite, &format!("sip:{number}@{TRUNK}"));
    }
    assert_eq!(followed, 3);
    wire.read(caller(), "SIP/2.0 480");
}

// ── registered

fn account(name: &str, user: &str, number: &str) -> foredial::engine::resolved::Trunk {
    let mut trunk = foredial::engine::resolved::Trunk::new(
        TrunkId::new(name),
        vec![Place::At(at(TRUNK))],
        TRUNK,
    );
    trunk.terms.register_s = Some(3_600);
    trunk.own_number = number.to_owned();
    trunk.credentials = Some(Credentials {
        username: user.to_owned(),
        password: "secret".to_owned(),
        realm: None,
    });
    trunk
}

/// Two accounts at one server, and a desk for each number.
fn two_accounts() -> Wire {
    let mut config = config();
    config.trunks.clear();
    for trunk in [
        account("one", "u1", "+862110000001"),
        account("two", "u2", "+862110000002"),
    ] {
        config.trunks.insert(trunk.id.clone(), trunk);
    }
    let mut rules = Vec::new();
    for (trunk, number) in [
        ("one", "+862110000001"),
        ("two", "+862110000002"),
        ("two", "+862119999999"),
    ] {
        let uri = Step::Uri(format!("sip:{trunk}{}@{PEER}", &number[number.len() - 1..]));
        let mut rule = rule("in", number, vec![uri]);
        rule.from = vec![format!("trunk:{trunk}").parse().expect("a source")];
        rules.push(rule);
    }
    config.plan.rules = rules;
    Wire::new(config)
}

#[test]
fn each_account_registers_with_a_contact_of_its_own() {
    let mut wire = two_accounts();
    wire.run_for(Duration::from_millis(10));
    let mut contacts = Vec::new();
    for _ in 0..2 {
        let register = wire.read(at(TRUNK), "REGISTER");
        contacts.push(register.header("Contact"));
        let body = register.answer("200 OK", "r", at(TRUNK), "");
        wire.send(at(TRUNK), &body);
    }
    contacts.sort();
    assert!(contacts[0].starts_with("<sip:trunk-one@"), "{contacts:?}");
    assert!(contacts[1].starts_with("<sip:trunk-two@"), "{contacts:?}");
    let trunks = wire.switch.trunk_snapshot();
    assert_eq!(
        (&trunks[0]["state"], &trunks[1]["state"]),
        (&"up".into(), &"up".into())
    );
}

#[test]
fn a_call_to_a_contact_is_that_trunks_and_to_the_number_named_beside_it() {
    let mut wire = two_accounts();
    wire.invite(at(TRUNK), "trunk-two", "", &offer());
    wire.read(at(PEER), "INVITE sip:two2@");
    wire.invite(at(TRUNK), "trunk-one", "", &offer());
    wire.read(at(PEER), "INVITE sip:one1@");
    let named = "P-Called-Party-ID: <sip:+862119999999@carrier.example>\r\n";
    wire.invite(at(TRUNK), "trunk-two", named, &offer());
    wire.read(at(PEER), "INVITE sip:two9@");
}

#[test]
fn nobody_else_can_call_a_contact() {
    let mut config = config();
    config.permit = vec![caller().ip()];
    let trunk = account("one", "u1", "+862110000001");
    config.trunks.insert(trunk.id.clone(), trunk);
    let mut rule = rule("in", "+", vec![Step::Uri(format!("sip:{PEER}"))]);
    rule.from = vec!["trunk:one".parse().expect("a source")];
    config.plan.rules = vec![rule];
    let mut wire = Wire::new(config);
    wire.invite(caller(), "trunk-one", "", &offer());
    wire.read(caller(), "SIP/2.0 404");
}

// ── who calls

#[test]
fn what_tells_of_persons_goes_to_trusted_carriers_and_our_own_number_by_policy() {
    for (trusted, show) in [(false, Show::From), (true, Show::From), (false, Show::Pai)] {
        let mut config = following("+");
        let trunk = config
            .trunks
            .get_mut(&TrunkId::new("t"))
            .expect("the trunk");
        trunk.identity.trusted = trusted;
        trunk.identity.show = show;
        let mut wire = Wire::new(config);
        let headers = "Diversion: <sip:+861011111111@a>\r\nP-Asserted-Identity: <sip:+861022222222@a>\r\n\
            Identity: abc;info=<https://c.example/>\r\n";
        wire.invite(caller(), NUMBER, headers, &offer());
        let invite = wire.read(at(TRUNK), "INVITE");
        assert_eq!(invite.header("Identity"), "abc;info=<https://c.example/>");
        assert_eq!(!invite.header("Diversion").is_empty(), trusted);
        let asserted = invite.headers("P-Asserted-Identity").concat();
        assert_eq!(asserted.contains("+861022222222"), trusted, "{asserted}");
        assert_eq!(
            asserted.contains("+862110000000"),
            show == Show::Pai,
            "{asserted}"
        );
    }
}
