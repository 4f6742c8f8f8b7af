//! The whole switch on the virtual clock: preview, busy, redial ten minutes later, answer,
//! talk, hang up, outcome. No socket, no thread, no waiting.

mod support;

use std::time::{Duration, Instant};

use foredial::engine::handle::AgentCommand;
use support::far_end::Manner;
use support::world::world;

const NUMBER: &str = "+8613812340001";

#[test]
fn a_busy_customer_is_called_again_and_answers() {
    let began = Instant::now();
    let mut world = world(&[NUMBER]);
    world
        .far
        .manners
        .insert(NUMBER.to_owned(), Manner::Final(486, "Busy Here"));
    world.sit_down("agent1");

    let token = world.next_card("agent1");
    assert_eq!(world.desk("agent1")["card"]["name"], "Customer 0");
    assert_eq!(
        world.desk("agent1")["card"]["script"]["text"],
        "Hello Customer 0"
    );
    world.dial("agent1").expect("the gate allows it");
    world.until("wrap-up", |world| world.state("agent1") == "wrap_up");
    assert_eq!(world.result("agent1"), "busy");
    assert_eq!(world.desk("agent1")["call"]["detail"], "486 Busy Here");

    // Nobody says anything: after 5 s the filled-in result stands.
    world.run_for(Duration::from_secs(7));
    assert_eq!(world.state("agent1"), "ready");
    assert_eq!(world.desk("agent1")["waiting"]["reason"], "blocked");

    // The customer is free again; ten minutes after the busy tone the lead is due.
    world
        .far
        .manners
        .insert(NUMBER.to_owned(), Manner::Answer(Duration::from_secs(2)));
    world.run_for(Duration::from_secs(580));
    assert_eq!(world.state("agent1"), "ready", "not before ten minutes");
    world.until("the retry", |world| world.state("agent1") == "previewing");
    assert!(world.token("agent1") > token, "fences only grow");
    assert_eq!(world.desk("agent1")["card"]["history"][0]["result"], "busy");

    world.dial("agent1").expect("the gate allows it");
    world.until("talking", |world| world.state("agent1") == "talking");
    world.run_for(Duration::from_secs(30));
    world.ask("agent1", AgentCommand::HangUp).expect("hang up");
    assert_eq!(world.result("agent1"), "connected");
    world.dispose("agent1", "interested").expect("disposed");
    world.run_for(Duration::from_secs(40));

    assert_eq!(world.sent("INVITE"), 2);
    assert_eq!(world.sent("BYE"), 1);
    assert_eq!(world.far.open(), 0, "the far end has no dialog left");
    assert_eq!(world.busy_legs(), 0);
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "a story costs no real time"
    );
}
