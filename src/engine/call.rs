//! One attempt's call as the switch keeps it, and as people are shown it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::resolved::{Campaign, Trunk};
use super::switch::ReplyId;
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
    pub trunk: Trunk,
    pub leg: LegId,
    pub port: u16,
    pub phase: Phase,
    pub controls: Controls,
    pub created: UtcMs,
    pub ringing: Option<UtcMs>,
    pub answered: Option<UtcMs>,
    pub recording: Recording,
    /// The INVITE's identity in its stored form.
    pub plan: String,
    /// Offers and answers on the trunk's side.
    pub sdp: Negotiation,
    pub hold: Span,
    pub mute: Span,
    pub early_media: bool,
}

/// How long something was on, in all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    since: Option<UtcMs>,
    total_ms: u64,
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
    /// The customer is on the line.
    Answered { session: SessionId },
    Ended {
        at: UtcMs,
        result: CallResult,
        detail: String,
    },
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Controls {
    pub muted: bool,
    pub held: bool,
    pub volume_db: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recording {
    Off,
    Running { path: PathBuf },
    Done,
    Failed,
}

impl Call {
    pub fn session(&self) -> Option<SessionId> {
        match self.phase {
            Phase::Inviting { session, .. } | Phase::Answered { session } => Some(session),
            Phase::Committing { .. } | Phase::Ended { .. } => None,
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
            hold_ms: self.hold.total_ms,
            mute_ms: self.mute.total_ms,
            early_media: self.early_media,
        }
    }

    fn state_name(&self) -> &'static str {
        match self.phase {
            Phase::Committing { .. } => "dialing",
            Phase::Inviting { .. } if self.ringing.is_none() => "dialing",
            Phase::Inviting { .. } => "ringing",
            Phase::Answered { .. } if self.controls.held => "held",
            Phase::Answered { .. } => "talking",
            Phase::Ended { .. } => "ended",
        }
    }

    /// As a page shows it.
    pub fn picture(&self) -> Value {
        let (ended, result, detail) = match &self.phase {
            Phase::Ended { at, result, detail } => {
                (Some(at.0), Some(result.name()), Some(detail.as_str()))
            }
            _ => (None, None, None),
        };
        json!({
            "id": self.id.to_string(),
            "phone": self.phone.0,
            "state": self.state_name(),
            "started_ms": self.created.0,
            "ringing_ms": self.ringing.map(|at| at.0),
            "answered_ms": self.answered.map(|at| at.0),
            "ended_ms": ended,
            "muted": self.controls.muted,
            "held": self.controls.held,
            "volume_db": self.controls.volume_db,
            "recording": self.is_recording() && !self.is_ended(),
            "recording_failed": self.recording == Recording::Failed,
            "recording_ready": self.recording == Recording::Done,
            "result": result,
            "detail": detail,
        })
    }

    /// For people who look at the whole switch: no number, no name.
    pub fn summary(&self) -> Value {
        json!({
            "id": self.id.to_string(),
            "agent": self.agent.as_str(),
            "campaign": self.campaign.id.as_str(),
            "trunk": self.trunk.id.as_str(),
            "state": self.state_name(),
            "started_ms": self.created.0,
        })
    }
}

impl Span {
    pub fn set(&mut self, on: bool, at: UtcMs) {
        if let Some(since) = self.since.take() {
            self.total_ms += at.ms_since(since);
        }
        self.since = on.then_some(at);
    }
}
