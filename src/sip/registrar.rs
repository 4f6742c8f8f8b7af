//! Registrar (RFC 3261 §10.3): which phone is reachable where, and until when.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::event::Flow;
use super::message::{NameAddr, Request, Uri};
use super::timer::{Deadline, Deadlines};

/// Seconds a binding may live, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistrarLimits {
    pub expires_s_min: u32,
    pub expires_s_default: u32,
    pub expires_s_max: u32,
    pub contacts_per_aor_max: usize,
    pub aors_max: usize,
}

impl Default for RegistrarLimits {
    fn default() -> RegistrarLimits {
        RegistrarLimits {
            expires_s_min: 60,
            expires_s_default: 3_600,
            expires_s_max: 7_200,
            contacts_per_aor_max: 10,
            aors_max: 10_000,
        }
    }
}

/// One contact of an address of record. Calls go to `flow`, whatever address the contact names:
/// that is where the phone was heard from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub contact: NameAddr,
    pub flow: Flow,
    pub expires_at: Instant,
    call_id: String,
    cseq: u32,
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
    },
    /// 423.
    TooBrief {
        min_expires_s: u32,
    },
    Refused(u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct AorId(u64);

pub(super) struct Registrar {
    limits: RegistrarLimits,
    bindings: HashMap<String, (AorId, Vec<Binding>)>,
    names: HashMap<AorId, String>,
    deadlines: Deadlines<AorId>,
    next: u64,
}

/// One contact of a REGISTER.
struct Wish {
    contact: NameAddr,
    uri: Uri,
    expires_s: u32,
}

impl Registrar {
    pub fn new(limits: RegistrarLimits) -> Registrar {
        Registrar {
            limits,
            bindings: HashMap::new(),
            names: HashMap::new(),
            deadlines: Deadlines::new(),
            next: 0,
        }
    }

    pub fn contacts(&self, aor: &str) -> Vec<Binding> {
        self.bindings
            .get(aor)
            .map(|(_, list)| list.clone())
            .unwrap_or_default()
    }

    /// Every binding with its address of record.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Binding)> {
        self.bindings
            .iter()
            .flat_map(|(aor, (_, list))| list.iter().map(move |one| (aor.as_str(), one)))
    }

    pub fn len(&self) -> usize {
        self.bindings.values().map(|(_, list)| list.len()).sum()
    }

    pub fn register(&mut self, now: Instant, aor: &str, request: &Request, flow: Flow) -> Outcome {
        let values = request.headers.items("Contact");
        let (Some(call_id), Some((cseq, _))) = (request.headers.call_id(), request.headers.cseq())
        else {
            return Outcome::Refused(400);
        };
        let newer = |one: &Binding| one.call_id != call_id || one.cseq < cseq;
        if values.iter().any(|value| value == "*") {
            // RFC 3261 10.3 step 6: alone, and only to remove.
            if values.len() != 1 || request.headers.seconds("Expires") != Some(0) {
                return Outcome::Refused(400);
            }
            if !self.contacts(aor).iter().all(newer) {
                return Outcome::Refused(500);
            }
            let changes = self.keep(aor, |_| false);
            return Outcome::Bound {
                contacts: Vec::new(),
                changes,
            };
        }
        let wishes = match self.wishes(request, &values) {
            Ok(wishes) => wishes,
            Err(refusal) => return refusal,
        };
        let mut list = self.contacts(aor);
        let mut changes = Vec::new();
        for wish in wishes {
            let place = list.iter().position(|one| is_same(&one.contact, &wish));
            if place.is_some_and(|at| !newer(&list[at])) {
                // RFC 3261 10.3 step 7: out of order, so nothing of this request is done.
                return Outcome::Refused(500);
            }
            let known = place.map(|at| list.remove(at));
            if wish.expires_s == 0 {
                changes.extend(known.map(|one| gone(aor, &one)));
                continue;
            }
            changes.push(Change::Added {
                aor: aor.to_owned(),
                contact: wish.contact.uri.clone(),
                expires_s: wish.expires_s,
                flow,
            });
            let expires_at = now + Duration::from_secs(u64::from(wish.expires_s));
            let call_id = call_id.clone();
            list.push(Binding {
                contact: wish.contact,
                flow,
                expires_at,
                call_id,
                cseq,
            });
        }
        let full = list.len() > self.limits.contacts_per_aor_max
            || (!self.bindings.contains_key(aor) && self.bindings.len() >= self.limits.aors_max);
        if full {
            return Outcome::Refused(403);
        }
        let contacts = list.iter().map(|one| contact_value(now, one)).collect();
        self.store(aor, list);
        Outcome::Bound { contacts, changes }
    }

    fn wishes(&self, request: &Request, values: &[String]) -> Result<Vec<Wish>, Outcome> {
        let overall = request.headers.seconds("Expires");
        let mut wishes = Vec::new();
        for value in values {
            let mut contact = NameAddr::parse(value).ok_or(Outcome::Refused(400))?;
            let uri = Uri::parse(&contact.uri).map_err(|_| Outcome::Refused(400))?;
            let own = contact
                .param("expires")
                .and_then(|text| text.parse::<u32>().ok());
            let asked = own.or(overall).unwrap_or(self.limits.expires_s_default);
            if asked != 0 && asked < self.limits.expires_s_min {
                return Err(Outcome::TooBrief {
                    min_expires_s: self.limits.expires_s_min,
                });
            }
            contact
                .params
                .retain(|(name, _)| !name.eq_ignore_ascii_case("expires"));
            wishes.push(Wish {
                contact,
                uri,
                expires_s: asked.min(self.limits.expires_s_max),
            });
        }
        Ok(wishes)
    }

    /// A closed connection takes its bindings with it (RFC 5626 §5.3).
    pub fn handle_flow_closed(&mut self, flow_id: u64) -> Vec<Change> {
        let on_flow = |list: &[Binding]| list.iter().any(|one| one.flow.id == flow_id);
        let mut aors: Vec<String> = self
            .bindings
            .iter()
            .filter(|(_, (_, list))| on_flow(list))
            .map(|(aor, _)| aor.clone())
            .collect();
        aors.sort_unstable();
        aors.iter()
            .flat_map(|aor| self.keep(aor, |one| one.flow.id != flow_id))
            .collect()
    }

    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        while let Some(id) = self.deadlines.due(now) {
            match self.names.get(&id).cloned() {
                Some(aor) => changes.extend(self.keep(&aor, |one| one.expires_at > now)),
                None => self.deadlines.set(id, None),
            }
        }
        changes
    }

    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.deadlines.first()
    }

    fn keep(&mut self, aor: &str, keep: impl Fn(&Binding) -> bool) -> Vec<Change> {
        let (kept, lost): (Vec<Binding>, Vec<Binding>) =
            self.contacts(aor).into_iter().partition(|one| keep(one));
        self.store(aor, kept);
        lost.iter().map(|one| gone(aor, one)).collect()
    }

    fn store(&mut self, aor: &str, list: Vec<Binding>) {
        let first = list.iter().map(|one| one.expires_at).min();
        let Some(first) = first else {
            if let Some((id, _)) = self.bindings.remove(aor) {
                self.names.remove(&id);
                self.deadlines.set(id, None);
            }
            return;
        };
        let id = match self.bindings.get(aor) {
            Some((id, _)) => *id,
            None => {
                self.next += 1;
                AorId(self.next)
            }
        };
        self.names.insert(id, aor.to_owned());
        self.deadlines.set(id, Some((first, "registration")));
        self.bindings.insert(aor.to_owned(), (id, list));
    }
}

fn gone(aor: &str, binding: &Binding) -> Change {
    Change::Gone {
        aor: aor.to_owned(),
        contact: binding.contact.uri.clone(),
    }
}

/// Equal URIs, or the same instance and registration (RFC 5626 §6).
fn is_same(known: &NameAddr, wish: &Wish) -> bool {
    let instance = |one: &NameAddr| {
        let id = one.param("+sip.instance").map(str::to_owned);
        id.zip(one.param("reg-id").map(str::to_owned))
    };
    let same_uri = Uri::parse(&known.uri).is_ok_and(|uri| uri.is_same(&wish.uri));
    same_uri || (instance(known).is_some() && instance(known) == instance(&wish.contact))
}

fn contact_value(now: Instant, binding: &Binding) -> String {
    let left_s = binding.expires_at.saturating_duration_since(now).as_secs();
    format!("{};expires={left_s}", binding.contact)
}
