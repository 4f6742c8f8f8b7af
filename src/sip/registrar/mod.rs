//! Registrar (RFC 3261 §10.3, Path RFC 3327, outbound RFC 5626, GRUU RFC 5627): which phone is
//! reachable where, and until when. Times are seconds, limits have names, and a binding takes
//! less than 2 KiB.

mod binding;
mod reach;
mod saved;
mod wish;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::event::{Flow, Transport};
use super::message::{Request, Uri};
use super::timer::{Deadline, Deadlines};
pub use reach::Reach;
pub use saved::SavedBinding;

use binding::Binding;
use wish::Asked;

/// Seconds a binding may live, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistrarLimits {
    pub expires_s_min: u32,
    pub expires_s_default: u32,
    pub expires_s_max: u32,
    /// A further contact takes the place of the one refreshed longest ago.
    pub contacts_per_aor_max: usize,
    pub aors_max: usize,
    pub bindings_max: usize,
}

impl Default for RegistrarLimits {
    fn default() -> RegistrarLimits {
        RegistrarLimits {
            expires_s_min: 60,
            expires_s_default: 3_600,
            expires_s_max: 7_200,
            contacts_per_aor_max: 10,
            aors_max: 100_000,
            bindings_max: 200_000,
        }
    }
}

/// A binding that came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Added {
        aor: String,
        contact: String,
        expires_s: u32,
        flow: Flow,
    },
    Gone {
        aor: String,
        contact: String,
    },
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// 200 with these Contact values.
    Bound {
        contacts: Vec<String>,
        changes: Vec<Change>,
        /// RFC 5626 §6: the phone shall know that its flow is kept.
        outbound: bool,
    },
    /// 423.
    TooBrief {
        min_expires_s: u32,
    },
    Refused(u16, &'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct AorId(u64);

/// A connection, or a peer of a UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Way(u64, Option<SocketAddr>);

impl Way {
    fn of(flow: &Flow) -> Way {
        let udp = flow.transport == Transport::Udp;
        Way(flow.id, udp.then_some(flow.remote))
    }
}

/// One binding, for people.
#[derive(Clone, Copy, Debug)]
pub struct Registered<'a> {
    pub aor: &'a str,
    pub contact: &'a str,
    pub flow: Flow,
    pub expires_at: Instant,
}

/// Whether a written domain means this host: by its name, or as `*.` and a name above it.
pub(in crate::sip) fn covers(domain: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    match domain.strip_prefix("*.") {
        None => domain.eq_ignore_ascii_case(host),
        Some(above) => {
            let at = host.len().checked_sub(above.len());
            let split = at.and_then(|at| host.split_at_checked(at));
            split.is_some_and(|(below, name)| {
                name.eq_ignore_ascii_case(above) && below.len() > 1 && below.ends_with('.')
            })
        }
    }
}

struct Aor {
    key: Box<str>,
    /// As it was first registered.
    name: Box<str>,
    list: Box<[Binding]>,
}

pub(super) struct Registrar {
    limits: RegistrarLimits,
    /// The one host addresses of record stand at; without one every host is ours.
    domain: Option<String>,
    /// Further ones; `*.` stands for every host below.
    domains: Vec<String>,
    ids: HashMap<Box<str>, AorId>,
    aors: HashMap<AorId, Aor>,
    on: HashMap<Way, Vec<AorId>>,
    deadlines: Deadlines<AorId>,
    bindings: usize,
    next: u64,
}

impl Registrar {
    pub fn new(limits: RegistrarLimits, domain: Option<String>) -> Registrar {
        Registrar {
            limits,
            domain,
            domains: Vec::new(),
            ids: HashMap::new(),
            aors: HashMap::new(),
            on: HashMap::new(),
            deadlines: Deadlines::new(),
            bindings: 0,
            next: 0,
        }
    }

    /// The hosts that are ours from now on; what is bound stays.
    pub fn set_domains(&mut self, domain: Option<String>, domains: Vec<String>) {
        self.domain = domain;
        self.domains = domains;
    }

    pub fn len(&self) -> usize {
        self.bindings
    }

    /// Every place a phone can be reached at, with its address of record.
    pub fn all(&self) -> impl Iterator<Item = Registered<'_>> {
        self.aors.values().flat_map(|aor| {
            aor.list.iter().map(|binding| Registered {
                aor: &aor.name,
                contact: &binding.contact,
                flow: binding.flow,
                expires_at: binding.expires_at,
            })
        })
    }

    /// RFC 3261 10.3 step 5: the one key of an address of record, or `None` when it is not ours.
    fn key(&self, uri: &Uri) -> Option<Box<str>> {
        let mut names = self.domain.iter().chain(&self.domains).peekable();
        let ours = names.peek().is_none()
            || uri.host_ip().is_some()
            || names.any(|domain| covers(domain, &uri.host));
        let aor = uri.aor();
        let user = aor.rsplit_once('@').map_or("", |(user, _)| user);
        ours.then(|| user.into())
    }

    fn id(&self, uri: &Uri) -> Option<AorId> {
        self.ids.get(&self.key(uri)?).copied()
    }

    fn list(&self, id: Option<AorId>) -> &[Binding] {
        id.and_then(|id| self.aors.get(&id))
            .map_or(&[], |aor| &aor.list)
    }

    /// Where requests for this URI can go now, best first. A GRUU names one device.
    pub fn reach(&self, uri: &Uri) -> Vec<Reach> {
        let list = self.list(self.id(uri));
        reach::ordered(list, uri.param("gr"))
    }

    /// Takes a REGISTER that came over `flow` and is for `aor`.
    pub fn register(&mut self, now: Instant, aor: &Uri, request: &Request, flow: Flow) -> Outcome {
        let Some(key) = self.key(aor) else {
            return Outcome::Refused(404, "Not Found");
        };
        let asked = match Asked::read(request, &self.limits) {
            Ok(asked) => asked,
            Err(refusal) => return refusal,
        };
        let id = self.ids.get(&key).copied();
        let newer = |one: &Binding| *one.call_id != asked.call_id || one.cseq < asked.cseq;
        let name = id
            .and_then(|id| self.aors.get(&id))
            .map_or_else(|| aor.aor(), |known| known.name.to_string());
        let mut list: Vec<Binding> = self.list(id).to_vec();
        let mut changes = Vec::new();
        if asked.everything_goes {
            if !list.iter().all(newer) {
                return Outcome::Refused(500, "Old CSeq");
            }
            changes.extend(list.drain(..).map(|one| one.gone(&name)));
        }
        for wish in &asked.wishes {
            let place = list.iter().position(|one| one.is_same(wish));
            if place.is_some_and(|at| !newer(&list[at])) {
                // RFC 3261 10.3 step 7: out of order, so nothing of this request is done.
                return Outcome::Refused(500, "Old CSeq");
            }
            let known = place.map(|at| list.remove(at));
            if wish.expires_s == 0 {
                changes.extend(known.map(|one| one.gone(&name)));
                continue;
            }
            changes.push(Change::Added {
                aor: name.clone(),
                contact: wish.contact.uri.clone(),
                expires_s: wish.expires_s,
                flow,
            });
            let expires_at = now + Duration::from_secs(u64::from(wish.expires_s));
            list.push(Binding::new(wish, &asked, flow, expires_at));
        }
        // The list is in the order of refreshing.
        let surplus = list.len().saturating_sub(self.limits.contacts_per_aor_max);
        changes.extend(list.drain(..surplus).map(|one| one.gone(&name)));
        if self.is_full(id, list.len()) {
            return Outcome::Refused(503, "Too Many Registrations");
        }
        let gruu = asked.gruu.then_some(aor);
        let contacts = list.iter().map(|one| one.shown(now, gruu)).collect();
        self.store(key, &name, list);
        Outcome::Bound {
            contacts,
            changes,
            outbound: asked.outbound,
        }
    }

    fn is_full(&self, id: Option<AorId>, wanted: usize) -> bool {
        let before = self.list(id).len();
        let new = id.is_none() && wanted > 0;
        (new && self.aors.len() >= self.limits.aors_max)
            || (wanted > before && self.bindings - before + wanted > self.limits.bindings_max)
    }

    /// A closed connection takes its bindings with it (RFC 5626 §5.3).
    pub fn handle_flow_closed(&mut self, flow_id: u64) -> Vec<Change> {
        let way = Way(flow_id, None);
        self.keep_on(way, |one| Way::of(&one.flow) != way)
    }

    /// A peer of the UDP socket is not there: its outbound flows have failed (RFC 5626 §6). A
    /// phone that registers the old way is left until its time is over; it may only be starting.
    pub fn handle_unreachable(&mut self, flow_id: u64, remote: SocketAddr) -> Vec<Change> {
        let way = Way(flow_id, Some(remote));
        self.keep_on(way, |one| one.reg_id.is_none() || Way::of(&one.flow) != way)
    }

    /// A user who is no more is reachable nowhere.
    pub fn remove(&mut self, user: &str) -> Vec<Change> {
        match self.ids.get(user).copied() {
            Some(id) => self.keep(id, |_| false),
            None => Vec::new(),
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        while let Some(id) = self.deadlines.due(now) {
            changes.extend(self.keep(id, |one| one.expires_at > now));
        }
        changes
    }

    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.deadlines.first()
    }

    fn keep_on(&mut self, way: Way, keep: impl Fn(&Binding) -> bool) -> Vec<Change> {
        let ids = self.on.get(&way).cloned().unwrap_or_default();
        ids.into_iter()
            .flat_map(|id| self.keep(id, &keep))
            .collect()
    }

    fn keep(&mut self, id: AorId, keep: impl Fn(&Binding) -> bool) -> Vec<Change> {
        let Some(aor) = self.aors.get(&id) else {
            self.deadlines.set(id, None);
            return Vec::new();
        };
        let (key, name) = (aor.key.clone(), aor.name.to_string());
        let (kept, lost): (Vec<Binding>, Vec<Binding>) =
            aor.list.iter().cloned().partition(|one| keep(one));
        self.store(key, &name, kept);
        lost.iter().map(|one| one.gone(&name)).collect()
    }

    fn store(&mut self, key: Box<str>, name: &str, list: Vec<Binding>) {
        let known = self.ids.get(&key).copied();
        if let Some(id) = known {
            self.take_off(id);
        }
        let first = list.iter().map(|one| one.expires_at).min();
        let Some(first) = first else {
            self.ids.remove(&key);
            return;
        };
        let id = known.unwrap_or_else(|| {
            self.next += 1;
            AorId(self.next)
        });
        for one in &list {
            let on = self.on.entry(Way::of(&one.flow)).or_default();
            if !on.contains(&id) {
                on.push(id);
            }
        }
        self.bindings += list.len();
        self.deadlines.set(id, Some((first, "registration")));
        self.ids.insert(key.clone(), id);
        let (name, list) = (name.into(), list.into_boxed_slice());
        self.aors.insert(id, Aor { key, name, list });
    }

    fn take_off(&mut self, id: AorId) {
        let Some(aor) = self.aors.remove(&id) else {
            return;
        };
        self.deadlines.set(id, None);
        self.bindings -= aor.list.len();
        for way in aor.list.iter().map(|one| Way::of(&one.flow)) {
            if let Some(on) = self.on.get_mut(&way) {
                on.retain(|other| *other != id);
                if on.is_empty() {
                    self.on.remove(&way);
                }
            }
        }
    }
}
