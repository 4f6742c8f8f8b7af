//! What the switch does by itself when time passes.

use std::time::Instant;

use super::call::Phase;
use super::desk::Ask;
use super::inbound::ringing::RungPhase;
use super::switch::Switch;
use super::writes::{AfterCard, Answer, Write};
use crate::agent::seat::Seat;
use crate::agent::state::{Reason, State};
use crate::call::result::{CallResult, CancelledBy};
use crate::dialer::reservation::ReleaseReason;
use crate::id::{AgentId, CallId};
use crate::now::{Now, UtcMs};
use crate::store;

/// A deadline of a desk or a call, by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Preview,
    WrapUp,
    AskAgain,
    SeatLost,
    Deserted,
    Ring,
}

impl Switch {
    pub fn poll_timeout(&self, now: Now) -> Option<(Instant, &'static str)> {
        let desks = self
            .desks
            .keys()
            .flat_map(|agent| self.desk_deadlines(agent, now));
        let desks = desks.map(|(at, due)| (at, due.name()));
        let calls = self.calls.values().filter_map(|call| match call.phase {
            Phase::Inviting { ring_until, .. } => Some((ring_until, "ring limit")),
            _ => None,
        });
        let thirds = self.calls.values().filter_map(|call| {
            let at = call.third.as_ref()?.deadline?;
            Some((at, "third party"))
        });
        let moved = self.calls.values().filter_map(|call| {
            let at = call.reopen?.at?;
            Some((at, "a moved leg"))
        });
        let writes = self.write_again.iter().map(|(at, ..)| (*at, "write again"));
        let sip = self.sip.poll_timeout();
        let expire = Some((self.expire_at, "leases"));
        desks
            .chain(expire)
            .chain(calls)
            .chain(thirds)
            .chain(moved)
            .chain(writes)
            .chain(self.through.poll_timeout())
            .chain(self.phone_seats.poll_timeout())
            .chain(self.inbound.poll_timeout())
            .chain(sip)
            .chain(self.trunks.poll_timeout())
            .chain(self.unsaved.poll_timeout())
            .min_by_key(|(at, _)| *at)
    }

    pub fn handle_timeout(&mut self, now: Now) {
        self.sip.handle_timeout(now);
        self.settle(now);
        for agent in self.desks.keys().cloned().collect::<Vec<_>>() {
            let due: Vec<Due> = self
                .desk_deadlines(&agent, now)
                .filter(|(at, _)| *at <= now.instant)
                .map(|(_, due)| due)
                .collect();
            for due in due {
                self.desk_due(now, &agent, due);
            }
        }
        self.trunks_timeout(now);
        self.ring_limits(now);
        self.third_limits(now);
        self.through_timeout(now);
        self.phone_seats_timeout(now);
        self.callers_timeout(now);
        self.moved_legs_timeout(now);
        self.expire_leases(now);
        self.write_again(now);
        self.save_due_bindings(now);
        self.settle(now);
    }

    fn desk_deadlines(
        &self,
        agent: &AgentId,
        now: Now,
    ) -> impl Iterator<Item = (Instant, Due)> + use<> {
        let mut deadlines = [None; 5];
        if let Some(desk) = self.desks.get(agent) {
            deadlines[0] = match *desk.agent.state() {
                State::Previewing { deadline, .. } if !desk.leaving() => {
                    Some((desk.not_before(at(now, deadline)), Due::Preview))
                }
                State::WrapUp { deadline } if !desk.leaving() => {
                    Some((desk.not_before(at(now, deadline)), Due::WrapUp))
                }
                _ => None,
            };
            deadlines[1] = match desk.ask {
                Ask::AgainAt(again) => Some((again, Due::AskAgain)),
                _ => None,
            };
            deadlines[2] = match desk.seat {
                Seat::Lost { until } => Some((until, Due::SeatLost)),
                _ => None,
            };
            deadlines[4] = desk.rung.as_ref().and_then(|rung| match rung.phase {
                RungPhase::Ringing { .. } => Some((rung.until, Due::Ring)),
                RungPhase::Committing { .. } | RungPhase::Taking => None,
            });
            deadlines[3] = desk
                .deserted_since
                .map(|since| (since + self.config.limits.desk_grace, Due::Deserted));
        }
        deadlines.into_iter().flatten()
    }

    fn desk_due(&mut self, now: Now, agent: &AgentId, due: Due) {
        match due {
            Due::Preview => self.preview_over(agent),
            Due::WrapUp => self.wrap_up_over(agent),
            Due::AskAgain => {
                if let Some(desk) = self.desk(agent) {
                    desk.ask = Ask::Idle;
                }
                self.ask_for_card(now, agent);
            }
            Due::SeatLost => self.seat_given_up(now, agent),
            Due::Deserted => self.deserted(now, agent),
            Due::Ring => self.ring_over(now, agent, store::RingEnd::Missed),
        }
    }

    /// The card went unanswered: record back, agent NOT_READY.
    fn preview_over(&mut self, agent: &AgentId) {
        self.release_card(
            agent,
            ReleaseReason::Limit,
            AfterCard::NotReady(Reason::PREVIEW_TIMEOUT),
        );
    }

    /// An unanswered call accepts its filled-in result; an answered one waits in the list.
    fn wrap_up_over(&mut self, agent: &AgentId) {
        let Some(token) = self
            .desks
            .get(agent)
            .and_then(|desk| Some(desk.card.as_ref()?.token))
        else {
            return;
        };
        let key = format!("wrap-up-{token}");
        self.write_disposition(agent, token, key, Answer::default(), true, None);
    }

    fn seat_given_up(&mut self, now: Now, agent: &AgentId) {
        if let Some(desk) = self.desk(agent) {
            desk.seat = Seat::Absent;
        }
        if self.leaves_without_agent(agent) {
            return;
        }
        let Some(call) = self.live_call(agent) else {
            return;
        };
        let (id, alerted) = (call.id, call.progress.has_alerted());
        match call.phase {
            Phase::Answered { .. } => {
                self.hang_up_customer(
                    now,
                    id,
                    CallResult::Connected,
                    "the agent did not come back",
                    store::EndedBy::System,
                );
            }
            _ => {
                let result = CallResult::from_final(487, None, alerted, Some(CancelledBy::Agent));
                self.hang_up_customer(
                    now,
                    id,
                    result,
                    "the agent's browser was closed",
                    store::EndedBy::Agent,
                );
            }
        }
    }

    /// No page for the whole grace: the card goes back uncounted, the agent is signed out.
    pub(super) fn deserted(&mut self, now: Now, agent: &AgentId) {
        let Some(desk) = self.desk(agent) else { return };
        desk.deserted_since = None;
        desk.agent.log_out(now.utc);
        let state = desk.agent.state().clone();
        match state {
            State::Previewing { .. } => {
                self.release_card(agent, ReleaseReason::AgentLost, AfterCard::Next);
            }
            State::LoggedOut => {
                if let Some(desk) = self.desk(agent) {
                    desk.waiting = None;
                    desk.ask = Ask::Idle;
                }
            }
            // A call is the seat's affair; wrap-up has its own limit.
            _ => {}
        }
    }

    pub(super) fn release_card(&mut self, agent: &AgentId, why: ReleaseReason, after: AfterCard) {
        let Some(desk) = self.desk(agent) else { return };
        let Some(card) = &mut desk.card else { return };
        card.leaving = true;
        let token = card.token;
        let command = store::Command::Release {
            token,
            agent: agent.clone(),
            why,
        };
        self.write(
            Write::LeaveCard {
                agent: agent.clone(),
                token,
                after,
                reply: None,
            },
            command,
        );
    }

    fn ring_limits(&mut self, now: Now) {
        let over: Vec<(CallId, bool)> = self
            .calls
            .values()
            .filter(|call| matches!(call.phase, Phase::Inviting { ring_until, .. } if ring_until <= now.instant))
            .map(|call| (call.id, call.progress.has_alerted()))
            .collect();
        for (id, alerted) in over {
            let result = CallResult::from_final(487, None, alerted, Some(CancelledBy::RingLimit));
            self.hang_up_customer(now, id, result, "ring limit", store::EndedBy::System);
        }
    }

    /// The switch gives cards back in time by itself; this is for leases it does not know of.
    fn expire_leases(&mut self, now: Now) {
        if self.expire_at <= now.instant {
            self.expire_at = now.instant + self.config.limits.expire_every;
            self.write(Write::Expire, store::Command::ExpireReservations);
        }
    }

    fn write_again(&mut self, now: Now) {
        let (due, later) = std::mem::take(&mut self.write_again)
            .into_iter()
            .partition(|(at, ..)| *at <= now.instant);
        self.write_again = later;
        for (_, write, command) in due {
            self.write(write, command);
        }
    }

    pub(super) fn presence(&mut self, now: Now, agent: &AgentId, tab: u64, present: bool) {
        let Some(desk) = self.desk(agent) else { return };
        if present {
            desk.tabs.insert(tab);
            desk.deserted_since = None;
            desk.agent.sign_in(now.utc);
        } else if desk.tabs.remove(&tab) && desk.tabs.is_empty() {
            desk.deserted_since = Some(now.instant);
        }
    }

    /// No new work from now on, and every page says so.
    pub(super) fn drain(&mut self) {
        self.draining = true;
        for agent in self.desks.keys().cloned().collect::<Vec<_>>() {
            // Marks the desk as changed.
            self.desk(&agent);
        }
    }

    /// The process is about to stop: every far end is told.
    pub(super) fn end_everything(&mut self, now: Now) {
        self.draining = true;
        self.leave_registrars(now, |_| false);
        let live: Vec<(CallId, bool, bool)> = self
            .calls
            .values()
            .filter(|call| !call.is_ended())
            .map(|call| (call.id, call.is_answered(), call.progress.has_alerted()))
            .collect();
        for (id, answered, alerted) in live {
            let result = match answered {
                true => CallResult::Connected,
                false => CallResult::from_final(487, None, alerted, Some(CancelledBy::Agent)),
            };
            self.hang_up_customer(
                now,
                id,
                result,
                "the switch was stopped",
                store::EndedBy::System,
            );
        }
        self.end_throughs(now);
        self.save_all_bindings(now);
        for session in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.sip.hang_up(now, session, Some("SIP;text=\"stopped\""));
        }
    }
}

impl super::desk::Desk {
    /// A deadline, put off while the store cannot take the card's answer.
    fn not_before(&self, deadline: Instant) -> Instant {
        let again = self.card.as_ref().and_then(|card| card.again_at);
        again.map_or(deadline, |again| again.max(deadline))
    }

    /// Its card has been answered and only the store's word is outstanding.
    fn leaving(&self) -> bool {
        self.card.as_ref().is_some_and(|card| card.leaving)
    }
}

impl Due {
    fn name(self) -> &'static str {
        match self {
            Due::Preview => "preview limit",
            Due::WrapUp => "wrap-up limit",
            Due::AskAgain => "ask again",
            Due::SeatLost => "seat lost",
            Due::Deserted => "desk deserted",
            Due::Ring => "an agent's ring limit",
        }
    }
}

/// A wall-clock deadline as an instant, seen from `now`.
fn at(now: Now, deadline: UtcMs) -> Instant {
    now.instant + std::time::Duration::from_millis(deadline.ms_since(now.utc))
}
