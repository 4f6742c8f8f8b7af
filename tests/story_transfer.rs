//! An agent brings a third party into her call, on the virtual clock: who hears whom after each
//! step, how it ends, and what two things at once come to.

mod support;

use std::sync::Arc;
use std::time::Duration;

use foredial::dialer::campaign::Route;
use foredial::engine::handle::AgentCommand;
use foredial::engine::media_worker::{MediaCommand, Source};
use foredial::engine::resolved::{EngineConfig, Trunk};
use foredial::id::{LegId, TrunkId};
use foredial::trunk::Place;
use foredial::trunk::fraud::FraudRules;
use serde_json::Value;
use support::far_end::Manner;
use support::world::{TRUNK, World, world, world_as};

const NUMBER: &str = "+8613812340001";
const EXPERT: &str = "+862155550100";
const SECOND: &str = "127.0.0.10:5060";

/// Agents may call anywhere.
fn open_outside(config: &mut EngineConfig) {
    config.fraud = FraudRules {
        allowed: vec!["+".to_owned()],
        ..FraudRules::default()
    };
}

fn talking_in(mut world: World) -> (World, u64) {
    let soon = Manner::Answer(Duration::from_secs(1));
    world.far.manners.insert(NUMBER.to_owned(), soon);
    let page = world.sit_down("agent1");
    world.next_card("agent1");
    world.dial("agent1").expect("the gate allows it");
    world.until("talking", |world| world.call_state("agent1") == "talking");
    world.run_for(Duration::from_secs(5));
    (world, page)
}

fn talking() -> (World, u64) {
    talking_in(world_as(&[NUMBER], open_outside))
}

fn consult(world: &mut World) {
    let to = EXPERT.to_owned();
    let done = world.ask("agent1", AgentCommand::Consult { to });
    done.expect("the gate allows it");
}

fn transfer(world: &mut World) {
    let to = EXPERT.to_owned();
    let done = world.ask("agent1", AgentCommand::Transfer { to });
    done.expect("the gate allows it");
}

fn third<'a>(world: &'a World, key: &str) -> &'a str {
    let transfer = &world.desk("agent1")["call"]["transfer"];
    transfer[key].as_str().unwrap_or_default()
}

fn until_third(world: &mut World, state: &str) {
    world.until(state, |world| third(world, "state") == state);
}

fn consulting() -> (World, u64) {
    let (mut world, page) = talking();
    consult(&mut world);
    until_third(&mut world, "consulting");
    (world, page)
}

/// Trunk legs in the order they were opened: the customer's, then third parties'.
fn trunk_legs(world: &World) -> Vec<LegId> {
    let opened = world.media.iter().filter_map(|command| match command {
        MediaCommand::OpenTrunk { leg, .. } => Some(*leg),
        _ => None,
    });
    opened.collect()
}

fn seat(world: &World) -> LegId {
    let opened = world.media.iter().rev().find_map(|command| match command {
        MediaCommand::OpenBrowser { leg, .. } => Some(*leg),
        _ => None,
    });
    opened.expect("a seat")
}

/// What customer, agent and third party hear.
fn ears(world: &World) -> [Source; 3] {
    let legs = trunk_legs(world);
    let all = [legs[0], seat(world), *legs.last().expect("a leg")];
    all.map(|leg| world.hears(leg).expect("told what to hear"))
}

fn recorded(world: &World) -> (Option<LegId>, LegId) {
    let last = world.media.iter().rev().find_map(|command| match command {
        MediaCommand::Record {
            agent, customer, ..
        } => Some((*agent, *customer)),
        _ => None,
    });
    last.expect("a recording")
}

fn events(world: &World) -> Vec<String> {
    let events = world.db.view(world.now.utc).events_since(0, 10_000);
    let events = events.expect("a readable store");
    events.into_iter().map(|event| event.kind).collect()
}

fn count(world: &World, outcome: &str) -> u64 {
    let counters = &world.switch.snapshot()["counters"];
    counters["transfers"][outcome].as_u64().unwrap_or(0)
}

/// One outcome in the store, none open at the far end, nothing held.
fn all_closed(world: &mut World, result: &str) {
    world.run_for(Duration::from_secs(70));
    let lead = world.lead(1);
    let results: Vec<&str> = lead
        .history
        .iter()
        .filter_map(|it| it.result)
        .map(|it| it.name())
        .collect();
    assert_eq!(results, [result]);
    assert_eq!(world.far.open(), 0, "the far ends have no dialog left");
    let seen = world.switch.snapshot();
    assert_eq!(world.busy_legs(), 0, "{seen:#}");
    assert_eq!(seen["sip"]["transactions"], 0, "{seen:#}");
    assert_eq!(seen["writes_pending"], 0, "{seen:#}");
    let trunks = world.switch.trunk_snapshot();
    assert_eq!(trunks[0]["calls"], 0, "its places are free");
}

#[test]
fn a_consultation_that_is_completed_leaves_customer_and_expert_talking() {
    let (mut world, _) = talking();
    consult(&mut world);
    until_third(&mut world, "ringing");
    let [customer, agent, _] = ears(&world);
    assert_eq!((customer, agent), (Source::Music, Source::Ringback));
    assert_eq!(world.call_state("agent1"), "held");
    until_third(&mut world, "consulting");
    let legs = trunk_legs(&world);
    let (a, c, t) = (seat(&world), legs[0], legs[1]);
    assert_eq!(
        ears(&world),
        [Source::Music, Source::Leg(t), Source::Leg(a)]
    );
    assert_eq!(recorded(&world), (Some(a), c));

    world.ask("agent1", AgentCommand::Swap).expect("swap");
    assert_eq!(
        ears(&world),
        [Source::Leg(a), Source::Leg(c), Source::Music]
    );
    assert_eq!(third(&world, "heard"), "customer");
    world.ask("agent1", AgentCommand::Swap).expect("swap back");
    world.run_for(Duration::from_secs(10));
    world
        .ask("agent1", AgentCommand::Complete)
        .expect("complete");
    assert_eq!(
        ears(&world),
        [Source::Leg(t), Source::Silence, Source::Leg(c)]
    );
    assert_eq!(recorded(&world), (Some(t), c));
    assert_eq!(world.state("agent1"), "wrap_up");
    assert_eq!(world.desk("agent1")["call"]["handed_over"], true);
    assert_eq!(world.sent("BYE"), 0);
    assert_eq!(world.sent("REFER"), 0);

    // She disposes and takes other work; the two talk on.
    world.dispose("agent1", "interested").expect("disposed");
    world.until("free", |world| world.state("agent1") == "ready");
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.far.open(), 2);
    assert_eq!(
        world.lead(1).history[0].transferred_to.as_deref(),
        Some("number")
    );
    assert_eq!(world.lead(1).history[0].ended_at, None);
    world.far.hang_up(NUMBER);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.far.open(), 0, "the end of one is the end of both");
    assert_eq!(world.switch.snapshot()["calls"], Value::Array(vec![]));
    assert_eq!(count(&world, "completed"), 1);
    let talked = world.lead(1).history[0].talk_ms.expect("talked");
    assert!(talked > 70_000, "{talked}");
    all_closed(&mut world, "connected");
    let told = events(&world);
    for kind in [
        "third.begun",
        "third.answered",
        "attempt.transferred",
        "third.ended",
    ] {
        let times = told.iter().filter(|it| *it == kind).count();
        assert_eq!(times, 1, "{kind}");
    }
}

#[test]
fn the_experts_end_after_a_transfer_ends_the_customers_call_as_well() {
    let (mut world, _) = consulting();
    world
        .ask("agent1", AgentCommand::Complete)
        .expect("complete");
    world.run_for(Duration::from_secs(20));
    world.far.hang_up(EXPERT);
    world.run_for(Duration::from_secs(1));
    let lead = world.lead(1);
    assert_eq!(lead.history[0].ended_by.as_deref(), Some("third"));
    assert_eq!(
        world.state("agent1"),
        "wrap_up",
        "hers began at the transfer"
    );
    all_closed(&mut world, "connected");
}

#[test]
fn dropping_the_expert_gives_the_customer_back() {
    let (mut world, _) = consulting();
    world.ask("agent1", AgentCommand::Drop).expect("drop");
    let (c, a) = (trunk_legs(&world)[0], seat(&world));
    assert_eq!(world.hears(c), Some(Source::Leg(a)));
    assert_eq!(world.hears(a), Some(Source::Leg(c)));
    assert_eq!(world.call_state("agent1"), "talking");
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.far.open(), 1);
    assert_eq!(third(&world, "outcome"), "dropped");
    // And once more.
    world.run_for(Duration::from_secs(1));
    consult(&mut world);
    until_third(&mut world, "consulting");
    world.ask("agent1", AgentCommand::HangUp).expect("hang up");
    assert_eq!(world.state("agent1"), "wrap_up");
    all_closed(&mut world, "connected");
}

#[test]
fn who_completes_while_it_rings_stays_until_the_answer() {
    let (mut world, _) = talking();
    consult(&mut world);
    until_third(&mut world, "ringing");
    world
        .ask("agent1", AgentCommand::Complete)
        .expect("complete");
    assert_eq!(ears(&world)[0], Source::Ringback);
    assert_eq!(third(&world, "state"), "leaving");
    assert_eq!(world.state("agent1"), "talking");
    world.until("the answer", |world| world.state("agent1") == "wrap_up");
    let legs = trunk_legs(&world);
    assert_eq!(world.hears(legs[0]), Some(Source::Leg(legs[1])));
    world.far.hang_up(EXPERT);
    all_closed(&mut world, "connected");
}

#[test]
fn a_blind_transfer_that_is_answered_sets_the_agent_free() {
    let (mut world, _) = talking();
    transfer(&mut world);
    assert_eq!(ears(&world)[0], Source::Ringback);
    world.until("the answer", |world| world.state("agent1") == "wrap_up");
    world.far.hang_up(NUMBER);
    all_closed(&mut world, "connected");
}

fn blind_transfer_that_fails(manner: Manner, outcome: &str) {
    let (mut world, _) = talking();
    world.far.manners.insert(EXPERT.to_owned(), manner);
    transfer(&mut world);
    world.until("the end of it", |world| third(world, "state") == "over");
    assert_eq!(third(&world, "outcome"), outcome);
    assert_eq!(world.state("agent1"), "talking", "the call is hers again");
    let (c, a) = (trunk_legs(&world)[0], seat(&world));
    assert_eq!(world.hears(c), Some(Source::Leg(a)));
    assert_eq!(world.hears(a), Some(Source::Leg(c)));
    assert_eq!(count(&world, outcome), 1);
    if manner == Manner::Silent {
        // By its own books it still rings: nobody may CANCEL what was never answered (RFC 3261 9.1).
        world.far.calls.retain(|_, call| call.number != EXPERT);
    }
    world.ask("agent1", AgentCommand::HangUp).expect("hang up");
    all_closed(&mut world, "connected");
}

#[test]
fn a_busy_target_gives_the_customer_back() {
    blind_transfer_that_fails(Manner::Final(486, "Busy Here"), "busy");
}

#[test]
fn a_target_that_declines_gives_the_customer_back() {
    blind_transfer_that_fails(Manner::Final(603, "Decline"), "rejected");
}

#[test]
fn a_target_that_lets_it_ring_gives_the_customer_back_after_the_ring_limit() {
    blind_transfer_that_fails(Manner::RingOut, "no_answer");
}

#[test]
fn a_silent_target_gives_the_customer_back() {
    blind_transfer_that_fails(Manner::Silent, "trunk_failure");
}

#[test]
fn a_transfer_that_fails_when_nobody_sits_there_ends_with_a_result() {
    let (mut world, page) = talking();
    world.far.manners.insert(EXPERT.to_owned(), Manner::RingOut);
    transfer(&mut world);
    until_third(&mut world, "leaving");
    world.run_for(Duration::from_secs(2));
    world.close_page(page);
    assert_eq!(ears(&world)[0], Source::Ringback, "the transfer goes on");
    world.run_for(Duration::from_secs(22));
    assert_eq!(world.sent("BYE"), 0, "it still rings");
    world.run_for(Duration::from_secs(10));
    assert_eq!(world.sent("BYE"), 1);
    all_closed(&mut world, "connected");
}

#[test]
fn a_transfer_that_succeeds_does_not_need_the_agents_browser() {
    let (mut world, page) = talking();
    let late = Manner::Answer(Duration::from_secs(25));
    world.far.manners.insert(EXPERT.to_owned(), late);
    transfer(&mut world);
    world.run_for(Duration::from_secs(2));
    world.close_page(page);
    world.run_for(Duration::from_secs(30));
    assert_eq!(world.far.open(), 2, "the two talk");
    world.far.hang_up(EXPERT);
    all_closed(&mut world, "connected");
}

#[test]
fn a_browser_lost_in_a_consultation_leaves_both_with_music_and_takes_up_again() {
    let (mut world, page) = consulting();
    world.close_page(page);
    let legs = trunk_legs(&world);
    for leg in [legs[0], legs[1]] {
        assert_eq!(world.hears(leg), Some(Source::Music));
    }
    world.run_for(Duration::from_secs(3));
    world.sit_down("agent1");
    let (a, t) = (seat(&world), legs[1]);
    assert_eq!(
        ears(&world),
        [Source::Music, Source::Leg(t), Source::Leg(a)]
    );
    world
        .ask("agent1", AgentCommand::Complete)
        .expect("complete");
    world.far.hang_up(NUMBER);
    all_closed(&mut world, "connected");
}

#[test]
fn a_customer_who_hangs_up_ends_the_consultation() {
    let (mut world, _) = consulting();
    world.far.hang_up(NUMBER);
    world.until("wrap-up", |world| world.state("agent1") == "wrap_up");
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.far.open(), 0, "the expert is told");
    assert_eq!(count(&world, "call_ended"), 1);
    all_closed(&mut world, "connected");
}

#[test]
fn an_expert_who_hangs_up_gives_the_customer_back() {
    let (mut world, _) = consulting();
    world.far.hang_up(EXPERT);
    world.until("over", |world| third(world, "state") == "over");
    assert_eq!(third(&world, "outcome"), "third_left");
    assert_eq!(world.call_state("agent1"), "talking");
    world.far.hang_up(NUMBER);
    all_closed(&mut world, "connected");
}

#[test]
fn complete_that_crosses_the_customers_bye_ends_with_one_result() {
    let (mut world, _) = consulting();
    world.far.hang_up(NUMBER);
    let click = world.ask_later("agent1", AgentCommand::Complete);
    world.answer(click).expect("the click came first here");
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.far.open(), 0);
    assert_eq!(world.state("agent1"), "wrap_up");
    all_closed(&mut world, "connected");
}

#[test]
fn drop_that_crosses_the_experts_answer_ends_the_expert() {
    let (mut world, _) = talking();
    let crosses = Manner::AnswerOnCancel;
    world.far.manners.insert(EXPERT.to_owned(), crosses);
    consult(&mut world);
    until_third(&mut world, "ringing");
    world.ask("agent1", AgentCommand::Drop).expect("drop");
    world.run_for(Duration::from_secs(2));
    let calls = world.far.to(EXPERT);
    assert_eq!((calls.len(), calls[0].acks, calls[0].byes), (1, 1, 1));
    assert_eq!(world.call_state("agent1"), "talking");
    world.far.hang_up(NUMBER);
    all_closed(&mut world, "connected");
}

#[test]
fn a_drop_before_the_row_is_on_disk_calls_nobody() {
    let (mut world, _) = talking();
    let to = EXPERT.to_owned();
    let asked = world.ask_later("agent1", AgentCommand::Consult { to });
    let dropped = world.ask_later("agent1", AgentCommand::Drop);
    world.answer(asked).expect_err("it was dropped");
    world.answer(dropped).expect("drop");
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.sent("INVITE"), 1, "the customer's alone");
    world.far.hang_up(NUMBER);
    all_closed(&mut world, "connected");
}

#[test]
fn a_number_on_the_do_not_call_list_is_refused_with_the_rule() {
    let (mut world, _) = talking_in(world_as(&[NUMBER, EXPERT], open_outside));
    world.sit_down("agent2");
    let token = world.next_card("agent2");
    let key = world.key();
    let dnc = AgentCommand::Dnc { token, key };
    world.ask("agent2", dnc).expect("suppressed");
    let to = EXPERT.to_owned();
    let refused = world.ask("agent1", AgentCommand::Consult { to });
    let problem = refused.expect_err("suppressed");
    assert_eq!((problem.status, problem.rule), (409, "gate"));
    assert!(problem.detail.contains("suppressed"), "{}", problem.detail);
    assert_eq!(world.call_state("agent1"), "talking");
    assert_eq!(count(&world, "denied"), 1);
    world.far.hang_up(NUMBER);
    all_closed(&mut world, "connected");
}

#[test]
fn the_customers_own_number_is_a_live_call_already() {
    let (mut world, _) = talking();
    let to = NUMBER.to_owned();
    let refused = world.ask("agent1", AgentCommand::Transfer { to });
    let problem = refused.expect_err("live");
    assert!(
        problem.detail.contains("live_attempt"),
        "{}",
        problem.detail
    );
}

#[test]
fn numbers_nobody_allowed_and_emergency_numbers_are_refused() {
    let (mut world, _) = talking_in(world(&[NUMBER]));
    let mut ask = |to: &str| {
        let to = to.to_owned();
        let refused = world.ask("agent1", AgentCommand::Consult { to });
        refused.expect_err("refused").rule
    };
    assert_eq!(ask(EXPERT), "fraud", "[fraud] allows nothing by default");
    assert_eq!(ask("phone:nobody"), "unknown_target");
    assert_eq!(ask("55550100"), "unknown_target");
    world.reload(|config| config.plan.emergency.numbers = vec!["110".to_owned()]);
    let to = "1 10".to_owned();
    let refused = world.ask("agent1", AgentCommand::Transfer { to });
    assert_eq!(refused.expect_err("emergency").rule, "emergency");
}

#[test]
fn a_second_third_party_and_a_hold_beside_it_are_refused() {
    let (mut world, _) = consulting();
    let to = "+862155550101".to_owned();
    let refused = world.ask("agent1", AgentCommand::Consult { to });
    assert_eq!(refused.expect_err("one at a time").rule, "third_party");
    let refused = world.ask("agent1", AgentCommand::Hold { on: true });
    assert_eq!(refused.expect_err("swap is for that").rule, "third_party");
    world.ask("agent1", AgentCommand::Drop).expect("drop");
    let refused = world.ask("agent1", AgentCommand::Swap);
    assert_eq!(refused.expect_err("nobody").rule, "no_third_party");
}

/// These trunks, in this order.
fn config_trunks(config: &mut EngineConfig, trunks: Vec<Trunk>) {
    let routes = trunks.iter().map(|trunk| Route {
        trunk: trunk.id.clone(),
        caller_id: "+862110000000".to_owned(),
    });
    let routes: Vec<Route> = routes.collect();
    for campaign in config.campaigns.values_mut() {
        Arc::make_mut(campaign).rules.routes.clone_from(&routes);
    }
    let named = trunks.into_iter().map(|trunk| (trunk.id.clone(), trunk));
    config.trunks = named.collect();
}

#[test]
fn a_targets_first_trunk_that_refuses_is_passed_over() {
    let trunk = |id: &str, server: &str| {
        let place = Place::At(server.parse().expect("an address"));
        Trunk::new(TrunkId::new(id), vec![place], server)
    };
    let trunks = vec![trunk("a", TRUNK), trunk("b", SECOND)];
    let world = world_as(&[NUMBER], |config| {
        open_outside(config);
        config_trunks(config, trunks);
    });
    let (mut world, _) = talking_in(world);
    let address = TRUNK.parse().expect("an address");
    let refuses = (address, (503, "Service Unavailable"));
    world.far.refusing.extend([refuses]);
    consult(&mut world);
    until_third(&mut world, "consulting");
    let second = SECOND.parse().expect("an address");
    assert_eq!(world.far.open_at(second), 1);
    world
        .ask("agent1", AgentCommand::Complete)
        .expect("complete");
    world.run_for(Duration::from_secs(5));
    world.far.hang_up(EXPERT);
    world.run_for(Duration::from_secs(1));
    let trunks = world.switch.trunk_snapshot();
    assert_eq!(
        (&trunks[0]["calls"], &trunks[1]["calls"]),
        (&0.into(), &0.into())
    );
    all_closed(&mut world, "connected");
}

fn crash_ends_both(world: &mut World) {
    world.crash();
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.far.open(), 0, "both far legs are ended");
    let lead = world.lead(1);
    assert_eq!(
        lead.history[0].result.map(|it| it.name()),
        Some("connected")
    );
}

#[test]
fn a_crash_while_consulting_ends_both_far_legs() {
    let (mut world, _) = consulting();
    world.run_for(Duration::from_secs(2));
    crash_ends_both(&mut world);
    world.sit_down("agent1");
    assert_eq!(world.state("agent1"), "wrap_up");
    // The number may be called again: its row is closed.
    world.dispose("agent1", "interested").expect("disposed");
}

#[test]
fn a_crash_while_the_expert_rings_ends_both_far_legs() {
    let (mut world, _) = talking();
    world.far.manners.insert(EXPERT.to_owned(), Manner::RingOut);
    consult(&mut world);
    until_third(&mut world, "ringing");
    world.run_for(Duration::from_secs(2));
    crash_ends_both(&mut world);
}

#[test]
fn a_crash_after_a_transfer_ends_both_far_legs_and_keeps_what_the_agent_said() {
    let (mut world, _) = consulting();
    world
        .ask("agent1", AgentCommand::Complete)
        .expect("complete");
    world.dispose("agent1", "interested").expect("disposed");
    let state = world.lead(1).state;
    world.run_for(Duration::from_secs(2));
    crash_ends_both(&mut world);
    assert_eq!(world.lead(1).state, state);
}

#[test]
fn a_stopping_switch_ends_a_call_that_was_handed_over() {
    let (mut world, _) = consulting();
    world
        .ask("agent1", AgentCommand::Complete)
        .expect("complete");
    world.run_for(Duration::from_secs(2));
    world.input(foredial::engine::Input::Shutdown);
    all_closed(&mut world, "connected");
}
