//! One outgoing call and the ways it may take: server after server, trunk after trunk. Any owner
//! may use it, an agent's dial or a call that passes through: it opens the ways, takes the next
//! one, plans and sends the INVITE there, and asks what a failure means.
//!
//! Silence costs a call at most [`SILENCE`] before the last way is tried, however many there are.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::switch::Switch;
use crate::dialer::campaign::Route;
use crate::id::TrunkId;
use crate::now::Now;
use crate::sip::{Body, InvitePlan, InviteTimers, NameAddr, Reason, SessionId};
use crate::trunk::{Elsewhere, Failure, Full, HOPS_MAX, Next, Slot, Turn};

/// Servers one call is offered to at most.
const WAYS_MAX: usize = 8;
/// All the silence before the last way is tried: with its ringing below 4 s.
const SILENCE: Duration = Duration::from_millis(3_000);
/// The least patience with one server: the INVITE and one repetition.
const PATIENCE_MIN: Duration = Duration::from_millis(600);

/// The way a call takes now. It holds one of the trunk's places until [`Switch::leave_way`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub trunk: TrunkId,
    /// E.164.
    pub caller_id: String,
    pub server: SocketAddr,
    /// E.164, where the carrier sent the call to another number.
    pub number: Option<String>,
    slot: Slot,
}

/// What is left to try.
#[derive(Clone, Debug)]
pub(super) struct Ways {
    open: VecDeque<Open>,
    /// When the last one is to be tried at the latest.
    last_at: Instant,
    /// Why a trunk was passed over.
    pub full: Option<Full>,
    /// An emergency: no limit holds.
    anyway: bool,
    /// Redirections followed, and where the call has been: nowhere twice.
    hops: u8,
    been: Vec<(SocketAddr, String)>,
}

#[derive(Clone, Debug)]
struct Open {
    trunk: TrunkId,
    caller_id: String,
    server: SocketAddr,
    number: Option<String>,
}

/// A final answer that was none, as the trunk's room judges it.
pub(super) fn failure(
    status: u16,
    reason: &Reason,
    retry_after_s: Option<u32>,
    local: bool,
) -> Failure {
    Failure {
        status,
        q850: reason.q850,
        retry_after: retry_after_s.map(|span| Duration::from_secs(span.into())),
        local,
        alerted: false,
    }
}

impl Ways {
    /// How long silence is borne on the way just taken, when the last one of all bears `last`.
    pub(super) fn patience(&self, now: Now, last: Duration) -> Duration {
        let Ok(after @ 1..) = u32::try_from(self.open.len()) else {
            return last;
        };
        let share = self.last_at.saturating_duration_since(now.instant) / after;
        share.max(PATIENCE_MIN).min(last)
    }

    /// Where a 3xx on `way` leads goes before all that is left; how many that are.
    pub(super) fn redirect(
        &mut self,
        way: &Way,
        called: &str,
        wanted: Vec<Elsewhere>,
        servers: &[SocketAddr],
    ) -> usize {
        let number = way.number.as_deref().unwrap_or(called);
        self.been.push((way.server, number.to_owned()));
        if self.hops >= HOPS_MAX {
            return 0;
        }
        self.hops += 1;
        let mut opened = 0;
        for Elsewhere { server, number } in wanted.into_iter().rev() {
            // The first server of the carrier's that has not been asked for this number.
            let mut open = server
                .iter()
                .chain(servers.iter().filter(|_| server.is_none()));
            let been = |at: &SocketAddr| self.been.contains(&(*at, number.clone()));
            let Some(server) = open.find(|at| !been(at)).copied() else {
                continue;
            };
            self.open.push_front(Open {
                trunk: way.trunk.clone(),
                caller_id: way.caller_id.clone(),
                server,
                number: (number != called).then_some(number),
            });
            opened += 1;
        }
        opened
    }

    /// No other server of this trunk.
    fn without(&mut self, trunk: &TrunkId) {
        self.open.retain(|open| open.trunk != *trunk);
    }
}

impl Switch {
    /// Every server of these routes, best first: in the order of the routes and of each trunk's
    /// own; those that are down after all that are up. With `anyway` no limit holds and a wish to
    /// be left alone is none.
    pub(super) fn open_ways(&mut self, now: Now, routes: &[Route], anyway: bool) -> Ways {
        let (mut open, mut down) = (VecDeque::new(), Vec::new());
        for route in routes {
            let Some(carrier) = self.trunks.carriers.get_mut(&route.trunk) else {
                continue;
            };
            let order = match anyway {
                true => carrier.order_anyway(),
                false => carrier.order(now.instant),
            };
            for (server, is_up) in order {
                let one = Open {
                    trunk: route.trunk.clone(),
                    caller_id: route.caller_id.clone(),
                    server,
                    number: None,
                };
                match is_up {
                    true => open.push_back(one),
                    false => down.push(one),
                }
            }
        }
        open.extend(down);
        open.truncate(WAYS_MAX);
        Ways {
            open,
            last_at: now.instant + SILENCE,
            full: None,
            anyway,
            hops: 0,
            been: Vec::new(),
        }
    }

    /// The next way with room on its trunk; `left` is the one that has failed, whose place goes
    /// along or back. `None`: there is no other, and `left` keeps its place until it is left.
    pub(super) fn next_way(
        &mut self,
        now: Now,
        ways: &mut Ways,
        left: Option<&Way>,
    ) -> Option<Way> {
        while let Some(open) = ways.open.pop_front() {
            let Some(carrier) = self.trunks.carriers.get_mut(&open.trunk) else {
                continue;
            };
            let same = left.filter(|way| way.trunk == open.trunk);
            let taken = match same {
                Some(way) if ways.anyway => Ok(way.slot),
                None if ways.anyway => Ok(carrier.take_anyway()),
                Some(way) => carrier.take_invite(now.instant).map(|()| way.slot),
                None => carrier.take(now.instant),
            };
            let slot = match taken {
                Ok(slot) => slot,
                Err(full) => {
                    ways.full = Some(full);
                    ways.without(&open.trunk);
                    continue;
                }
            };
            if let Some(way) = left {
                if let Some(carrier) = self.trunks.carriers.get_mut(&way.trunk) {
                    carrier.failed_over();
                }
                if same.is_none() {
                    self.leave_way(way);
                }
            }
            return Some(Way {
                trunk: open.trunk,
                caller_id: open.caller_id,
                server: open.server,
                number: open.number,
                slot,
            });
        }
        None
    }

    /// Fixes the INVITE to an E.164 number on this way, so that it can be stored first.
    pub(super) fn plan_way(&mut self, way: &Way, number: &str) -> Option<InvitePlan> {
        let flow = self.trunk_flow(&way.trunk, way.server);
        let trunk = self.config.trunks.get(&way.trunk)?;
        let called = trunk.request_uri(way.number.as_deref().unwrap_or(number));
        let caller = trunk.number.write(&way.caller_id);
        let from = trunk.identity.outgoing(&caller, &trunk.domain).from;
        let to = NameAddr::new(None, &called);
        Some(self.sip.plan_invite(&called, from, to, &flow))
    }

    /// The INVITE leaves.
    pub(super) fn invite_way(
        &mut self,
        now: Now,
        way: &Way,
        ways: &Ways,
        plan: InvitePlan,
        mut headers: Vec<(String, String)>,
        body: Option<Body>,
    ) -> SessionId {
        let (mut credentials, mut timers) = (None, InviteTimers::default());
        if let Some(trunk) = self.config.trunks.get(&way.trunk) {
            let caller = trunk.number.write(&way.caller_id);
            headers.extend(trunk.identity.outgoing(&caller, &trunk.domain).headers);
            credentials = trunk.credentials.clone();
            timers = trunk.timers(Some(ways.patience(now, trunk.invite_timeout)));
        }
        self.way_invited(way);
        self.sip
            .invite(now, plan, headers, body, credentials, timers)
    }

    pub(super) fn way_invited(&mut self, way: &Way) {
        if let Some(carrier) = self.trunks.carriers.get_mut(&way.trunk) {
            carrier.invited();
        }
    }

    /// The server speaks for itself: a provisional answer.
    pub(super) fn way_alive(&mut self, way: &Way) {
        let carrier = self.trunks.carriers.get_mut(&way.trunk);
        let turn = carrier.and_then(|carrier| carrier.alive(way.server));
        self.server_turned(&way.trunk, way.server, turn);
    }

    pub(super) fn way_answered(&mut self, way: &Way) {
        let carrier = self.trunks.carriers.get_mut(&way.trunk);
        let turn = carrier.and_then(|carrier| carrier.answered(way.server));
        self.server_turned(&way.trunk, way.server, turn);
    }

    /// What a failure means; a refusal that each of a trunk's servers would repeat closes them all.
    pub(super) fn way_failed(
        &mut self,
        now: Now,
        way: &Way,
        ways: &mut Ways,
        failure: &Failure,
        words: &str,
    ) -> Next {
        let Some(carrier) = self.trunks.carriers.get_mut(&way.trunk) else {
            return Next::Nothing;
        };
        let (next, turn) = carrier.failed(now.instant, way.server, failure, words);
        self.server_turned(&way.trunk, way.server, turn);
        if next == Next::Trunk {
            ways.without(&way.trunk);
        }
        if next != Next::Nothing {
            tracing::warn!(trunk = %way.trunk, server = %way.server, words, "trunk failure");
        }
        next
    }

    /// The call is over: its place on the trunk is free. A second time changes nothing.
    pub(super) fn leave_way(&mut self, way: &Way) {
        if let Some(carrier) = self.trunks.carriers.get_mut(&way.trunk) {
            carrier.give_back(way.slot);
        }
    }

    pub(super) fn server_turned(&self, trunk: &TrunkId, server: SocketAddr, turn: Option<Turn>) {
        match turn {
            Some(Turn::Up) => tracing::info!(%trunk, %server, "trunk server is up"),
            Some(Turn::Down) => tracing::warn!(%trunk, %server, "trunk server is down"),
            None => {}
        }
    }
}
