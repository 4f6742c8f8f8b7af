//! What the store answers: facts, all of them committed when they are handed out.

use crate::call::result::CallResult;
use crate::dialer::gate::{Origination, Rule};
use crate::dialer::lead::LeadState;
use crate::dialer::reservation::{Life, Phase};
use crate::id::{AgentId, AttemptId, CampaignId, FenceToken, LeadId, ListId, PhoneId, ThirdId};
use crate::leads::row::PhoneKind;
use crate::now::UtcMs;

#[derive(Debug)]
pub enum Fact {
    Configured,
    Imported {
        leads: u64,
        contacts: u64,
        duplicates: u64,
    },
    Reserved(Box<Reservation>),
    NothingToDial(NothingToDial),
    Extended {
        token: FenceToken,
        life: Life,
        extensions_left: u32,
    },
    Released {
        token: FenceToken,
        lead: LeadId,
    },
    Suppressed {
        token: FenceToken,
        lead: LeadId,
    },
    Begun {
        attempt: AttemptId,
        lead: LeadId,
        origination: Origination,
    },
    /// The key was used before and its dial was made: nothing more may be dialed on it.
    AlreadyBegun {
        attempt: AttemptId,
        lead: LeadId,
    },
    FailedOver {
        attempt: AttemptId,
        origination: Origination,
    },
    Denied {
        rules: Vec<Rule>,
        earliest: Option<UtcMs>,
    },
    /// The leg's row is on disk. `origination` is for a number: the gate's leave to call it.
    ThirdBegun {
        third: ThirdId,
        origination: Option<Origination>,
    },
    HandedOver {
        attempt: AttemptId,
    },
    Stepped,
    Finished(Finished),
    /// A caller's lead is on the desk of the agent whose seat rings.
    Rung(Box<Reservation>),
    /// The lead of a live call is on another agent's desk now, under a token of its own.
    TakenOver(Box<Reservation>),
    LastAgent {
        agent: Option<AgentId>,
    },
    RecordingNoted,
    Disposed {
        token: FenceToken,
        lead: LeadId,
        state: LeadState,
    },
    Recovered(Box<Recovered>),
    Expired {
        released: Vec<Released>,
        next: Option<UtcMs>,
    },
    AgentNoted,
    SessionNoted,
    BindingsSaved,
    PhoneKept,
    PhoneRemoved,
    /// Somebody else's by now: HTTP 409 with the present owner.
    Stale {
        owner: Option<AgentId>,
    },
    /// The command does not fit the lead's or the card's state, or lacks something: HTTP 409/422.
    Refused {
        rule: &'static str,
        detail: String,
    },
}

/// Why there is no card, in counts, and when there may be one.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NothingToDial {
    /// Leads by the first rule that speaks against them, most frequent first.
    pub counts: Vec<(Rule, u64)>,
    pub earliest: Option<UtcMs>,
}

/// A lead held by an agent, with everything a card shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    pub token: FenceToken,
    pub agent: AgentId,
    pub phase: Phase,
    pub life: Life,
    pub extensions_left: u32,
    /// The end of the wrap-up, once there.
    pub wrap_up_until: Option<UtcMs>,
    /// The latest attempt under this reservation.
    pub attempt: Option<AttemptView>,
    /// What the gate would dial.
    pub suggested: Option<PhoneId>,
    pub lead: LeadView,
}

/// A lead as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeadView {
    pub lead: LeadId,
    pub campaign: CampaignId,
    pub list: ListId,
    pub state: LeadState,
    /// The state it goes back to when the card is given back.
    pub prior: Option<LeadState>,
    pub priority: i64,
    pub business_count: u32,
    pub regulatory_count: u32,
    pub external_id: Option<String>,
    pub name: String,
    pub company: String,
    pub language: String,
    pub fields: Vec<(String, String)>,
    pub phones: Vec<PhoneView>,
    /// The contact's latest attempts, newest first.
    pub history: Vec<AttemptView>,
}

/// A phone as a card shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoneView {
    pub id: PhoneId,
    pub e164: String,
    pub kind: PhoneKind,
    pub time_zones: Vec<String>,
    /// What speaks against dialing it; empty = it may be dialed.
    pub refusals: Vec<Rule>,
    pub earliest: Option<UtcMs>,
}

/// An attempt with what was said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptView {
    pub attempt: AttemptId,
    /// They called us.
    pub is_incoming: bool,
    pub lead: LeadId,
    pub campaign: CampaignId,
    pub agent: AgentId,
    pub phone: PhoneId,
    pub e164: String,
    pub trunk: String,
    pub caller_id: String,
    pub created_at: UtcMs,
    pub invited_at: Option<UtcMs>,
    pub alerting_at: Option<UtcMs>,
    pub answered_at: Option<UtcMs>,
    pub bridged_at: Option<UtcMs>,
    pub ended_at: Option<UtcMs>,
    pub ended_by: Option<String>,
    pub result: Option<CallResult>,
    pub status: Option<u16>,
    pub q850: Option<u16>,
    pub ring_ms: Option<u64>,
    pub talk_ms: Option<u64>,
    pub disposition: Option<String>,
    pub notes: Option<String>,
    /// To what the agent handed the call over: `agent`, `phone` or `number`.
    pub transferred_to: Option<String>,
    pub recording: RecordingState,
}

/// What is known of an attempt's recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordingState {
    None,
    Running {
        path: String,
    },
    Done {
        path: String,
        duration_ms: u64,
        bytes: u64,
        sha256: Option<String>,
    },
    Failed {
        path: Option<String>,
        why: String,
    },
}

/// An attempt has ended and its agent wraps up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    pub attempt: AttemptId,
    pub lead: LeadId,
    pub token: FenceToken,
    pub agent: AgentId,
    /// The result kept; of a second `Finish` the first one's.
    pub result: CallResult,
    pub is_answered: bool,
    pub wrap_up_until: Option<UtcMs>,
}

/// A reservation given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    pub token: FenceToken,
    pub lead: LeadId,
    pub agent: AgentId,
}

/// What the start-up found.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Calls that were on: their far legs have to be ended.
    pub orphans: Vec<Orphan>,
    /// Third parties' legs that were on.
    pub thirds: Vec<ThirdOrphan>,
    pub released: Vec<Released>,
    /// Cards still in preview: they come back with their agents, or expire.
    pub previews: Vec<Reservation>,
    /// Cards in wrap-up: they come back with their agents.
    pub wrap_ups: Vec<Reservation>,
    /// Recordings nobody finished: to be repaired, then `RecordingDone` or `RecordingFailed`.
    pub recordings: Vec<(AttemptId, String)>,
}

/// A call that was on when the process died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    pub attempt: AttemptId,
    pub lead: LeadId,
    pub agent: AgentId,
    pub token: FenceToken,
    pub phase: OrphanPhase,
    pub trunk: String,
    pub dialog: String,
    pub recording: Option<String>,
}

/// A third party's leg that was on when the process died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThirdOrphan {
    pub third: ThirdId,
    pub attempt: AttemptId,
    pub phase: OrphanPhase,
    pub dialog: String,
}

/// How far the orphan had come, and so how its far leg is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrphanPhase {
    /// CANCEL, if anything had left at all.
    Dialing,
    /// CANCEL, or ACK and BYE when the answer crosses it.
    Ringing,
    /// BYE.
    Answered,
}
