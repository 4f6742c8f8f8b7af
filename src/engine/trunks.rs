//! The carriers of a running switch: their names are looked up, their servers pinged and, where
//! they want it, registered at; and people are told how they are.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::resolved::Trunk;
use super::switch::{Output, Switch};
use super::trunk_register::stays;
use crate::id::TrunkId;
use crate::now::Now;
use crate::sip::guard::AddressBlock;
use crate::sip::{Endpoint, PingId, RedirectContact, RegisterId, SessionId};
use crate::trunk::{Answer, Ask, Carrier, Place, Terms, Turn};

/// Addresses out of `allow_from` that are remembered.
const ADMITTED_MAX: usize = 65_536;

pub(super) struct Trunks {
    pub carriers: BTreeMap<TrunkId, Carrier>,
    /// Addresses out of `allow_from` that have been heard of.
    admitted: HashSet<IpAddr>,
    pings: HashMap<PingId, (TrunkId, SocketAddr)>,
    /// What a 3xx named, until the failure that follows it.
    pub redirected: HashMap<SessionId, Vec<RedirectContact>>,
    pub registers: HashMap<RegisterId, (TrunkId, SocketAddr)>,
    /// When something last happened; what a snapshot calls now.
    seen: Instant,
}

impl Trunks {
    pub fn new(now: Now, trunks: &BTreeMap<TrunkId, Trunk>, random: &mut StdRng) -> Trunks {
        let carriers = trunks.iter().map(|(id, trunk)| {
            let carrier = Carrier::new(now.instant, trunk.terms.clone(), random.random());
            (id.clone(), carrier)
        });
        Trunks {
            carriers: carriers.collect(),
            admitted: HashSet::new(),
            pings: HashMap::new(),
            redirected: HashMap::new(),
            registers: HashMap::new(),
            seen: now.instant,
        }
    }

    /// Every address a trunk has been told or heard to have.
    fn sources(&self) -> HashSet<IpAddr> {
        let servers = self.carriers.values().flat_map(Carrier::addresses);
        let servers = servers.map(|server| server.ip());
        servers.chain(self.admitted.iter().copied()).collect()
    }

    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let carriers = self.carriers.values().filter_map(Carrier::poll_timeout);
        carriers.min_by_key(|(at, _)| *at)
    }
}

/// A trunk's fixed servers may call us; its other addresses see [`Switch::admit_sender`].
pub(super) fn permit(sip: &mut Endpoint, trunk: &Trunk) {
    for place in &trunk.terms.places {
        if let Place::At(server) = place {
            sip.permit_source(server.ip(), false);
        }
    }
}

impl Switch {
    /// A datagram or stream from `address`: if a trunk's `allow_from` covers it, it is that
    /// trunk's from now on.
    pub(super) fn admit_sender(&mut self, address: IpAddr) {
        let full = self.trunks.admitted.len() >= ADMITTED_MAX;
        if full || self.trunks.admitted.contains(&address) {
            return;
        }
        let mut blocks = self.config.trunks.values().flat_map(|it| &it.allow_from);
        if blocks.any(|block| block.contains(address)) {
            self.trunks.admitted.insert(address);
            self.sip.permit_source(address, false);
        }
    }

    pub(super) fn trunks_timeout(&mut self, now: Now) {
        let mut turned: Vec<(TrunkId, SocketAddr, Turn)> = Vec::new();
        for (id, carrier) in &mut self.trunks.carriers {
            for (server, turn) in carrier.handle_timeout(now.instant) {
                turned.push((id.clone(), server, turn));
            }
        }
        for (trunk, server, turn) in turned {
            self.server_turned(&trunk, server, Some(turn));
        }
        self.registrations_timeout(now);
        self.follow_carriers(now);
    }

    /// Carries out what carriers ask for.
    pub(super) fn follow_carriers(&mut self, now: Now) {
        self.trunks.seen = now.instant;
        for id in self.config.trunks.keys().cloned().collect::<Vec<_>>() {
            while let Some(ask) = self.asked_by(&id) {
                match ask {
                    Ask::Resolve(place) => self.emit(Output::Resolve {
                        trunk: id.clone(),
                        place,
                        transport: self.trunk_transport(&id),
                    }),
                    Ask::Ping(server) => self.ping_server(now, &id, server),
                    Ask::Register(due) => self.register_at(now, &id, due),
                }
            }
        }
    }

    fn asked_by(&mut self, id: &TrunkId) -> Option<Ask> {
        self.trunks.carriers.get_mut(id)?.poll_output()
    }

    fn ping_server(&mut self, now: Now, id: &TrunkId, server: SocketAddr) {
        let flow = self.trunk_flow(id, server);
        let Some(trunk) = self.config.trunks.get(id) else {
            return;
        };
        let ping = self
            .sip
            .options(now, &format!("sip:{}", trunk.domain), &flow);
        self.trunks.pings.insert(ping, (id.clone(), server));
    }

    pub(super) fn pong(&mut self, now: Now, ping: PingId, ok: bool, status: u16) {
        let Some((id, server)) = self.trunks.pings.remove(&ping) else {
            return;
        };
        let carrier = self.trunks.carriers.get_mut(&id);
        let turn = carrier.and_then(|carrier| carrier.pong(now.instant, server, ok, status));
        self.server_turned(&id, server, turn);
    }

    /// What DNS says. Those addresses are the trunk's from now on, and may call as it.
    pub(super) fn place_resolved(
        &mut self,
        now: Now,
        id: &TrunkId,
        place: &Place,
        answer: Result<Answer, String>,
    ) {
        if let Err(why) = &answer {
            tracing::warn!(trunk = %id, %place, why, "look-up failed");
        }
        let before = self.trunks.sources();
        if let Some(carrier) = self.trunks.carriers.get_mut(id) {
            carrier.resolved(now.instant, place, answer);
        }
        self.permit_anew(&before);
        self.follow_carriers(now);
    }

    /// New terms, while calls go on. A trunk that is no more takes no further call, and is kept
    /// until the calls on it have ended.
    pub(super) fn reload_trunks(&mut self, now: Now, new: &BTreeMap<TrunkId, Trunk>) {
        self.leave_registrars(now, |trunk| stays(trunk, new.get(&trunk.id)));
        let before = self.trunks.sources();
        let blocks = new.values().flat_map(|trunk| &trunk.allow_from);
        let blocks: Vec<_> = blocks.copied().collect();
        let covered = |ip: &IpAddr| blocks.iter().any(|block| block.contains(*ip));
        self.trunks.admitted.retain(covered);
        self.trunks.carriers.retain(|id, carrier| {
            if !new.contains_key(id) {
                let places = vec![];
                let terms = Terms {
                    places,
                    register_s: None,
                    ..carrier.terms().clone()
                };
                carrier.reload(now.instant, terms);
            }
            new.contains_key(id) || carrier.calls() > 0
        });
        for (id, trunk) in new {
            match self.trunks.carriers.get_mut(id) {
                Some(carrier) => carrier.reload(now.instant, trunk.terms.clone()),
                None => {
                    let seed = self.rng.random();
                    let carrier = Carrier::new(now.instant, trunk.terms.clone(), seed);
                    self.trunks.carriers.insert(id.clone(), carrier);
                }
            }
        }
        self.permit_anew(&before);
    }

    /// Who may send without a challenge: the trunks' addresses, no more and no fewer.
    fn permit_anew(&mut self, before: &HashSet<IpAddr>) {
        let now = self.trunks.sources();
        for gone in before.difference(&now) {
            self.sip.forget_source(*gone);
        }
        for come in now.difference(before) {
            self.sip.permit_source(*come, false);
        }
        if *before != now {
            self.trust_in_gate();
        }
    }

    /// The gate in front of the sockets lets trunks and permitted callers go first, wherever DNS
    /// says they are now.
    pub(super) fn trust_in_gate(&self) {
        let Some(flood) = &self.flood else {
            return;
        };
        let servers = self.trunks.carriers.values().flat_map(Carrier::addresses);
        let servers = servers.map(|server| AddressBlock::one(server.ip()));
        let others = self.config.trunks.values().flat_map(|it| &it.allow_from);
        let others = others.map(|block| AddressBlock::new(block.address, block.bits));
        let permitted = self.config.permit.iter().copied();
        flood.set_trusted(servers.chain(others).chain(permitted).collect());
    }

    /// Whose call comes from this address. Two carriers may share one; then the port tells.
    pub(super) fn trunk_of(&self, remote: SocketAddr) -> Option<&TrunkId> {
        let ip = remote.ip().to_canonical();
        let carriers = self.trunks.carriers.iter();
        let servers =
            carriers.flat_map(|(id, carrier)| carrier.addresses().map(move |at| (id, at)));
        let here = servers.filter(|(_, server)| server.ip().to_canonical() == ip);
        let best = here.max_by_key(|(_, server)| server.port() == remote.port());
        best.map(|(id, _)| id).or_else(|| {
            let mut trunks = self.config.trunks.values();
            let trunk = trunks.find(|it| it.allow_from.iter().any(|block| block.contains(ip)));
            trunk.map(|trunk| &trunk.id)
        })
    }

    /// Every trunk with its servers, calls, limits and counters; never a number or a name.
    pub fn trunk_snapshot(&self) -> Value {
        let seen = self.trunks.seen;
        let carriers = self.trunks.carriers.iter();
        carriers
            .filter(|(id, _)| self.config.trunks.contains_key(*id))
            .map(|(id, carrier)| {
                let counters = carrier.counters();
                let [redirected, f4xx, f5xx, f6xx] = counters.failed;
                let servers: Vec<Value> = carrier
                    .servers(seen)
                    .into_iter()
                    .map(|server| {
                        let state = match (server.is_up, server.rests) {
                            (_, true) => "resting",
                            (true, false) => "up",
                            (false, false) => "down",
                        };
                        json!({
                            "address": server.address.to_string(),
                            "state": state,
                            "last_failure": server.last_failure,
                        })
                    })
                    .collect();
                let mut told = json!({
                    "id": id.as_str(),
                    "state": if carrier.is_up() { "up" } else { "down" },
                    "transport": self.trunk_transport(id).name(),
                    "servers": servers,
                    "calls": carrier.calls(),
                    "calls_max": carrier.terms().calls_max,
                    "calls_per_s": carrier.terms().calls_per_s,
                    "failures_in_a_row": carrier.failures_in_a_row(),
                    "last_failure": carrier.last_failure(),
                    "counters": {
                        "invites": counters.invites,
                        "answered": counters.answered,
                        "failed_3xx": redirected,
                        "failed_4xx": f4xx,
                        "failed_5xx": f5xx,
                        "failed_6xx": f6xx,
                        "silent": counters.silent,
                        "unreachable": counters.unreachable,
                        "failovers": counters.failovers,
                        "full": counters.full,
                    },
                });
                if let Some(registration) = carrier.registration() {
                    told["registered"] = registration.is_registered().into();
                    told["registration"] = json!({
                        "expires_in_s": registration.expires_in_s(seen),
                        "last_failure": registration.last_failure(),
                    });
                    told["counters"]["registrations"] = registration.successes().into();
                }
                told
            })
            .collect()
    }
}
