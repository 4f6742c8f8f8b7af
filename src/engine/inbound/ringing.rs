//! An agent's seat rings: with a card, until she answers, declines or lets it ring out.

use std::time::{Duration, Instant};

use crate::agent::state::{Reason, State};
use crate::call::progress::Progress;
use crate::engine::call::{Call, Direction, Phase, Recording};
use crate::engine::card::Card;
use crate::engine::commands::no_call;
use crate::engine::desk::{Ask, Desk};
use crate::engine::handle::Problem;
use crate::engine::switch::Switch;
use crate::engine::writes::Write;
use crate::id::{AgentId, AttemptId, CallId, CampaignId};
use crate::now::Now;
use crate::store::fact::Reservation;
use crate::store::{self, RingEnd};

use super::Target;

/// RFC 3261 21.1.2.
const RINGING: u16 = 180;

/// Who wants the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Wanted {
    /// A caller, by his call through us.
    Caller(CallId),
    /// Another agent's customer, by the call on her desk (`handover`).
    Customer(CallId),
}

/// Why she is not rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum NotFree {
    Unknown,
    /// Not READY, or with a card or a call.
    Busy,
    NoSeat,
    /// Whoever wanted her is gone.
    Gone,
}

/// A seat that rings.
#[derive(Debug)]
pub(in crate::engine) struct Rung {
    pub wanted: Wanted,
    pub until: Instant,
    pub phase: RungPhase,
}

#[derive(Debug)]
pub(in crate::engine) enum RungPhase {
    /// The card is being written; `over` is how the ringing has ended meanwhile.
    Committing {
        over: Option<RingEnd>,
    },
    Ringing {
        call: CallId,
    },
    /// She has answered; the store is giving her the card.
    Taking,
}

impl Desk {
    /// Card and call are gone; who would not answer is NOT_READY.
    pub(in crate::engine) fn stops_ringing(&mut self, now: Now, why: RingEnd) {
        self.rung = None;
        self.card = None;
        self.call = None;
        let reason = match why {
            RingEnd::Missed => Reason::MISSED,
            RingEnd::Declined => Reason::DECLINED,
            _ => return self.agent.card_done(now.utc),
        };
        self.agent.card_done_not_ready(Reason::new(reason), now.utc);
    }
}

impl Switch {
    /// READY, seated, and nothing before her. One who only waits for a card is free: what the
    /// store finds for her meanwhile goes back.
    pub(in crate::engine) fn is_free(&self, agent: &AgentId) -> bool {
        self.may_ring(agent).is_ok()
    }

    pub(in crate::engine) fn may_ring(&self, agent: &AgentId) -> Result<(), NotFree> {
        let desk = self.desks.get(agent).ok_or(NotFree::Unknown)?;
        let idle = desk.card.is_none() && desk.call.is_none() && desk.rung.is_none();
        if *desk.agent.state() != State::Ready || !idle {
            return Err(NotFree::Busy);
        }
        desk.seat.live_leg().map(|_| ()).ok_or(NotFree::NoSeat)
    }

    /// Rings her seat until it is answered, declined or times out.
    pub(in crate::engine) fn ring_agent(
        &mut self,
        now: Now,
        agent: &AgentId,
        wanted: Wanted,
    ) -> Result<(), NotFree> {
        self.may_ring(agent)?;
        let Wanted::Caller(id) = wanted else {
            return Err(NotFree::Gone);
        };
        let ring = self.ring_wish(now, agent, id)?;
        let until = ring.until;
        let seat = self.desks.get(agent).and_then(|desk| desk.seat.live_leg());
        let seat = seat.ok_or(NotFree::NoSeat)?;
        let desk = self.desk(agent).ok_or(NotFree::Unknown)?;
        desk.agent.ring(until, now.utc).map_err(|_| NotFree::Busy)?;
        desk.waiting = None;
        if let Ask::AgainAt(_) = desk.ask {
            desk.ask = Ask::Idle;
        }
        desk.rung = Some(Rung {
            wanted,
            until: now.instant + Duration::from_millis(until.ms_since(now.utc)),
            phase: RungPhase::Committing { over: None },
        });
        if let Some(caller) = self.inbound.caller(id) {
            caller.ringing = Some(agent.clone());
        }
        self.inbound.counters.rung += 1;
        self.caller_moves(id, seat);
        let (agent, call) = (agent.clone(), CallId(ring.attempt.0));
        tracing::info!(caller = %id, %call, %agent, "an agent is rung");
        self.write(
            Write::Ring { agent, call },
            store::Command::RingInbound(Box::new(ring)),
        );
        Ok(())
    }

    fn ring_wish(&mut self, now: Now, agent: &AgentId, id: CallId) -> Result<store::Ring, NotFree> {
        let own = self.desks.get(agent).map(|desk| &desk.profile.campaigns);
        let own: Vec<CampaignId> = own.cloned().unwrap_or_default();
        let campaigns = match self.inbound.caller(id).map(|caller| caller.target.clone()) {
            Some(Target::Campaign(campaign)) => vec![campaign],
            Some(_) => own,
            None => return Err(NotFree::Gone),
        };
        let caller = self.caller_phone(id).ok_or(NotFree::Gone)?;
        let attempt = AttemptId(self.new_uuid(now));
        let came = self.caller_came(id).ok_or(NotFree::Gone)?;
        let dialog = match came.accepted {
            true => self.sip.dialog_of(came.session),
            false => None,
        };
        Ok(store::Ring {
            attempt,
            agent: agent.clone(),
            campaigns,
            caller,
            trunk: came
                .trunk
                .map_or_else(String::new, |it| it.as_str().to_owned()),
            called: came.called,
            dialog: dialog.map_or_else(String::new, |dialog| dialog.to_text()),
            until: now.utc.plus(Duration::from_millis(came.ring_ms)),
        })
    }

    /// The card and the call's row are on disk: her page rings, and so it does for the caller.
    pub(in crate::engine) fn rung(
        &mut self,
        now: Now,
        agent: &AgentId,
        call: CallId,
        reservation: Reservation,
    ) {
        let campaign = &reservation.lead.campaign;
        let campaign = self.config.campaigns.get(campaign).cloned();
        let Some(rung) = self.desk(agent).and_then(|desk| desk.rung.as_mut()) else {
            return;
        };
        let Wanted::Caller(id) = rung.wanted else {
            return;
        };
        let RungPhase::Committing { over } = rung.phase else {
            return;
        };
        rung.phase = RungPhase::Ringing { call };
        self.caller_leg_opened(id);
        let came = self.caller_came(id);
        let (Some(campaign), Some(came), None) = (campaign, came, over) else {
            return self.ring_over(now, agent, over.unwrap_or(RingEnd::Withdrawn));
        };
        let Some(attempt) = &reservation.attempt else {
            return self.ring_over(now, agent, RingEnd::Withdrawn);
        };
        let mut progress = Progress::new(now.utc);
        progress.ring(now.utc);
        let offered = Call {
            id: call,
            attempt: attempt.attempt,
            agent: agent.clone(),
            token: reservation.token,
            phone: attempt.phone,
            key: String::new(),
            campaign: campaign.clone(),
            direction: Direction::In,
            number: attempt.e164.clone(),
            way: None,
            ways: self.open_ways(now, &[], false),
            leg: came.leg,
            port: came.port,
            phase: Phase::Offered,
            progress,
            volume_db: 0,
            recording: Recording::Off,
            plan: String::new(),
            sdp: came.sdp,
            third: None,
            third_past: None,
            handed_over: None,
            reopen: None,
        };
        self.calls.insert(call, offered);
        if let Some(desk) = self.desk(agent) {
            desk.call = Some(call);
            desk.card = Some(Card::new(reservation, campaign));
        }
        self.ask_crm(agent);
        self.caller_told(now, id, RINGING);
    }

    /// The store could not, or would not, give her the card.
    pub(in crate::engine) fn not_rung(&mut self, now: Now, agent: &AgentId) {
        let Some(rung) = self.desk(agent).and_then(|desk| desk.rung.take()) else {
            return;
        };
        let Wanted::Caller(id) = rung.wanted else {
            return;
        };
        self.caller_leg_opened(id);
        if let Some(desk) = self.desk(agent) {
            desk.agent.card_done(now.utc);
        }
        // Not her again at once: his route goes on.
        self.caller_unserved(now, id, 480);
        self.ask_for_card(now, agent);
    }

    pub(in crate::engine) fn decline(&mut self, now: Now, agent: &AgentId) -> Result<(), Problem> {
        let rung = self.desks.get(agent).and_then(|desk| desk.rung.as_ref());
        rung.ok_or_else(no_call)?;
        self.ring_over(now, agent, RingEnd::Declined);
        Ok(())
    }

    /// Her seat stops ringing without an answer. The first end wins.
    pub(in crate::engine) fn ring_over(&mut self, now: Now, agent: &AgentId, why: RingEnd) {
        let Some(desk) = self.desk(agent) else { return };
        let Some(rung) = desk.rung.as_mut() else {
            return;
        };
        let id = match rung.wanted {
            Wanted::Caller(id) => id,
            Wanted::Customer(call) => return self.offer_over(now, agent, call, why),
        };
        let call = match &mut rung.phase {
            RungPhase::Taking => return,
            RungPhase::Committing { over } => {
                over.get_or_insert(why);
                return;
            }
            RungPhase::Ringing { call } => *call,
        };
        desk.stops_ringing(now, why);
        self.calls.remove(&call);
        tracing::info!(%call, %agent, why = why.name(), "nobody answered at this seat");
        let attempt = AttemptId(call.0);
        let command = store::Command::RingOver { attempt, why };
        self.write(
            Write::Outcome {
                command: Box::new(command.clone()),
            },
            command,
        );
        match why {
            RingEnd::Missed => self.inbound.counters.missed += 1,
            RingEnd::Declined => self.inbound.counters.declined += 1,
            _ => {}
        }
        self.caller_waits_again(now, id);
        self.ask_for_card(now, agent);
    }
}
