//! Two things at once: one result each, and the far end's dialog closed.

mod support;

use std::time::Duration;

use foredial::engine::handle::AgentCommand;
use foredial::engine::media_worker::{MediaCommand, Source};
use support::far_end::Manner;
use support::world::{World, world};

const NUMBER: &str = "+8613812340001";

fn in_state(manner: Manner, state: &str) -> (World, u64) {
    let mut world = world(&[NUMBER]);
    world.far.manners.insert(NUMBER.to_owned(), manner);
    let page = world.sit_down("agent1");
    world.next_card("agent1");
    world.dial("agent1").expect("the gate allows it");
    world.until(state, |world| world.call_state("agent1") == state);
    (world, page)
}

/// One outcome in the store, none open at the far end, no port held.
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
    assert_eq!(world.far.open(), 0, "the far end has no dialog left");
    assert_eq!(world.busy_legs(), 0);
    let sip = world.switch.snapshot()["sip"].clone();
    assert_eq!(sip["transactions"], 0, "{sip}");
}

#[test]
fn an_answer_that_crosses_the_cancel_is_acked_and_ended() {
    let (mut world, _) = in_state(Manner::AnswerOnCancel, "ringing");
    world.ask("agent1", AgentCommand::HangUp).expect("hang up");
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.result("agent1"), "agent_cancelled");
    let calls = world.far.to(NUMBER);
    assert_eq!((calls.len(), calls[0].acks, calls[0].byes), (1, 1, 1));
    all_closed(&mut world, "agent_cancelled");
}

#[test]
fn a_click_that_crosses_the_customers_bye_changes_nothing() {
    let (mut world, _) = in_state(Manner::Answer(Duration::from_secs(1)), "talking");
    world.run_for(Duration::from_secs(3));
    world.far.hang_up(NUMBER);
    let click = world.ask_later("agent1", AgentCommand::HangUp);
    world.answer(click).expect("the click came first here");
    all_closed(&mut world, "connected");
}

#[test]
fn a_click_after_the_customers_bye_is_told_so() {
    let (mut world, _) = in_state(Manner::Answer(Duration::from_secs(1)), "talking");
    world.far.hang_up(NUMBER);
    world.until("wrap-up", |world| world.state("agent1") == "wrap_up");
    let problem = world
        .ask("agent1", AgentCommand::HangUp)
        .expect_err("there is no call");
    assert_eq!((problem.status, problem.rule), (409, "no_call"));
    all_closed(&mut world, "connected");
}

#[test]
fn a_reload_while_it_rings_keeps_the_call() {
    let (mut world, page) = in_state(Manner::Answer(Duration::from_secs(4)), "ringing");
    world.close_page(page);
    world.run_for(Duration::from_millis(1_500));
    world.sit_down("agent1");
    assert_eq!(world.call_state("agent1"), "ringing");
    world.until("talking", |world| world.call_state("agent1") == "talking");
    world.ask("agent1", AgentCommand::HangUp).expect("hang up");
    all_closed(&mut world, "connected");
}

#[test]
fn a_reload_in_mid_call_leaves_the_customer_with_music_for_a_moment() {
    let (mut world, page) = in_state(Manner::Answer(Duration::from_secs(1)), "talking");
    world.run_for(Duration::from_secs(2));
    let customer = world
        .media
        .iter()
        .find_map(|command| match command {
            MediaCommand::OpenTrunk { leg, .. } => Some(*leg),
            _ => None,
        })
        .expect("a trunk leg");
    world.close_page(page);
    assert_eq!(world.hears(customer), Some(Source::Music));
    world.run_for(Duration::from_millis(1_500));
    world.sit_down("agent1");
    assert!(
        matches!(world.hears(customer), Some(Source::Leg(_))),
        "both ways again"
    );
    assert_eq!(world.call_state("agent1"), "talking");
    assert_eq!(world.sent("BYE"), 0);
    world.ask("agent1", AgentCommand::HangUp).expect("hang up");
    all_closed(&mut world, "connected");
}

#[test]
fn an_agent_who_does_not_come_back_ends_the_call_after_her_grace() {
    let (mut world, page) = in_state(Manner::Answer(Duration::from_secs(1)), "talking");
    world.close_page(page);
    world.run_for(Duration::from_secs(19));
    assert_eq!(world.sent("BYE"), 0);
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.sent("BYE"), 1);
    all_closed(&mut world, "connected");
}

#[test]
fn a_double_clicked_call_sends_one_invite() {
    let mut world = world(&[NUMBER]);
    world.sit_down("agent1");
    let token = world.next_card("agent1");
    let key = world.key();
    let click = || AgentCommand::Dial {
        token,
        key,
        phone: None,
    };
    let first = world.ask_later("agent1", click());
    let second = world.ask_later("agent1", click());
    assert_eq!(world.answer(first), Ok(()));
    assert_eq!(world.answer(second), Ok(()));
    world.until("talking", |world| world.call_state("agent1") == "talking");
    assert_eq!(
        world.ask("agent1", click()),
        Ok(()),
        "the same click again, later"
    );
    assert_eq!(world.sent("INVITE"), 1);
}

#[test]
fn a_stale_token_is_refused_with_its_owner() {
    let mut world = world(&[NUMBER]);
    world.sit_down("agent1");
    world.sit_down("agent2");
    let stale = world.next_card("agent1");
    let key = world.key();
    world
        .ask("agent1", AgentCommand::Cancel { token: stale, key })
        .expect("given back");
    world.next_card("agent2");
    let key = world.key();
    let dial = AgentCommand::Dial {
        token: stale,
        key,
        phone: None,
    };
    let problem = world.ask("agent1", dial).expect_err("the card is agent2's");
    assert_eq!((problem.status, problem.rule), (409, "stale_token"));
    assert!(problem.detail.contains("agent2"), "{}", problem.detail);
    assert_eq!(world.sent("INVITE"), 0);
}

#[test]
fn two_agents_who_press_next_together_never_get_the_same_lead() {
    let numbers: Vec<String> = (0..12).map(|at| format!("+86138123400{at:02}")).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let mut world = world(&numbers);
    for _ in 0..1_000 {
        let one = world.ask_later("agent1", AgentCommand::Ready);
        let two = world.ask_later("agent2", AgentCommand::Ready);
        assert_eq!((world.answer(one), world.answer(two)), (Ok(()), Ok(())));
        let shown = |world: &World, name: &str| world.desk(name)["card"]["lead"].as_u64();
        world.until("two cards", |world| {
            shown(world, "agent1").is_some() && shown(world, "agent2").is_some()
        });
        assert_ne!(shown(&world, "agent1"), shown(&world, "agent2"));
        for name in ["agent1", "agent2"] {
            let (token, key) = (world.token(name), world.key());
            world
                .ask(name, AgentCommand::Cancel { token, key })
                .expect("given back");
        }
    }
}

#[test]
fn a_customer_who_answers_while_the_page_reloads_waits_a_calls_grace() {
    let (mut world, page) = in_state(Manner::Answer(Duration::from_secs(4)), "ringing");
    world.close_page(page);
    world.until("the answer", |world| {
        world.call_state("agent1") == "talking"
    });
    world.run_for(Duration::from_secs(18));
    assert_eq!(world.sent("BYE"), 0, "the customer hears music");
    world.sit_down("agent1");
    world.ask("agent1", AgentCommand::HangUp).expect("hang up");
    all_closed(&mut world, "connected");
}
