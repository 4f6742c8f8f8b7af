//! A carrier on the virtual clock: pings, calls, names, limits.

use super::*;

const FAR: Duration = Duration::from_secs(86_400);

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 5060))
}

fn terms(places: Vec<Place>) -> Terms {
    Terms {
        places,
        calls_max: 2,
        calls_per_s: None,
        options_every: Some(Duration::from_secs(60)),
        down_after: 2,
        failover: Failover::default(),
        register_s: None,
    }
}

fn two_servers(now: Instant) -> Carrier {
    let places = vec![Place::At(address(1)), Place::At(address(2))];
    Carrier::new(now, terms(places), 1)
}

/// Runs to `until`; `answer` says which pinged server answers.
fn run(
    carrier: &mut Carrier,
    now: &mut Instant,
    until: Instant,
    answer: impl Fn(SocketAddr) -> bool,
) -> (Vec<SocketAddr>, Vec<(SocketAddr, Turn)>) {
    let (mut pinged, mut turns) = (Vec::new(), Vec::new());
    while let Some((at, _)) = carrier.poll_timeout().filter(|(at, _)| *at <= until) {
        *now = at.max(*now);
        turns.extend(carrier.handle_timeout(*now));
        let again = carrier.poll_timeout();
        assert!(again.is_none_or(|(at, _)| at > *now), "{again:?}");
        while let Some(Ask::Ping(server)) = carrier.poll_output() {
            pinged.push(server);
            if answer(server) {
                let turn = carrier.pong(*now, server, true, 200);
                turns.extend(turn.map(|turn| (server, turn)));
            }
        }
    }
    *now = until;
    (pinged, turns)
}

#[test]
fn a_server_that_answers_no_options_goes_down_and_comes_back_after_two() {
    let mut now = Instant::now();
    let mut carrier = two_servers(now);
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let end = now + minutes(2);
    let (_, turns) = run(&mut carrier, &mut now, end, |server| server == address(2));
    assert_eq!(turns, [(address(1), Turn::Down)]);
    assert_eq!(carrier.order(now)[0], (address(2), true));
    assert_eq!(
        carrier.order(now)[1],
        (address(1), false),
        "the last resort"
    );
    assert!(carrier.is_up());
    let end = now + minutes(1);
    let (_, turns) = run(&mut carrier, &mut now, end, |_| true);
    assert_eq!(turns, [(address(1), Turn::Up)]);
    assert_eq!(carrier.order(now)[0], (address(1), true));
}

#[test]
fn a_server_in_doubt_is_asked_sooner_than_a_well_one() {
    let mut now = Instant::now();
    let mut carrier = two_servers(now);
    let end = now + Duration::from_secs(90);
    let (pinged, _) = run(&mut carrier, &mut now, end, |server| server == address(2));
    let count = |server| pinged.iter().filter(|it| **it == server).count();
    assert_eq!(count(address(2)), 1);
    assert!(count(address(1)) >= 3, "{pinged:?}");
}

fn failure(status: u16, local: bool) -> Failure {
    Failure {
        status,
        q850: None,
        retry_after: None,
        local,
        alerted: false,
    }
}

#[test]
fn calls_that_meet_silence_take_a_server_down_without_options() {
    let now = Instant::now();
    let places = vec![Place::At(address(1)), Place::At(address(2))];
    let silent = Terms {
        options_every: None,
        ..terms(places)
    };
    let mut carrier = Carrier::new(now, silent, 1);
    assert_eq!(carrier.poll_timeout(), None);
    let silence = failure(408, true);
    let (next, turn) = carrier.failed(now, address(1), &silence, "no answer");
    assert_eq!((next, turn), (Next::Server, None));
    let (_, turn) = carrier.failed(now, address(1), &silence, "no answer");
    assert_eq!(turn, Some(Turn::Down));
    assert_eq!(carrier.counters().silent, 2);
    assert_eq!(carrier.last_failure(), Some("no answer"));
    // Calls that get through bring it back.
    carrier.answered(address(1));
    assert_eq!(carrier.answered(address(1)), Some(Turn::Up));
}

#[test]
fn a_customers_busy_speaks_for_the_server() {
    let now = Instant::now();
    let mut carrier = two_servers(now);
    carrier.failed(now, address(1), &failure(408, true), "no answer");
    let (next, _) = carrier.failed(now, address(1), &failure(486, false), "486 Busy");
    assert_eq!(next, Next::Nothing);
    let (_, turn) = carrier.failed(now, address(1), &failure(408, true), "no answer");
    assert_eq!(turn, None, "the row of misses was broken");
    assert_eq!(carrier.counters().failed, [0, 1, 0, 0]);
}

#[test]
fn retry_after_leaves_that_server_out_until_then_and_no_other() {
    let now = Instant::now();
    let mut carrier = two_servers(now);
    let busy = Failure {
        retry_after: Some(Duration::from_secs(20)),
        ..failure(503, false)
    };
    let (next, _) = carrier.failed(now, address(1), &busy, "503 Service Unavailable");
    assert_eq!(next, Next::Server);
    assert_eq!(carrier.order(now), [(address(2), true)]);
    let later = now + Duration::from_secs(20);
    assert_eq!(carrier.order(later).len(), 2);
}

#[test]
fn no_more_calls_at_once_than_the_limit_and_places_come_back_once() {
    let now = Instant::now();
    let mut carrier = two_servers(now);
    let first = carrier.take(now).expect("room");
    carrier.take(now).expect("room");
    assert_eq!(carrier.take(now), Err(Full::Calls));
    carrier.give_back(first);
    carrier.give_back(first);
    carrier.take(now).expect("room again");
    assert_eq!(carrier.take(now), Err(Full::Calls));
    assert_eq!((carrier.calls(), carrier.counters().full), (2, 2));
}

#[test]
fn calls_a_second_are_counted_by_invites() {
    let now = Instant::now();
    let slow = Terms {
        calls_max: 100,
        calls_per_s: Some(2),
        ..terms(vec![Place::At(address(1))])
    };
    let mut carrier = Carrier::new(now, slow, 1);
    carrier.take(now).expect("one");
    carrier.take_invite(now).expect("two");
    assert_eq!(carrier.take(now), Err(Full::Rate));
    assert_eq!(carrier.calls(), 1, "no place without an INVITE");
    carrier
        .take(now + Duration::from_millis(500))
        .expect("later");
}

fn name() -> Place {
    Place::Name {
        host: "carrier.example".to_owned(),
        port: None,
    }
}

fn answer(last: u8, ttl_s: u64) -> Answer {
    Answer {
        targets: vec![Target {
            address: address(last),
            priority: 10,
            weight: 0,
        }],
        ttl: Duration::from_secs(ttl_s),
    }
}

#[test]
fn a_name_is_asked_for_at_once_and_again_when_its_time_is_over() {
    let now = Instant::now();
    let mut carrier = Carrier::new(now, terms(vec![name()]), 1);
    assert!(carrier.order(now).is_empty());
    carrier.handle_timeout(now);
    assert_eq!(carrier.poll_output(), Some(Ask::Resolve(name())));
    carrier.resolved(now, &name(), Ok(answer(7, 40)));
    assert_eq!(carrier.order(now), [(address(7), true)]);
    assert_eq!(
        carrier.poll_timeout(),
        Some((now + Duration::from_secs(40), "look-up"))
    );
}

#[test]
fn a_failed_look_up_keeps_the_last_good_answer() {
    let now = Instant::now();
    let mut carrier = Carrier::new(now, terms(vec![name()]), 1);
    carrier.resolved(now, &name(), Ok(answer(7, 10)));
    let later = now + Duration::from_secs(10);
    carrier.handle_timeout(later);
    carrier.resolved(later, &name(), Err("no answer".to_owned()));
    assert_eq!(carrier.order(later), [(address(7), true)]);
    assert_eq!(carrier.last_failure(), Some("carrier.example: no answer"));
    carrier.resolved(later, &name(), Ok(answer(8, 10)));
    assert_eq!(
        carrier.order(later),
        [(address(8), true)],
        "and a new one replaces it"
    );
    assert!(
        carrier
            .poll_timeout()
            .is_some_and(|(at, _)| at <= later + FAR)
    );
}
