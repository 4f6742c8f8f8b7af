//! What the store can be told to do: one use-case a variant. The time is `apply`'s.

use std::sync::Arc;

use super::inbound::{Ring, RingEnd};
use super::phone::StoredPhone;
use crate::call::result::CallResult;
use crate::dialer::campaign::Rules;
use crate::dialer::reservation::ReleaseReason;
use crate::id::{AgentId, AttemptId, CampaignId, FenceToken, ListId, PhoneId, ThirdId, TrunkId};
use crate::leads::row::Row;
use crate::now::UtcMs;

#[derive(Clone, Debug)]
pub enum Command {
    /// The campaigns' rules; sent first at start, and again at every reload. Answers with
    /// `Configured`.
    Configure {
        rules: Arc<Rules>,
    },
    /// Rows become contacts and leads in one transaction → `Imported`. Large files come in chunks
    /// of about 1,000 rows, so that no call's commit waits behind them.
    Import {
        list: ListId,
        campaign: CampaignId,
        rows: Vec<Row>,
        source: String,
    },
    /// → `Reserved`, or `NothingToDial`. An agent who already looks at a card gets that card.
    ReserveNext {
        agent: AgentId,
        campaigns: Vec<CampaignId>,
    },
    /// → `Extended` | `Refused` | `Stale`.
    Extend {
        token: FenceToken,
        agent: AgentId,
    },
    /// → `Released` | `Refused` | `Stale`.
    Skip {
        token: FenceToken,
        agent: AgentId,
        key: String,
        reason: String,
    },
    /// → `Released` | `Refused` | `Stale`.
    Release {
        token: FenceToken,
        agent: AgentId,
        why: ReleaseReason,
    },
    /// The agent gives the card back uncounted → `Released` | `Refused` | `Stale`.
    Cancel {
        token: FenceToken,
        agent: AgentId,
        key: String,
    },
    /// Do-not-call from the card → `Suppressed` | `Refused` | `Stale`.
    Suppress {
        token: FenceToken,
        agent: AgentId,
        key: String,
    },
    /// The gate once more; the attempt's row and the lead in DIALING, in one commit
    /// → `Begun` | `AlreadyBegun` | `Denied` | `Refused` | `Stale`.
    BeginAttempt {
        token: FenceToken,
        agent: AgentId,
        key: String,
        attempt: AttemptId,
        phone: PhoneId,
        trunk: TrunkId,
        caller_id: String,
        /// What ends the far leg after a crash.
        dialog: String,
    },
    /// A further INVITE by another route inside the same attempt, gated again
    /// → `FailedOver` | `Denied`; `Stepped` when the attempt has ended already.
    FailOver {
        attempt: AttemptId,
        trunk: TrunkId,
        caller_id: String,
        dialog: String,
    },
    /// → `Stepped`, also when the attempt has ended already.
    Step {
        attempt: AttemptId,
        step: AttemptStep,
    },
    /// The lead goes to WRAP_UP and its counters grow → `Finished`. A second one changes nothing.
    Finish {
        attempt: AttemptId,
        result: CallResult,
        status: Option<u16>,
        q850: Option<u16>,
        ended_by: EndedBy,
        spans: Spans,
    },
    /// A third party is to be called into an attempt's call; for a number the gate is asked, and
    /// the leg's row is on disk before its INVITE → `ThirdBegun` | `Denied` | `Refused`.
    BeginThird {
        third: ThirdId,
        attempt: AttemptId,
        to: ThirdTo,
        dialog: String,
    },
    /// The next way of a number's leg, gated again → `ThirdBegun` | `Denied` | `Refused`.
    FailOverThird {
        third: ThirdId,
        trunk: TrunkId,
        caller_id: String,
        dialog: String,
    },
    /// → `Stepped`, also when the leg has ended already.
    StepThird {
        third: ThirdId,
        step: ThirdStep,
    },
    /// → `Stepped`. A second one changes nothing.
    EndThird {
        third: ThirdId,
        outcome: &'static str,
    },
    /// The agent has handed the call over: her lead and card go to WRAP_UP, the attempt goes on
    /// → `HandedOver`. A second one changes nothing.
    HandOver {
        attempt: AttemptId,
        /// `agent`, `phone` or `number`.
        to: &'static str,
        spans: Spans,
    },
    /// Another agent takes a live call over, and its card with it: the first one's card is closed,
    /// the attempt goes on as the other's → `TakenOver` | `Refused`.
    TakeOver {
        attempt: AttemptId,
        /// The card as it was when she answered: of two who answer, the first has it.
        from: FenceToken,
        agent: AgentId,
    },
    /// A caller for an agent → `Rung` | `Refused`.
    RingInbound(Box<Ring>),
    /// Her seat has stopped ringing without an answer → `Released`, or `Stepped` too late.
    RingOver {
        attempt: AttemptId,
        why: RingEnd,
    },
    /// Who called this number last → `LastAgent`.
    LastAgent {
        e164: String,
    },
    RecordingStarted {
        attempt: AttemptId,
        path: String,
    },
    RecordingDone {
        attempt: AttemptId,
        path: String,
        duration_ms: u64,
        bytes: u64,
        sha256: Option<String>,
    },
    RecordingFailed {
        attempt: AttemptId,
        why: String,
    },
    /// → `Disposed` | `Refused` | `Stale` (the text is kept as a note).
    Dispose {
        token: FenceToken,
        agent: AgentId,
        key: String,
        /// `None`: an unanswered call accepts its result, an answered one stays undisposed.
        disposition: Option<String>,
        notes: String,
        callback_at: Option<UtcMs>,
        automatic: bool,
    },
    /// At start-up, after `Configure` → `Recovered`.
    Recover,
    /// Gives back every card whose lease has run out → `Expired`.
    ExpireReservations,
    /// What an agent does now, for whoever counts her time → `AgentNoted`.
    AgentState {
        agent: AgentId,
        state: &'static str,
        reason: Option<String>,
    },
    /// A sign-in; the hash, never the token.
    SessionOpen {
        token_hash: Vec<u8>,
        agent: AgentId,
        expires_at: UtcMs,
    },
    SessionClose {
        token_hash: Vec<u8>,
    },
    /// Where these users' phones can be reached now → `BindingsSaved`.
    SaveBindings {
        changed: Vec<Bound>,
    },
    /// → `PhoneKept` | `Refused`.
    AddPhone {
        phone: StoredPhone,
    },
    /// → `PhoneRemoved` | `Refused`.
    RemovePhone {
        user: String,
    },
}

impl Command {
    /// Nobody waits for it, and losing the last moment of it to a crash harms nobody.
    pub(super) fn can_wait(&self) -> bool {
        matches!(
            self,
            Command::AgentState { .. } | Command::SaveBindings { .. }
        )
    }
}

/// A user's bindings, as the registrar writes them; none when he is reachable nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    pub user: String,
    pub lines: Vec<String>,
    /// When the last of them runs out.
    pub until: UtcMs,
}

/// How far an attempt has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptStep {
    Invited,
    Trying,
    Alerting { dialog: String },
    Answered { dialog: String },
    Bridged,
}

/// Whom an agent brings in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThirdTo {
    /// A phone of our own.
    Phone,
    /// E.164, by this way.
    Number {
        e164: String,
        trunk: TrunkId,
        caller_id: String,
    },
}

/// How far a third party's leg has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThirdStep {
    Alerting { dialog: String },
    Answered { dialog: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndedBy {
    Agent,
    Customer,
    /// Whom the agent handed the call over to.
    Third,
    System,
    Network,
}

impl EndedBy {
    pub fn name(self) -> &'static str {
        match self {
            EndedBy::Agent => "agent",
            EndedBy::Customer => "customer",
            EndedBy::Third => "third",
            EndedBy::System => "system",
            EndedBy::Network => "network",
        }
    }
}

/// Times inside a call that its steps do not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Spans {
    pub hold_ms: u64,
    pub mute_ms: u64,
    pub early_media: bool,
}
