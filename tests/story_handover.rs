//! An agent gives her call to another agent, on the virtual clock: whose seat rings, who has the
//! card after each step, who hears whom, and what a crash leaves.

mod support;

use std::time::Duration;

use foredial::engine::Input;
use foredial::engine::handle::AgentCommand;
use foredial::engine::media_worker::{MediaCommand, MediaFact, Source};
use foredial::id::LegId;
use serde_json::Value;
use support::far_end::Manner;
use support::world::{World, world, world_on};

const NUMBER: &str = "+8613812340001";
/// How long the other seat rings.
const RING: Duration = Duration::from_secs(60);
/// A lost page is given up after 20 s.
const GRACE: Duration = Duration::from_secs(25);

/// agent1 talks with the only lead there is; agent2 is READY beside her.
fn beside(mut world: World) -> (World, u64, u64) {
    let soon = Manner::Answer(Duration::from_secs(1));
    world.far.manners.insert(NUMBER.to_owned(), soon);
    let first = world.sit_down("agent1");
    world.next_card("agent1");
    world.dial("agent1").expect("the gate allows it");
    world.until("talking", |world| world.call_state("agent1") == "talking");
    let second = world.sit_down("agent2");
    world.ask("agent2", AgentCommand::Ready).expect("ready");
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.state("agent2"), "ready", "nothing to dial for her");
    (world, first, second)
}

fn talking() -> (World, u64, u64) {
    beside(world(&[NUMBER]))
}

fn transfer(world: &mut World, to: &str) -> Result<(), (u16, String)> {
    let to = to.to_owned();
    let done = world.ask("agent1", AgentCommand::Transfer { to });
    done.map_err(|problem| (problem.status, problem.rule.to_owned()))
}

fn offered() -> (World, u64, u64) {
    let (mut world, first, second) = talking();
    transfer(&mut world, "agent:agent2").expect("she is free");
    world.run_for(Duration::from_millis(500));
    assert_eq!(world.state("agent2"), "ringing");
    (world, first, second)
}

fn taken() -> (World, u64, u64) {
    let (mut world, first, second) = offered();
    world.ask("agent2", AgentCommand::Answer).expect("answered");
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.state("agent2"), "talking");
    (world, first, second)
}

/// Seats in the order they were taken.
fn seats(world: &World) -> Vec<LegId> {
    let opened = world.media.iter().filter_map(|command| match command {
        MediaCommand::OpenBrowser { leg, .. } => Some(*leg),
        _ => None,
    });
    opened.collect()
}

fn customer(world: &World) -> LegId {
    let opened = world.media.iter().rev().find_map(|command| match command {
        MediaCommand::OpenTrunk { leg, .. } => Some(*leg),
        _ => None,
    });
    opened.expect("a customer")
}

/// What customer, first and second agent hear.
fn ears(world: &World) -> [Option<Source>; 3] {
    let seats = seats(world);
    [customer(world), seats[0], seats[1]].map(|leg| world.hears(leg))
}

fn recorded(world: &World) -> (Option<LegId>, LegId, std::path::PathBuf) {
    let last = world.media.iter().rev().find_map(|command| match command {
        MediaCommand::Record {
            agent,
            customer,
            path,
            ..
        } => Some((*agent, *customer, path.clone())),
        _ => None,
    });
    last.expect("a recording")
}

fn past(world: &World) -> &str {
    let transfer = &world.desk("agent1")["call"]["transfer"];
    assert_eq!(transfer["state"], "over");
    transfer["outcome"].as_str().unwrap_or_default()
}

fn count(world: &World, outcome: &str) -> u64 {
    let counters = &world.switch.snapshot()["counters"];
    counters["transfers"][outcome].as_u64().unwrap_or(0)
}

fn has_no_card(world: &World, agent: &str) {
    assert_eq!(world.desk(agent)["card"], Value::Null, "{agent}");
    assert_eq!(world.desk(agent)["call"], Value::Null, "{agent}");
}

/// The first agent and the customer talk as if nothing had been.
fn as_before(world: &World, outcome: &str) {
    assert_eq!(past(world), outcome);
    assert_eq!(world.state("agent1"), "talking");
    assert_eq!(world.call_state("agent1"), "talking");
    let (leg, seat) = (customer(world), seats(world)[0]);
    let [customer, first, _] = ears(world);
    assert_eq!(customer, Some(Source::Leg(seat)));
    assert_eq!(first, Some(Source::Leg(leg)));
    assert_eq!(count(world, outcome), 1);
    has_no_card(world, "agent2");
}

/// One outcome in the store, nothing open at the far end, nothing held.
fn all_closed(world: &mut World) {
    world.run_for(Duration::from_secs(70));
    assert_eq!(world.far.open(), 0, "the far end has no dialog left");
    let lead = world.lead(1);
    let results = lead.history.iter().map(|it| it.result.map(|it| it.name()));
    assert_eq!(results.collect::<Vec<_>>(), [Some("connected")]);
    let seen = world.switch.snapshot();
    assert_eq!(world.busy_legs(), 0, "{seen:#}");
    assert_eq!(seen["sip"]["transactions"], 0, "{seen:#}");
    assert_eq!(seen["writes_pending"], 0, "{seen:#}");
}

#[test]
fn a_call_that_is_taken_over_is_the_other_agents_with_its_card_and_its_recording() {
    let (mut world, _, _) = offered();
    let (token, lead) = (
        world.token("agent1"),
        world.desk("agent1")["card"]["lead"].clone(),
    );
    let desk = world.desk("agent2");
    assert_eq!(desk["card"]["lead"], lead, "the same lead");
    assert_eq!(desk["card"]["why"]["en"], "Handed over by Agent 1");
    assert_eq!(desk["call"]["state"], "ringing");
    assert_eq!(world.desk("agent1")["call"]["transfer"]["kind"], "agent");
    assert_eq!(world.desk("agent1")["call"]["transfer"]["name"], "Agent 2");
    let [heard, first, _] = ears(&world);
    assert_eq!(
        (heard, first),
        (Some(Source::Music), Some(Source::Ringback))
    );
    let before = recorded(&world);

    world.ask("agent2", AgentCommand::Answer).expect("answered");
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.state("agent2"), "talking");
    assert_eq!(world.call_state("agent2"), "talking");
    assert_eq!(world.desk("agent2")["card"]["lead"], lead);
    assert_ne!(world.token("agent2"), token, "a fence token of her own");
    assert_eq!(world.state("agent1"), "ready");
    has_no_card(&world, "agent1");
    let seats = seats(&world);
    let leg = customer(&world);
    let all = [Source::Leg(seats[1]), Source::Silence, Source::Leg(leg)];
    assert_eq!(ears(&world), all.map(Some));
    let after = recorded(&world);
    assert_eq!((after.0, after.1), (Some(seats[1]), leg));
    assert_eq!(after.2, before.2, "one file");
    assert_eq!(world.sent("BYE") + world.sent("REFER"), 0);
    assert_eq!(count(&world, "completed"), 1);

    // What the first one still says of it is kept, and changes nothing.
    let late = AgentCommand::Dispose {
        token,
        key: world.key(),
        disposition: "interested".to_owned(),
        notes: "asked for a discount".to_owned(),
        callback_at_ms: None,
    };
    let told = world.ask("agent1", late).expect_err("not her card");
    assert_eq!(told.rule, "stale_token");

    // Every control is hers now.
    world
        .ask("agent2", AgentCommand::Hold { on: true })
        .expect("hold");
    assert_eq!(world.hears(leg), Some(Source::Music));
    world
        .ask("agent2", AgentCommand::Hold { on: false })
        .expect("back");
    world
        .ask("agent2", AgentCommand::Mute { on: true })
        .expect("mute");
    world
        .ask("agent2", AgentCommand::Volume { db: 3 })
        .expect("louder");
    assert!(world.ask("agent1", AgentCommand::HangUp).is_err());
    world.ask("agent2", AgentCommand::HangUp).expect("hung up");
    assert_eq!(world.state("agent2"), "wrap_up");
    world.dispose("agent2", "interested").expect("disposed");
    world.run_for(Duration::from_secs(1));
    let history = &world.lead(1).history;
    assert_eq!(history.len(), 1, "one attempt");
    assert_eq!(history[0].agent.as_str(), "agent2");
    assert_eq!(history[0].disposition.as_deref(), Some("interested"));
    all_closed(&mut world);
}

#[test]
fn a_declined_offer_gives_the_call_back() {
    let (mut world, _, _) = offered();
    world.ask("agent2", AgentCommand::Decline).expect("no");
    world.run_for(Duration::from_millis(100));
    as_before(&world, "rejected");
    assert_eq!(world.desk("agent2")["state"]["reason"], "declined");
    world.ask("agent1", AgentCommand::HangUp).expect("hung up");
    world.dispose("agent1", "interested").expect("disposed");
    all_closed(&mut world);
}

#[test]
fn a_missed_offer_gives_the_call_back() {
    let (mut world, _, _) = offered();
    world.run_for(RING);
    as_before(&world, "no_answer");
    assert_eq!(world.desk("agent2")["state"]["reason"], "missed");
}

#[test]
fn an_offer_at_a_seat_that_is_lost_gives_the_call_back() {
    let (mut world, _, second) = offered();
    world.close_page(second);
    world.run_for(Duration::from_millis(100));
    as_before(&world, "unavailable");
    assert!(world.ask("agent2", AgentCommand::Answer).is_err());
}

#[test]
fn the_first_agent_may_take_it_back_while_it_rings() {
    let (mut world, _, _) = offered();
    world.ask("agent1", AgentCommand::Drop).expect("back");
    world.run_for(Duration::from_millis(100));
    as_before(&world, "dropped");
    assert_eq!(world.state("agent2"), "ready", "she has missed nothing");
}

#[test]
fn a_customer_who_hangs_up_while_it_rings_is_the_first_agents_to_wrap_up() {
    let (mut world, _, _) = offered();
    world.far.hang_up(NUMBER);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.state("agent1"), "wrap_up");
    assert_eq!(world.state("agent2"), "ready");
    has_no_card(&world, "agent2");
    world.dispose("agent1", "interested").expect("disposed");
    all_closed(&mut world);
}

#[test]
fn a_customer_who_hangs_up_as_she_answers_leaves_one_card_to_wrap_up() {
    let (mut world, _, _) = offered();
    let reply = world.ask_later("agent2", AgentCommand::Answer);
    world.ask("agent1", AgentCommand::HangUp).expect("hung up");
    world.answer(reply).expect("answered");
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.state("agent1"), "ready");
    has_no_card(&world, "agent1");
    assert_eq!(world.state("agent2"), "wrap_up");
    world.dispose("agent2", "interested").expect("disposed");
    all_closed(&mut world);
}

#[test]
fn an_answer_does_not_need_the_first_agents_page() {
    let (mut world, first, _) = offered();
    world.close_page(first);
    world.run_for(GRACE);
    assert_eq!(world.state("agent2"), "ringing", "the customer waits");
    assert_eq!(world.hears(customer(&world)), Some(Source::Music));
    world.ask("agent2", AgentCommand::Answer).expect("answered");
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.call_state("agent2"), "talking");
    has_no_card(&world, "agent1");
    assert_ne!(world.state("agent1"), "ready", "nobody sits there");
    world.far.hang_up(NUMBER);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.state("agent2"), "wrap_up");
    world.dispose("agent2", "interested").expect("disposed");
    all_closed(&mut world);
}

#[test]
fn a_declined_offer_waits_for_the_first_agents_page_that_was_just_lost() {
    let (mut world, first, _) = offered();
    world.close_page(first);
    world.run_for(Duration::from_secs(1));
    world.ask("agent2", AgentCommand::Decline).expect("no");
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.hears(customer(&world)), Some(Source::Music));
    world.sit_down("agent1");
    assert_eq!(world.call_state("agent1"), "talking");
    let seat = *seats(&world).last().expect("her new seat");
    assert_eq!(world.hears(customer(&world)), Some(Source::Leg(seat)));
}

#[test]
fn a_missed_offer_when_nobody_sits_there_any_more_ends_with_a_result() {
    let (mut world, first, _) = offered();
    world.close_page(first);
    world.until("its end", |world| world.state("agent1") == "wrap_up");
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.far.open(), 0);
    has_no_card(&world, "agent2");
    world.sit_down("agent1");
    let why = world.desk("agent1")["call"]["detail"].as_str();
    assert!(why.is_some_and(|why| why.contains("the agent was gone")));
    world.dispose("agent1", "interested").expect("disposed");
    all_closed(&mut world);
}

#[test]
fn only_a_free_agent_is_offered_a_call() {
    let (mut world, _, _) = talking();
    let refused = |status, kind: &str| Err((status, kind.to_owned()));
    let unknown = transfer(&mut world, "agent:nobody");
    assert_eq!(unknown, refused(422, "unknown_target"));
    let herself = transfer(&mut world, "agent:agent1");
    assert_eq!(herself, refused(409, "agent_busy"));
    let absent = transfer(&mut world, "agent:agent3");
    assert_eq!(absent, refused(409, "agent_busy"));
    let away = AgentCommand::NotReady {
        reason: "lunch".to_owned(),
    };
    world.ask("agent2", away).expect("away");
    let resting = transfer(&mut world, "agent:agent2");
    assert_eq!(resting, refused(409, "agent_busy"));
    let to = "agent:agent2".to_owned();
    let asked = world.ask("agent1", AgentCommand::Consult { to });
    assert_eq!(asked.expect_err("not built").rule, "transfer_only");
    assert_eq!(world.call_state("agent1"), "talking");
    assert_eq!(ears(&world)[0], Some(Source::Leg(seats(&world)[0])));
}

#[test]
fn after_a_crash_while_it_rings_the_card_is_the_first_agents() {
    let (mut world, _, _) = offered();
    world.crash();
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.far.open(), 0, "the far leg is ended");
    world.sit_down("agent1");
    world.sit_down("agent2");
    assert_eq!(world.state("agent1"), "wrap_up");
    has_no_card(&world, "agent2");
    world.dispose("agent1", "interested").expect("disposed");
    all_closed(&mut world);
}

#[test]
fn after_a_crash_the_card_is_hers_who_has_answered() {
    let (mut world, _, _) = taken();
    world.run_for(Duration::from_secs(2));
    world.crash();
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.far.open(), 0, "the far leg is ended");
    world.sit_down("agent1");
    world.sit_down("agent2");
    has_no_card(&world, "agent1");
    assert_eq!(world.state("agent2"), "wrap_up");
    world.dispose("agent2", "interested").expect("disposed");
    all_closed(&mut world);
}

#[test]
fn a_call_may_be_handed_on_and_back_again() {
    let (mut world, _, _) = taken();
    let to = "agent:agent1".to_owned();
    world
        .ask("agent2", AgentCommand::Transfer { to })
        .expect("she is free again");
    world.run_for(Duration::from_millis(100));
    world.ask("agent1", AgentCommand::Answer).expect("answered");
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.call_state("agent1"), "talking");
    assert_eq!(world.state("agent2"), "ready");
    assert_eq!(count(&world, "completed"), 2);
    world.far.hang_up(NUMBER);
    world.run_for(Duration::from_secs(1));
    world.dispose("agent1", "interested").expect("disposed");
    all_closed(&mut world);
}

/// agent3 is READY as well.
fn third_agent(world: &mut World) {
    world.sit_down("agent3");
    world.ask("agent3", AgentCommand::Ready).expect("ready");
    world.run_for(Duration::from_millis(100));
}

fn call_of(world: &World, agent: &str) -> uuid::Uuid {
    let id = world.desk(agent)["call"]["id"].as_str();
    id.expect("a call").parse().expect("a uuid")
}

#[test]
fn a_call_whose_agents_page_is_lost_is_picked_up_by_another() {
    let (mut world, first, _) = talking();
    let call = call_of(&world, "agent1");
    let early = world.ask("agent2", AgentCommand::PickUp { call });
    assert_eq!(early.expect_err("she talks").rule, "not_offered");
    world.close_page(first);
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.hears(customer(&world)), Some(Source::Music));
    world
        .ask("agent2", AgentCommand::PickUp { call })
        .expect("it waits for somebody");
    world.run_for(Duration::from_millis(50));
    assert_eq!(world.call_state("agent2"), "talking");
    let (leg, seat) = (customer(&world), seats(&world)[1]);
    assert_eq!(world.hears(leg), Some(Source::Leg(seat)));
    assert_eq!(world.hears(seat), Some(Source::Leg(leg)));
    has_no_card(&world, "agent1");
    // Her page comes back to an empty desk.
    world.sit_down("agent1");
    has_no_card(&world, "agent1");
    assert_eq!(world.state("agent1"), "not_ready");
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.call_state("agent2"), "talking");
    world.ask("agent2", AgentCommand::HangUp).expect("hung up");
    world.dispose("agent2", "interested").expect("disposed");
    all_closed(&mut world);
}

#[test]
fn a_call_that_rings_at_another_seat_is_picked_up() {
    let (mut world, _, _) = offered();
    third_agent(&mut world);
    let call = call_of(&world, "agent1");
    world
        .ask("agent3", AgentCommand::PickUp { call })
        .expect("it rings");
    world.run_for(Duration::from_millis(50));
    assert_eq!(world.call_state("agent3"), "talking");
    assert_eq!(world.state("agent2"), "ready", "she has missed nothing");
    assert_eq!(world.state("agent1"), "ready");
    has_no_card(&world, "agent2");
    has_no_card(&world, "agent1");
    world.ask("agent3", AgentCommand::HangUp).expect("hung up");
    world.dispose("agent3", "interested").expect("disposed");
    all_closed(&mut world);
}

#[test]
fn of_two_who_want_a_call_the_first_has_it() {
    let (mut world, _, _) = offered();
    third_agent(&mut world);
    let call = call_of(&world, "agent1");
    let picked = world.ask_later("agent3", AgentCommand::PickUp { call });
    let answered = world.ask_later("agent2", AgentCommand::Answer);
    world.answer(picked).expect("first");
    world.answer(answered).expect("sent");
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.call_state("agent3"), "talking");
    assert_eq!(world.state("agent2"), "ready");
    has_no_card(&world, "agent2");
    world.far.hang_up(NUMBER);
    world.run_for(Duration::from_secs(1));
    world.dispose("agent3", "interested").expect("disposed");
    all_closed(&mut world);
}

#[test]
fn at_a_seat_on_another_media_worker_the_customers_leg_moves_there() {
    let (mut world, _, _) = beside(world_on(&[NUMBER], 4));
    let old = customer(&world);
    assert_ne!(old.0 % 4, seats(&world)[1].0 % 4, "two workers");
    let before = recorded(&world);
    transfer(&mut world, "agent:agent2").expect("she is free");
    world.ask("agent2", AgentCommand::Answer).expect("answered");
    world.run_for(Duration::from_millis(5));
    let (leg, seat) = (customer(&world), seats(&world)[1]);
    assert_ne!(leg, old);
    assert_eq!(leg.0 % 4, seat.0 % 4, "one worker");
    let closed =
        |command: &MediaCommand| matches!(command, MediaCommand::CloseLeg { leg } if *leg == old);
    assert!(world.media.iter().any(closed));

    // The worker it has left has not closed the port yet.
    let port = world.media.iter().rev().find_map(|command| match command {
        MediaCommand::OpenTrunk { port, .. } => Some(*port),
        _ => None,
    });
    let port = port.expect("a port");
    world.media.clear();
    world.input(Input::Media(MediaFact::PortTaken { leg, port }));
    world.run_for(Duration::from_millis(50));
    assert_eq!(world.call_state("agent2"), "talking");
    let opened = |command: &MediaCommand| matches!(command, MediaCommand::OpenTrunk { leg: of, .. } if *of == leg);
    let aimed = |command: &MediaCommand| matches!(command, MediaCommand::AimTrunk { leg: of, .. } if *of == leg);
    assert!(world.media.iter().any(opened), "tried again");
    assert!(world.media.iter().any(aimed));
    assert_eq!(world.hears(leg), Some(Source::Leg(seat)));
    assert_eq!(world.hears(seat), Some(Source::Leg(leg)));
    assert_eq!(recorded(&world), (Some(seat), leg, before.2));
    world.ask("agent2", AgentCommand::HangUp).expect("hung up");
    world.dispose("agent2", "interested").expect("disposed");
    all_closed(&mut world);
}
