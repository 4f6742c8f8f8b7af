//! One carrier: its servers with their health, its limits and what it has done so far. It asks for
//! names to be resolved and servers to be pinged; answers come back when they come.

mod register;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::health::{Health, Turn};
use super::limit::Bucket;
use super::policy::{Failover, Failure, Next};
use super::target::{Answer, Place, Target, order};
use crate::sip::register::{Due, Registration};

/// OPTIONS without an answer for this long is a miss.
const PING_PATIENCE: Duration = Duration::from_secs(4);
/// A server in doubt is asked this often.
const DOUBT_EVERY: Duration = Duration::from_secs(5);
/// How long an answer of DNS is believed at least and at most.
const TTL_MIN: Duration = Duration::from_secs(5);
const TTL_MAX: Duration = Duration::from_secs(86_400);
/// After a failed look-up, or one without an answer.
const RESOLVE_AGAIN: Duration = Duration::from_secs(30);

/// What the configuration says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// In order of preference.
    pub places: Vec<Place>,
    /// Calls at once.
    pub calls_max: usize,
    /// `None` is no limit.
    pub calls_per_s: Option<u32>,
    /// `None`: servers are not pinged; calls alone tell.
    pub options_every: Option<Duration>,
    /// Misses in a row that take a server down.
    pub down_after: u8,
    pub failover: Failover,
    /// Seconds it asks for where it must be registered; `None`: it is known by its address.
    pub register_s: Option<u32>,
}

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Answered by [`Carrier::resolved`].
    Resolve(Place),
    /// OPTIONS; answered by [`Carrier::pong`].
    Ping(SocketAddr),
    /// REGISTER; answered by [`Carrier::registered`].
    Register(Due),
}

/// Why it takes no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    Calls,
    Rate,
}

/// One call's place among the calls at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(u64);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub invites: u64,
    pub answered: u64,
    /// Final refusals by class, 3xx to 6xx; ours are in `silent` and `unreachable`.
    pub failed: [u64; 4],
    pub silent: u64,
    pub unreachable: u64,
    /// INVITEs that went elsewhere after a failure here.
    pub failovers: u64,
    /// Calls turned away by a limit.
    pub full: u64,
}

/// One server, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub address: SocketAddr,
    pub is_up: bool,
    pub rests: bool,
    pub last_failure: Option<String>,
}

pub struct Carrier {
    terms: Terms,
    names: BTreeMap<Place, Name>,
    servers: BTreeMap<SocketAddr, Watched>,
    bucket: Bucket,
    slots: BTreeSet<Slot>,
    next_slot: u64,
    counters: Counters,
    failures_in_a_row: u64,
    last_failure: Option<String>,
    registration: Option<Registration>,
    random: StdRng,
    out: VecDeque<Ask>,
}

struct Name {
    targets: Vec<Target>,
    ask_at: Instant,
}

#[derive(Default)]
struct Watched {
    health: Health,
    ping: Ping,
    last_failure: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ping {
    #[default]
    Off,
    At(Instant),
    Sent {
        until: Instant,
    },
}

impl Carrier {
    #[must_use]
    pub fn new(now: Instant, terms: Terms, seed: u64) -> Carrier {
        let names = terms
            .places
            .iter()
            .filter(|place| matches!(place, Place::Name { .. }));
        let names = names.map(|place| {
            let name = Name {
                targets: Vec::new(),
                ask_at: now,
            };
            (place.clone(), name)
        });
        let mut carrier = Carrier {
            names: names.collect(),
            servers: BTreeMap::new(),
            bucket: Bucket::new(now, terms.calls_per_s),
            slots: BTreeSet::new(),
            next_slot: 0,
            counters: Counters::default(),
            failures_in_a_row: 0,
            last_failure: None,
            registration: None,
            random: StdRng::seed_from_u64(seed),
            out: VecDeque::new(),
            terms,
        };
        carrier.watch_all(now);
        carrier.enrol(now);
        carrier
    }

    /// New terms; calls, counters and the health of servers that stay are kept.
    pub fn reload(&mut self, now: Instant, terms: Terms) {
        let before = std::mem::replace(&mut self.terms, terms);
        if before.calls_per_s != self.terms.calls_per_s {
            self.bucket = Bucket::new(now, self.terms.calls_per_s);
        }
        let mut known = std::mem::take(&mut self.names);
        for place in &self.terms.places {
            if matches!(place, Place::Name { .. }) {
                let name = known.remove(place).unwrap_or(Name {
                    targets: Vec::new(),
                    ask_at: now,
                });
                self.names.insert(place.clone(), name);
            }
        }
        self.watch_all(now);
        self.enrol(now);
        if before.options_every != self.terms.options_every {
            for server in self.servers.keys().copied().collect::<Vec<_>>() {
                self.ping_later(now, server);
            }
        }
    }

    // ── calls

    /// A place for one call and the right to one INVITE, or what is full.
    pub fn take(&mut self, now: Instant) -> Result<Slot, Full> {
        if self.slots.len() >= self.terms.calls_max {
            self.counters.full += 1;
            return Err(Full::Calls);
        }
        self.take_invite(now)?;
        Ok(self.take_anyway())
    }

    /// A place whatever the limits say: for emergency calls.
    pub fn take_anyway(&mut self) -> Slot {
        self.next_slot += 1;
        self.slots.insert(Slot(self.next_slot));
        Slot(self.next_slot)
    }

    /// The right to a further INVITE of a call that has its place.
    pub fn take_invite(&mut self, now: Instant) -> Result<(), Full> {
        if !self.bucket.take(now) {
            self.counters.full += 1;
            return Err(Full::Rate);
        }
        Ok(())
    }

    /// The call is over here. A second time changes nothing.
    pub fn give_back(&mut self, slot: Slot) {
        self.slots.remove(&slot);
    }

    /// Servers in the order one call should try them, and whether each is up. Those that asked to
    /// be left alone are not among them; those that are down come last.
    pub fn order(&mut self, now: Instant) -> Vec<(SocketAddr, bool)> {
        let mut ordered = self.order_anyway();
        ordered.retain(|(address, _)| {
            let watched = self.servers.get(address);
            watched.is_some_and(|watched| !watched.health.rests(now))
        });
        ordered
    }

    /// The same, with those that asked to be left alone.
    pub fn order_anyway(&mut self) -> Vec<(SocketAddr, bool)> {
        let mut listed = Vec::new();
        for place in &self.terms.places {
            match (place, self.names.get(place)) {
                (Place::At(address), _) => listed.push(*address),
                (_, Some(name)) => listed.extend(order(&name.targets, &mut self.random)),
                (_, None) => {}
            }
        }
        let mut seen = BTreeSet::new();
        listed.retain(|address| seen.insert(*address));
        let mut ordered: Vec<_> = listed
            .into_iter()
            .filter_map(|address| {
                let health = &self.servers.get(&address)?.health;
                Some((address, health.is_up()))
            })
            .collect();
        ordered.sort_by_key(|(_, is_up)| !is_up);
        // Where we are not registered calls are refused: worth a try only when nothing else is.
        let registered = self.is_registered();
        for (_, is_up) in &mut ordered {
            *is_up &= registered;
        }
        ordered
    }

    pub fn invited(&mut self) {
        self.counters.invites += 1;
    }

    /// Something sensible came back: a provisional answer, or a refusal that is the customer's.
    pub fn alive(&mut self, server: SocketAddr) -> Option<Turn> {
        self.failures_in_a_row = 0;
        self.servers.get_mut(&server)?.health.good()
    }

    pub fn answered(&mut self, server: SocketAddr) -> Option<Turn> {
        self.counters.answered += 1;
        self.alive(server)
    }

    /// Notes a failure and says what it means for the call.
    pub fn failed(
        &mut self,
        now: Instant,
        server: SocketAddr,
        failure: &Failure,
        words: &str,
    ) -> (Next, Option<Turn>) {
        match (failure.local, failure.status) {
            (true, 408) => self.counters.silent += 1,
            (true, 503) => self.counters.unreachable += 1,
            (_, status) => {
                let class = usize::from(status / 100).clamp(3, 6) - 3;
                self.counters.failed[class] += 1;
            }
        }
        let next = self.terms.failover.next(failure);
        let before = self.failures_in_a_row;
        let turn = match failure.is_miss() {
            true => self.missed(now, server, words, failure.retry_after),
            false => self.alive(server),
        };
        if next != Next::Nothing {
            self.failures_in_a_row = before + 1;
            self.last_failure = Some(words.to_owned());
        }
        (next, turn)
    }

    /// A call went elsewhere from here.
    pub fn failed_over(&mut self) {
        self.counters.failovers += 1;
    }

    fn missed(
        &mut self,
        now: Instant,
        server: SocketAddr,
        words: &str,
        retry_after: Option<Duration>,
    ) -> Option<Turn> {
        let down_after = self.terms.down_after;
        let pinged = self.terms.options_every.is_some();
        self.last_failure = Some(words.to_owned());
        let watched = self.servers.get_mut(&server)?;
        watched.last_failure = Some(words.to_owned());
        if let Some(span) = retry_after {
            // It told when it wants more; that is a word, not a silence.
            watched.health.rest(now, span);
            return None;
        }
        if let (true, Ping::At(at)) = (pinged, watched.ping) {
            watched.ping = Ping::At(at.min(now + DOUBT_EVERY));
        }
        watched.health.missed(down_after)
    }

    // ── names and pings

    /// What a name stands for. A failed look-up leaves the last good answer in force.
    pub fn resolved(&mut self, now: Instant, place: &Place, answer: Result<Answer, String>) {
        let Some(name) = self.names.get_mut(place) else {
            return;
        };
        match answer {
            Ok(answer) if !answer.targets.is_empty() => {
                name.targets = answer.targets;
                name.ask_at = now + answer.ttl.clamp(TTL_MIN, TTL_MAX);
            }
            Ok(_) => name.ask_at = now + RESOLVE_AGAIN,
            Err(why) => {
                name.ask_at = now + RESOLVE_AGAIN;
                self.last_failure = Some(format!("{place}: {why}"));
            }
        }
        self.watch_all(now);
    }

    /// The answer to a ping, or that it failed.
    pub fn pong(
        &mut self,
        now: Instant,
        server: SocketAddr,
        ok: bool,
        status: u16,
    ) -> Option<Turn> {
        let sent = self
            .servers
            .get(&server)
            .is_some_and(|watched| matches!(watched.ping, Ping::Sent { .. }));
        if !sent {
            return None;
        }
        let turn = match ok {
            true => self.alive(server),
            false => self.missed(now, server, &format!("OPTIONS: {status}"), None),
        };
        self.ping_later(now, server);
        turn
    }

    fn ping_later(&mut self, now: Instant, server: SocketAddr) {
        let Some(every) = self.terms.options_every else {
            if let Some(watched) = self.servers.get_mut(&server) {
                watched.ping = Ping::Off;
            }
            return;
        };
        if let Some(watched) = self.servers.get_mut(&server) {
            let pause = if watched.health.is_well() {
                every
            } else {
                every.min(DOUBT_EVERY)
            };
            watched.ping = Ping::At(now + pause);
        }
    }

    /// Watches every server there is now, and forgets those that are no more.
    fn watch_all(&mut self, now: Instant) {
        let fixed = self.terms.places.iter().filter_map(|place| match place {
            Place::At(address) => Some(*address),
            Place::Name { .. } => None,
        });
        let named = self.names.values().flat_map(|name| &name.targets);
        let all: BTreeSet<SocketAddr> = fixed.chain(named.map(|it| it.address)).collect();
        self.servers.retain(|address, _| all.contains(address));
        for address in all {
            if let Entry::Vacant(vacant) = self.servers.entry(address) {
                vacant.insert(Watched::default());
                self.ping_later(now, address);
            }
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) -> Vec<(SocketAddr, Turn)> {
        for (place, name) in &mut self.names {
            if name.ask_at <= now {
                // Asked again by itself should no answer come.
                name.ask_at = now + RESOLVE_AGAIN;
                self.out.push_back(Ask::Resolve(place.clone()));
            }
        }
        let mut turns = Vec::new();
        for server in self.servers.keys().copied().collect::<Vec<_>>() {
            let Some(watched) = self.servers.get_mut(&server) else {
                continue;
            };
            match watched.ping {
                Ping::At(at) if at <= now => {
                    let until = now + PING_PATIENCE;
                    watched.ping = Ping::Sent { until };
                    self.out.push_back(Ask::Ping(server));
                }
                Ping::Sent { until } if until <= now => {
                    let turn = self.missed(now, server, "OPTIONS: no answer", None);
                    turns.extend(turn.map(|turn| (server, turn)));
                    self.ping_later(now, server);
                }
                Ping::Off | Ping::At(_) | Ping::Sent { .. } => {}
            }
        }
        turns
    }

    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let names = self.names.values().map(|name| (name.ask_at, "look-up"));
        let pings = self
            .servers
            .values()
            .filter_map(|watched| match watched.ping {
                Ping::Off => None,
                Ping::At(at) => Some((at, "ping")),
                Ping::Sent { until } => Some((until, "pong")),
            });
        let registration = self
            .registration
            .as_ref()
            .and_then(Registration::poll_timeout);
        names
            .chain(pings)
            .chain(registration)
            .min_by_key(|(at, _)| *at)
    }

    pub fn poll_output(&mut self) -> Option<Ask> {
        self.out.pop_front()
    }

    // ── for people

    /// Every server there is now.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.servers.keys().copied()
    }

    #[must_use]
    pub fn servers(&self, now: Instant) -> Vec<Server> {
        let server = |(address, watched): (&SocketAddr, &Watched)| Server {
            address: *address,
            is_up: watched.health.is_up(),
            rests: watched.health.rests(now),
            last_failure: watched.last_failure.clone(),
        };
        self.servers.iter().map(server).collect()
    }

    /// At least one server takes calls, and knows us.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.is_registered() && self.servers.values().any(|watched| watched.health.is_up())
    }

    #[must_use]
    pub fn calls(&self) -> usize {
        self.slots.len()
    }

    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Calls in a row that failed by the carrier's fault.
    #[must_use]
    pub fn failures_in_a_row(&self) -> u64 {
        self.failures_in_a_row
    }

    #[must_use]
    pub fn last_failure(&self) -> Option<&str> {
        self.last_failure.as_deref()
    }

    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }
}

#[cfg(test)]
#[path = "carrier_tests.rs"]
mod tests;
