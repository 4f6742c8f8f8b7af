//! Agents whose seat is a desk phone, on the virtual clock: the phone is rung before each dial,
//! and what it does is what the agent does.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use foredial::agent::seat::Kind;
use foredial::engine::Input;
use foredial::engine::handle::AgentCommand;
use foredial::engine::media_worker::{MediaCommand, MediaFact, Source};
use foredial::engine::resolved::Phone;
use foredial::id::LegId;
use foredial::route::{Match, Rewrite, Rule, Step};
use foredial::sip::{Algorithm, Secret};
use foredial::trunk::Srtp;
use support::far_end::Manner;
use support::wire::{Letter, of_called, sdp};
use support::world::{World, agent, world};

const NUMBER: &str = "+8613812340001";
const LI: &str = "agent1";

fn desk_phone() -> SocketAddr {
    "127.0.33.1:5060".parse().expect("an address")
}

/// Li's seat is phone 201; her page is open, and the customer answers after two seconds.
fn floor() -> World {
    let mut world = world(&[NUMBER, "+8613812340002"]);
    world.reload(|config| {
        config.phones.push(Phone {
            user: "201".to_owned(),
            secret: Secret::Password("p".to_owned()),
            order: vec![Algorithm::Sha256],
            srtp: Srtp::Off,
            srtp_over_plain: false,
        });
        config.phones.push(Phone {
            user: "202".to_owned(),
            ..config.phones[0].clone()
        });
        config.plan.rules.push(Rule {
            name: "desk".to_owned(),
            number: Match::Prefix("202".to_owned()),
            from: Vec::new(),
            window: None,
            rewrite: Rewrite::default(),
            steps: vec![Step::Phone("202".to_owned())],
            ring_ms: 20_000,
            record: false,
        });
        let li = config.agents.get_mut(&agent(LI)).expect("an agent");
        li.seat = Kind::Phone("201".to_owned());
        for campaign in config.campaigns.values_mut() {
            std::sync::Arc::make_mut(campaign).record = true;
        }
    });
    let manner = Manner::Answer(Duration::from_secs(2));
    world.far.manners.insert(NUMBER.to_owned(), manner);
    world.look(LI);
    world
}

fn status(world: &World) -> &str {
    world.desk(LI)["seat"]["status"]
        .as_str()
        .unwrap_or_default()
}

/// A click on Call; nobody waits for its answer here.
fn click(world: &mut World) {
    let command = AgentCommand::Dial {
        token: world.token(LI),
        key: world.key(),
        phone: None,
    };
    world.ask_later(LI, command);
}

fn phone_says(world: &mut World, invite: &Letter, method: &str, number: u32, body: &str) {
    let text = of_called(invite, "p", desk_phone(), (method, number), "", body);
    world.phone_sends(desk_phone(), &text);
}

fn phone_answers(world: &mut World) -> Letter {
    let invite = world.phone_reads(desk_phone(), "INVITE");
    let body = sdp(desk_phone(), "8", "sendrecv");
    let ok = invite.answer("200 OK", "p", desk_phone(), &body);
    world.phone_sends(desk_phone(), &ok);
    world.phone_reads(desk_phone(), "ACK");
    invite
}

fn ok(world: &mut World, beginning: &str) -> Letter {
    let request = world.phone_reads(desk_phone(), beginning);
    let answer = request.answer("200 OK", "p", desk_phone(), "");
    world.phone_sends(desk_phone(), &answer);
    request
}

/// Legs in the order they were opened: her phone's, then the customer's.
fn legs(world: &World) -> Vec<LegId> {
    let opened = |command: &MediaCommand| match command {
        MediaCommand::OpenTrunk { leg, .. } => Some(*leg),
        _ => None,
    };
    world.media.iter().filter_map(opened).collect()
}

/// The customer is on the line with Li; the INVITE that her phone got.
fn talking(world: &mut World) -> Letter {
    world.register("201", desk_phone());
    world.next_card(LI);
    click(world);
    let invite = phone_answers(world);
    world.until("talking", |world| world.state(LI) == "talking");
    invite
}

fn nothing_is_held(world: &mut World) {
    world.run_for(Duration::from_secs(70));
    assert_eq!(world.busy_legs(), 0, "ports");
    assert_eq!(world.switch.snapshot()["legs"], 0, "legs");
    assert_eq!(world.far.open(), 0, "the customer's dialogs");
    assert_eq!(world.switch.snapshot()["sip"]["sessions"], 0, "sessions");
}

#[test]
fn the_phone_is_rung_with_auto_answer_and_only_then_the_customer() {
    let mut world = floor();
    assert_eq!(world.desk(LI)["seat"]["kind"], "phone");
    assert_eq!(status(&world), "absent");
    world.register("201", desk_phone());
    world.run_for(Duration::from_millis(50));
    assert_eq!(status(&world), "idle");
    world.next_card(LI);
    click(&mut world);
    let invite = world.phone_reads(desk_phone(), "INVITE sip:201@127.0.33.1:5060");
    assert!(
        invite.header("Call-Info").ends_with(";answer-after=0"),
        "{}",
        invite.0
    );
    assert!(
        invite
            .header("Alert-Info")
            .ends_with(";info=alert-autoanswer"),
        "{}",
        invite.0
    );
    assert_eq!(invite.header("Answer-Mode"), "Auto");
    world.run_for(Duration::from_millis(500));
    assert_eq!(status(&world), "connecting");
    assert_eq!(world.state(LI), "previewing");
    assert_eq!(
        world.far.to(NUMBER).len(),
        0,
        "nobody rings before she is there"
    );

    let body = sdp(desk_phone(), "8", "sendrecv");
    let answer = invite.answer("200 OK", "p", desk_phone(), &body);
    world.phone_sends(desk_phone(), &answer);
    world.phone_reads(desk_phone(), "ACK");
    world.until("dialing", |world| world.far.to(NUMBER).len() == 1);
    assert_eq!(status(&world), "live");
    world.until("talking", |world| world.state(LI) == "talking");
    let both = legs(&world);
    assert_eq!(world.hears(both[0]), Some(Source::Leg(both[1])));
    assert_eq!(world.hears(both[1]), Some(Source::Leg(both[0])));

    world.ask(LI, AgentCommand::HangUp).expect("hang up");
    ok(&mut world, "BYE");
    assert_eq!(world.state(LI), "wrap_up", "the page stays for the outcome");
    assert_eq!(status(&world), "idle");
    world.dispose(LI, "interested").expect("disposed");
    nothing_is_held(&mut world);
}

#[test]
fn her_phone_hangs_up_and_the_customer_is_hung_up() {
    let mut world = floor();
    let invite = talking(&mut world);
    phone_says(&mut world, &invite, "BYE", 1, "");
    world.phone_reads(desk_phone(), "SIP/2.0 200");
    world.until("wrap-up", |world| world.state(LI) == "wrap_up");
    assert_eq!(world.result(LI), "connected");
    assert_eq!(world.sent("BYE"), 1);
    // The next call rings her again.
    world.dispose(LI, "interested").expect("disposed");
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.state(LI), "previewing", "the next card");
    click(&mut world);
    ok(&mut world, "INVITE");
}

#[test]
fn a_customer_who_hangs_up_frees_her_phone() {
    let mut world = floor();
    talking(&mut world);
    world.far.hang_up(NUMBER);
    ok(&mut world, "BYE");
    assert_eq!(world.state(LI), "wrap_up");
    nothing_is_held(&mut world);
}

#[test]
fn her_hold_is_the_customers_hold() {
    let mut world = floor();
    let invite = talking(&mut world);
    let both = legs(&world);
    for (number, direction) in [(1, "sendonly"), (3, "inactive")] {
        let hold = sdp(desk_phone(), "8", direction);
        phone_says(&mut world, &invite, "INVITE", number, &hold);
        let held = world.phone_reads(desk_phone(), "SIP/2.0 200");
        assert!(held.body().contains("a="), "{}", held.0);
        let ack = of_called(&invite, "p", desk_phone(), ("ACK", number), "", "");
        world.phone_sends(desk_phone(), &ack);
        world.until("held", |world| world.call_state(LI) == "held");
        assert_eq!(world.hears(both[1]), Some(Source::Music), "{direction}");
        let back = sdp(desk_phone(), "8", "sendrecv");
        phone_says(&mut world, &invite, "INVITE", number + 1, &back);
        world.phone_reads(desk_phone(), "SIP/2.0 200");
        let ack = of_called(&invite, "p", desk_phone(), ("ACK", number + 1), "", "");
        world.phone_sends(desk_phone(), &ack);
        world.until("talking", |world| world.call_state(LI) == "talking");
        assert_eq!(world.hears(both[1]), Some(Source::Leg(both[0])));
    }
}

#[test]
fn a_phone_that_is_not_there_costs_nothing_but_a_word() {
    let mut world = floor();
    world.next_card(LI);
    let gone = world.dial(LI).expect_err("it is not registered");
    assert_eq!(gone.rule, "phone_unregistered");
    assert!(gone.detail.contains("201"), "{}", gone.detail);

    world.register("201", desk_phone());
    click(&mut world);
    let invite = world.phone_reads(desk_phone(), "INVITE");
    let busy = invite.answer("486 Busy Here", "p", desk_phone(), "");
    world.phone_sends(desk_phone(), &busy);
    world.phone_reads(desk_phone(), "ACK");
    world.run_for(Duration::from_millis(50));
    assert_eq!(world.state(LI), "previewing", "the card stays");

    let command = AgentCommand::Dial {
        token: world.token(LI),
        key: world.key(),
        phone: None,
    };
    let late = world.ask_later(LI, command);
    let invite = world.phone_reads(desk_phone(), "INVITE");
    world.phone_sends(
        desk_phone(),
        &invite.answer("180 Ringing", "p", desk_phone(), ""),
    );
    world.run_for(Duration::from_secs(11));
    let problem = world.answer(late).expect_err("nobody picked up");
    assert_eq!(problem.rule, "phone_silent");
    ok(&mut world, "CANCEL");
    assert_eq!(world.state(LI), "previewing");
    assert_eq!(world.far.to(NUMBER).len(), 0, "no call");
    let lead = world.lead(1);
    assert_eq!((lead.business_count, lead.regulatory_count), (0, 0));
    world.phone_sends(
        desk_phone(),
        &invite.answer("487 Request Terminated", "p", desk_phone(), ""),
    );
    nothing_is_held(&mut world);
}

#[test]
fn a_card_that_goes_while_the_phone_rings_takes_the_ringing_along() {
    let mut world = floor();
    world.register("201", desk_phone());
    let token = world.next_card(LI);
    click(&mut world);
    let invite = world.phone_reads(desk_phone(), "INVITE");
    world.phone_sends(
        desk_phone(),
        &invite.answer("180 Ringing", "p", desk_phone(), ""),
    );
    world.run_for(Duration::from_millis(100));
    let key = world.key();
    world
        .ask(LI, AgentCommand::Cancel { token, key })
        .expect("cancelled");
    ok(&mut world, "CANCEL");
    world.phone_sends(
        desk_phone(),
        &invite.answer("487 Request Terminated", "p", desk_phone(), ""),
    );
    nothing_is_held(&mut world);
}

#[test]
fn a_phone_whose_voice_is_lost_is_rung_again_and_the_customer_waits_with_music() {
    let mut world = floor();
    talking(&mut world);
    let both = legs(&world);
    let stalled = MediaFact::Stalled {
        leg: both[0],
        silent_ms: 30_000,
    };
    world.input(Input::Media(stalled));
    ok(&mut world, "BYE");
    assert_eq!(world.hears(both[1]), Some(Source::Music));
    assert_eq!(status(&world), "lost");
    phone_answers(&mut world);
    world.run_for(Duration::from_millis(50));
    let again = legs(&world)[2];
    assert_eq!(world.hears(both[1]), Some(Source::Leg(again)));
    assert_eq!(status(&world), "live");

    // A second time nobody comes back: after twenty seconds the customer is let go.
    let stalled = MediaFact::Stalled {
        leg: again,
        silent_ms: 30_000,
    };
    world.input(Input::Media(stalled));
    ok(&mut world, "BYE");
    let invite = world.phone_reads(desk_phone(), "INVITE");
    world.phone_sends(
        desk_phone(),
        &invite.answer("180 Ringing", "p", desk_phone(), ""),
    );
    world.run_for(Duration::from_secs(19));
    assert_eq!(world.state(LI), "talking");
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.state(LI), "wrap_up");
    ok(&mut world, "CANCEL");
    world.phone_sends(
        desk_phone(),
        &invite.answer("487 Request Terminated", "p", desk_phone(), ""),
    );
    nothing_is_held(&mut world);
}

#[test]
fn her_page_takes_no_seat_of_its_own() {
    let mut world = floor();
    world.open_page(LI);
    world.run_for(Duration::from_millis(200));
    assert_eq!(status(&world), "absent", "the phone is the seat");
    assert_eq!(world.switch.snapshot()["legs"], 0);
}

#[test]
fn her_phones_refer_is_a_transfer_of_the_customer() {
    let mut world = floor();
    let invite = talking(&mut world);
    let colleague: SocketAddr = "127.0.33.2:5060".parse().expect("an address");
    world.register("202", colleague);
    let refer = |world: &mut World, number, to: &str| {
        let headers = format!("Refer-To: <sip:{to}@127.0.0.1>\r\n");
        let text = of_called(&invite, "p", desk_phone(), ("REFER", number), &headers, "");
        world.phone_sends(desk_phone(), &text);
        world.phone_reads(desk_phone(), "SIP/2.0 202");
        ok(world, "NOTIFY");
    };
    // To nobody, and to one who is busy: she has her customer back.
    refer(&mut world, 1, "nobody");
    let told = ok(&mut world, "NOTIFY");
    assert!(told.body().starts_with("SIP/2.0 40"), "{}", told.body());
    refer(&mut world, 2, "202");
    let second = world.phone_reads(colleague, "INVITE");
    let busy = second.answer("486 Busy Here", "q", colleague, "");
    world.phone_sends(colleague, &busy);
    let told = ok(&mut world, "NOTIFY");
    assert!(told.body().starts_with("SIP/2.0 480"), "{}", told.body());
    assert_eq!(world.state(LI), "talking");

    refer(&mut world, 3, "202");
    let second = world.phone_reads(colleague, "INVITE");
    let body = sdp(colleague, "8", "sendrecv");
    let answer = second.answer("200 OK", "q", colleague, &body);
    world.phone_sends(colleague, &answer);
    let told = ok(&mut world, "NOTIFY");
    assert!(told.body().starts_with("SIP/2.0 200"), "{}", told.body());
    ok(&mut world, "BYE");
    assert_eq!(world.state(LI), "wrap_up", "she is out of the call");
    assert_eq!(world.far.open(), 1, "the customer talks on");
    world.far.hang_up(NUMBER);
    let bye = world.phone_reads(colleague, "BYE");
    let answer = bye.answer("200 OK", "q", colleague, "");
    world.phone_sends(colleague, &answer);
    nothing_is_held(&mut world);
}
