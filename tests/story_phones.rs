//! Phones and what outlives the process, on the virtual clock: registrations are written a moment
//! after they change, and a switch that starts again calls the phones it finds.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use foredial::engine::resolved::{EngineConfig, Phone};
use foredial::route::{Match, Rewrite, Rule, Step};
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
    config.permit = vec![caller().ip()];
    config.phones = ["101", "102"]
        .map(|user| Phone {
            user: user.to_owned(),
            secret: Secret::Password("p".to_owned()),
            order: vec![Algorithm::Sha256, Algorithm::Md5],
        })
        .to_vec();
    config.plan.rules = vec![Rule {
        name: "desks".to_owned(),
        number: Match::Prefix("101".to_owned()),
        from: Vec::new(),
        window: None,
        rewrite: Rewrite::default(),
        steps: vec![Step::Phone("101".to_owned())],
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
    let offer = sdp(caller(), "8", "sendrecv");
    wire.invite(caller(), "101", "", &offer);
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
