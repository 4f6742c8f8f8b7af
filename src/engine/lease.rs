//! An agent's card from the reservation to the last word about it: what follows on the desk when
//! the store has chosen a lead, extended it, taken it back or closed it.

use std::time::Duration;

use super::card::Card;
use super::desk::{Ask, Desk, Waiting};
use super::driver::CrmQuestion;
use super::handle::Problem;
use super::resolved::Text;
use super::switch::{Output, ReplyId, Switch};
use super::writes::{AfterCard, Answer, Write, refused, stale};
use crate::agent::state::{Reason, State};
use crate::dialer::gate::Rule;
use crate::dialer::reservation::ReleaseReason;
use crate::id::{AgentId, FenceToken};
use crate::now::{Now, UtcMs};
use crate::store::fact::{NothingToDial, Reservation};
use crate::store::{self, Fact};

/// The shortest pause between two questions for a card.
const ASK_AGAIN_MIN: Duration = Duration::from_millis(200);

impl Switch {
    pub(super) fn reserved(
        &mut self,
        now: Now,
        agent: &AgentId,
        asked_at: UtcMs,
        reservation: Reservation,
    ) {
        let campaign = self
            .config
            .campaigns
            .get(&reservation.lead.campaign)
            .cloned();
        let Some(desk) = self.desk(agent) else { return };
        desk.ask = Ask::Idle;
        desk.waiting = None;
        if desk.rung.is_some() {
            // A caller came first; the store has taken this card back, or does now.
            let (token, agent) = (reservation.token, agent.clone());
            let why = ReleaseReason::Cancel;
            let command = store::Command::Release { token, agent, why };
            return self.write(Write::Step, command);
        }
        let Some(campaign) = campaign else { return };
        let (deadline, left) = (reservation.life.deadline, reservation.extensions_left);
        let card = Card::new(reservation, campaign);
        let token = card.token;
        tracing::debug!(%agent, %token, waited_ms = now.utc.ms_since(asked_at), "card");
        desk.card = Some(card);
        let left = u8::try_from(left).unwrap_or(u8::MAX);
        if desk.agent.preview(deadline, left, now.utc).is_err() {
            // She went on a break while the store was choosing.
            let why = ReleaseReason::Cancel;
            return self.release_card(agent, why, AfterCard::Next);
        }
        self.ask_crm(agent);
    }

    /// The CRM is asked beside the card: nobody waits for it.
    pub(super) fn ask_crm(&mut self, agent: &AgentId) {
        let Some(card) = self.desks.get(agent).and_then(|desk| desk.card.as_ref()) else {
            return;
        };
        if let Some(external_id) = card.crm_question() {
            let phone = card
                .phone(None)
                .map(|phone| phone.e164.clone())
                .unwrap_or_default();
            let (agent, token) = (agent.clone(), card.token.0);
            let question = CrmQuestion {
                agent,
                token,
                external_id,
                phone,
            };
            self.emit(Output::FetchCrm(question));
        }
    }

    pub(super) fn nothing_to_dial(&mut self, now: Now, agent: &AgentId, nothing: &NothingToDial) {
        // At the moment the first lead is due, when that is near.
        let latest = self.config.limits.ask_again;
        let due = nothing
            .earliest
            .map(|at| Duration::from_millis(at.ms_since(now.utc)));
        let again = now.instant + due.map_or(latest, |due| due.clamp(ASK_AGAIN_MIN, latest));
        let Some(desk) = self.desk(agent) else { return };
        if *desk.agent.state() != State::Ready {
            desk.ask = Ask::Idle;
            return;
        }
        desk.ask = Ask::AgainAt(again);
        desk.waiting = Some(waiting_for(nothing));
    }

    pub(super) fn ask_later(&mut self, now: Now, agent: &AgentId) {
        let again = now.instant + self.config.limits.ask_again;
        if let Some(desk) = self.desk(agent) {
            desk.ask = Ask::AgainAt(again);
        }
    }

    pub(super) fn extended(
        &mut self,
        now: Now,
        agent: &AgentId,
        token: FenceToken,
        fact: Fact,
    ) -> Result<(), Problem> {
        match fact {
            Fact::Extended {
                life,
                extensions_left,
                ..
            } => {
                let left = u8::try_from(extensions_left).unwrap_or(u8::MAX);
                if let Some(desk) = self.desk(agent) {
                    desk.agent.extend(life.deadline, left);
                    if let Some(card) = desk.card.as_mut().filter(|card| card.token == token) {
                        card.life = life;
                        card.extensions_left = left;
                    }
                }
                Ok(())
            }
            Fact::Refused { rule, detail } => Err(refused(rule, detail)),
            Fact::Stale { owner } => {
                self.card_left(now, agent, token, AfterCard::Next);
                Err(stale(owner.as_ref()))
            }
            _ => Err(Problem::overload()),
        }
    }

    /// The card is away. A card of a newer token is not touched.
    pub(super) fn card_left(
        &mut self,
        now: Now,
        agent: &AgentId,
        token: FenceToken,
        after: AfterCard,
    ) {
        let Some(desk) = self.desk(agent) else { return };
        if desk.card.take_if(|card| card.token == token).is_none() {
            return;
        }
        if matches!(desk.agent.state(), State::Previewing { .. }) {
            match after {
                AfterCard::Next => desk.agent.card_done(now.utc),
                AfterCard::NotReady(reason) => {
                    desk.agent.card_done_not_ready(Reason::new(reason), now.utc);
                }
            }
        }
        self.ask_for_card(now, agent);
        self.lead_freed(now, agent);
    }

    /// A lead may be had again: of the agents who wait for one, the longest READY asks now.
    fn lead_freed(&mut self, now: Now, not: &AgentId) {
        let waiting = |desk: &Desk| matches!(desk.ask, Ask::AgainAt(_));
        let longest = self
            .desks
            .iter()
            .filter(|(agent, desk)| *agent != not && waiting(desk))
            .min_by_key(|(_, desk)| desk.agent.since())
            .map(|(agent, _)| agent.clone());
        if let Some(desk) = longest.and_then(|agent| self.desk(&agent)) {
            desk.ask = Ask::AgainAt(now.instant);
        }
    }

    pub(super) fn write_disposition(
        &mut self,
        agent: &AgentId,
        token: FenceToken,
        key: String,
        answer: Answer,
        automatic: bool,
        reply: Option<ReplyId>,
    ) {
        let Some(desk) = self.desk(agent) else { return };
        if let Some(card) = desk.card.as_mut().filter(|card| card.token == token) {
            card.leaving = true;
        }
        let command = store::Command::Dispose {
            token,
            agent: agent.clone(),
            key,
            disposition: answer.disposition,
            notes: answer.notes,
            callback_at: answer.callback_at_ms.map(UtcMs),
            automatic,
        };
        self.write(
            Write::Dispose {
                agent: agent.clone(),
                token,
                automatic,
                reply,
            },
            command,
        );
    }

    pub(super) fn disposed(
        &mut self,
        now: Now,
        agent: &AgentId,
        token: FenceToken,
        automatic: bool,
    ) {
        let answered = self
            .call_on_desk(agent)
            .is_some_and(|call| call.progress.answered_at().is_some());
        let Some(desk) = self.desk(agent) else { return };
        let Some(card) = desk.card.take_if(|card| card.token == token) else {
            return;
        };
        let answered = answered
            || card
                .before_restart
                .is_some_and(|it| it.answered_at.is_some());
        let call = desk.call.take();
        if automatic && answered {
            desk.agent
                .card_done_not_ready(Reason::new(Reason::WRAP_UP_TIMEOUT), now.utc);
        } else {
            desk.agent.card_done(now.utc);
        }
        if let Some(call) = call {
            self.forget_call(call);
        }
        self.ask_for_card(now, agent);
    }

    /// The store could not write: the card stays as it was.
    pub(super) fn stay(&mut self, now: Now, agent: &AgentId, token: FenceToken) {
        let again = now.instant + self.config.limits.write_again;
        if let Some(card) = self.desk(agent).and_then(|desk| desk.card.as_mut())
            && card.token == token
        {
            card.leaving = false;
            card.again_at = Some(again);
        }
    }

    pub(super) fn crm_fact(
        &mut self,
        agent: &AgentId,
        token: u64,
        result: Result<serde_json::Value, String>,
    ) {
        if let Some(card) = self.desk(agent).and_then(|desk| desk.card.as_mut())
            && card.token == FenceToken(token)
        {
            card.crm_arrived(result);
        }
    }
}

fn waiting_for(nothing: &NothingToDial) -> Waiting {
    let (reason, en, zh) = match nothing.counts.first() {
        Some((Rule::OutsideHours, _)) => (
            "outside_hours",
            "Nobody on the lists may be called at this hour.",
            "当前时段不可拨打名单中的客户。",
        ),
        Some(_) => (
            "blocked",
            "The remaining leads are waiting or blocked by a rule.",
            "剩余名单正在等待或受规则限制。",
        ),
        None => ("no_leads", "The lists are empty.", "名单已拨完。"),
    };
    let mut detail = Text::new(en, zh);
    for (rule, count) in &nothing.counts {
        detail.en.push_str(&format!(" {}: {count}.", rule.name()));
        detail.zh.push_str(&format!(" {}:{count}。", rule.name()));
    }
    Waiting {
        reason,
        detail,
        earliest: nothing.earliest,
    }
}
