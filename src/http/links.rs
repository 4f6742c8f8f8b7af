//! One-time sign-in links: made by the operator, good once and for ten minutes.

use super::sessions::{Digest256, digest, new_token};
use crate::id::AgentId;
use crate::now::UtcMs;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub const LINK_LIFE: Duration = Duration::from_secs(600);
/// Links waiting at once; the one nearest its end makes room.
const LINKS_MAX: usize = 1_000;

#[derive(Default)]
pub struct Links {
    waiting: Mutex<HashMap<Digest256, (AgentId, UtcMs)>>,
}

impl Links {
    /// The token of a new link: `/signin?token=…`.
    pub fn issue(&self, agent: &AgentId, now: UtcMs) -> String {
        let token = new_token();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, (_, expires)| *expires > now);
        if waiting.len() >= LINKS_MAX {
            let oldest = waiting
                .iter()
                .min_by_key(|(_, (_, expires))| *expires)
                .map(|(digest, _)| *digest);
            oldest.map(|digest| waiting.remove(&digest));
        }
        waiting.insert(digest(&token), (agent.clone(), now.plus(LINK_LIFE)));
        token
    }

    /// Whose link it is; it is used up by asking.
    pub fn redeem(&self, token: &str, now: UtcMs) -> Option<AgentId> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (agent, expires) = waiting.remove(&digest(token))?;
        (expires > now).then_some(agent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_works_once() {
        let links = Links::default();
        let agent = AgentId::new("li.wei");
        let token = links.issue(&agent, UtcMs(0));
        let other = links.issue(&AgentId::new("ana"), UtcMs(0));
        assert_eq!(links.redeem("guess", UtcMs(1)), None);
        assert_eq!(links.redeem(&token, UtcMs(1)), Some(agent));
        assert_eq!(links.redeem(&token, UtcMs(1)), None);
        assert_eq!(links.redeem(&other, UtcMs(1)), Some(AgentId::new("ana")));
    }

    #[test]
    fn a_link_is_too_late_after_ten_minutes() {
        let links = Links::default();
        let token = links.issue(&AgentId::new("ana"), UtcMs(0));
        assert_eq!(links.redeem(&token, UtcMs(600_000)), None);
    }

    #[test]
    fn links_that_nobody_uses_do_not_pile_up() {
        let links = Links::default();
        let first = links.issue(&AgentId::new("ana"), UtcMs(0));
        for at in 0..LINKS_MAX {
            links.issue(&AgentId::new("ana"), UtcMs(1 + i64::try_from(at).unwrap()));
        }
        assert_eq!(links.waiting.lock().unwrap().len(), LINKS_MAX);
        assert_eq!(links.redeem(&first, UtcMs(2)), None);
    }
}
