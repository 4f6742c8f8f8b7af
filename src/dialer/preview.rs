//! How long a card may be looked at, and what happens at the limit.

/// What a card becomes when its time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtLimit {
    Dial,
    Skip,
    Close,
    /// The record goes back; the agent stays READY.
    Requeue,
    /// The record goes back; the agent becomes NOT_READY.
    RequeueNotReady,
}

/// The preview rules of a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preview {
    /// 0 = unlimited, up to the ceiling.
    pub limit_ms: u64,
    pub at_limit: AtLimit,
    /// No card lives longer, extended or unlimited.
    pub ceiling_ms: u64,
    pub extension_ms: u64,
    pub extensions_max: u32,
    /// The reservation outlives the shown limit by this much.
    pub slack_ms: u64,
    /// How long a card waits for an agent whose link is gone.
    pub lost_grace_ms: u64,
    /// A sound, this long before the limit.
    pub warn_before_ms: u64,
}

impl Default for Preview {
    fn default() -> Self {
        Preview {
            limit_ms: 120_000,
            at_limit: AtLimit::RequeueNotReady,
            ceiling_ms: 15 * 60_000,
            extension_ms: 60_000,
            extensions_max: 2,
            slack_ms: 10_000,
            lost_grace_ms: 30_000,
            warn_before_ms: 10_000,
        }
    }
}

impl Preview {
    /// The time shown on a fresh card.
    pub fn shown_ms(&self) -> u64 {
        if self.limit_ms == 0 {
            self.ceiling_ms
        } else {
            self.limit_ms.min(self.ceiling_ms)
        }
    }
}
