//! Customers who call us, on the virtual clock: whose seat rings, with which card, and what is
//! left when nobody answers.

mod support;

use std::time::Duration;

use foredial::dialer::lead::LeadState;
use foredial::engine::Input;
use foredial::engine::handle::AgentCommand;
use foredial::engine::media_worker::{MediaCommand, Source};
use foredial::id::{AgentId, CampaignId};
use foredial::route::{Match, Rewrite, Rule, Seated, Step, Waiting, Who};
use support::call_in::{CallIn, call_in};
use support::world::{World, world};

const KNOWN: &str = "+8613800138001";
const STRANGER: &str = "+8613900139009";
const DID: &str = "+862110000000";
/// How long a seat rings.
const RING: Duration = Duration::from_secs(20);

fn campaign() -> CampaignId {
    CampaignId::new("c")
}

fn seated(who: Who, answer: bool) -> Step {
    Step::Seat(Seated {
        who,
        waiting: Waiting {
            wait_ms: 60_000,
            callers_max: 2,
            answer,
        },
    })
}

fn rule(steps: Vec<Step>) -> Rule {
    Rule {
        name: "did".to_owned(),
        number: Match::Any,
        from: Vec::new(),
        window: None,
        rewrite: Rewrite::default(),
        steps,
        ring_ms: RING.as_millis() as u64,
        record: false,
    }
}

/// A world whose number leads to these steps.
fn routed(numbers: &[&str], steps: Vec<Step>) -> World {
    let mut world = world(numbers);
    world.reload(|config| config.plan.rules = vec![rule(steps)]);
    world
}

fn to_campaign(numbers: &[&str]) -> World {
    routed(numbers, vec![seated(Who::Campaign(campaign()), false)])
}

/// READY, and nothing to dial.
fn ready(world: &mut World, name: &str) {
    world.sit_down(name);
    world.ask(name, AgentCommand::Ready).expect("ready");
    world.run_for(Duration::from_millis(50));
    assert_eq!(world.state(name), "ready", "nothing to dial for {name}");
}

fn calls(world: &mut World, from: &str) -> CallIn {
    let call = call_in(world, from, DID);
    world.run_for(Duration::from_millis(50));
    call
}

fn inbound(world: &World, name: &str) -> u64 {
    world.switch.snapshot()["inbound"][name]
        .as_u64()
        .expect("a count")
}

fn name_on_card(world: &World, agent: &str) -> String {
    let name = world.desk(agent)["card"]["name"].as_str();
    name.unwrap_or("no card").to_owned()
}

/// The agent answers and the caller acknowledges.
fn answered(world: &mut World, agent: &str, call: &CallIn) {
    world.ask(agent, AgentCommand::Answer).expect("an answer");
    world.run_for(Duration::from_millis(50));
    assert_eq!(call.status(world), 200);
    call.acknowledge(world);
    world.run_for(Duration::from_millis(50));
    assert_eq!(world.state(agent), "talking");
}

/// Nothing of a call is held any more.
fn assert_clean(world: &mut World) {
    world.run_for(Duration::from_secs(40));
    assert_eq!(world.busy_legs(), 0, "RTP ports are given back");
    let snapshot = world.switch.snapshot();
    assert_eq!(snapshot["inbound"]["waiting"], 0);
    assert_eq!(snapshot["inbound"]["ringing"], 0);
    assert_eq!(
        snapshot["through"]["calls"].as_array().map(Vec::len),
        Some(0)
    );
    assert!(world.switch.is_quiet());
}

/// The only lead waits for its retry time, so that nobody is given its card.
fn resting(world: &mut World) {
    world.sit_down("agent9");
    world.next_card("agent9");
    let skip = AgentCommand::Skip {
        token: world.token("agent9"),
        key: world.key(),
        reason: "bad_time".to_owned(),
    };
    world.ask("agent9", skip).expect("skipped");
    let away = AgentCommand::NotReady {
        reason: "lunch".to_owned(),
    };
    world.ask("agent9", away).expect("away");
    world.run_for(Duration::from_millis(50));
}

#[test]
fn a_known_customer_rings_with_his_card_and_is_wrapped_up_like_any_call() {
    let mut world = to_campaign(&[KNOWN]);
    resting(&mut world);
    let before = world.lead(1);
    ready(&mut world, "agent1");
    let call = calls(&mut world, KNOWN);
    assert_eq!(world.state("agent1"), "ringing");
    assert_eq!(name_on_card(&world, "agent1"), "Customer 0");
    let desk = world.desk("agent1").clone();
    assert_eq!(desk["call"]["direction"], "in");
    assert_eq!(desk["call"]["state"], "ringing");
    assert_eq!(desk["card"]["why"]["en"], "Calls you now");
    assert_eq!(call.statuses(&world), [100, 180]);

    answered(&mut world, "agent1", &call);
    assert!(
        call.body(&world).contains("m=audio"),
        "{}",
        call.body(&world)
    );
    let legs: Vec<_> = world
        .media
        .iter()
        .filter_map(|command| match command {
            MediaCommand::Record {
                agent: Some(agent),
                customer,
                ..
            } => Some((*agent, *customer)),
            _ => None,
        })
        .collect();
    let (seat, customer) = legs[0];
    assert_eq!(world.hears(seat), Some(Source::Leg(customer)));
    assert_eq!(world.hears(customer), Some(Source::Leg(seat)));
    world
        .ask("agent1", AgentCommand::Hold { on: true })
        .expect("hold");
    assert_eq!(world.hears(customer), Some(Source::Music));
    world
        .ask("agent1", AgentCommand::Hold { on: false })
        .expect("back");

    call.hang_up(&mut world);
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.state("agent1"), "wrap_up");
    assert_eq!(world.result("agent1"), "connected");
    world.dispose("agent1", "sale").expect("disposed");
    let after = world.lead(1);
    assert!(
        matches!(after.state, LeadState::Closed(_)),
        "{:?}",
        after.state
    );
    let counts = (after.business_count, after.regulatory_count);
    assert_eq!(counts, (before.business_count, before.regulatory_count));
    assert!(after.history[0].is_incoming);
    assert_eq!(inbound(&world, "answered"), 1);
    assert_clean(&mut world);
}

#[test]
fn a_stranger_makes_a_lead_of_his_own() {
    let mut world = to_campaign(&[]);
    ready(&mut world, "agent1");
    let call = calls(&mut world, STRANGER);
    let card = world.desk("agent1")["card"].clone();
    assert_eq!(card["name"], "");
    let lead = world.lead(card["lead"].as_u64().expect("a lead"));
    assert_eq!(lead.list.as_str(), "inbound");
    assert_eq!(lead.phones[0].e164, STRANGER);
    answered(&mut world, "agent1", &call);
    world.ask("agent1", AgentCommand::HangUp).expect("hung up");
    world.run_for(Duration::from_millis(100));
    assert!(call.has_bye(&world));
    assert_eq!(world.state("agent1"), "wrap_up");
    world.dispose("agent1", "sale").expect("disposed");
    assert_clean(&mut world);
}

#[test]
fn a_missed_call_rests_the_agent_and_rings_the_next_one() {
    let mut world = to_campaign(&[]);
    ready(&mut world, "agent1");
    world.run_for(Duration::from_secs(5));
    ready(&mut world, "agent2");
    let call = calls(&mut world, STRANGER);
    assert_eq!(world.state("agent1"), "ringing", "READY the longest");
    assert_eq!(world.state("agent2"), "ready");
    world.run_for(RING);
    assert_eq!(world.desk("agent1")["state"]["reason"], "missed");
    assert!(world.desk("agent1")["card"].is_null());
    assert_eq!(world.state("agent2"), "ringing");
    answered(&mut world, "agent2", &call);
    call.hang_up(&mut world);
    world.run_for(Duration::from_millis(100));
    assert_eq!(inbound(&world, "missed"), 1);
    assert_clean(&mut world);
}

#[test]
fn a_decline_goes_on_to_the_next_agent_and_without_one_the_caller_waits() {
    let mut world = to_campaign(&[]);
    ready(&mut world, "agent1");
    let call = calls(&mut world, STRANGER);
    world
        .ask("agent1", AgentCommand::Decline)
        .expect("declined");
    world.run_for(Duration::from_millis(50));
    assert_eq!(world.desk("agent1")["state"]["reason"], "declined");
    assert_eq!(call.status(&world), 182);
    assert_eq!(inbound(&world, "waiting"), 1);
    world
        .ask("agent1", AgentCommand::Ready)
        .expect("ready again");
    world.run_for(Duration::from_millis(50));
    assert_eq!(world.state("agent1"), "ringing", "he still waits");
    assert_eq!(call.status(&world), 180);
    call.cancel(&mut world);
    assert_clean(&mut world);
}

#[test]
fn a_caller_who_gives_up_while_it_rings_leaves_nothing_behind() {
    let mut world = to_campaign(&[KNOWN]);
    resting(&mut world);
    let before = world.lead(1).state;
    ready(&mut world, "agent1");
    let call = calls(&mut world, KNOWN);
    assert_eq!(world.state("agent1"), "ringing");
    call.cancel(&mut world);
    world.run_for(Duration::from_millis(50));
    assert_eq!(call.status(&world), 487);
    assert_eq!(world.state("agent1"), "ready");
    assert!(world.desk("agent1")["card"].is_null());
    assert!(world.desk("agent1")["call"].is_null());
    assert_eq!(world.lead(1).state, before);
    assert_eq!(inbound(&world, "abandoned"), 1);
    assert_clean(&mut world);
}

#[test]
fn a_caller_who_gives_up_before_the_card_is_on_disk_leaves_nothing_behind_either() {
    let mut world = to_campaign(&[KNOWN]);
    resting(&mut world);
    ready(&mut world, "agent1");
    let call = call_in(&mut world, KNOWN, DID);
    assert_eq!(world.state("agent1"), "ringing");
    call.cancel(&mut world);
    world.run_for(Duration::from_millis(50));
    assert_eq!(world.state("agent1"), "ready");
    assert!(world.desk("agent1")["card"].is_null());
    assert!(!matches!(world.lead(1).state, LeadState::Dialing));
    assert_clean(&mut world);
}

#[test]
fn callers_wait_in_their_order_and_no_more_than_there_is_room_for() {
    let mut world = to_campaign(&[]);
    world.sit_down("agent1");
    let away = AgentCommand::NotReady {
        reason: "lunch".to_owned(),
    };
    world.ask("agent1", away).expect("away");
    let first = calls(&mut world, "+8613900139001");
    let second = calls(&mut world, "+8613900139002");
    let third = calls(&mut world, "+8613900139003");
    assert_eq!((first.status(&world), second.status(&world)), (182, 182));
    assert_eq!(third.status(&world), 486, "two wait already");
    world.ask("agent1", AgentCommand::Ready).expect("ready");
    world.run_for(Duration::from_millis(50));
    assert_eq!((first.status(&world), second.status(&world)), (180, 182));
    first.cancel(&mut world);
    world.run_for(Duration::from_millis(50));
    assert_eq!(second.status(&world), 180, "his turn");
    second.cancel(&mut world);
    assert_eq!(inbound(&world, "unserved"), 1);
    assert_clean(&mut world);
}

#[test]
fn a_caller_waits_no_longer_than_the_route_says() {
    let mut world = to_campaign(&[]);
    world.sit_down("agent1");
    let call = calls(&mut world, STRANGER);
    assert_eq!(call.status(&world), 182);
    world.run_for(Duration::from_secs(61));
    assert_eq!(call.status(&world), 480);
    assert_clean(&mut world);
}

#[test]
fn a_caller_who_gives_up_while_he_waits_is_counted() {
    let mut world = to_campaign(&[]);
    world.sit_down("agent1");
    let call = calls(&mut world, STRANGER);
    call.cancel(&mut world);
    world.run_for(Duration::from_millis(50));
    assert_eq!(call.status(&world), 487);
    assert_eq!(inbound(&world, "abandoned"), 1);
    assert_clean(&mut world);
}

#[test]
fn nobody_waits_for_a_campaign_nobody_works_for_unless_the_route_is_a_queue() {
    let mut world = to_campaign(&[]);
    let call = calls(&mut world, STRANGER);
    assert_eq!(call.status(&world), 480);
    world.reload(|config| {
        config.plan.rules = vec![rule(vec![seated(Who::Queue(campaign()), false)])];
    });
    let call = calls(&mut world, STRANGER);
    assert_eq!(call.status(&world), 182);
    call.cancel(&mut world);
    assert_clean(&mut world);
}

#[test]
fn the_agent_who_called_last_is_rung_first_and_the_route_goes_on_without_her() {
    let last_then_all = vec![
        seated(Who::LastAgent, false),
        seated(Who::Campaign(campaign()), false),
    ];
    let mut world = routed(&[KNOWN], last_then_all);
    ready_after_a_busy_call(&mut world, "agent2");
    ready(&mut world, "agent1");
    let call = calls(&mut world, KNOWN);
    assert_eq!(world.state("agent2"), "ringing", "she called this number");
    assert_eq!(world.state("agent1"), "ready");
    world
        .ask("agent2", AgentCommand::Decline)
        .expect("declined");
    world.run_for(Duration::from_millis(50));
    assert_eq!(world.state("agent1"), "ringing", "then whoever is free");
    call.cancel(&mut world);
    let stranger = calls(&mut world, STRANGER);
    assert_eq!(world.state("agent1"), "ringing", "nobody called him");
    stranger.cancel(&mut world);
    assert_clean(&mut world);
}

/// Dials the only lead, hears busy, and is READY with nothing to dial.
fn ready_after_a_busy_call(world: &mut World, name: &str) {
    world.far.otherwise = support::far_end::Manner::Final(486, "Busy Here");
    world.sit_down(name);
    world.next_card(name);
    world.dial(name).expect("dialed");
    world.until("wrap-up", |world| world.state(name) == "wrap_up");
    world.dispose(name, "").expect("accepted");
    world.run_for(Duration::from_millis(50));
    assert_eq!(world.state(name), "ready");
}

#[test]
fn a_named_agent_rings_when_she_is_free_and_is_passed_over_when_she_is_not() {
    let named = Who::Agent(AgentId::new("agent1"));
    let mut world = routed(&[], vec![seated(named, false), Step::Refuse(603)]);
    let call = calls(&mut world, STRANGER);
    assert_eq!(call.status(&world), 603, "not even signed in");
    ready(&mut world, "agent1");
    let call = calls(&mut world, STRANGER);
    assert_eq!(world.state("agent1"), "ringing");
    world.run_for(RING + Duration::from_secs(1));
    assert_eq!(call.status(&world), 603);
    assert_eq!(world.desk("agent1")["state"]["reason"], "missed");
    assert_clean(&mut world);
}

#[test]
fn a_card_on_its_way_to_the_agent_goes_back_when_a_caller_comes_first() {
    let mut world = to_campaign(&[KNOWN]);
    world.sit_down("agent1");
    let asked = world.ask_later("agent1", AgentCommand::Ready);
    // The store is choosing a card for her at this moment.
    let call = call_in(&mut world, STRANGER, DID);
    world.answer(asked).expect("ready");
    world.run_for(Duration::from_millis(50));
    assert_eq!(world.state("agent1"), "ringing");
    assert_eq!(name_on_card(&world, "agent1"), "", "the stranger's");
    assert_eq!(world.lead(1).state, LeadState::Ready, "given back");
    call.cancel(&mut world);
    world.until("the card that was given back", |world| {
        world.state("agent1") == "previewing"
    });
    assert_eq!(name_on_card(&world, "agent1"), "Customer 0");
}

#[test]
fn an_agent_who_looks_at_a_card_is_not_rung_and_gets_the_caller_after_it() {
    let mut world = to_campaign(&[KNOWN]);
    world.sit_down("agent1");
    world.next_card("agent1");
    let call = calls(&mut world, STRANGER);
    assert_eq!(world.state("agent1"), "previewing");
    assert_eq!(call.status(&world), 182);
    let skip = AgentCommand::Skip {
        token: world.token("agent1"),
        key: world.key(),
        reason: "bad_time".to_owned(),
    };
    world.ask("agent1", skip).expect("skipped");
    world.run_for(Duration::from_millis(50));
    assert_eq!(world.state("agent1"), "ringing", "the caller before a card");
    answered(&mut world, "agent1", &call);
}

#[test]
fn a_seat_lost_while_it_rings_passes_the_caller_on() {
    let mut world = to_campaign(&[]);
    let page = world.sit_down("agent1");
    world.ask("agent1", AgentCommand::Ready).expect("ready");
    world.run_for(Duration::from_secs(1));
    ready(&mut world, "agent2");
    let call = calls(&mut world, STRANGER);
    assert_eq!(world.state("agent1"), "ringing");
    world.close_page(page);
    world.run_for(Duration::from_millis(50));
    assert_eq!(world.state("agent2"), "ringing");
    answered(&mut world, "agent2", &call);
}

#[test]
fn a_queue_that_answers_plays_music_and_then_ringing() {
    let mut world = routed(&[], vec![seated(Who::Campaign(campaign()), true)]);
    world.sit_down("agent1");
    let call = calls(&mut world, STRANGER);
    assert_eq!(call.status(&world), 200);
    call.acknowledge(&mut world);
    let caller = world.media.iter().find_map(|command| match command {
        MediaCommand::OpenTrunk { leg, .. } => Some(*leg),
        _ => None,
    });
    let caller = caller.expect("a leg");
    assert_eq!(world.hears(caller), Some(Source::Music));
    world.ask("agent1", AgentCommand::Ready).expect("ready");
    world.run_for(Duration::from_millis(50));
    assert_eq!(world.hears(caller), Some(Source::Ringback));
    world.ask("agent1", AgentCommand::Answer).expect("answered");
    world.run_for(Duration::from_millis(50));
    assert!(matches!(world.hears(caller), Some(Source::Leg(_))));
    assert_eq!(call.statuses(&world), [100, 200], "one answer");
    call.hang_up(&mut world);
    world.run_for(Duration::from_millis(50));
    assert_eq!(world.state("agent1"), "wrap_up");
}

#[test]
fn a_queue_that_answered_and_found_nobody_hangs_up() {
    let mut world = routed(&[], vec![seated(Who::Campaign(campaign()), true)]);
    world.sit_down("agent1");
    let call = calls(&mut world, STRANGER);
    call.acknowledge(&mut world);
    world.run_for(Duration::from_secs(61));
    assert!(call.has_bye(&world));
    assert_clean(&mut world);
}

#[test]
fn after_a_crash_an_answered_caller_is_hung_up_and_his_card_is_wrapped_up() {
    let mut world = to_campaign(&[]);
    ready(&mut world, "agent1");
    let call = calls(&mut world, STRANGER);
    answered(&mut world, "agent1", &call);
    world.crash();
    world.run_for(Duration::from_secs(1));
    assert!(call.has_bye(&world), "the far end is told");
    world.open_page("agent1");
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.state("agent1"), "wrap_up");
    assert_eq!(world.desk("agent1")["call"]["direction"], "in");
    world.dispose("agent1", "sale").expect("disposed");
}

#[test]
fn after_a_crash_while_it_rang_the_lead_is_what_it_was() {
    let mut world = to_campaign(&[KNOWN]);
    resting(&mut world);
    let before = world.lead(1).state;
    ready(&mut world, "agent1");
    calls(&mut world, KNOWN);
    assert_eq!(world.state("agent1"), "ringing");
    world.crash();
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.lead(1).state, before);
}

#[test]
fn a_switch_that_is_drained_sends_callers_away_and_lets_a_ringing_one_be_answered() {
    let mut world = to_campaign(&[]);
    ready(&mut world, "agent1");
    let rings = calls(&mut world, STRANGER);
    let waits = calls(&mut world, "+8613900139002");
    assert_eq!((rings.status(&world), waits.status(&world)), (180, 182));
    world.input(Input::Drain);
    world.run_for(Duration::from_millis(50));
    assert_eq!(waits.status(&world), 503);
    let late = calls(&mut world, "+8613900139003");
    assert_eq!(late.status(&world), 503);
    answered(&mut world, "agent1", &rings);
}

#[test]
fn two_agents_talk_to_one_caller_each() {
    let mut world = to_campaign(&[]);
    ready(&mut world, "agent1");
    world.run_for(Duration::from_secs(1));
    ready(&mut world, "agent2");
    let first = calls(&mut world, "+8613900139001");
    let second = calls(&mut world, "+8613900139002");
    answered(&mut world, "agent1", &first);
    answered(&mut world, "agent2", &second);
    let twice = world.ask("agent1", AgentCommand::Answer);
    assert_eq!(twice.expect_err("nobody rings").rule, "no_call");
    first.hang_up(&mut world);
    world.run_for(Duration::from_millis(50));
    assert_eq!(world.state("agent1"), "wrap_up");
    assert_eq!(world.state("agent2"), "talking");
}
