//! Bindings as text, so that a restart loses none: one line each, fields parted by tabs.
//! Connections die with the process, so only phones over UDP are kept.

use std::time::Duration;

use super::super::event::{Flow, Transport};
use super::super::message::{NameAddr, Uri, split_commas};
use super::binding::Binding;
use super::wish::permille;
use super::{Aor, Registrar};
use crate::now::{Now, UtcMs};

/// One binding as it outlives the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedBinding {
    /// `user@host`.
    pub aor: String,
    pub contact: String,
    pub flow: Flow,
    pub expires_utc: UtcMs,
    pub call_id: String,
    pub cseq: u32,
    pub direct: bool,
    pub path: Vec<String>,
}

impl SavedBinding {
    #[must_use]
    pub fn to_text(&self) -> String {
        let flow = &self.flow;
        let fields = [
            self.aor.clone(),
            self.contact.clone(),
            format!(
                "{} {} {} {}",
                flow.transport.name(),
                flow.id,
                flow.local,
                flow.remote
            ),
            self.expires_utc.0.to_string(),
            self.call_id.clone(),
            self.cseq.to_string(),
            u8::from(self.direct).to_string(),
            self.path.join(", "),
        ];
        fields
            .map(|field| field.replace(['\t', '\n', '\r'], " "))
            .join("\t")
    }

    #[must_use]
    pub fn from_text(line: &str) -> Option<SavedBinding> {
        let mut fields = line.split('\t');
        let mut next = || fields.next();
        let saved = SavedBinding {
            aor: next()?.to_owned(),
            contact: next()?.to_owned(),
            flow: flow(next()?)?,
            expires_utc: UtcMs(next()?.parse().ok()?),
            call_id: next()?.to_owned(),
            cseq: next()?.parse().ok()?,
            direct: next()? == "1",
            path: split_commas(next()?),
        };
        next().is_none().then_some(saved)
    }
}

fn flow(text: &str) -> Option<Flow> {
    let mut words = text.split(' ');
    Some(Flow {
        transport: Transport::parse(words.next()?)?,
        id: words.next()?.parse().ok()?,
        local: words.next()?.parse().ok()?,
        remote: words.next()?.parse().ok()?,
    })
}

impl Registrar {
    pub fn saved(&self, now: Now) -> Vec<SavedBinding> {
        let mut all: Vec<SavedBinding> =
            self.aors.values().flat_map(|aor| aor.saved(now)).collect();
        all.sort_by(|a, b| (&a.aor, a.expires_utc).cmp(&(&b.aor, b.expires_utc)));
        all
    }

    /// The same of one user.
    pub fn saved_of(&self, now: Now, user: &str) -> Vec<SavedBinding> {
        let aor = self.ids.get(user).and_then(|id| self.aors.get(id));
        aor.map(|aor| aor.saved(now)).unwrap_or_default()
    }

    /// Takes up what an earlier process saved; what has run out or cannot be read stays away.
    /// How many came back.
    pub fn restore(&mut self, now: Now, saved: Vec<SavedBinding>) -> usize {
        let before = self.bindings;
        for one in saved {
            let Ok(uri) = Uri::parse(&format!("sip:{}", one.aor)) else {
                continue;
            };
            let Some((key, binding)) = self.key(&uri).zip(taken_up(now, &one)) else {
                continue;
            };
            let id = self.ids.get(&key).copied();
            let mut list = self.list(id).to_vec();
            let full = list.len() >= self.limits.contacts_per_aor_max;
            if !full && !self.is_full(id, list.len() + 1) {
                list.push(binding);
                self.store(key, &one.aor, list);
            }
        }
        self.bindings - before
    }
}

impl Aor {
    fn saved(&self, now: Now) -> Vec<SavedBinding> {
        let lasting = self
            .list
            .iter()
            .filter(|one| !one.flow.transport.is_reliable());
        let one = |one: &Binding| SavedBinding {
            aor: self.name.to_string(),
            contact: one.contact.to_string(),
            flow: one.flow,
            expires_utc: now
                .utc
                .plus(one.expires_at.saturating_duration_since(now.instant)),
            call_id: one.call_id.to_string(),
            cseq: one.cseq,
            direct: one.direct,
            path: one.path.iter().map(ToString::to_string).collect(),
        };
        lasting.map(one).collect()
    }
}

fn taken_up(now: Now, saved: &SavedBinding) -> Option<Binding> {
    let left = Duration::from_millis(saved.expires_utc.ms_since(now.utc));
    let contact = NameAddr::parse(&saved.contact)?;
    Uri::parse(&contact.uri).ok()?;
    let lasts = !left.is_zero() && !saved.flow.transport.is_reliable();
    let instance = contact.param("+sip.instance");
    let reg_id = contact.param("reg-id").filter(|_| instance.is_some());
    lasts.then(|| Binding {
        contact: saved.contact.as_str().into(),
        flow: saved.flow,
        expires_at: now.instant + left,
        call_id: saved.call_id.as_str().into(),
        cseq: saved.cseq,
        q_permille: contact.param("q").and_then(permille).unwrap_or(1_000),
        direct: saved.direct,
        path: saved.path.iter().map(|hop| hop.as_str().into()).collect(),
        instance: instance.map(Into::into),
        reg_id: reg_id.and_then(|id| id.parse().ok()),
    })
}
