//! What the store answers, and what follows. A write is remembered here until its fact comes;
//! an outcome stays until the store has it on disk.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::card::Card;
use super::desk::{Ask, Waiting};
use super::handle::Problem;
use super::resolved::Text;
use super::switch::{Output, ReplyId, Switch};
use crate::agent::state::{Reason, State};
use crate::dialer::campaign::Rules;
use crate::id::{AgentId, AttemptId, CallId, CampaignId, FenceToken};
use crate::now::{Now, UtcMs};
use crate::sip::SessionId;
use crate::store::{self, Fact, StoreError};

/// A command the store has been given, and whom its answer concerns.
pub(super) enum Write {
    Reserve { agent: AgentId, asked_at: UtcMs },
    LeaveCard { agent: AgentId, token: FenceToken, after: AfterCard, reply: Option<ReplyId> },
    Extend { agent: AgentId, token: FenceToken, reply: ReplyId },
    Begin { call: CallId },
    /// A dial with a token that is not on the desk: the store tells whose it is.
    Judge { reply: ReplyId },
    Step,
    /// The answer's row: its ACK waits for it.
    Answered { session: SessionId },
    /// Must not be lost: written again until the store takes it.
    Outcome { command: Box<store::Command> },
    Dispose { agent: AgentId, token: FenceToken, automatic: bool, reply: Option<ReplyId> },
}

/// What an agent does after a card she did not dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterCard {
    Next,
    NotReady(&'static str),
}

/// What the agent says happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub disposition: Option<String>,
    pub notes: String,
    pub callback_at_ms: Option<i64>,
}

impl Switch {
    pub(super) fn store_fact(&mut self, now: Now, id: u64, fact: Result<Fact, StoreError>) {
        let Some(write) = self.writes.remove(&id) else { return };
        match fact {
            Ok(fact) => self.written(now, write, fact),
            Err(error) => self.not_written(now, write, &error),
        }
    }

    fn written(&mut self, now: Now, write: Write, fact: Fact) {
        match (write, fact) {
            (Write::Reserve { agent, asked_at }, Fact::Reserved(reservation)) => {
                self.reserved(now, &agent, asked_at, *reservation);
            }
            (Write::Reserve { agent, .. }, Fact::NothingToDial { reasons, earliest }) => {
                self.nothing_to_dial(now, &agent, &reasons, earliest);
            }
            (Write::LeaveCard { reply, .. }, Fact::Stale { owner })
            | (Write::Dispose { reply, .. }, Fact::Stale { owner }) => {
                if let Some(reply) = reply {
                    self.reply(reply, Err(stale(owner.as_ref())));
                }
            }
            (Write::LeaveCard { agent, token, after, reply }, _) => {
                self.card_left(now, &agent, token, after);
                if let Some(reply) = reply {
                    self.settle_reply(reply);
                }
            }
            (Write::Extend { agent, token, reply }, fact) => {
                let result = match fact {
                    Fact::Stale { owner } => {
                        self.card_overtaken(now, &agent, token);
                        Err(stale(owner.as_ref()))
                    }
                    _ => Ok(()),
                };
                self.reply(reply, result);
            }
            (Write::Begin { call }, Fact::Begun { origination, .. }) => {
                self.originate(now, call, &origination);
            }
            (Write::Begin { call }, Fact::Denied { rules, earliest }) => {
                self.dial_refused(now, call, denied(&rules, earliest));
            }
            (Write::Begin { call }, Fact::Stale { owner }) => {
                self.dial_refused(now, call, stale(owner.as_ref()));
            }
            (Write::Begin { call }, _) => {
                let problem = Problem::new(500, "store", "Not dialed", "The store gave no answer.");
                self.dial_refused(now, call, problem);
            }
            (Write::Judge { reply }, fact) => {
                let result = match fact {
                    Fact::Stale { owner } => Err(stale(owner.as_ref())),
                    _ => Ok(()),
                };
                self.reply(reply, result);
            }
            (Write::Answered { session }, _) => self.sip.acknowledge(now, session, None),
            (Write::Dispose { agent, token, automatic, reply }, _) => {
                self.disposed(now, &agent, token, automatic);
                if let Some(reply) = reply {
                    self.settle_reply(reply);
                }
            }
            (Write::Step | Write::Outcome { .. } | Write::Reserve { .. }, _) => {}
        }
    }

    fn settle_reply(&mut self, reply: ReplyId) {
        self.reply(reply, Ok(()));
    }

    fn not_written(&mut self, now: Now, write: Write, error: &StoreError) {
        self.counters.writes_failed += 1;
        tracing::error!(%error, "the store refused a write");
        let problem = || {
            Problem::new(503, "store", "Could not be saved", "Nothing was changed; try again.")
        };
        match write {
            Write::Reserve { agent, .. } => {
                let again = now.instant + self.config.limits.ask_again;
                if let Some(desk) = self.desk(&agent) {
                    desk.ask = Ask::AgainAt(again);
                }
            }
            Write::LeaveCard { agent, token, reply, .. } => {
                self.stay(&agent, token);
                if let Some(reply) = reply {
                    self.reply(reply, Err(problem()));
                }
            }
            Write::Dispose { agent, token, reply, .. } => {
                self.stay(&agent, token);
                if let Some(reply) = reply {
                    self.reply(reply, Err(problem()));
                }
            }
            Write::Extend { reply, .. } | Write::Judge { reply } => {
                self.reply(reply, Err(problem()));
            }
            Write::Begin { call } => self.dial_refused(now, call, problem()),
            // The call goes on; a store that cannot write is an alarm, not a hang-up.
            Write::Answered { session } => self.sip.acknowledge(now, session, None),
            Write::Step => {}
            Write::Outcome { command } => {
                let at = now.instant + self.config.limits.write_again;
                let again = Write::Outcome { command: command.clone() };
                self.write_again.push((at, again, *command));
            }
        }
    }

    fn reserved(
        &mut self,
        now: Now,
        agent: &AgentId,
        asked_at: UtcMs,
        reservation: store::Reservation,
    ) {
        let campaign = self.config.campaigns.get(&reservation.campaign).cloned();
        let Some(desk) = self.desk(agent) else { return };
        desk.ask = Ask::Idle;
        desk.waiting = None;
        let Some(campaign) = campaign else { return };
        let deadline = now.utc.plus(campaign.preview_limit);
        let card = Card::new(reservation, campaign, deadline);
        let fetch = card.crm_wanted();
        let (token, external_id) = (card.token, card.external_id());
        let left = card.extensions_left;
        tracing::debug!(%agent, %token, waited_ms = now.utc.ms_since(asked_at), "card");
        desk.card = Some(card);
        if desk.agent.preview(deadline, left, now.utc).is_err() {
            // She went on a break while the store was choosing.
            let reason = match desk.agent.state() {
                State::NotReady { reason } => Some(reason.clone()),
                _ => None,
            };
            let _ = reason;
            return self.release_card(agent, store::ReleaseWhy::Cancel, AfterCard::Next);
        }
        if let (true, Some(external_id)) = (fetch, external_id) {
            let agent = agent.clone();
            self.emit(Output::FetchCrm { agent, token: token.0, external_id });
        }
    }

    fn nothing_to_dial(
        &mut self,
        now: Now,
        agent: &AgentId,
        reasons: &BTreeMap<String, u64>,
        earliest: Option<UtcMs>,
    ) {
        let again = now.instant + self.config.limits.ask_again;
        let Some(desk) = self.desk(agent) else { return };
        if *desk.agent.state() != State::Ready {
            desk.ask = Ask::Idle;
            return;
        }
        desk.ask = Ask::AgainAt(again);
        desk.waiting = Some(waiting_for(reasons, earliest));
    }

    /// The card is away. A card of a newer token is not touched.
    fn card_left(&mut self, now: Now, agent: &AgentId, token: FenceToken, after: AfterCard) {
        let Some(desk) = self.desk(agent) else { return };
        if desk.card.as_ref().is_none_or(|card| card.token != token) {
            return;
        }
        desk.card = None;
        if matches!(desk.agent.state(), State::Previewing { .. }) {
            match after {
                AfterCard::Next => desk.agent.card_done(now.utc),
                AfterCard::NotReady(reason) => {
                    desk.agent.card_done_not_ready(Reason::new(reason), now.utc);
                }
            }
        }
        self.ask_for_card(now, agent);
    }

    /// The store gave the lead away: the card on the screen is worth nothing.
    fn card_overtaken(&mut self, now: Now, agent: &AgentId, token: FenceToken) {
        self.card_left(now, agent, token, AfterCard::Next);
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
        let rules = match &mut desk.card {
            Some(card) if card.token == token => {
                card.leaving = true;
                Some(card.campaign.rules.clone())
            }
            _ => None,
        };
        let command = store::Command::Dispose {
            token,
            agent: agent.clone(),
            key,
            disposition: answer.disposition,
            notes: answer.notes,
            callback_at: answer.callback_at_ms.map(UtcMs),
            automatic,
            rules,
        };
        self.write(Write::Dispose { agent: agent.clone(), token, automatic, reply }, command);
    }

    fn disposed(&mut self, now: Now, agent: &AgentId, token: FenceToken, automatic: bool) {
        let answered = self.call_on_desk(agent).is_some_and(|call| call.answered.is_some());
        let Some(desk) = self.desk(agent) else { return };
        if desk.card.as_ref().is_none_or(|card| card.token != token) {
            return;
        }
        desk.card = None;
        let call = desk.call.take();
        if automatic && answered {
            desk.agent.card_done_not_ready(Reason::new(Reason::WRAP_UP_TIMEOUT), now.utc);
        } else {
            desk.agent.card_done(now.utc);
        }
        if let Some(call) = call.and_then(|call| self.calls.remove(&call)) {
            self.attempts.remove(&call.attempt);
        }
        self.ask_for_card(now, agent);
    }

    /// The store could not write: the card stays as it was.
    fn stay(&mut self, agent: &AgentId, token: FenceToken) {
        if let Some(card) = self.desk(agent).and_then(|desk| desk.card.as_mut())
            && card.token == token
        {
            card.leaving = false;
        }
    }

    pub(super) fn recorded(
        &mut self,
        now: Now,
        call: CallId,
        path: PathBuf,
        duration_ms: u64,
        bytes: u64,
        sha256: Option<String>,
    ) {
        self.counters.recordings += 1;
        let path = self.recording_name(&path);
        let command = store::Command::RecordingDone {
            attempt: AttemptId(call.0),
            path,
            duration_ms,
            bytes,
            sha256,
        };
        self.write(Write::Outcome { command: Box::new(command.clone()) }, command);
        self.mark_recording(call, super::customer::Recording::Done);
        let _ = now;
    }

    pub(super) fn recording_failed(&mut self, now: Now, call: CallId, reason: &str) {
        self.counters.recordings_failed += 1;
        tracing::error!(%call, reason, "recording failed; the call goes on");
        let command = store::Command::RecordingFailed {
            attempt: AttemptId(call.0),
            reason: reason.to_owned(),
        };
        self.write(Write::Outcome { command: Box::new(command.clone()) }, command);
        self.mark_recording(call, super::customer::Recording::Failed);
        let _ = now;
    }

    fn mark_recording(&mut self, call: CallId, recording: super::customer::Recording) {
        if let Some(call) = self.calls.get_mut(&call) {
            call.recording = recording;
            let agent = call.agent.clone();
            self.desk(&agent);
        }
    }

    /// The recording's path below the recordings folder, as the store keeps it.
    pub(super) fn recording_name(&self, path: &std::path::Path) -> String {
        let below = path.strip_prefix(&self.config.recordings).unwrap_or(path);
        below.to_string_lossy().into_owned()
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

    pub(super) fn rules_of(&self, campaigns: &[CampaignId]) -> BTreeMap<CampaignId, Arc<Rules>> {
        campaigns
            .iter()
            .filter_map(|id| Some((id.clone(), self.config.campaigns.get(id)?.rules.clone())))
            .collect()
    }
}

fn stale(owner: Option<&AgentId>) -> Problem {
    let detail = match owner {
        Some(owner) => format!("It is now with {owner}."),
        None => "It was closed or given back.".to_owned(),
    };
    Problem::new(409, "stale_token", "This card is no longer yours", detail)
}

fn denied(rules: &[String], earliest: Option<UtcMs>) -> Problem {
    let mut detail = format!("Not allowed now: {}.", rules.join(", "));
    if let Some(at) = earliest.and_then(|at| jiff::Timestamp::from_millisecond(at.0).ok()) {
        detail.push_str(&format!(" Possible from {at}."));
    }
    Problem::new(409, "gate", "This number may not be called now", detail)
}

fn waiting_for(reasons: &BTreeMap<String, u64>, earliest: Option<UtcMs>) -> Waiting {
    let most = reasons.iter().max_by_key(|(_, count)| **count).map(|(rule, _)| rule.as_str());
    let (reason, en, zh) = match most {
        Some("hours" | "calling_hours" | "holiday") => (
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
    for (rule, count) in reasons {
        detail.en.push_str(&format!(" {rule}: {count}."));
        detail.zh.push_str(&format!(" {rule}:{count}。"));
    }
    Waiting { reason, detail, earliest }
}
