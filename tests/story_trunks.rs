//! Carriers that fail, on the virtual clock: what a customer and an agent notice of it.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use foredial::engine::resolved::Trunk;
use foredial::id::TrunkId;
use foredial::sip::Credentials;
use foredial::trunk::Place;
use support::far_end::Manner;
use support::world::{TRUNK, World, world_of_trunks};

const NUMBER: &str = "+8613812340001";
const SECOND: &str = "127.0.0.10:5060";

fn at(address: &str) -> Place {
    Place::At(address.parse::<SocketAddr>().expect("an address"))
}

fn trunk(id: &str, servers: &[&str]) -> Trunk {
    let places = servers.iter().map(|server| at(server)).collect();
    Trunk::new(TrunkId::new(id), places, servers[0])
}

fn one_trunk_of_two() -> World {
    world_of_trunks(&[NUMBER], vec![trunk("t", &[TRUNK, SECOND])])
}

fn counter(world: &World, at: usize, name: &str) -> u64 {
    let trunks = world.switch.trunk_snapshot();
    trunks[at]["counters"][name].as_u64().expect("a counter")
}

#[test]
fn a_silent_first_server_costs_less_than_four_seconds_and_nobody_notices() {
    let mut world = one_trunk_of_two();
    world.far.dead.insert(TRUNK.parse().expect("an address"));
    world.sit_down("agent1");
    world.next_card("agent1");
    let clicked = world.now.instant;
    world.dial("agent1").expect("the gate allows it");
    world.until("ringing", |world| world.call_state("agent1") == "ringing");
    let took = world.now.instant - clicked;
    assert!(took < Duration::from_secs(4), "{took:?}");
    world.until("talking", |world| world.state("agent1") == "talking");
    assert_eq!(
        (
            counter(&world, 0, "silent"),
            counter(&world, 0, "failovers")
        ),
        (1, 1)
    );
    assert_eq!(counter(&world, 0, "answered"), 1);
}

#[test]
fn the_next_trunk_is_tried_when_all_servers_of_the_first_refuse() {
    let trunks = vec![trunk("a", &[TRUNK]), trunk("b", &[SECOND])];
    let mut world = world_of_trunks(&[NUMBER], trunks);
    let refuses = (
        TRUNK.parse().expect("an address"),
        (503, "Service Unavailable"),
    );
    world.far.refusing.extend([refuses]);
    world.sit_down("agent1");
    world.next_card("agent1");
    let clicked = world.now.instant;
    world.dial("agent1").expect("the gate allows it");
    world.until("ringing", |world| world.call_state("agent1") == "ringing");
    assert!(world.now.instant - clicked < Duration::from_millis(200));
    assert_eq!(counter(&world, 0, "failed_5xx"), 1);
    assert_eq!(counter(&world, 1, "invites"), 1);
    assert_eq!(
        world.switch.trunk_snapshot()[0]["calls"],
        0,
        "its place is free"
    );
    assert_eq!(world.switch.trunk_snapshot()[1]["calls"], 1);
}

#[test]
fn a_busy_customer_is_not_called_by_another_way() {
    let mut world = one_trunk_of_two();
    let busy = Manner::Final(486, "Busy Here");
    world.far.manners.insert(NUMBER.to_owned(), busy);
    world.sit_down("agent1");
    world.next_card("agent1");
    world.dial("agent1").expect("the gate allows it");
    world.until("wrap-up", |world| world.state("agent1") == "wrap_up");
    assert_eq!(world.result("agent1"), "busy");
    assert_eq!(world.sent("INVITE"), 1);
}

#[test]
fn when_every_way_fails_the_trunk_is_blamed_and_not_the_lead() {
    let trunks = vec![trunk("a", &[TRUNK]), trunk("b", &[SECOND])];
    let mut world = world_of_trunks(&[NUMBER], trunks);
    world.far.otherwise = Manner::Final(503, "Service Unavailable");
    world.sit_down("agent1");
    world.next_card("agent1");
    world.dial("agent1").expect("the gate allows it");
    world.until("wrap-up", |world| world.state("agent1") == "wrap_up");
    assert_eq!(world.result("agent1"), "trunk_failure");
    assert_eq!(world.sent("INVITE"), 2);
    world.run_for(Duration::from_secs(10));
    assert_eq!(world.lead(1).business_count, 0);
    let trunks = world.switch.trunk_snapshot();
    assert_eq!(
        (&trunks[0]["calls"], &trunks[1]["calls"]),
        (&0.into(), &0.into())
    );
    assert_eq!(world.busy_legs(), 0);
}

#[test]
fn an_agent_who_gives_up_between_two_servers_has_no_further_invite_sent() {
    let mut world = one_trunk_of_two();
    world.far.dead.insert(TRUNK.parse().expect("an address"));
    world.sit_down("agent1");
    world.next_card("agent1");
    world.dial("agent1").expect("the gate allows it");
    // The first server's silence ends; the row of the next INVITE is on its way to the disk.
    world.until("the fail-over", |world| counter(world, 0, "failovers") == 1);
    world
        .ask("agent1", foredial::engine::handle::AgentCommand::HangUp)
        .expect("hang up");
    world.run_for(Duration::from_secs(40));
    assert_eq!(counter(&world, 0, "invites"), 1);
    assert_eq!(world.far.open_at(SECOND.parse().expect("an address")), 0);
}

#[test]
fn a_full_trunk_sends_the_call_to_the_next_one() {
    let mut first = trunk("a", &[TRUNK]);
    first.terms.calls_max = 1;
    let trunks = vec![first, trunk("b", &[SECOND])];
    let mut world = world_of_trunks(&[NUMBER, "+8613812340002"], trunks);
    for agent in ["agent1", "agent2"] {
        world.sit_down(agent);
        world.next_card(agent);
        world.dial(agent).expect("the gate allows it");
    }
    let trunks = world.switch.trunk_snapshot();
    assert_eq!(
        (&trunks[0]["calls"], &trunks[1]["calls"]),
        (&1.into(), &1.into())
    );
    assert_eq!(counter(&world, 0, "full"), 1);
}

#[test]
fn a_server_that_wakes_up_late_is_told_that_nobody_waits() {
    let mut world = one_trunk_of_two();
    let first = TRUNK.parse().expect("an address");
    world.far.slow.insert(first, Duration::from_secs(5));
    world.sit_down("agent1");
    world.next_card("agent1");
    world.dial("agent1").expect("the gate allows it");
    world.until("talking", |world| world.state("agent1") == "talking");
    world.run_for(Duration::from_secs(20));
    assert_eq!(
        world.state("agent1"),
        "talking",
        "the second server's call goes on"
    );
    assert_eq!(world.far.open_at(first), 0, "the late one was ended");
    assert_eq!(world.far.open_at(SECOND.parse().expect("an address")), 1);
    assert!(world.sent("CANCEL") + world.sent("BYE") >= 1);
}

fn registering(id: &str, server: &str) -> Trunk {
    let mut trunk = trunk(id, &[server]);
    trunk.terms.register_s = Some(3_600);
    trunk.credentials = Some(Credentials {
        username: "account7".to_owned(),
        password: "secret".to_owned(),
        realm: None,
    });
    trunk
}

#[test]
fn a_trunk_that_does_not_know_us_is_down_and_passed_over() {
    let trunks = vec![registering("a", TRUNK), trunk("b", &[SECOND])];
    let mut world = world_of_trunks(&[NUMBER], trunks);
    world.far.dead.insert(TRUNK.parse().expect("an address"));
    world.run_for(Duration::from_secs(60));
    let shown = world.switch.trunk_snapshot();
    assert_eq!(
        (&shown[0]["state"], &shown[0]["registered"]),
        (&"down".into(), &false.into())
    );
    assert_eq!(shown[1]["state"], "up");
    assert!(world.sent("REGISTER") >= 2, "it is tried again");
    world.sit_down("agent1");
    world.next_card("agent1");
    world.dial("agent1").expect("the gate allows it");
    world.until("ringing", |world| world.call_state("agent1") == "ringing");
    assert_eq!(counter(&world, 0, "invites"), 0);
    assert_eq!(counter(&world, 1, "invites"), 1);
}
