//! Two endpoints on one virtual clock, and a network between them that may lose, double and
//! overtake. Everything said is kept.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use foredial::now::{Now, UtcMs};
use foredial::sip::{
    Body, Endpoint, EndpointConfig, Flow, InviteTimers, NameAddr, Output, SessionId, SipEvent,
    Transport,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub loss: f64,
    pub doubling: f64,
    pub delay_ms_max: u64,
    pub transport: Transport,
}

pub const CALM: Weather = Weather {
    loss: 0.0,
    doubling: 0.0,
    delay_ms_max: 1,
    transport: Transport::Udp,
};

pub type Lose = Box<dyn FnMut(usize, &str) -> bool>;
pub type Rewrite = Box<dyn FnMut(usize, String) -> String>;
/// When, in which order, for whom, and what.
type Arrival = (Instant, u64, usize, Vec<u8>);

pub struct Pair {
    pub start: Instant,
    pub now: Instant,
    pub ends: [Endpoint; 2],
    pub weather: Weather,
    /// What was said by whom, losses included.
    pub said: Vec<(usize, String)>,
    pub events: Vec<(usize, SipEvent)>,
    /// A message for which this is true never arrives.
    pub lose: Option<Lose>,
    /// What a message becomes on its way.
    pub rewrite: Option<Rewrite>,
    queue: BinaryHeap<Reverse<Arrival>>,
    sequence: u64,
    random: StdRng,
    last_arrival: [Instant; 2],
}

fn address(who: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 23, 1 + who as u8], 5060))
}

pub fn sdp(text: &str) -> Option<Body> {
    Some(Body {
        content_type: "application/sdp".into(),
        bytes: text.as_bytes().to_vec(),
    })
}

pub fn text_of(body: &Option<Body>) -> String {
    let bytes = body.as_ref().map_or(&[][..], |body| &body.bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

impl Pair {
    pub fn new(seed: u64, weather: Weather, shape: impl Fn(usize, &mut EndpointConfig)) -> Pair {
        let start = Instant::now();
        let end = |who: usize| {
            let mut config = EndpointConfig::new(address(who), "foredial.invalid");
            shape(who, &mut config);
            let mut end = Endpoint::new(config, seed * 2 + who as u64);
            end.permit_source(address(1 - who).ip(), false);
            end
        };
        Pair {
            start,
            now: start,
            ends: [end(0), end(1)],
            weather,
            said: Vec::new(),
            events: Vec::new(),
            lose: None,
            rewrite: None,
            queue: BinaryHeap::new(),
            sequence: 0,
            random: StdRng::seed_from_u64(seed),
            last_arrival: [start; 2],
        }
    }

    pub fn at(&self) -> Now {
        let utc = UtcMs(1_700_000_000_000).plus(self.now - self.start);
        Now {
            instant: self.now,
            utc,
        }
    }

    pub fn flow(&self, who: usize) -> Flow {
        Flow {
            id: 0,
            transport: self.weather.transport,
            local: address(who),
            remote: address(1 - who),
        }
    }

    pub fn call(&mut self, who: usize, headers: &[(&str, &str)], body: Option<Body>) -> SessionId {
        let (flow, now) = (self.flow(who), self.at());
        let end = &mut self.ends[who];
        let to = format!("sip:bob@{}", address(1 - who));
        let from = NameAddr::new(None, "sip:alice@example.com");
        let plan = end.plan_invite(&to, from, NameAddr::new(None, &to), &flow);
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        let timers = InviteTimers::default();
        end.invite(now, plan, headers.collect(), body, None, timers)
    }

    /// Lets the world go on for this long.
    #[allow(dead_code)] // Not every test file waits; some step.
    pub fn wait(&mut self, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        while self.step(until) {}
        self.now = until;
    }

    /// One thing that happens before `until`. False when nothing does.
    pub fn step(&mut self, until: Instant) -> bool {
        self.drain();
        let network = self.queue.peek().map(|Reverse((at, ..))| *at);
        let ends = self.ends.iter();
        let timers = ends.filter_map(|end| end.poll_timeout().map(|(at, _)| at));
        let Some(next) = timers.chain(network).min().filter(|at| *at <= until) else {
            return false;
        };
        self.now = self.now.max(next);
        let now = self.at();
        for end in &mut self.ends {
            end.handle_timeout(now);
            if let Some((at, why)) = end.poll_timeout() {
                assert!(at > self.now, "{why} was left due");
            }
        }
        self.drain();
        let due = self
            .queue
            .peek()
            .is_some_and(|Reverse((at, ..))| *at <= self.now);
        if due && let Some(Reverse((_, _, to, bytes))) = self.queue.pop() {
            let flow = self.flow(to);
            self.ends[to].handle_received(now, &flow, &bytes);
            self.drain();
        }
        true
    }

    pub fn drain(&mut self) {
        for who in 0..2 {
            while let Some(output) = self.ends[who].poll_output() {
                match output {
                    Output::Send { bytes, .. } => self.transmit(who, bytes),
                    Output::Event(event) => self.events.push((who, event)),
                }
            }
        }
    }

    fn transmit(&mut self, from: usize, mut bytes: Vec<u8>) {
        let to = 1 - from;
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some(rewrite) = &mut self.rewrite {
            text = rewrite(from, text);
            bytes = text.clone().into_bytes();
        }
        let lost = self.lose.as_mut().is_some_and(|lose| lose(from, &text));
        self.said.push((from, text));
        let weather = self.weather;
        let copies = match weather.transport {
            _ if lost => 0,
            Transport::Udp if self.random.random_bool(weather.loss) => 0,
            Transport::Udp if self.random.random_bool(weather.doubling) => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let delay_ms = self.random.random_range(1..=weather.delay_ms_max);
            let mut at = self.now + Duration::from_millis(delay_ms);
            if weather.transport != Transport::Udp {
                at = at.max(self.last_arrival[to]);
                self.last_arrival[to] = at;
            }
            self.sequence += 1;
            let one = (at, self.sequence, to, bytes.clone());
            self.queue.push(Reverse(one));
        }
    }
}

/// How often each session came to an end.
pub fn endings(events: &[(usize, SipEvent)], who: usize, wanted: SessionId) -> usize {
    let ended = events.iter().filter(|(of, event)| {
        let session = match event {
            SipEvent::Failed { session, .. } | SipEvent::Ended { session, .. } => session,
            _ => return false,
        };
        *of == who && *session == wanted
    });
    ended.count()
}
