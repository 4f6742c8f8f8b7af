//! The states of a lead. Whether it may be called now is computed by the gate, never stored.

use crate::id::AgentId;
use crate::now::UtcMs;

/// Where a lead stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeadState {
    Ready,
    Waiting { not_before: UtcMs, kind: WaitKind },
    Reserved,
    Dialing,
    Connected,
    WrapUp,
    Closed(CloseReason),
    Suppressed(SuppressReason),
    Paused,
}

impl LeadState {
    pub fn name(&self) -> &'static str {
        match self {
            LeadState::Ready => "ready",
            LeadState::Waiting { .. } => "waiting",
            LeadState::Reserved => "reserved",
            LeadState::Dialing => "dialing",
            LeadState::Connected => "connected",
            LeadState::WrapUp => "wrap_up",
            LeadState::Closed(_) => "closed",
            LeadState::Suppressed(_) => "suppressed",
            LeadState::Paused => "paused",
        }
    }

    /// Nobody can be given this lead any more.
    pub fn is_over(&self) -> bool {
        matches!(self, LeadState::Closed(_) | LeadState::Suppressed(_))
    }
}

/// What a waiting lead waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitKind {
    Retry,
    /// A callback promised by this agent.
    CallbackPersonal(AgentId),
    CallbackAny,
}

impl WaitKind {
    pub fn name(&self) -> &'static str {
        match self {
            WaitKind::Retry => "retry",
            WaitKind::CallbackPersonal(_) => "callback_personal",
            WaitKind::CallbackAny => "callback_any",
        }
    }
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($variant),* }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text),* }
            }

            pub fn from_name(name: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|it| it.name() == name)
            }
        }
    };
}
pub(crate) use named;

named! {
    /// Why a lead is closed.
    CloseReason {
        Completed = "completed",
        MaxAttempts = "max_attempts",
        NoCallableNumber = "no_callable_number",
        SkipClosed = "skip_closed",
        ListExpired = "list_expired",
        Duplicate = "duplicate",
        Erased = "erased",
        External = "external",
    }
}

named! {
    /// Why a lead is suppressed. Only an audited admin action leaves this state.
    SuppressReason {
        Dnc = "dnc",
        ConsentWithdrawn = "consent_withdrawn",
        Complaint = "complaint",
        LegalHold = "legal_hold",
    }
}
