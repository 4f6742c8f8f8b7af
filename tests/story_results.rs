//! Every way a dial can end: the right result, wrap-up, counters and retry time.

mod support;

use std::time::Duration;

use foredial::engine::handle::AgentCommand;
use support::far_end::Manner;
use support::world::{World, world};

const NUMBER: &str = "+8613812340001";

/// One dial to a customer who behaves like `manner`, up to wrap-up.
fn dialed(manner: Manner) -> World {
    let mut world = world(&[NUMBER]);
    world.far.manners.insert(NUMBER.to_owned(), manner);
    world.sit_down("agent1");
    world.next_card("agent1");
    world.dial("agent1").expect("the gate allows it");
    world
}

/// Lets wrap-up run out and tells (business count, regulatory count, minutes to the retry).
fn afterwards(world: &mut World) -> (u32, u32, Option<i64>) {
    let ended = world.desk("agent1")["call"]["ended_ms"]
        .as_i64()
        .expect("an ended call");
    world.run_for(Duration::from_secs(60));
    let lead = world.lead(1);
    let due = match lead.state {
        foredial::dialer::lead::LeadState::Waiting { not_before, .. } => {
            Some((not_before.0 - ended + 30_000) / 60_000)
        }
        _ => None,
    };
    assert_eq!(world.far.open(), 0, "the far end has no dialog left");
    assert_eq!(world.busy_legs(), 0, "no port is held");
    (lead.business_count, lead.regulatory_count, due)
}

fn wrapped_up(world: &mut World, result: &str) {
    world.until("wrap-up", |world| world.state("agent1") == "wrap_up");
    assert_eq!(world.result("agent1"), result);
}

#[test]
fn busy_is_tried_again_in_ten_minutes() {
    let mut world = dialed(Manner::Final(486, "Busy Here"));
    wrapped_up(&mut world, "busy");
    let (_, regulatory, due) = afterwards(&mut world);
    assert_eq!(
        (regulatory, due),
        (0, Some(10)),
        "busy without 18x alerted nobody"
    );
}

#[test]
fn no_answer_rings_thirty_seconds_and_counts() {
    let mut world = dialed(Manner::RingOut);
    world.until("ringing", |world| world.call_state("agent1") == "ringing");
    world.run_for(Duration::from_secs(29));
    assert_eq!(world.state("agent1"), "dialing");
    wrapped_up(&mut world, "no_answer");
    let (business, regulatory, due) = afterwards(&mut world);
    assert_eq!((business, regulatory), (1, 1));
    assert!(
        due.is_some_and(|minutes| minutes >= 60),
        "an hour at least, {due:?}"
    );
    assert_eq!(world.sent("CANCEL"), 1);
}

#[test]
fn rejected_waits_a_day() {
    let mut world = dialed(Manner::Final(603, "Decline"));
    wrapped_up(&mut world, "rejected");
    let (business, _, due) = afterwards(&mut world);
    assert_eq!((business, due), (1, Some(24 * 60)));
}

#[test]
fn a_first_404_waits_a_day_and_is_not_charged() {
    let mut world = dialed(Manner::Final(404, "Not Found"));
    wrapped_up(&mut world, "invalid_number");
    let (business, _, due) = afterwards(&mut world);
    assert_eq!((business, due), (0, Some(24 * 60)));
}

#[test]
fn a_trunk_that_fails_is_never_charged_to_the_lead() {
    let mut world = dialed(Manner::Final(503, "Service Unavailable"));
    wrapped_up(&mut world, "trunk_failure");
    let (business, regulatory, due) = afterwards(&mut world);
    assert_eq!((business, regulatory), (0, 0));
    assert_eq!(due, Some(2));
}

#[test]
fn a_dead_trunk_is_given_up_in_four_seconds() {
    let mut world = dialed(Manner::Silent);
    let began = world.now.instant;
    wrapped_up(&mut world, "trunk_failure");
    assert!(world.now.instant - began <= Duration::from_secs(5));
}

#[test]
fn a_customer_who_hangs_up_leaves_a_connected_call() {
    let mut world = dialed(Manner::Answer(Duration::from_secs(2)));
    world.until("talking", |world| world.state("agent1") == "talking");
    world.run_for(Duration::from_secs(5));
    world.far.hang_up(NUMBER);
    wrapped_up(&mut world, "connected");
    assert_eq!(world.sent("BYE"), 0, "the far end ended it");
    let (business, regulatory, _) = afterwards(&mut world);
    assert_eq!((business, regulatory), (1, 1));
    // Thirty seconds without a word: the agent takes a rest, the lead is not dialed again.
    assert_eq!(world.state("agent1"), "not_ready");
    assert_eq!(world.desk("agent1")["state"]["reason"], "wrap_up_timeout");
}

#[test]
fn an_agent_may_give_up_while_it_rings() {
    let mut world = dialed(Manner::RingOut);
    world.until("ringing", |world| world.call_state("agent1") == "ringing");
    world.run_for(Duration::from_secs(3));
    world.ask("agent1", AgentCommand::HangUp).expect("hang up");
    wrapped_up(&mut world, "agent_cancelled");
    let (business, regulatory, due) = afterwards(&mut world);
    assert_eq!((business, regulatory, due), (0, 1, Some(15)));
    assert_eq!(world.sent("CANCEL"), 1);
}

#[test]
fn a_browser_closed_while_it_rings_gives_the_dial_up() {
    let mut world = world(&[NUMBER]);
    world.far.manners.insert(NUMBER.to_owned(), Manner::RingOut);
    let page = world.sit_down("agent1");
    world.next_card("agent1");
    world.dial("agent1").expect("the gate allows it");
    world.until("ringing", |world| world.call_state("agent1") == "ringing");
    world.close_page(page);
    world.run_for(Duration::from_secs(4));
    assert_eq!(world.sent("CANCEL"), 0, "she may be back in a moment");
    wrapped_up(&mut world, "agent_cancelled");
    let (business, regulatory, due) = afterwards(&mut world);
    assert_eq!((business, regulatory, due), (0, 1, Some(15)));
    assert_eq!(world.state("agent1"), "logged_out");
}

#[test]
fn a_customer_who_answers_while_the_browser_is_closed_is_recorded() {
    let mut world = world(&[NUMBER]);
    let manner = Manner::Answer(Duration::from_secs(3));
    world.far.manners.insert(NUMBER.to_owned(), manner);
    let page = world.sit_down("agent1");
    world.next_card("agent1");
    world.dial("agent1").expect("the gate allows it");
    world.until("ringing", |world| world.call_state("agent1") == "ringing");
    world.close_page(page);
    world.until("talking", |world| world.state("agent1") == "talking");
    wrapped_up(&mut world, "connected");
    world.until("the end of the recording", |world| {
        world.desk("agent1")["call"]["recording_ready"] == true
    });
}
