//! Who is offered which lead: the order of classes, and the order in a class.

use super::lead::{LeadState, WaitKind};
use crate::id::{AgentId, LeadId};
use crate::now::UtcMs;
use std::cmp::Reverse;
use std::time::Duration;

/// The classes, first served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    CallbackPersonal,
    CallbackAny,
    Retry,
    New,
}

impl Class {
    pub const ORDER: [Class; 4] = [
        Class::CallbackPersonal,
        Class::CallbackAny,
        Class::Retry,
        Class::New,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Class::CallbackPersonal => "callback_personal",
            Class::CallbackAny => "callback_any",
            Class::Retry => "retry",
            Class::New => "new",
        }
    }

    /// The class of a lead for this agent, or `None` when it is not due or not theirs.
    pub fn of(state: &LeadState, agent: &AgentId, now: UtcMs, grace_ms: u64) -> Option<Class> {
        match state {
            LeadState::Ready => Some(Class::New),
            LeadState::Waiting { not_before, .. } if *not_before > now => None,
            LeadState::Waiting { not_before, kind } => match kind {
                WaitKind::Retry => Some(Class::Retry),
                WaitKind::CallbackAny => Some(Class::CallbackAny),
                WaitKind::CallbackPersonal(owner) if owner == agent => {
                    Some(Class::CallbackPersonal)
                }
                WaitKind::CallbackPersonal(_) => {
                    let is_anybodys = not_before.plus(Duration::from_millis(grace_ms)) <= now;
                    is_anybodys.then_some(Class::CallbackAny)
                }
            },
            _ => None,
        }
    }
}

/// The place of a lead inside its class: smaller is sooner.
pub fn place(priority: i64, due: Option<UtcMs>, lead: LeadId) -> impl Ord {
    (Reverse(priority), due, lead)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(at: i64, kind: WaitKind) -> LeadState {
        LeadState::Waiting {
            not_before: UtcMs(at),
            kind,
        }
    }

    #[test]
    fn callbacks_come_before_retries_and_retries_before_new_leads() {
        let me = AgentId::new("me");
        let class = |state: &LeadState| Class::of(state, &me, UtcMs(100), 15);
        let mine = waiting(90, WaitKind::CallbackPersonal(me.clone()));
        let any = waiting(90, WaitKind::CallbackAny);
        let retry = waiting(90, WaitKind::Retry);
        let order = [&mine, &any, &retry, &LeadState::Ready].map(class);
        assert_eq!(order, Class::ORDER.map(Some));
        assert!(order.is_sorted());
        assert_eq!(class(&waiting(101, WaitKind::Retry)), None);
        assert_eq!(class(&LeadState::Dialing), None);
    }

    #[test]
    fn anothers_callback_is_anybodys_only_after_the_grace() {
        let owner = WaitKind::CallbackPersonal(AgentId::new("other"));
        let state = waiting(90, owner);
        let at = |now| Class::of(&state, &AgentId::new("me"), UtcMs(now), 15);
        assert_eq!(at(104), None);
        assert_eq!(at(105), Some(Class::CallbackAny));
    }

    #[test]
    fn priority_goes_first_then_the_due_time_then_the_id() {
        let urgent = place(5, Some(UtcMs(9)), LeadId(9));
        let early = place(0, Some(UtcMs(1)), LeadId(8));
        let late = place(0, Some(UtcMs(2)), LeadId(1));
        let later_id = place(0, Some(UtcMs(2)), LeadId(2));
        assert!(urgent < early && early < late && late < later_id);
    }
}
