//! The life of a reservation: a lead, an agent and an end, fenced by a token that only grows.

use super::preview::Preview;
use crate::id::{AgentId, FenceToken};
use crate::now::UtcMs;
use std::time::Duration;

/// When a previewed card ends. What is shown ends a little before what is kept, so that a click in
/// the last moment still finds its reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    pub granted_at: UtcMs,
    /// The end of the countdown on the card.
    pub deadline: UtcMs,
    /// The end of the lease.
    pub expires_at: UtcMs,
    pub extensions: u32,
}

/// Why a card cannot be extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtendRefusal {
    NoExtensionsLeft,
    AtCeiling,
}

impl ExtendRefusal {
    pub fn name(self) -> &'static str {
        match self {
            ExtendRefusal::NoExtensionsLeft => "no_extensions_left",
            ExtendRefusal::AtCeiling => "preview_ceiling",
        }
    }
}

impl Life {
    pub fn start(rules: &Preview, now: UtcMs) -> Life {
        Life {
            granted_at: now,
            deadline: now,
            expires_at: now,
            extensions: 0,
        }
        .until(now.plus(Duration::from_millis(rules.shown_ms())), rules)
    }

    fn until(mut self, deadline: UtcMs, rules: &Preview) -> Life {
        self.deadline = deadline;
        self.expires_at = deadline.plus(Duration::from_millis(rules.slack_ms));
        self
    }

    pub fn ceiling(&self, rules: &Preview) -> UtcMs {
        self.granted_at
            .plus(Duration::from_millis(rules.ceiling_ms))
    }

    /// One extension more, never past the ceiling.
    pub fn extend(self, rules: &Preview) -> Result<Life, ExtendRefusal> {
        let ceiling = self.ceiling(rules);
        if self.deadline >= ceiling {
            return Err(ExtendRefusal::AtCeiling);
        }
        if self.extensions >= rules.extensions_max {
            return Err(ExtendRefusal::NoExtensionsLeft);
        }
        let wished = self
            .deadline
            .plus(Duration::from_millis(rules.extension_ms));
        let mut longer = self.until(wished.min(ceiling), rules);
        longer.extensions += 1;
        Ok(longer)
    }

    pub fn extensions_left(&self, rules: &Preview) -> u32 {
        if self.deadline >= self.ceiling(rules) {
            return 0;
        }
        rules.extensions_max.saturating_sub(self.extensions)
    }

    pub fn is_over(&self, now: UtcMs) -> bool {
        self.expires_at <= now
    }
}

/// What a reservation is for at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Preview,
    /// Dialing or talking: no time limit of its own.
    Call,
    WrapUp,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Phase::Preview => "preview",
            Phase::Call => "call",
            Phase::WrapUp => "wrap_up",
        }
    }

    pub fn from_name(name: &str) -> Option<Phase> {
        [Phase::Preview, Phase::Call, Phase::WrapUp]
            .into_iter()
            .find(|it| it.name() == name)
    }
}

/// Why a reservation was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReleaseReason {
    Reject,
    Cancel,
    AgentLost,
    Limit,
    Expired,
    Restart,
}

impl ReleaseReason {
    pub fn name(self) -> &'static str {
        match self {
            ReleaseReason::Reject => "reject",
            ReleaseReason::Cancel => "cancel",
            ReleaseReason::AgentLost => "agent_lost",
            ReleaseReason::Limit => "limit",
            ReleaseReason::Expired => "expired",
            ReleaseReason::Restart => "restart",
        }
    }
}

/// Who holds a lead by which token; `None` when nobody does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub token: FenceToken,
    pub agent: AgentId,
    pub phase: Phase,
}

/// A command may act only with the very token and agent that hold the lead.
pub fn may_act(holder: Option<&Holder>, token: FenceToken, agent: &AgentId) -> bool {
    holder.is_some_and(|it| it.token == token && it.agent == *agent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> UtcMs {
        UtcMs(s * 1_000)
    }

    #[test]
    fn a_reservation_outlives_the_countdown_by_ten_seconds() {
        let life = Life::start(&Preview::default(), at(0));
        assert_eq!((life.deadline, life.expires_at), (at(120), at(130)));
        assert!(!life.is_over(at(129)));
        assert!(life.is_over(at(130)));
    }

    #[test]
    fn a_card_is_extended_twice_by_a_minute_and_no_more() {
        let rules = Preview::default();
        let life = Life::start(&rules, at(0))
            .extend(&rules)
            .unwrap()
            .extend(&rules)
            .unwrap();
        assert_eq!(life.deadline, at(240));
        assert_eq!(life.extensions_left(&rules), 0);
        assert_eq!(life.extend(&rules), Err(ExtendRefusal::NoExtensionsLeft));
    }

    #[test]
    fn no_card_passes_the_ceiling() {
        let rules = Preview {
            limit_ms: 870_000,
            ..Preview::default()
        };
        let life = Life::start(&rules, at(0)).extend(&rules).unwrap();
        assert_eq!(life.deadline, at(900));
        assert_eq!(life.extend(&rules), Err(ExtendRefusal::AtCeiling));
        let unlimited = Preview {
            limit_ms: 0,
            ..Preview::default()
        };
        assert_eq!(Life::start(&unlimited, at(0)).deadline, at(900));
        assert_eq!(
            Life::start(&unlimited, at(0)).extensions_left(&unlimited),
            0
        );
    }

    #[test]
    fn only_the_present_token_of_the_present_agent_may_act() {
        let (me, other) = (AgentId::new("me"), AgentId::new("other"));
        let holder = Holder {
            token: FenceToken(7),
            agent: me.clone(),
            phase: Phase::Preview,
        };
        assert!(may_act(Some(&holder), FenceToken(7), &me));
        assert!(!may_act(Some(&holder), FenceToken(6), &me));
        assert!(!may_act(Some(&holder), FenceToken(7), &other));
        assert!(!may_act(None, FenceToken(7), &me));
    }
}
