//! One attempt's call as the switch keeps it, and as people are shown it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::ending::Ending;
use super::resolved::Campaign;
use super::switch::ReplyId;
use super::transfer::{Past, Third};
use super::trunk_call::{Way, Ways};
use crate::call::progress::Progress;
use crate::call::result::CallResult;
use crate::id::{AgentId, AttemptId, CallId, FenceToken, LegId, PhoneId};
use crate::now::UtcMs;
use crate::sdp::negotiate::Negotiation;
use crate::sip::{InvitePlan, SessionId};
use crate::store::Spans;

/// One attempt's call. It stays on the desk, ended, until its card is disposed of.
pub(super) struct Call {
    pub id: CallId,
    pub attempt: AttemptId,
    pub agent: AgentId,
    pub token: FenceToken,
    pub phone: PhoneId,
    pub key: String,
    pub campaign: Arc<Campaign>,
    pub direction: Direction,
    /// E.164.
    pub number: String,
    /// The server that is called now, and what is left to try; `None` when they called us.
    pub way: Option<Way>,
    pub ways: Ways,
    pub leg: LegId,
    pub port: u16,
    pub phase: Phase,
    pub progress: Progress,
    /// How loud the agent hears the customer.
    pub volume_db: i32,
    pub recording: Recording,
    /// The INVITE's identity in its stored form.
    pub plan: String,
    /// Offers and answers on the trunk's side.
    pub sdp: Negotiation,
    /// Whom the agent has brought in.
    pub third: Option<Third>,
    pub third_past: Option<Past>,
    /// When the agent handed it over; from then on it is on no desk of hers.
    pub handed_over: Option<UtcMs>,
    /// The leg has moved to another media worker, and its port may not be free there yet.
    pub reopen: Option<Reopen>,
}

/// How often the port of a leg that has moved is tried again, and when next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reopen {
    pub at: Option<Instant>,
    pub left: u8,
}

/// Who called whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Out,
    In,
}

pub(super) enum Phase {
    /// The attempt's row is being committed; nothing has left yet.
    Committing {
        plan: Box<InvitePlan>,
        reply: ReplyId,
        given_up: bool,
    },
    /// INVITE sent. The ring limit runs.
    Inviting {
        session: SessionId,
        ring_until: Instant,
    },
    /// A server failed; the row of the next INVITE is being committed. `failed` is how the call
    /// ends should there be no next one after all.
    FailingOver {
        plan: Box<InvitePlan>,
        failed: Box<Ending>,
    },
    /// Her seat rings; until she answers, the caller is a call through us.
    Offered,
    /// The customer is on the line.
    Answered {
        session: SessionId,
    },
    Ended {
        result: CallResult,
        detail: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recording {
    Off,
    Running { path: PathBuf },
    Done,
    Failed,
}

impl Direction {
    /// The stable name in the API and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Out => "out",
            Direction::In => "in",
        }
    }
}

impl Call {
    pub fn session(&self) -> Option<SessionId> {
        match self.phase {
            Phase::Inviting { session, .. } | Phase::Answered { session } => Some(session),
            Phase::Committing { .. }
            | Phase::FailingOver { .. }
            | Phase::Offered
            | Phase::Ended { .. } => None,
        }
    }

    pub fn is_answered(&self) -> bool {
        matches!(self.phase, Phase::Answered { .. })
    }

    pub fn is_recording(&self) -> bool {
        matches!(self.recording, Recording::Running { .. })
    }

    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    /// What its steps do not tell of the call's time.
    pub fn spans(&self) -> Spans {
        Spans {
            hold_ms: self.progress.hold_ms(),
            mute_ms: self.progress.mute_ms(),
            early_media: self.progress.early_media,
        }
    }

    /// The customer's side wants to hear nothing of us for now (RFC 3264 §8.4, in either dialect).
    /// Our own hold plays music and changes no direction.
    fn is_held_by_far_end(&self) -> bool {
        let agreed = self.sdp.agreed();
        let refused = agreed.is_some_and(|agreed| !agreed.direction.send());
        refused && self.is_answered() && !self.is_ended()
    }

    /// As a page shows it.
    pub fn picture(&self) -> Value {
        let (result, detail) = match &self.phase {
            Phase::Ended { result, detail } => (Some(result.name()), Some(detail.as_str())),
            _ => (None, None),
        };
        let (result, detail) = match self.handed_over {
            Some(_) => (Some(CallResult::Connected.name()), Some("")),
            None => (result, detail),
        };
        let progress = &self.progress;
        let state = match self.handed_over {
            Some(_) => "ended",
            None => progress.state().name(),
        };
        let ms = |at: Option<UtcMs>| at.map(|at| at.0);
        json!({
            "id": self.id.to_string(),
            "phone": self.phone.0,
            "direction": self.direction.name(),
            "state": state,
            "started_ms": self.progress.created.0,
            "ringing_ms": ms(progress.ringing_at()),
            "answered_ms": ms(progress.answered_at()),
            "ended_ms": ms(self.handed_over.or(progress.ended_at())),
            "muted": progress.is_muted(),
            "held": progress.is_held(),
            "held_by_far_end": self.is_held_by_far_end(),
            "volume_db": self.volume_db,
            "recording": self.is_recording() && !self.is_ended() && !self.is_handed_over(),
            "recording_failed": self.recording == Recording::Failed,
            "recording_ready": self.recording == Recording::Done,
            "result": result,
            "detail": detail,
            "handed_over": self.is_handed_over(),
            "transfer": self.transfer_picture(),
        })
    }

    /// For people who look at the whole switch: no number, no name.
    pub fn summary(&self) -> Value {
        json!({
            "id": self.id.to_string(),
            "agent": self.agent.as_str(),
            "campaign": self.campaign.id.as_str(),
            "direction": self.direction.name(),
            "trunk": self.way.as_ref().map(|way| way.trunk.as_str()),
            "state": self.progress.state().name(),
            "third": self.third.as_ref().map(|third| third.talk.state().name()),
            "started_ms": self.progress.created.0,
            "sip_call_ids": InvitePlan::from_text(&self.plan).map(|plan| [plan.call_id]),
        })
    }
}
