//! Calls that are no agent's dial: from a phone, a carrier or a permitted address through us to
//! another (RFC 7092: a back-to-back user agent). The plan says where to; media goes through our
//! workers; both sides' dialogs are our own, so that neither learns the other's addresses.
//!
//! The verbs lie beside it: `arrive`, `place` (outgoing INVITEs), `progress` (their answers),
//! `change` (hold), `refer` and `attend` (transfers), `replace` (INVITE with Replaces), `join` (who
//! takes whose place), `end`, `passed` (what of a message survives).

mod agents;
mod arrive;
mod attend;
mod change;
mod end;
mod join;
mod passed;
mod place;
mod progress;
mod refer;
mod replace;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::srtp::Encrypted;
use super::switch::Switch;
use super::trunk_call::{Way, Ways, failure};
use crate::id::{CallId, LegId};
use crate::now::{Now, UtcMs};
use crate::route::{Source, Step};
use crate::sdp::Direction;
use crate::sdp::negotiate::Negotiation;
use crate::sip::{Flow, Party, Reason, SessionId, SipEvent};
use crate::trunk::Verstat;
use crate::trunk::fraud::Ticket;

pub(super) use arrive::Arrived;
use refer::{Referral, Wish};

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
    /// A phone's leave to call outside, for those who are called now.
    leave: Option<Leave>,
    /// That of sides who are in the call already.
    leaves: Vec<Leave>,
    answered: Option<Instant>,
    /// How long the call may last.
    until: Option<Instant>,
    rule: String,
    /// As it is passed on.
    number: String,
    /// What the caller's carrier says of his number.
    verstat: Verstat,
    /// How far the call may still go.
    hops: u32,
    /// Who has put the caller through (RFC 3892), for those inside.
    referred_by: Option<String>,
    /// Who called, or who is put through to somebody else.
    caller: Side,
    /// `caller` was the called once: left and right of the recording stay what they were.
    mirrored: bool,
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
    /// The caller has had his 200, from whomever.
    accepted: bool,
    /// His leg is closed and not yet opened on another media worker.
    moved: bool,
    since: UtcMs,
}

/// A ticket of the fraud guard.
struct Leave {
    ticket: Ticket,
    longest: Option<Duration>,
    /// When it was made use of.
    since: Option<Instant>,
}

/// One end: its session, media leg, port and SDP, and who it is.
struct Side {
    session: SessionId,
    leg: LegId,
    port: u16,
    sdp: Negotiation,
    flow: Flow,
    who: Source,
    /// As others are shown it.
    party: Party,
    /// What of its INVITE goes on.
    headers: Vec<(String, String)>,
    /// Holds a place on its trunk until the side is released.
    way: Option<Way>,
    /// What it wished for last, told from our side; anything but `SendRecv` is a hold of its own.
    own: Direction,
    /// What we offered it last on behalf of the other side.
    told: Direction,
}

struct Fork {
    side: Side,
    /// Somebody's phone may have rung.
    alerted: bool,
}

enum Phase {
    Calling,
    Talking(Box<Side>),
    /// One side has asked us to put the other, who is `caller` now, through to somebody else.
    Referred(Box<Referral>),
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
            Phase::Talking(side) => Some(side),
            Phase::Calling | Phase::Referred(_) | Phase::Playing => None,
        }
    }

    /// Somebody is being called.
    fn is_calling(&self) -> bool {
        matches!(self.phase, Phase::Calling | Phase::Referred(_))
    }

    /// On whose behalf outgoing calls are made.
    fn asks(&self) -> (&Source, &Flow) {
        match &self.phase {
            Phase::Referred(referral) => (&referral.who, &referral.flow),
            _ => (&self.source, &self.caller.flow),
        }
    }

    fn side_mut(&mut self, session: SessionId) -> Option<&mut Side> {
        if self.caller.session == session {
            return Some(&mut self.caller);
        }
        let second = match &mut self.phase {
            Phase::Talking(side) => Some(&mut **side),
            Phase::Referred(referral) => referral.side.as_mut(),
            Phase::Calling | Phase::Playing => None,
        };
        let forks = self.forks.iter_mut().map(|fork| &mut fork.side);
        let mut called = second.into_iter().chain(forks);
        called.find(|side| side.session == session)
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
            Phase::Talking(side) => Some(side),
            Phase::Calling | Phase::Referred(_) | Phase::Playing => None,
        }
    }

    fn state(&self) -> &'static str {
        match &self.phase {
            Phase::Calling => "calling",
            Phase::Talking(_) => "talking",
            Phase::Referred(_) => "transferring",
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
    pub(super) fn snapshot(&self, encrypted: &Encrypted) -> Value {
        let calls = self.calls.values().map(|call| {
            json!({
                "id": call.id.to_string(),
                "route": call.rule,
                "from": call.source.kind(),
                "state": call.state(),
                "started_ms": call.since.0,
                "recording": call.recording.is_some(),
                "verstat": call.verstat.name(),
                "secured": {
                    "caller": encrypted.of(call.caller.leg),
                    "callee": call.callee().is_some_and(|side| encrypted.of(side.leg)),
                },
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
                let failure = failure(status, &reason, retry_after_s, local);
                let refusal = Refusal {
                    status,
                    phrase: Some(phrase),
                    reason,
                };
                self.through_failed(now, id, session, refusal, failure);
            }
            SipEvent::Info {
                session,
                digit: Some(digit),
                ..
            } => self.through_digit(now, id, session, digit),
            SipEvent::Redirected {
                session, contacts, ..
            } => self.note_redirect(session, contacts),
            SipEvent::Confirmed { session, body } => {
                self.through_confirmed(now, id, session, body);
            }
            SipEvent::Reoffer { session, body } => self.through_reoffered(now, id, session, body),
            SipEvent::ReofferAnswered {
                session,
                status,
                body,
            } => self.through_reoffer_answered(id, session, status, body),
            SipEvent::Refer {
                session,
                refer_to,
                replaces,
                replaces_session,
                referred_by,
                ..
            } => {
                let wish = Wish {
                    refer_to,
                    replaces: replaces.map(|_| replaces_session),
                    referred_by,
                };
                self.through_referred(now, id, session, wish);
            }
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
