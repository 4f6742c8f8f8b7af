//! A new configuration while fifty calls are up: what changed is in force for the next call, and
//! nobody on the phone notices.

mod support;

use std::time::Duration;

use foredial::engine::resolved::{AgentProfile, Phone};
use foredial::id::{CampaignId, TrunkId};
use foredial::sip::{Algorithm, Secret};
use foredial::trunk::Place;
use support::world::{World, agent, world};

const CALLS: usize = 50;
const NEW_PEER: &str = "127.0.0.10:5060";

fn number(at: usize) -> String {
    format!("+86138123400{at:02}")
}

fn agent_name(at: usize) -> String {
    format!("agent{at}")
}

/// Fifty agents talking; one more lead waits.
fn fifty_up() -> World {
    let numbers: Vec<String> = (1..=CALLS + 1).map(number).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let mut world = world(&numbers);
    world.far.otherwise = support::far_end::Manner::Answer(Duration::from_millis(500));
    for name in (1..=CALLS).map(agent_name) {
        world.sit_down(&name);
        world.next_card(&name);
        world.dial(&name).expect("the gate allows it");
    }
    world.until("fifty calls", |world| talking(world) == CALLS);
    world.run_for(Duration::from_secs(1));
    world
}

fn talking(world: &World) -> usize {
    let states = (1..=CALLS).map(|at| world.call_state(&agent_name(at)) == "talking");
    states.filter(|talking| *talking).count()
}

/// Whose desks there are.
fn desks(world: &World) -> Vec<String> {
    let snapshot = world.switch.snapshot();
    let agents = snapshot["agents"].as_array().expect("a list");
    let ids = agents.iter().filter_map(|it| it["id"].as_str());
    ids.map(str::to_owned).collect()
}

#[test]
fn a_trunk_changed_under_fifty_calls_touches_none_and_carries_the_next_one() {
    let mut world = fifty_up();
    let (sent, media) = (world.sent.len(), world.media.len());
    world.reload(|config| {
        let trunk = config.trunks.get_mut(&TrunkId::new("t")).expect("a trunk");
        trunk.terms.places = vec![Place::At(NEW_PEER.parse().expect("an address"))];
        trunk.domain = NEW_PEER.to_owned();
        trunk.terms.calls_max = CALLS + 1;
        config.phones = vec![Phone {
            user: "101".to_owned(),
            secret: Secret::Password("secret".to_owned()),
            order: vec![Algorithm::Sha256],
            srtp: Default::default(),
            srtp_over_plain: false,
        }];
    });
    world.run_for(Duration::from_secs(5));
    assert_eq!(talking(&world), CALLS, "every call goes on");
    assert_eq!(world.sent[sent..], [""; 0], "no message left for the trunk");
    assert_eq!(world.media.len(), media, "no leg was touched");

    let late = agent_name(CALLS + 1);
    world.sit_down(&late);
    world.next_card(&late);
    world.dial(&late).expect("there is one call to spare now");
    world.run_for(Duration::from_millis(100));
    let invite = world.sent.last().expect("an INVITE");
    assert!(
        invite.starts_with("INVITE ") && invite.contains(NEW_PEER),
        "{invite}"
    );

    // The others end as they began, on the trunk they were begun with.
    for at in 1..=CALLS {
        world.far.hang_up(&number(at));
    }
    world.run_for(Duration::from_secs(2));
    for name in (1..=CALLS).map(agent_name) {
        assert_eq!(world.result(&name), "connected", "{name}");
    }
}

#[test]
fn a_trunk_taken_away_ends_no_call_and_gets_no_other() {
    let mut world = fifty_up();
    world.reload(|config| config.trunks.clear());
    world.run_for(Duration::from_secs(2));
    assert_eq!(talking(&world), CALLS);
    let late = agent_name(CALLS + 1);
    world.sit_down(&late);
    world.next_card(&late);
    let refused = world.dial(&late).expect_err("there is no trunk");
    assert_eq!(refused.rule, "no_trunk");
}

#[test]
fn an_agent_who_left_ends_the_call_first_and_a_new_one_can_sit_down() {
    let mut world = fifty_up();
    world.reload(|config| {
        config.agents.remove(&agent("agent1"));
        config.agents.remove(&agent("agent55"));
        let new = AgentProfile {
            id: agent("newcomer"),
            name: "Newcomer".to_owned(),
            language: "en".to_owned(),
            campaigns: vec![CampaignId::new("c")],
            seat: Default::default(),
        };
        config.agents.insert(new.id.clone(), new);
    });
    assert_eq!(talking(&world), CALLS, "agent1 is still on the phone");
    let there = desks(&world);
    assert!(there.contains(&"agent1".to_owned()), "{there:?}");
    assert!(
        !there.contains(&"agent55".to_owned()),
        "nothing held her desk"
    );
    world.sit_down("newcomer");

    world.far.hang_up(&number(1));
    world.until("the wrap-up's end", |world| {
        !desks(world).contains(&"agent1".to_owned())
    });
    assert_eq!(talking(&world), CALLS - 1);
    assert_eq!(world.lead(1).history.len(), 1, "the call is in the books");
}
