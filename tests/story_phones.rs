//! Phones and what outlives the process, on the virtual clock: registrations are written a moment
//! after they change, and a switch that starts again calls the phones it finds.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use foredial::engine::Input;
use foredial::engine::kept_phones::PhoneChange;
use foredial::engine::resolved::{EngineConfig, Phone};
use foredial::engine::switch::ReplyId;
use foredial::route::{CALLED, Match, Rewrite, Rule, Step};
use foredial::sip::{Algorithm, Secret};
use foredial::store::{Command, Db, Place};
use support::wire::{Wire, sdp};
use support::world::config;

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn caller() -> SocketAddr {
    at("127.0.37.2:5070")
}

fn desk() -> SocketAddr {
    at("127.0.37.11:5060")
}

fn house() -> EngineConfig {
    let mut config = config();
    config.permit = vec!["127.0.37.0/29".parse().expect("a block")];
    config.phones = ["101", "102"]
        .map(|user| Phone {
            user: user.to_owned(),
            secret: Secret::Password("p".to_owned()),
            order: vec![Algorithm::Sha256, Algorithm::Md5],
            srtp: Default::default(),
            srtp_over_plain: false,
        })
        .to_vec();
    config.plan.rules = vec![Rule {
        name: "desks".to_owned(),
        number: Match::Prefix("1".to_owned()),
        from: Vec::new(),
        window: None,
        rewrite: Rewrite::default(),
        steps: vec![Step::Phone(CALLED.to_owned())],
        ring_ms: 20_000,
        record: false,
    }];
    config
}

/// What the switch had written by now is on this disk.
fn disk(wire: &mut Wire, db: &mut Db) {
    for (_, command) in wire.written.drain(..) {
        if matches!(command, Command::SaveBindings { .. }) {
            db.apply(wire.now.utc, &command).expect("written");
        }
    }
}

/// The process dies, and another starts after this pause.
fn another(wire: &Wire, db: &Db, pause: Duration) -> (Wire, usize) {
    let mut later = Wire::new(house());
    later.now = wire.now.plus(pause);
    let lines = db.view(later.now.utc).bindings().expect("read");
    let restored = later.switch.restore_bindings(later.now, &lines);
    (later, restored)
}

fn rings(wire: &mut Wire) -> bool {
    rings_at(wire, "101")
}

fn rings_at(wire: &mut Wire, number: &str) -> bool {
    let offer = sdp(caller(), "8", "sendrecv");
    wire.invite(caller(), number, "", &offer);
    let heard = wire.rest(desk());
    heard.iter().any(|line| line.starts_with("INVITE"))
}

#[test]
fn a_phone_that_registered_is_called_after_a_crash_without_registering_again() {
    let (mut wire, mut db) = (Wire::new(house()), Db::open(&Place::Memory).expect("opens"));
    wire.register("101", "p", desk());
    assert!(wire.written.is_empty(), "a REGISTER waits for no disk");
    wire.run_for(Duration::from_secs(1));
    disk(&mut wire, &mut db);
    let (mut later, restored) = another(&wire, &db, Duration::from_secs(5));
    assert_eq!(restored, 1);
    assert!(rings(&mut later));
    later.assert_nothing_is_held();
}

#[test]
fn a_registration_that_has_run_out_meanwhile_is_not_restored() {
    let (mut wire, mut db) = (Wire::new(house()), Db::open(&Place::Memory).expect("opens"));
    wire.register("101", "p", desk());
    wire.run_for(Duration::from_secs(1));
    disk(&mut wire, &mut db);
    let (mut later, restored) = another(&wire, &db, Duration::from_secs(3_600));
    assert_eq!(restored, 0);
    assert!(!rings(&mut later));
}

#[test]
fn a_registration_that_ends_leaves_the_disk() {
    let (mut wire, mut db) = (Wire::new(house()), Db::open(&Place::Memory).expect("opens"));
    wire.register("101", "p", desk());
    wire.run_for(Duration::from_secs(1));
    disk(&mut wire, &mut db);
    wire.run_for(Duration::from_secs(3_601));
    disk(&mut wire, &mut db);
    let early = wire.now.utc.0 - 3_600_000;
    let left = db.view(foredial::now::UtcMs(early)).bindings();
    assert_eq!(left.expect("read"), [""; 0]);
}

#[test]
fn many_registrations_at_once_are_written_in_pieces() {
    let mut house = house();
    let phone = house.phones[0].clone();
    let users: Vec<String> = (0..1_200).map(|n| format!("2{n:04}")).collect();
    house.phones = users
        .iter()
        .map(|user| Phone {
            user: user.clone(),
            ..phone.clone()
        })
        .collect();
    let mut wire = Wire::new(house);
    for (user, port) in users.iter().zip(20_000..) {
        let place = SocketAddr::new(desk().ip(), port);
        wire.register(user, "p", place);
    }
    wire.run_for(Duration::from_secs(1));
    let sizes: Vec<usize> = wire
        .written
        .iter()
        .filter_map(|(_, command)| match command {
            Command::SaveBindings { changed } => Some(changed.len()),
            _ => None,
        })
        .collect();
    assert_eq!(sizes, [500, 500, 200]);
}

/// An admin asks, and the store does it.
fn asked(wire: &mut Wire, db: &mut Db, change: PhoneChange) {
    let reply = ReplyId(1);
    wire.input(Input::Phone { change, reply });
    for (id, command) in std::mem::take(&mut wire.written) {
        let fact = db.apply(wire.now.utc, &command);
        wire.input(Input::Store { id, fact });
    }
}

fn add(user: &str) -> PhoneChange {
    PhoneChange::Add {
        user: user.to_owned(),
        secret: Secret::Password("new".to_owned()),
        md5_only: false,
    }
}

fn remove(user: &str) -> PhoneChange {
    PhoneChange::Remove {
        user: user.to_owned(),
    }
}

fn sources(wire: &Wire) -> Vec<String> {
    let phones = wire.switch.phones(wire.now);
    let phones = phones.as_array().cloned().unwrap_or_default();
    let one = |phone: &serde_json::Value| {
        let text = |key: &str| phone[key].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", text("user"), text("from"), phone["registered"])
    };
    phones.iter().map(one).collect()
}

#[test]
fn a_phone_that_is_added_registers_at_once_and_one_that_is_removed_is_gone() {
    let (mut wire, mut db) = (Wire::new(house()), Db::open(&Place::Memory).expect("opens"));
    asked(&mut wire, &mut db, add("104"));
    wire.register("104", "new", desk());
    assert_eq!(sources(&wire), ["101 file 0", "102 file 0", "104 store 1"]);
    assert!(rings_at(&mut wire, "104"));
    wire.run_for(Duration::from_secs(40));
    // A later process knows it, without its password being anywhere.
    let mut later = Wire::new(house());
    let kept = db.view(wire.now.utc).phones().expect("read");
    assert!(!format!("{kept:?}").contains("new"));
    later.switch.restore_phones(kept);
    later.register("104", "new", desk());
    asked(&mut wire, &mut db, remove("104"));
    assert_eq!(sources(&wire), ["101 file 0", "102 file 0"]);
    wire.rest(desk());
    assert!(!rings_at(&mut wire, "104"), "its place is forgotten");
    assert_eq!(db.view(wire.now.utc).phones().expect("read"), []);
}

#[test]
fn the_files_phones_are_read_only_and_go_first() {
    let (mut wire, mut db) = (Wire::new(house()), Db::open(&Place::Memory).expect("opens"));
    asked(&mut wire, &mut db, add("101"));
    asked(&mut wire, &mut db, remove("101"));
    assert_eq!(db.view(wire.now.utc).phones().expect("read"), []);
    wire.register("101", "p", desk());
    // One was kept before the file named it: the file's password holds.
    let mut without = house();
    without.phones.remove(0);
    let mut wire = Wire::new(without.clone());
    asked(&mut wire, &mut db, add("101"));
    wire.register("101", "new", desk());
    wire.input(Input::Reload(Box::new(house())));
    assert_eq!(sources(&wire)[0], "101 file 1");
    wire.register("101", "p", at("127.0.37.12:5060"));
    wire.input(Input::Reload(Box::new(without)));
    wire.register("101", "new", at("127.0.37.13:5060"));
    assert_eq!(sources(&wire), ["102 file 0", "101 store 3"]);
}

#[test]
fn digests_of_another_realm_prove_nothing_and_are_shown_as_that() {
    let (mut wire, mut db) = (Wire::new(house()), Db::open(&Place::Memory).expect("opens"));
    asked(&mut wire, &mut db, add("104"));
    let mut other = house();
    other.endpoint.realm = "elsewhere".to_owned();
    let mut later = Wire::new(other);
    later
        .switch
        .restore_phones(db.view(wire.now.utc).phones().expect("read"));
    assert_eq!(sources(&later)[2], "104 of another realm 0");
}

#[test]
fn a_permitted_block_may_call_until_a_reload_takes_it_back() {
    let mut wire = Wire::new(house());
    wire.register("101", "p", desk());
    let stranger = at("127.0.37.8:5070");
    let offer = sdp(stranger, "8", "sendrecv");
    wire.invite(stranger, "101", "", &offer);
    let said = wire.read(stranger, "SIP/2.0 4");
    assert!(
        said.first_line().contains("401"),
        "outside of 127.0.37.0/29"
    );
    assert!(rings(&mut wire), "inside of it");
    let mut narrower = house();
    narrower.permit = vec!["127.0.37.4/32".parse().expect("a block")];
    wire.input(Input::Reload(Box::new(narrower)));
    assert!(!rings(&mut wire));
}

#[test]
fn an_administrator_ends_a_call_through_us() {
    let mut wire = Wire::new(house());
    wire.register("101", "p", desk());
    assert!(rings(&mut wire));
    let calls = wire.snapshot("through");
    let id = calls["calls"][0]["id"].as_str().expect("a call").to_owned();
    let call = id.parse().expect("its id");
    assert!(wire.switch.has_call(call));
    wire.input(Input::HangUp { call });
    assert!(!wire.switch.has_call(call));
    wire.read(caller(), "SIP/2.0 480");
    let cancelled = wire.rest(desk());
    assert!(
        cancelled.is_empty() || cancelled[0].starts_with("CANCEL"),
        "{cancelled:?}"
    );
}
