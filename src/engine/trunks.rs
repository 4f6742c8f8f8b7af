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
use crate::id::TrunkId;
use crate::now::Now;
use crate::sip::{Endpoint, PingId};
use crate::trunk::{Answer, Ask, Carrier, Place, Turn};

/// Addresses out of `allow_from` that are remembered.
const ADMITTED_MAX: usize = 65_536;

pub(super) struct Trunks {
    pub carriers: BTreeMap<TrunkId, Carrier>,
    /// Addresses out of `allow_from` that have been heard of.
    admitted: HashSet<IpAddr>,
    pings: HashMap<PingId, (TrunkId, SocketAddr)>,
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
            seen: now.instant,
        }
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
                    }),
                    Ask::Ping(server) => self.ping_server(now, &id, server),
                }
            }
        }
    }

    fn asked_by(&mut self, id: &TrunkId) -> Option<Ask> {
        self.trunks.carriers.get_mut(id)?.poll_output()
    }

    fn ping_server(&mut self, now: Now, id: &TrunkId, server: SocketAddr) {
        let Some(trunk) = self.config.trunks.get(id) else {
            return;
        };
        let flow = trunk.flow(&self.config.trunk_flow, server);
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
        match &answer {
            Ok(answer) => {
                for target in &answer.targets {
                    self.sip.permit_source(target.address.ip(), false);
                }
            }
            Err(why) => tracing::warn!(trunk = %id, %place, why, "look-up failed"),
        }
        if let Some(carrier) = self.trunks.carriers.get_mut(id) {
            carrier.resolved(now.instant, place, answer);
        }
        self.follow_carriers(now);
    }

    /// Every trunk with its servers, calls, limits and counters; never a number or a name.
    pub fn trunk_snapshot(&self) -> Value {
        let seen = self.trunks.seen;
        let carriers = self.trunks.carriers.iter();
        carriers
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
                json!({
                    "id": id.as_str(),
                    "state": if carrier.is_up() { "up" } else { "down" },
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
                })
            })
            .collect()
    }
}
