//! The other agent answers. The store moves the card first; then she has the call, and the first
//! agent is free for her next card.

use std::time::Duration;

use crate::agent::seat::Seat;
use crate::agent::state::Reason;
use crate::call::result::CallResult;
use crate::call::transfer::Outcome;
use crate::engine::call::Call;
use crate::engine::card::Card;
use crate::engine::commands::no_call;
use crate::engine::handle::Problem;
use crate::engine::inbound::ringing::{RungPhase, Wanted};
use crate::engine::switch::{ReplyId, Switch};
use crate::engine::transfer::To;
use crate::engine::writes::Write;
use crate::id::{AgentId, CallId};
use crate::now::Now;
use crate::store::fact::Reservation;
use crate::store::{self, RingEnd};

impl Switch {
    pub(in crate::engine) fn take_over(
        &mut self,
        agent: &AgentId,
        id: CallId,
    ) -> Result<(), Problem> {
        self.calls
            .get(&id)
            .filter(|call| call.is_answered())
            .ok_or_else(no_call)?;
        let rung = self.desk(agent).and_then(|desk| desk.rung.as_mut());
        rung.ok_or_else(no_call)?.phase = RungPhase::Taking;
        self.ask_store_for_call(agent, id, None);
        Ok(())
    }

    pub(super) fn ask_store_for_call(
        &mut self,
        agent: &AgentId,
        id: CallId,
        reply: Option<ReplyId>,
    ) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        let (attempt, from, agent) = (call.attempt, call.token, agent.clone());
        self.write(
            Write::TakeOver {
                agent: agent.clone(),
                call: id,
                reply,
            },
            store::Command::TakeOver {
                attempt,
                from,
                agent,
            },
        );
    }

    /// Her card is on disk. The customer may have hung up meanwhile: then she wraps up.
    pub(in crate::engine) fn taken_over(
        &mut self,
        now: Now,
        agent: &AgentId,
        id: CallId,
        reservation: Reservation,
    ) {
        let Some(desk) = self.desk(agent) else { return };
        desk.rung = None;
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let (first, campaign, over) = (call.agent.clone(), call.campaign.clone(), call.is_ended());
        let limit = campaign.rules.wrap_up.answered_ms;
        let third = call.third.take();
        call.third_past = None;
        call.agent = agent.clone();
        call.token = reservation.token;
        call.key = String::new();
        call.volume_db = 0;
        if !over {
            call.progress.hold(false, now.utc);
            call.progress.mute(false, now.utc);
        }
        let by = self.desks.get(&first).map(|desk| &desk.profile.name);
        let card = Card::new(reservation, campaign).handed_by(by.map_or("", String::as_str));
        if let Some(third) = third {
            let outcome = match third.to {
                To::Agent(_) => Outcome::Completed,
                _ => Outcome::Dropped,
            };
            self.counters.transfers.count(third.to.kind(), outcome);
            self.release_third(now, third, outcome);
        }
        tracing::info!(call = %id, from = %first, %agent, "taken over by another agent");
        if let Some(desk) = self.desk(agent) {
            desk.call = Some(id);
            desk.card = Some(card);
            // The offer has made it RINGING.
            let _ = desk.agent.pick_up(now.utc);
            if over {
                let until = now.utc.plus(Duration::from_millis(limit));
                desk.agent.wrap_up(until, now.utc);
            }
        }
        self.ask_crm(agent);
        self.gives_up(now, &first, id);
        if !over {
            self.sits_down(now, agent, id);
        }
        self.ask_for_card(now, &first);
    }

    /// The first agent is free. One whose page is gone is given no card.
    fn gives_up(&mut self, now: Now, first: &AgentId, id: CallId) {
        let has_it = |call: Option<CallId>| call == Some(id);
        if !self.desks.get(first).is_some_and(|desk| has_it(desk.call)) {
            return;
        }
        self.leave_ears(first);
        let seated = self.is_seated(first);
        let Some(desk) = self.desk(first) else { return };
        desk.call = None;
        desk.card = None;
        if matches!(desk.seat, Seat::Lost { .. }) {
            desk.seat = Seat::Absent;
        }
        match seated {
            true => desk.agent.card_done(now.utc),
            false => {
                let reason = Reason::new(Reason::SIGNED_IN);
                desk.agent.card_done_not_ready(reason, now.utc);
            }
        }
    }

    /// She and the customer hear each other. A seat that was lost in this moment may come back
    /// as in any call.
    fn sits_down(&mut self, now: Now, agent: &AgentId, id: CallId) {
        let Some(seat) = self.desks.get(agent).map(|desk| desk.seat) else {
            return;
        };
        if let Some((_, leg)) = seat.held() {
            self.customer_moves(id, leg);
        }
        if let Some(leg) = seat.live_leg() {
            return self.rejoin(id, leg);
        }
        self.agent_leg_gone(id);
        self.record_with(id, None);
        if seat.held().is_none() {
            let grace = self.config.limits.seat_grace;
            if let Some(desk) = self.desk(agent) {
                desk.seat.lose(now.instant, grace);
            }
        }
    }

    /// The store would not move the card, or could not: the call stays where it was.
    pub(in crate::engine) fn not_taken_over(&mut self, now: Now, agent: &AgentId, id: CallId) {
        let Some(desk) = self.desk(agent) else { return };
        let wanted = desk.rung.as_ref().map(|rung| rung.wanted);
        if wanted != Some(Wanted::Customer(id)) {
            return;
        }
        desk.stops_ringing(now, RingEnd::Withdrawn);
        self.offer_failed(now, agent, id, CallResult::SystemFailure);
        self.ask_for_card(now, agent);
    }

    /// Every part of a call that its legs' media worker holds, told anew.
    pub(super) fn told_again(&mut self, id: CallId) {
        let agent = self.calls.get(&id).map(|call: &Call| call.agent.clone());
        let desk = agent.and_then(|agent| self.desks.get(&agent));
        match desk.and_then(|desk| desk.seat.live_leg()) {
            Some(seat) => self.rejoin(id, seat),
            None => {
                self.agent_leg_gone(id);
                self.record_with(id, None);
            }
        }
    }
}
