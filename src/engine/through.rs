//! Calls that are no agent's dial: from a phone, a carrier or a permitted address through us to
//! another (RFC 7092: a back-to-back user agent). The plan says where to; media goes through our
//! workers; both sides' dialogs are our own, so that neither learns the other's addresses.
//!
//! The verbs lie beside it: `arrive`, `place` (outgoing INVITEs), `progress` (their answers),
//! `change` (hold), `end`, `passed` (what of a message survives).

mod arrive;
mod change;
mod end;
mod passed;
mod place;
mod progress;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::switch::Switch;
use super::trunk_call::{Way, Ways};
use crate::id::{CallId, LegId};
use crate::now::{Now, UtcMs};
use crate::route::{Source, Step};
use crate::sdp::negotiate::Negotiation;
use crate::sip::{Flow, Party, Reason, SessionId, SipEvent};
use crate::trunk::Failure;
use crate::trunk::fraud::Ticket;

pub(super) use arrive::Arrived;

/// All of them, and what is counted.
#[derive(Default)]
pub(super) struct Throughs {
    calls: HashMap<CallId, Through>,
    deadlines: BTreeSet<(Instant, CallId)>,
    /// Recordings whose file is not finished.
    recordings: HashSet<CallId>,
    counters: Counters,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    routed: u64,
    /// By the plan, or for want of room.
    refused: u64,
    answered: u64,
    unanswered: u64,
}

/// One call.
struct Through {
    id: CallId,
    source: Source,
    /// Where the caller's INVITE came from.
    flow: Flow,
    /// A phone's leave to call outside, and how long it holds from the answer on.
    leave: Option<(Ticket, Option<Duration>)>,
    answered: Option<Instant>,
    rule: String,
    /// As it is passed on.
    number: String,
    from: Party,
    /// What of the caller's INVITE goes on, and how far it may still go.
    headers: Vec<(String, String)>,
    hops: u32,
    caller: Side,
    /// Our answer to the caller's offer; `None` when ours is the offer.
    answer: Option<String>,
    phase: Phase,
    /// Outgoing INVITEs without a final answer.
    forks: Vec<Fork>,
    /// The fork whose early media the caller hears.
    early: Option<SessionId>,
    /// What is left of the trunks of the present step.
    ways: Option<Ways>,
    steps: VecDeque<Step>,
    ring_ms: u64,
    deadline: Option<Instant>,
    record: bool,
    recording: Option<PathBuf>,
    emergency: bool,
    /// What the caller is told when nobody answers.
    best: Option<Refusal>,
    since: UtcMs,
}

/// One end: its session, media leg, port and SDP.
struct Side {
    session: SessionId,
    leg: LegId,
    port: u16,
    sdp: Negotiation,
}

struct Fork {
    side: Side,
    /// Holds a place on its trunk until the fork is released.
    way: Option<Way>,
    /// Somebody's phone may have rung.
    alerted: bool,
}

enum Phase {
    Calling,
    Talking(Box<Fork>),
    /// A tone or music, and nobody else.
    Playing,
}

/// Why a step came to nothing.
#[derive(Clone, Debug)]
struct Refusal {
    status: u16,
    phrase: Option<String>,
    reason: Reason,
}

impl Through {
    fn callee(&self) -> Option<&Side> {
        match &self.phase {
            Phase::Talking(fork) => Some(&fork.side),
            Phase::Calling | Phase::Playing => None,
        }
    }

    fn side_mut(&mut self, session: SessionId) -> Option<&mut Side> {
        if self.caller.session == session {
            return Some(&mut self.caller);
        }
        let callee = match &mut self.phase {
            Phase::Talking(fork) => Some(&mut **fork),
            Phase::Calling | Phase::Playing => None,
        };
        let mut called = callee.into_iter().chain(&mut self.forks);
        let fork = called.find(|fork| fork.side.session == session)?;
        Some(&mut fork.side)
    }

    fn fork_mut(&mut self, session: SessionId) -> Option<&mut Fork> {
        self.forks
            .iter_mut()
            .find(|fork| fork.side.session == session)
    }

    /// The other end of an answered call.
    fn other_mut(&mut self, session: SessionId) -> Option<&mut Side> {
        match &mut self.phase {
            Phase::Talking(_) if self.caller.session != session => Some(&mut self.caller),
            Phase::Talking(fork) => Some(&mut fork.side),
            Phase::Calling | Phase::Playing => None,
        }
    }

    fn state(&self) -> &'static str {
        match &self.phase {
            Phase::Calling => "calling",
            Phase::Talking(_) => "talking",
            Phase::Playing => "playing",
        }
    }
}

impl Throughs {
    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.deadlines
            .first()
            .map(|(at, _)| (*at, "a route's step"))
    }

    /// No file is outstanding.
    pub(super) fn is_quiet(&self) -> bool {
        self.recordings.is_empty()
    }

    pub(super) fn has(&self, id: CallId) -> bool {
        self.calls.contains_key(&id)
    }

    /// For people: no number, no name.
    pub(super) fn snapshot(&self) -> Value {
        let calls = self.calls.values().map(|call| {
            json!({
                "id": call.id.to_string(),
                "route": call.rule,
                "from": call.source.kind(),
                "state": call.state(),
                "started_ms": call.since.0,
                "recording": call.recording.is_some(),
            })
        });
        json!({
            "calls": calls.collect::<Vec<_>>(),
            "routed": self.counters.routed,
            "refused": self.counters.refused,
            "answered": self.counters.answered,
            "unanswered": self.counters.unanswered,
        })
    }

    fn call(&mut self, id: CallId) -> Option<&mut Through> {
        self.calls.get_mut(&id)
    }

    fn set_deadline(&mut self, id: CallId, deadline: Option<Instant>) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if let Some(before) = std::mem::replace(&mut call.deadline, deadline) {
            self.deadlines.remove(&(before, id));
        }
        if let Some(at) = deadline {
            self.deadlines.insert((at, id));
        }
    }
}

impl Switch {
    /// What SIP says of one of a call's sessions.
    pub(super) fn through_event(&mut self, now: Now, id: CallId, event: SipEvent) {
        match event {
            SipEvent::Provisional {
                session,
                status,
                body,
                ..
            } => self.through_rings(now, id, session, status, body),
            SipEvent::Answered { session, body, .. } => {
                self.through_answered(now, id, session, body);
            }
            SipEvent::Failed {
                session,
                status,
                phrase,
                reason,
                retry_after_s,
                local,
            } => {
                self.sessions.remove(&session);
                let failure = Failure {
                    status,
                    q850: reason.q850,
                    retry_after: retry_after_s.map(|span| Duration::from_secs(span.into())),
                    local,
                    alerted: false,
                };
                let refusal = Refusal {
                    status,
                    phrase: Some(phrase),
                    reason,
                };
                self.through_failed(now, id, session, refusal, failure);
            }
            SipEvent::Confirmed { session, body } => {
                self.through_confirmed(now, id, session, body);
            }
            SipEvent::Reoffer { session, body } => self.through_reoffered(now, id, session, body),
            SipEvent::ReofferAnswered {
                session,
                status,
                body,
            } => self.through_reoffer_answered(now, id, session, status, body),
            SipEvent::Ended {
                session, reason, ..
            } => {
                self.sessions.remove(&session);
                self.through_side_ended(now, id, session, &reason);
            }
            _ => {}
        }
    }
}
