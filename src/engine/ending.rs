//! The end of a call: whoever comes first decides the one result, and everything the call held
//! is given back.

use std::time::Duration;

use super::call::{Call, Phase};
use super::commands::no_call;
use super::handle::Problem;
use super::media_worker::MediaCommand;
use super::switch::Switch;
use super::writes::Write;
use crate::agent::seat::Seat;
use crate::call::result::{CallResult, CancelledBy};
use crate::id::{AgentId, CallId};
use crate::now::Now;
use crate::store;

/// How a call came to its end, as the network and the agent told it.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub result: CallResult,
    pub detail: String,
    pub status: Option<u16>,
    pub q850: Option<u16>,
    pub by: store::EndedBy,
}

impl Switch {
    pub(super) fn agent_hangs_up(&mut self, now: Now, agent: &AgentId) -> Result<(), Problem> {
        let call = self.live_call_mut(agent)?;
        let id = call.id;
        match &mut call.phase {
            Phase::Committing { given_up, .. } => *given_up = true,
            Phase::Inviting { .. } | Phase::FailingOver { .. } => {
                let (status, alerted) = (487, call.progress.has_alerted());
                let result =
                    CallResult::from_final(status, None, alerted, Some(CancelledBy::Agent));
                self.hang_up_customer(
                    now,
                    id,
                    result,
                    "given up by the agent",
                    store::EndedBy::Agent,
                );
            }
            Phase::Answered { .. } => {
                self.hang_up_customer(now, id, CallResult::Connected, "", store::EndedBy::Agent);
            }
            Phase::Offered => return self.decline(now, agent),
            Phase::Ended { .. } => return Err(no_call()),
        }
        Ok(())
    }

    /// From `foredial ctl hangup`: as if the agent had hung up.
    pub(super) fn hang_up_by_admin(&mut self, now: Now, call: CallId) {
        if self.through_hang_up(now, call) {
            return;
        }
        let Some(up) = self.calls.get(&call) else {
            return;
        };
        let (agent, handed_over) = (up.agent.clone(), up.is_handed_over());
        if handed_over {
            let by = store::EndedBy::System;
            return self.hang_up_customer(now, call, CallResult::Connected, "", by);
        }
        if self.live_call(&agent).is_some_and(|live| live.id == call) {
            // A call that has just ended by itself is as good.
            let _ = self.agent_hangs_up(now, &agent);
        }
    }

    /// Ends the far leg from our side, whatever state it is in, with the result as judged here.
    pub(super) fn hang_up_customer(
        &mut self,
        now: Now,
        id: CallId,
        result: CallResult,
        detail: &str,
        by: store::EndedBy,
    ) {
        if let Some(session) = self.calls.get(&id).and_then(Call::session) {
            // What the far end still has to say about this session concerns nobody any more.
            self.sessions.remove(&session);
            self.sip.hang_up(now, session, None);
        }
        self.finish(now, id, Ending::ours(result, detail.to_owned(), by));
    }

    /// One result for each call: the first ending wins, whatever else is on its way.
    pub(super) fn finish(&mut self, now: Now, id: CallId, ending: Ending) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if call.is_ended() {
            return;
        }
        if matches!(call.phase, Phase::Offered) {
            let agent = call.agent.clone();
            return self.ring_over(now, &agent, store::RingEnd::Withdrawn);
        }
        self.third_dismissed(now, id);
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let (answered, handed_over) = (call.is_answered(), call.is_handed_over());
        call.progress.end(now.utc);
        call.phase = Phase::Ended {
            result: ending.result,
            detail: ending.detail.clone(),
        };
        let (leg, port, agent) = (call.leg, call.port, call.agent.clone());
        let limit = match answered {
            true => call.campaign.rules.wrap_up.answered_ms,
            false => call.campaign.rules.wrap_up.unanswered_ms,
        };
        let command = store::Command::Finish {
            attempt: call.attempt,
            result: ending.result,
            status: ending.status,
            q850: ending.q850,
            ended_by: ending.by,
            spans: call.spans(),
        };
        let recording = call.is_recording();
        let way = call.way.clone();
        let progress = call.progress.clone();
        self.counters.calls.add(&progress, ending.result);
        if let Some(way) = &way {
            self.leave_way(way);
        }
        self.write(
            Write::Outcome {
                command: Box::new(command.clone()),
            },
            command,
        );
        if recording {
            self.media(MediaCommand::StopRecording { call: id });
        }
        self.legs.remove(&leg);
        self.media(MediaCommand::CloseLeg { leg });
        self.ports.release(port, now.instant);
        if handed_over {
            return self.forget_call(id);
        }
        self.leave_ears(&agent);
        if let Some(desk) = self.desk(&agent) {
            desk.agent
                .wrap_up(now.utc.plus(Duration::from_millis(limit)), now.utc);
            if matches!(desk.seat, Seat::Lost { .. }) {
                desk.seat = Seat::Absent;
            }
        }
    }
}

impl Switch {
    /// A call that is over, on no desk, and whose recording is in the books.
    pub(super) fn forget_call(&mut self, id: CallId) {
        let on_desk = self.desks.values().any(|desk| desk.call == Some(id));
        let over = |call: &Call| call.is_ended() && !call.is_recording();
        if !on_desk && self.calls.get(&id).is_some_and(over) {
            self.calls.remove(&id);
        }
    }
}

impl Ending {
    pub fn ours(result: CallResult, detail: String, by: store::EndedBy) -> Ending {
        Ending {
            result,
            detail,
            status: None,
            q850: None,
            by,
        }
    }
}
