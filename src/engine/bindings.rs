//! Registrations outlive the process (RFC 3261 §10.3): who has changed is noted, and written in
//! batches beside what else is on its way to the disk. A REGISTER waits for nothing; a crash may
//! cost the last second of them. Connections die with the process, so only UDP is kept.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::switch::Switch;
use super::writes::Write;
use crate::now::{Now, UtcMs};
use crate::sip::{Flow, SavedBinding};
use crate::store;
use crate::store::command::Bound;

/// Changes are gathered this long.
const GATHER: Duration = Duration::from_millis(500);
/// Users in one write, so that no call's commit waits long behind it, and the pause before the
/// next one.
const BATCH_MAX: usize = 500;
const PAUSE: Duration = Duration::from_millis(20);

/// Whose bindings are on disk no more as they are.
#[derive(Default)]
pub(super) struct Unsaved {
    users: BTreeSet<String>,
    at: Option<Instant>,
}

impl Unsaved {
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.at.map(|at| (at, "registrations"))
    }
}

impl Switch {
    /// Something changed about where `aor` (`user@host`) can be reached.
    pub(super) fn binding_changed(&mut self, now: Now, aor: &str) {
        let user = aor.rsplit_once('@').map_or("", |(user, _)| user);
        self.note_unsaved(now.instant + GATHER, [user.to_owned()]);
    }

    fn note_unsaved(&mut self, at: Instant, users: impl IntoIterator<Item = String>) {
        self.unsaved.users.extend(users);
        self.unsaved.at.get_or_insert(at);
    }

    pub(super) fn save_due_bindings(&mut self, now: Now) {
        if self.unsaved.at.is_some_and(|at| at <= now.instant) {
            self.save_bindings(now);
        }
    }

    /// Everything that is not on disk yet, before the process stops.
    pub(super) fn save_all_bindings(&mut self, now: Now) {
        while !self.unsaved.users.is_empty() {
            self.save_bindings(now);
        }
    }

    fn save_bindings(&mut self, now: Now) {
        let mut users = Vec::new();
        while users.len() < BATCH_MAX
            && let Some(user) = self.unsaved.users.pop_first()
        {
            users.push(user);
        }
        let rest = !self.unsaved.users.is_empty();
        self.unsaved.at = rest.then_some(now.instant + PAUSE);
        if users.is_empty() {
            return;
        }
        let bound = |user: &String| {
            let saved = self.sip.saved_bindings_of(now, user);
            Bound {
                user: user.clone(),
                until: saved
                    .iter()
                    .map(|one| one.expires_utc)
                    .max()
                    .unwrap_or(UtcMs(0)),
                lines: saved.iter().map(SavedBinding::to_text).collect(),
            }
        };
        let changed = users.iter().map(bound).collect();
        let command = store::Command::SaveBindings { changed };
        self.write(Write::Bindings { users }, command);
    }

    /// The store could not: they are written again as they will be then.
    pub(super) fn bindings_not_saved(&mut self, now: Now, users: Vec<String>) {
        let at = now.instant + self.config.limits.write_again;
        self.note_unsaved(at, users);
    }

    /// At start: the phones an earlier process left, as far as their time has not run out. How
    /// many came back.
    pub fn restore_bindings(&mut self, now: Now, lines: &[String]) -> usize {
        let read = lines.iter().filter_map(|line| {
            let saved = SavedBinding::from_text(line)?;
            let flow = self.again(saved.flow);
            Some(SavedBinding { flow, ..saved })
        });
        let read = read.collect();
        self.sip.restore_bindings(now, read)
    }

    /// The sockets may be others than before.
    fn again(&self, flow: Flow) -> Flow {
        match self.config.ways.has(&flow) {
            true => flow,
            false => self.udp_flow(flow.remote),
        }
    }
}
