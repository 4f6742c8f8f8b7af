//! A trunk's 3xx (RFC 3261 §8.1.3.4), where its `redirects` say that they are followed: the call
//! goes on as by another of its ways, under the same limits and rules as before.

use super::switch::Switch;
use super::trunk_call::{Way, Ways};
use crate::now::Now;
use crate::sip::{RedirectContact, SessionId};
use crate::trunk::{Redirects, elsewhere};

/// Calls that wait for the failure that follows their 3xx; there are never more than a few.
const WAITING_MAX: usize = 1_024;

impl Switch {
    /// What a 3xx names; the failure of the same session follows at once.
    pub(super) fn note_redirect(&mut self, session: SessionId, contacts: Vec<RedirectContact>) {
        if self.trunks.redirected.len() >= WAITING_MAX {
            self.trunks.redirected.clear();
        }
        self.trunks.redirected.insert(session, contacts);
    }

    /// Opens the ways a 3xx names, before all others; whether there is any. `may_call` says whether
    /// the caller may be put through to another number than he called.
    pub(super) fn open_redirect(
        &mut self,
        now: Now,
        session: SessionId,
        way: &Way,
        called: &str,
        ways: &mut Ways,
        may_call: impl Fn(&Switch, &str) -> bool,
    ) -> bool {
        let Some(contacts) = self.trunks.redirected.remove(&session) else {
            return false;
        };
        let Some(trunk) = self.config.trunks.get(&way.trunk) else {
            return false;
        };
        if trunk.redirects == Redirects::Refuse {
            return false;
        }
        let (domain, rule) = (trunk.domain.clone(), trunk.number.clone());
        let Some(carrier) = self.trunks.carriers.get_mut(&way.trunk) else {
            return false;
        };
        let order = carrier.order(now.instant);
        let servers: Vec<_> = order.iter().map(|(server, _)| *server).collect();
        let found = elsewhere(&contacts, &servers, &domain, &rule);
        let allowed = found
            .into_iter()
            .filter(|it| it.number == called || may_call(self, &it.number));
        let wanted: Vec<_> = allowed.collect();
        let opened = ways.redirect(way, called, wanted, &servers);
        tracing::info!(trunk = %way.trunk, opened, "a trunk sends the call elsewhere");
        opened > 0
    }
}
