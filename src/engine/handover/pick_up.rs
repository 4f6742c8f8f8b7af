//! An agent takes a call that waits for somebody: its agent's seat is lost and the customer hears
//! music, or it rings at another agent's seat.

use crate::agent::seat::Seat;
use crate::engine::call::Call;
use crate::engine::commands::wrong_state;
use crate::engine::desk::Ask;
use crate::engine::handle::Problem;
use crate::engine::inbound::ringing::{NotFree, Rung, RungPhase, Wanted};
use crate::engine::switch::{ReplyId, Switch};
use crate::engine::transfer::To;
use crate::id::{AgentId, CallId};
use crate::now::Now;

impl Switch {
    /// The reply waits for the store's word: of two who want it, the first has it.
    pub(in crate::engine) fn pick_up(
        &mut self,
        now: Now,
        agent: &AgentId,
        id: CallId,
        reply: ReplyId,
    ) {
        match self.try_pick_up(now, agent, id) {
            Ok(()) => self.ask_store_for_call(agent, id, Some(reply)),
            Err(problem) => self.reply(reply, Err(problem)),
        }
    }

    fn try_pick_up(&mut self, now: Now, agent: &AgentId, id: CallId) -> Result<(), Problem> {
        let may = self.may_ring(agent);
        let Some(desk) = self.desks.get(agent) else {
            return Err(not_offered());
        };
        may.map_err(|why| match why {
            NotFree::NoSeat => seat_absent(),
            _ => wrong_state(desk.agent.state()),
        })?;
        let works = |call: &&Call| desk.profile.campaigns.contains(&call.campaign.id);
        let call = self.calls.get(&id).filter(works);
        call.filter(|call| self.waits_for_somebody(call))
            .ok_or_else(not_offered)?;
        let desk = self.desk(agent).ok_or_else(not_offered)?;
        let rings = desk.agent.ring(now.utc, now.utc);
        rings.map_err(|_| not_offered())?;
        desk.waiting = None;
        if let Ask::AgainAt(_) = desk.ask {
            desk.ask = Ask::Idle;
        }
        desk.rung = Some(Rung {
            wanted: Wanted::Customer(id),
            until: now.instant,
            phase: RungPhase::Taking,
        });
        Ok(())
    }

    fn waits_for_somebody(&self, call: &Call) -> bool {
        if !call.is_answered() || call.is_handed_over() {
            return false;
        }
        let seat = |agent: &AgentId| self.desks.get(agent).map(|desk| desk.seat);
        match call.third.as_ref().map(|third| &third.to) {
            Some(To::Agent(other)) => {
                let rung = self.desks.get(other).and_then(|desk| desk.rung.as_ref());
                rung.is_some_and(|rung| matches!(rung.phase, RungPhase::Ringing { .. }))
            }
            Some(_) => false,
            None => matches!(seat(&call.agent), Some(Seat::Lost { .. })),
        }
    }
}

fn seat_absent() -> Problem {
    Problem::new(
        409,
        "seat_absent",
        "Your phone is not connected",
        "The page takes its seat by itself; then pick the call up.",
    )
}

fn not_offered() -> Problem {
    Problem::new(
        409,
        "not_offered",
        "This call cannot be picked up",
        "It waits for nobody, has ended, or is of a campaign you do not work for.",
    )
}
