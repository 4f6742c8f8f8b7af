//! Calls that come in for agents. A caller waits in the order he came for an agent who is READY;
//! her seat rings with his card; what she answers is a call like any she has dialled.
//!
//! While he waits and while it rings he is a call through us (`through`), so that whatever his
//! route says next can still be done; the answer makes him a customer's leg (`customer`).
//!
//! A READY agent either asks for a card or is rung. The caller comes first: whenever she would ask
//! for a card, callers are looked at before, and a card on its way to her goes back.

mod queue;
pub(super) mod ringing;
mod take;

use std::time::Instant;

use serde_json::{Value, json};

use crate::id::{AgentId, CallId, CampaignId};

/// Everybody who wants an agent, first come first, and what is counted.
#[derive(Default)]
pub(super) struct Inbound {
    callers: Vec<Caller>,
    counters: Counters,
}

struct Caller {
    /// The call through us.
    id: CallId,
    target: Target,
    /// He waits no longer than this for an agent to be free.
    until: Instant,
    ringing: Option<AgentId>,
    /// His leg moved to the agent's media worker before the port was free there.
    reopen_at: Option<Instant>,
    reopens: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Campaign(CampaignId),
    Agent(AgentId),
    /// The store is asked who called this number last.
    Asking,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    rung: u64,
    answered: u64,
    missed: u64,
    declined: u64,
    /// The caller hung up while he waited or while it rang.
    abandoned: u64,
    /// No agent was free in time, or too many waited.
    unserved: u64,
}

impl Inbound {
    /// For people: no number, no name.
    pub(super) fn snapshot(&self) -> Value {
        let ringing = self.callers.iter().filter(|it| it.ringing.is_some());
        let ringing = ringing.count();
        json!({
            "waiting": self.callers.len() - ringing,
            "ringing": ringing,
            "rung": self.counters.rung,
            "answered": self.counters.answered,
            "missed": self.counters.missed,
            "declined": self.counters.declined,
            "abandoned": self.counters.abandoned,
            "unserved": self.counters.unserved,
        })
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let due = |caller: &Caller| {
            let waits = matches!(caller.target, Target::Campaign(_)) && caller.ringing.is_none();
            let until = waits.then_some((caller.until, "a caller's patience"));
            let reopen = caller.reopen_at.map(|at| (at, "a caller's leg"));
            until.into_iter().chain(reopen).min_by_key(|(at, _)| *at)
        };
        self.callers
            .iter()
            .filter_map(due)
            .min_by_key(|(at, _)| *at)
    }

    fn caller(&mut self, id: CallId) -> Option<&mut Caller> {
        self.callers.iter_mut().find(|caller| caller.id == id)
    }

    fn remove(&mut self, id: CallId) -> Option<Caller> {
        let at = self.callers.iter().position(|caller| caller.id == id)?;
        Some(self.callers.remove(at))
    }
}
