//! The agent answers: the caller's leg becomes the customer's leg of a call on her desk.

use super::ringing::{Rung, RungPhase, Wanted};
use crate::engine::call::Phase;
use crate::engine::commands::no_call;
use crate::engine::handle::Problem;
use crate::engine::switch::{LegOf, SessionOf, Switch, sdp_body};
use crate::engine::writes::Write;
use crate::id::{AgentId, CallId, LegId};
use crate::now::Now;
use crate::sdp::Direction;
use crate::sip::SessionId;
use crate::store::{self, AttemptStep};

impl Switch {
    pub(in crate::engine) fn answer(&mut self, now: Now, agent: &AgentId) -> Result<(), Problem> {
        let desk = self.desks.get(agent).ok_or_else(no_call)?;
        let Some(Rung {
            wanted,
            phase: RungPhase::Ringing { call },
            ..
        }) = desk.rung
        else {
            return Err(no_call());
        };
        let seat = desk.seat.live_leg().ok_or_else(|| {
            Problem::new(
                409,
                "seat_absent",
                "Your phone is not connected",
                "The page takes its seat by itself; the caller waits.",
            )
        })?;
        match wanted {
            Wanted::Caller(id) => self.take_caller(now, agent, id, call, seat),
            Wanted::Customer(call) => self.take_over(agent, call),
        }
    }

    fn take_caller(
        &mut self,
        now: Now,
        agent: &AgentId,
        id: CallId,
        taken: CallId,
        seat: LegId,
    ) -> Result<(), Problem> {
        let side = self.caller_taken(now, id).ok_or_else(no_call)?;
        self.inbound.remove(id);
        self.inbound.counters.answered += 1;
        let (session, leg) = (side.session, side.leg);
        self.sessions.insert(session, SessionOf::Customer(taken));
        self.legs.insert(leg, LegOf::Customer(taken));
        if let Some(desk) = self.desk(agent) {
            desk.rung = None;
            // `ring_agent` has made it RINGING.
            let _ = desk.agent.pick_up(now.utc);
        }
        let dialog = self.sip.dialog_of(session);
        let dialog = dialog.map_or_else(String::new, |dialog| dialog.to_text());
        let call = self.calls.get_mut(&taken).ok_or_else(no_call)?;
        call.phase = Phase::Answered { session };
        call.progress.answer(now.utc);
        (call.leg, call.port, call.sdp) = (leg, side.port, side.sdp);
        call.way = side.way;
        call.plan = dialog.clone();
        let attempt = call.attempt;
        tracing::info!(call = %taken, %agent, "a caller is answered");
        // The 200 leaves when the answer is on disk: after a crash the restarted switch can end
        // the call properly.
        let step = AttemptStep::Answered { dialog };
        let answer = (!side.accepted).then_some(side.answer);
        self.write(
            Write::PickUp {
                call: taken,
                session,
                answer,
            },
            store::Command::Step { attempt, step },
        );
        self.start_recording(now, taken);
        self.rejoin(taken, seat);
        self.step(attempt, AttemptStep::Bridged);
        Ok(())
    }

    /// The answer is on disk, or never will be: the call goes on. `answer` is `None` when the
    /// queue has accepted the call long ago, and in it `None` when the caller made no offer.
    pub(in crate::engine) fn picked_up(
        &mut self,
        now: Now,
        id: CallId,
        session: SessionId,
        answer: Option<Option<String>>,
    ) {
        let (Some(answer), Some(call)) = (answer, self.calls.get_mut(&id)) else {
            return;
        };
        let body = answer.unwrap_or_else(|| call.sdp.offer(Direction::SendRecv));
        self.sip.accept(now, session, vec![], Some(sdp_body(body)));
    }
}
