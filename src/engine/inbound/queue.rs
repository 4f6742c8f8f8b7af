//! Callers in the order they came, and the agents who are free for them.

use std::time::Duration;

use super::ringing::Wanted;
use super::{Caller, Target};
use crate::agent::state::State;
use crate::engine::desk::Desk;
use crate::engine::switch::Switch;
use crate::engine::writes::Write;
use crate::id::{AgentId, CallId, CampaignId};
use crate::now::Now;
use crate::route::{Seated, Who};
use crate::store;

/// RFC 3261 21.1.2 to 21.1.4, 21.4.18, 21.4.24, 21.5.4.
const QUEUED: u16 = 182;
const NOBODY: u16 = 480;
const FULL: u16 = 486;
const STOPPING: u16 = 503;
/// The pause before a port that another worker has just closed is tried again.
const REOPEN_AFTER: Duration = Duration::from_millis(20);
const REOPENS_MAX: u8 = 25;

impl Switch {
    /// A route's step that wants an agent. Whether the caller waits or somebody is rung.
    pub(in crate::engine) fn caller_for_agents(
        &mut self,
        now: Now,
        id: CallId,
        seated: Seated,
    ) -> bool {
        if !self.caller_may_be_taken(id) {
            self.caller_refused(id, NOBODY);
            return false;
        }
        let target = match self.target_of(&seated) {
            Ok(target) => target,
            Err(status) => {
                self.inbound.counters.unserved += 1;
                self.caller_refused(id, status);
                return false;
            }
        };
        if target == Target::Asking {
            let e164 = self.caller_phone(id).map(|phone| phone.e164);
            let command = store::Command::LastAgent {
                e164: e164.unwrap_or_default(),
            };
            self.write(Write::LastAgent { caller: id }, command);
        }
        let until = now.instant + Duration::from_millis(seated.waiting.wait_ms);
        let waits = matches!(target, Target::Campaign(_));
        self.inbound.callers.push(Caller {
            id,
            target,
            until,
            ringing: None,
            reopen_at: None,
            reopens: 0,
        });
        if seated.waiting.answer && waits {
            self.caller_accepted(now, id);
        }
        self.offer(now);
        let rings = |it: &mut Caller| it.ringing.is_some();
        let rings = self.inbound.caller(id).is_some_and(rings);
        match seated.who {
            _ if rings => {}
            Who::Agent(_) => {
                self.inbound.remove(id);
                self.caller_refused(id, NOBODY);
                return false;
            }
            Who::LastAgent => {}
            Who::Campaign(_) | Who::Queue(_) => self.caller_told(now, id, QUEUED),
        }
        true
    }

    fn target_of(&self, seated: &Seated) -> Result<Target, u16> {
        if self.draining {
            return Err(STOPPING);
        }
        let campaign = match &seated.who {
            Who::Agent(agent) if self.is_free(agent) => return Ok(Target::Agent(agent.clone())),
            Who::Agent(_) => return Err(NOBODY),
            Who::LastAgent => return Ok(Target::Asking),
            Who::Campaign(campaign) | Who::Queue(campaign) => campaign,
        };
        let free = self.longest_ready(campaign).is_some();
        let target = Target::Campaign(campaign.clone());
        let waits = |it: &&Caller| it.target == target && it.ringing.is_none();
        let many = self.inbound.callers.iter().filter(waits).count();
        if !free && many >= seated.waiting.callers_max as usize {
            return Err(FULL);
        }
        let empty = matches!(seated.who, Who::Queue(_));
        match free || empty || self.works_for(campaign) {
            true => Ok(target),
            false => Err(NOBODY),
        }
    }

    /// The store knows who called this number last.
    pub(in crate::engine) fn last_agent_known(
        &mut self,
        now: Now,
        id: CallId,
        agent: Option<AgentId>,
    ) {
        let free = agent.filter(|agent| self.is_free(agent));
        let Some(caller) = self.inbound.caller(id) else {
            return;
        };
        match free {
            Some(agent) => {
                caller.target = Target::Agent(agent);
                self.offer(now);
                let silent = |it: &mut Caller| it.ringing.is_none();
                if self.inbound.caller(id).is_some_and(silent) {
                    self.caller_unserved(now, id, NOBODY);
                }
            }
            None => self.caller_unserved(now, id, NOBODY),
        }
    }

    /// Rings whoever is free for those who wait, the first caller first.
    pub(in crate::engine) fn offer(&mut self, now: Now) {
        if self.draining {
            return;
        }
        let waiting: Vec<(CallId, Target)> = self
            .inbound
            .callers
            .iter()
            .filter(|caller| caller.ringing.is_none() && caller.target != Target::Asking)
            .map(|caller| (caller.id, caller.target.clone()))
            .collect();
        for (id, target) in waiting {
            let agent = match target {
                Target::Campaign(campaign) => self.longest_ready(&campaign),
                Target::Agent(agent) => Some(agent),
                Target::Asking => None,
            };
            let Some(agent) = agent else { continue };
            if let Err(why) = self.ring_agent(now, &agent, Wanted::Caller(id)) {
                tracing::debug!(%agent, ?why, "not free for a caller");
            }
        }
    }

    fn longest_ready(&self, campaign: &CampaignId) -> Option<AgentId> {
        let works = |desk: &Desk| desk.profile.campaigns.contains(campaign);
        self.desks
            .iter()
            .filter(|(agent, desk)| works(desk) && self.is_free(agent))
            .min_by_key(|(_, desk)| desk.agent.since())
            .map(|(agent, _)| agent.clone())
    }

    /// Somebody is signed in for it, busy or not.
    fn works_for(&self, campaign: &CampaignId) -> bool {
        let here = |desk: &Desk| *desk.agent.state() != State::LoggedOut;
        let works = |desk: &Desk| desk.profile.campaigns.contains(campaign);
        self.desks.values().any(|desk| here(desk) && works(desk))
    }

    /// Her seat rings no more and the caller is still there: somebody else, or his route goes on.
    pub(super) fn caller_waits_again(&mut self, now: Now, id: CallId) {
        let Some(caller) = self.inbound.caller(id) else {
            return;
        };
        caller.ringing = None;
        let goes_on = match caller.target {
            Target::Campaign(_) => caller.until > now.instant,
            Target::Agent(_) | Target::Asking => false,
        };
        if self.draining {
            return self.caller_unserved(now, id, STOPPING);
        }
        if !goes_on {
            return self.caller_unserved(now, id, NOBODY);
        }
        self.offer(now);
        if self
            .inbound
            .caller(id)
            .is_some_and(|it| it.ringing.is_none())
        {
            self.caller_told(now, id, QUEUED);
        }
    }

    /// His route goes on without an agent.
    pub(super) fn caller_unserved(&mut self, now: Now, id: CallId, status: u16) {
        if self.inbound.remove(id).is_some() {
            self.inbound.counters.unserved += 1;
            self.caller_refused(id, status);
            self.caller_goes_on(now, id);
        }
    }

    /// The caller hung up, or his call was ended from here.
    pub(in crate::engine) fn caller_gone(&mut self, now: Now, id: CallId) {
        let Some(caller) = self.inbound.remove(id) else {
            return;
        };
        self.inbound.counters.abandoned += 1;
        if let Some(agent) = caller.ringing {
            self.ring_over(now, &agent, store::RingEnd::Abandoned);
        }
    }

    /// The switch drains: who waits is sent away, who rings may still be answered.
    pub(in crate::engine) fn send_callers_away(&mut self, now: Now) {
        let waiting: Vec<CallId> = self
            .inbound
            .callers
            .iter()
            .filter(|caller| caller.ringing.is_none())
            .map(|caller| caller.id)
            .collect();
        for id in waiting {
            self.caller_unserved(now, id, STOPPING);
        }
    }

    pub(in crate::engine) fn callers_timeout(&mut self, now: Now) {
        let callers = &mut self.inbound.callers;
        let reopened = |caller: &mut Caller| {
            let due = caller.reopen_at.take_if(|at| *at <= now.instant);
            due.map(|_| caller.id)
        };
        let reopened: Vec<CallId> = callers.iter_mut().filter_map(reopened).collect();
        let over = |caller: &&Caller| {
            let waits = matches!(caller.target, Target::Campaign(_)) && caller.ringing.is_none();
            waits && caller.until <= now.instant
        };
        let over: Vec<CallId> = callers.iter().filter(over).map(|it| it.id).collect();
        for id in reopened {
            self.caller_leg_opened_again(id);
        }
        for id in over {
            self.caller_unserved(now, id, NOBODY);
        }
    }

    /// Whether the port of a leg that has just moved is tried again.
    pub(in crate::engine) fn port_tried_again(&mut self, now: Now, id: CallId) -> bool {
        let Some(caller) = self.inbound.caller(id) else {
            return false;
        };
        if caller.reopens >= REOPENS_MAX {
            return false;
        }
        caller.reopens += 1;
        caller.reopen_at = Some(now.instant + REOPEN_AFTER);
        true
    }
}
