//! Two endpoints on one virtual clock and a network that loses, doubles and overtakes. Whatever
//! the order of things, each session ends once and nothing stays behind.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use foredial::now::{Now, UtcMs};
use foredial::sip::{
    Body, Endpoint, EndpointConfig, Flow, InviteTimers, NameAddr, Output, SessionId, SipEvent,
    Transport,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Call,
    Accept,
    Acknowledge,
    HangUp,
    Reoffer,
    AnswerReoffer,
    RefuseReoffer,
}

#[derive(Clone, Copy, Debug)]
struct Weather {
    loss: f64,
    doubling: f64,
    delay_ms_max: u64,
    transport: Transport,
    /// Chance that a datagram arrives with one byte changed.
    corruption: f64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Datagram { to: usize, bytes: Vec<u8> },
    Act { who: usize, act: Act },
}

struct World {
    start: Instant,
    now: Instant,
    ends: [Endpoint; 2],
    sessions: [Option<SessionId>; 2],
    queue: BinaryHeap<Reverse<(Instant, u64, Due)>>,
    sequence: u64,
    random: StdRng,
    weather: Weather,
    /// How long the called side thinks before it answers.
    accept_after: Option<Duration>,
    ended: HashMap<(usize, SessionId), u32>,
    events: Vec<(usize, SipEvent)>,
    last_arrival: [Instant; 2],
    incoming: Vec<(usize, SessionId)>,
}

fn address(who: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1 + who as u8], 5060))
}

fn body() -> Option<Body> {
    Some(Body {
        content_type: "application/sdp".into(),
        bytes: b"v=0\r\n".to_vec(),
    })
}

impl World {
    fn new(seed: u64, weather: Weather) -> World {
        let start = Instant::now();
        let end = |who: usize| {
            let config = EndpointConfig::new(address(who), "foredial.invalid");
            let mut end = Endpoint::new(config, seed * 2 + who as u64);
            end.permit_source(address(1 - who).ip(), false);
            end
        };
        World {
            start,
            now: start,
            ends: [end(0), end(1)],
            sessions: [None, None],
            queue: BinaryHeap::new(),
            sequence: 0,
            random: StdRng::seed_from_u64(seed),
            weather,
            accept_after: Some(Duration::from_millis(10)),
            ended: HashMap::new(),
            events: Vec::new(),
            last_arrival: [start; 2],
            incoming: Vec::new(),
        }
    }

    fn at(&self) -> Now {
        let utc = UtcMs(1_700_000_000_000).plus(self.now - self.start);
        Now {
            instant: self.now,
            utc,
        }
    }

    fn flow(&self, who: usize) -> Flow {
        Flow {
            id: 0,
            transport: self.weather.transport,
            local: address(who),
            remote: address(1 - who),
        }
    }

    fn schedule(&mut self, after: Duration, who: usize, act: Act) {
        self.push(self.now + after, Due::Act { who, act });
    }

    fn push(&mut self, at: Instant, due: Due) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, due)));
    }

    /// Runs until nothing is under way and no timer is set.
    fn run(&mut self) {
        for _ in 0..200_000 {
            self.drain();
            let network = self.queue.peek().map(|Reverse((at, _, _))| *at);
            let timers = self
                .ends
                .iter()
                .filter_map(|end| end.poll_timeout().map(|(at, _)| at));
            let Some(next) = timers.chain(network).min() else {
                return;
            };
            self.now = self.now.max(next);
            for who in 0..2 {
                let now = self.at();
                self.ends[who].handle_timeout(now);
                if let Some((at, why)) = self.ends[who].poll_timeout() {
                    assert!(at > self.now, "{why} was left due");
                }
            }
            self.drain();
            while self
                .queue
                .peek()
                .is_some_and(|Reverse((at, _, _))| *at <= self.now)
            {
                let Some(Reverse((_, _, due))) = self.queue.pop() else {
                    break;
                };
                self.happen(due);
                self.drain();
            }
        }
        panic!("the world never came to rest");
    }

    fn happen(&mut self, due: Due) {
        let now = self.at();
        match due {
            Due::Datagram { to, bytes } => {
                let flow = self.flow(to);
                self.ends[to].handle_received(now, &flow, &bytes);
            }
            Due::Act { who, act } => self.act(now, who, act),
        }
    }

    fn act(&mut self, now: Now, who: usize, act: Act) {
        if act == Act::Call {
            return self.call(now, who);
        }
        let Some(session) = self.sessions[who] else {
            return;
        };
        let end = &mut self.ends[who];
        match act {
            Act::Call => {}
            Act::Accept => end.accept(now, session, Vec::new(), body()),
            Act::Acknowledge => end.acknowledge(now, session, None),
            Act::HangUp => end.hang_up(now, session, Some("Q.850;cause=16")),
            Act::Reoffer => end.reoffer(now, session, body()),
            Act::AnswerReoffer => end.answer_reoffer(now, session, body()),
            Act::RefuseReoffer => end.refuse_reoffer(now, session, 488),
        }
    }

    fn call(&mut self, now: Now, who: usize) {
        let flow = self.flow(who);
        let end = &mut self.ends[who];
        let to = format!("sip:bob@{}", address(1 - who));
        let from = NameAddr::new(Some("Alice \"A\""), "sip:alice@example.com");
        let plan = end.plan_invite(&to, from, NameAddr::new(None, &to), &flow);
        let timers = InviteTimers::default();
        self.sessions[who] = Some(end.invite(now, plan, Vec::new(), body(), None, timers));
    }

    fn drain(&mut self) {
        for who in 0..2 {
            while let Some(output) = self.ends[who].poll_output() {
                match output {
                    Output::Send { flow, bytes } => {
                        self.transmit(who, flow, bytes);
                    }
                    Output::Event(event) => self.on_event(who, event),
                }
            }
        }
    }

    fn transmit(&mut self, from: usize, flow: Flow, mut bytes: Vec<u8>) {
        let to = 1 - from;
        if flow.remote != address(to) {
            assert!(self.weather.corruption > 0.0, "sent astray");
            return;
        }
        if self.random.random_bool(self.weather.corruption) {
            let at = self.random.random_range(0..bytes.len());
            bytes[at] = self.random.random();
        }
        let Weather {
            loss,
            doubling,
            delay_ms_max,
            transport,
            ..
        } = self.weather;
        let copies = match transport {
            Transport::Udp if self.random.random_bool(loss) => 0,
            Transport::Udp if self.random.random_bool(doubling) => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let delay = Duration::from_millis(self.random.random_range(1..=delay_ms_max));
            let mut at = self.now + delay;
            if transport != Transport::Udp {
                at = at.max(self.last_arrival[to]);
                self.last_arrival[to] = at;
            }
            self.push(
                at,
                Due::Datagram {
                    to,
                    bytes: bytes.clone(),
                },
            );
        }
    }

    fn on_event(&mut self, who: usize, event: SipEvent) {
        match &event {
            SipEvent::Incoming { session, .. } => {
                self.sessions[who] = Some(*session);
                self.incoming.push((who, *session));
                let now = self.at();
                self.ends[who].ring(now, *session, 180, None);
                if let Some(after) = self.accept_after {
                    self.schedule(after, who, Act::Accept);
                }
            }
            SipEvent::Answered { .. } => {
                let after = Duration::from_millis(self.random.random_range(0..40));
                self.schedule(after, who, Act::Acknowledge);
            }
            SipEvent::Reoffer { .. } => {
                let act = if self.random.random_bool(0.8) {
                    Act::AnswerReoffer
                } else {
                    Act::RefuseReoffer
                };
                let after = Duration::from_millis(self.random.random_range(0..300));
                self.schedule(after, who, act);
            }
            SipEvent::Failed { session, .. } | SipEvent::Ended { session, .. } => {
                *self.ended.entry((who, *session)).or_default() += 1;
            }
            _ => {}
        }
        self.events.push((who, event));
    }

    fn assert_nothing_left(&self, what: &str) {
        for (who, end) in self.ends.iter().enumerate() {
            let snapshot = end.snapshot();
            assert!(
                snapshot.is_idle(),
                "{what}: endpoint {who} keeps {snapshot:?}"
            );
            assert_eq!(snapshot.counters.garbage, 0, "{what}: {snapshot:?}");
            assert_eq!(snapshot.counters.malformed, 0, "{what}: {snapshot:?}");
        }
        for who in 0..2 {
            for (of, event) in &self.events {
                if let (true, SipEvent::Incoming { session, .. }) = (*of == who, event) {
                    assert_eq!(self.ended.get(&(who, *session)), Some(&1), "{what}");
                }
            }
        }
        if let Some(session) = self.sessions[0] {
            assert_eq!(self.ended.get(&(0, session)), Some(&1), "{what}");
        }
    }

    fn saw(&self, who: usize, wanted: impl Fn(&SipEvent) -> bool) -> bool {
        self.events
            .iter()
            .any(|(of, event)| *of == who && wanted(event))
    }
}

const CALM: Weather = Weather {
    loss: 0.0,
    doubling: 0.0,
    delay_ms_max: 1,
    transport: Transport::Udp,
    corruption: 0.0,
};
const WEBSOCKET: Weather = Weather {
    loss: 0.0,
    doubling: 0.0,
    delay_ms_max: 80,
    transport: Transport::Ws,
    corruption: 0.0,
};

fn storm(seed: u64) -> Weather {
    let (loss, doubling) = ((seed % 5) as f64 * 0.08, (seed % 3) as f64 * 0.1);
    Weather {
        loss,
        doubling,
        delay_ms_max: 20 + seed % 400,
        transport: Transport::Udp,
        corruption: 0.0,
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_call_is_answered_changed_and_ended_and_leaves_nothing() {
    for weather in [CALM, WEBSOCKET] {
        let mut world = World::new(1, weather);
        world.schedule(ms(0), 0, Act::Call);
        world.schedule(ms(2_000), 0, Act::Reoffer);
        world.schedule(ms(4_000), 1, Act::Reoffer);
        world.schedule(ms(6_000), 0, Act::HangUp);
        world.run();
        assert!(world.saw(0, |e| matches!(
            e,
            SipEvent::Provisional { status: 180, .. }
        )));
        assert!(world.saw(1, |e| matches!(e, SipEvent::Confirmed { .. })));
        assert!(world.saw(
            1,
            |e| matches!(e, SipEvent::Ended { reason, .. } if reason.q850 == Some(16))
        ));
        world.assert_nothing_left("a plain call");
    }
}

#[test]
fn a_cancel_that_crosses_the_answer_still_ends_the_call() {
    let mut crossed = 0;
    for seed in 0..600 {
        let mut world = World::new(seed, storm(seed));
        world.accept_after = Some(ms(1_000));
        world.schedule(ms(0), 0, Act::Call);
        world.schedule(ms(700 + seed), 0, Act::HangUp);
        world.run();
        if world.saw(1, |e| matches!(e, SipEvent::Confirmed { .. })) {
            crossed += 1;
        }
        world.assert_nothing_left(&format!("seed {seed}"));
    }
    assert!(crossed > 50, "the race was hardly run: {crossed}");
}

#[test]
fn bye_meets_bye() {
    for seed in 0..300 {
        let mut world = World::new(seed, storm(seed));
        world.schedule(ms(0), 0, Act::Call);
        world.schedule(ms(5_000), 0, Act::HangUp);
        world.schedule(ms(5_000 + seed % 50), 1, Act::HangUp);
        world.run();
        world.assert_nothing_left(&format!("seed {seed}"));
    }
}

#[test]
fn bye_meets_a_reinvite() {
    for seed in 0..300 {
        let mut world = World::new(seed, storm(seed));
        world.schedule(ms(0), 0, Act::Call);
        world.schedule(ms(5_000), (seed % 2) as usize, Act::Reoffer);
        world.schedule(ms(4_900 + seed), (1 - seed % 2) as usize, Act::HangUp);
        world.run();
        world.assert_nothing_left(&format!("seed {seed}"));
    }
}

#[test]
fn glare_is_settled_and_both_changes_get_through() {
    for seed in 0..200 {
        let weather = Weather {
            delay_ms_max: 1 + seed % 60,
            ..CALM
        };
        let mut world = World::new(seed, weather);
        world.schedule(ms(0), 0, Act::Call);
        world.schedule(ms(3_000), 0, Act::Reoffer);
        world.schedule(ms(3_000), 1, Act::Reoffer);
        world.schedule(ms(60_000), 0, Act::HangUp);
        world.run();
        for who in 0..2 {
            let settled = world.saw(who, |e| {
                matches!(
                    e,
                    SipEvent::ReofferAnswered {
                        status: 200 | 488,
                        ..
                    }
                )
            });
            assert!(
                settled,
                "seed {seed}: endpoint {who} never heard of its re-INVITE"
            );
        }
        world.assert_nothing_left(&format!("seed {seed}"));
    }
}

#[test]
fn whatever_happens_in_whatever_order_nothing_stays_behind() {
    for seed in 0..600 {
        let weather = if seed % 7 == 0 {
            WEBSOCKET
        } else {
            storm(seed)
        };
        let mut world = World::new(seed, weather);
        let mut draw = StdRng::seed_from_u64(seed ^ 0x5eed);
        world.accept_after = draw
            .random_bool(0.8)
            .then(|| ms(draw.random_range(0..3_000)));
        world.schedule(ms(0), 0, Act::Call);
        for _ in 0..draw.random_range(0..6) {
            let act = [Act::Reoffer, Act::HangUp, Act::Reoffer][draw.random_range(0..3)];
            let who = draw.random_range(0..2);
            world.schedule(ms(draw.random_range(0..8_000)), who, act);
        }
        for who in 0..2 {
            world.schedule(ms(100_000), who, Act::HangUp);
        }
        world.run();
        world.assert_nothing_left(&format!("seed {seed}"));
    }
}

#[test]
fn a_silent_peer_costs_one_failure_and_then_nothing() {
    let mut world = World::new(9, Weather { loss: 1.0, ..CALM });
    world.schedule(ms(0), 0, Act::Call);
    world.run();
    assert!(world.saw(0, |e| matches!(
        e,
        SipEvent::Failed {
            status: 408,
            local: true,
            ..
        }
    )));
    world.assert_nothing_left("a silent peer");
}

#[test]
fn corrupted_messages_break_calls_at_most_and_never_the_endpoint() {
    for seed in 0..250 {
        let weather = Weather {
            corruption: 0.3,
            ..storm(seed)
        };
        let mut world = World::new(seed, weather);
        world.schedule(ms(0), 0, Act::Call);
        world.schedule(ms(2_000), (seed % 2) as usize, Act::Reoffer);
        world.schedule(ms(4_000), 0, Act::HangUp);
        world.run();
        // A changed Call-ID makes another call, which nobody has hung up.
        for (who, session) in world.incoming.clone() {
            let now = world.at();
            world.ends[who].hang_up(now, session, None);
        }
        world.run();
        for end in &world.ends {
            assert!(
                end.snapshot().is_idle(),
                "seed {seed}: {:?}",
                end.snapshot()
            );
        }
    }
}
