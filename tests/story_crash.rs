//! The process dies and starts again on the same store: the far end is told, the lead, the
//! attempt and the result are as promised, the card comes back.

mod support;

use std::time::Duration;

use support::far_end::Manner;
use support::world::{World, world};

const NUMBER: &str = "+8613812340001";

fn crashed(manner: Manner, state: &str, later: Duration) -> World {
    let mut world = world(&[NUMBER]);
    world.far.manners.insert(NUMBER.to_owned(), manner);
    world.sit_down("agent1");
    world.next_card("agent1");
    world.dial("agent1").expect("the gate allows it");
    world.until(state, |world| world.call_state("agent1") == state);
    world.run_for(later);
    world.crash();
    world
}

fn results(world: &World) -> Vec<&'static str> {
    let lead = world.lead(1);
    lead.history
        .iter()
        .filter_map(|it| it.result)
        .map(|it| it.name())
        .collect()
}

#[test]
fn a_crash_in_mid_call_ends_the_far_leg_with_bye() {
    let mut world = crashed(
        Manner::Answer(Duration::from_secs(1)),
        "talking",
        Duration::from_secs(5),
    );
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.sent("BYE"), 1);
    assert_eq!(world.far.open(), 0);
    assert_eq!(results(&world), ["connected"]);
    world.sit_down("agent1");
    assert_eq!(
        world.state("agent1"),
        "wrap_up",
        "her card is back, to be disposed of"
    );
    world.dispose("agent1", "interested").expect("disposed");
}

#[test]
fn a_crash_while_it_rings_cancels_the_far_leg() {
    let mut world = crashed(Manner::RingOut, "ringing", Duration::from_secs(3));
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.sent("CANCEL"), 1);
    assert_eq!(world.far.open(), 0);
    assert_eq!(results(&world), ["system_failure"]);
    let lead = world.lead(1);
    assert_eq!((lead.regulatory_count, lead.business_count), (1, 0));
}

#[test]
fn an_answer_that_comes_after_the_crash_is_acked_and_ended() {
    let mut world = crashed(Manner::AnswerOnCancel, "ringing", Duration::from_secs(3));
    world.run_for(Duration::from_secs(3));
    let calls = world.far.to(NUMBER);
    assert_eq!((calls[0].acks > 0, calls[0].byes), (true, 1));
    assert_eq!(world.far.open(), 0);
    assert_eq!(results(&world), ["system_failure"]);
}

#[test]
fn a_crash_between_the_answer_and_its_row_still_ends_the_far_leg() {
    let mut world = world(&[NUMBER]);
    world
        .far
        .manners
        .insert(NUMBER.to_owned(), Manner::Answer(Duration::from_secs(1)));
    world.sit_down("agent1");
    world.next_card("agent1");
    world.dial("agent1").expect("the gate allows it");
    // The 200 has arrived; its row is not committed, so no ACK has left.
    world.until("talking", |world| world.call_state("agent1") == "talking");
    assert_eq!(world.sent("ACK"), 0, "{:?}", world.sent);
    world.crash();
    world.run_for(Duration::from_secs(3));
    assert_eq!(world.far.open(), 0);
}
