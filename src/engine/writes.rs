//! What the store answers, and what follows. A write is remembered here until its fact comes;
//! an outcome stays until the store has it on disk.

use std::path::Path;
use std::time::Duration;

use super::card::Card;
use super::desk::{Ask, Desk, Waiting};
use super::driver::CrmQuestion;
use super::handle::Problem;
use super::resolved::Text;
use super::switch::{Output, ReplyId, Switch};
use crate::agent::state::{Reason, State};
use crate::dialer::gate::Rule;
use crate::dialer::reservation::ReleaseReason;
use crate::id::{AgentId, AttemptId, CallId, FenceToken, ThirdId};
use crate::now::{Now, UtcMs};
use crate::sip::SessionId;
use crate::store::fact::{NothingToDial, Reservation};
use crate::store::{self, Fact, StoreError};

/// The shortest pause between two questions for a card.
const ASK_AGAIN_MIN: Duration = Duration::from_millis(200);

/// A command the store has been given, and whom its answer concerns.
pub(super) enum Write {
    Reserve {
        agent: AgentId,
        asked_at: UtcMs,
    },
    LeaveCard {
        agent: AgentId,
        token: FenceToken,
        after: AfterCard,
        reply: Option<ReplyId>,
    },
    Extend {
        agent: AgentId,
        token: FenceToken,
        reply: ReplyId,
    },
    Begin {
        call: CallId,
    },
    /// The next INVITE of an attempt that is on.
    FailOver {
        call: CallId,
    },
    /// A third party's leg.
    Third {
        call: CallId,
        third: ThirdId,
    },
    /// A dial with a token that is not on the desk: the store tells whose it is.
    Judge {
        reply: ReplyId,
    },
    Step,
    /// Leases that nobody answered go back.
    Expire,
    /// The answer's row: its ACK waits for it.
    Answered {
        session: SessionId,
    },
    /// Must not be lost: written again until the store takes it.
    Outcome {
        command: Box<store::Command>,
    },
    Dispose {
        agent: AgentId,
        token: FenceToken,
        automatic: bool,
        reply: Option<ReplyId>,
    },
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
        let Some(write) = self.writes.remove(&id) else {
            return;
        };
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
            (Write::Reserve { agent, .. }, Fact::NothingToDial(nothing)) => {
                self.nothing_to_dial(now, &agent, &nothing);
            }
            (Write::LeaveCard { reply, .. }, Fact::Stale { owner })
            | (Write::Dispose { reply, .. }, Fact::Stale { owner }) => {
                if let Some(reply) = reply {
                    self.reply(reply, Err(stale(owner.as_ref())));
                }
            }
            (
                Write::LeaveCard {
                    agent,
                    token,
                    reply,
                    ..
                },
                Fact::Refused { rule, detail },
            )
            | (
                Write::Dispose {
                    agent,
                    token,
                    reply,
                    ..
                },
                Fact::Refused { rule, detail },
            ) => {
                self.stay(now, &agent, token);
                if let Some(reply) = reply {
                    self.reply(reply, Err(refused(rule, detail)));
                }
            }
            (
                Write::LeaveCard {
                    agent,
                    token,
                    after,
                    reply,
                },
                _,
            ) => {
                self.card_left(now, &agent, token, after);
                if let Some(reply) = reply {
                    self.settle_reply(reply);
                }
            }
            (
                Write::Extend {
                    agent,
                    token,
                    reply,
                },
                fact,
            ) => {
                let result = self.extended(now, &agent, token, fact);
                self.reply(reply, result);
            }
            (Write::Begin { call }, Fact::Begun { origination, .. }) => {
                self.originate(now, call, &origination);
            }
            (Write::Begin { call }, fact) => self.dial_refused(now, call, not_begun(fact)),
            (Write::FailOver { call }, Fact::FailedOver { origination, .. }) => {
                self.originate_again(now, call, &origination);
            }
            (Write::FailOver { call }, _) => self.no_further_way(now, call),
            (Write::Third { call, third }, fact) => self.third_written(now, call, third, fact),
            (Write::Judge { reply }, fact) => {
                let result = match fact {
                    Fact::AlreadyBegun { .. } => Ok(()),
                    fact => Err(not_begun(fact)),
                };
                self.reply(reply, result);
            }
            (Write::Answered { session }, _) => self.sip.acknowledge(now, session, None),
            (
                Write::Dispose {
                    agent,
                    token,
                    automatic,
                    reply,
                },
                _,
            ) => {
                self.disposed(now, &agent, token, automatic);
                if let Some(reply) = reply {
                    self.settle_reply(reply);
                }
            }
            (Write::Expire, Fact::Expired { released, .. }) => {
                for lease in released {
                    let after = AfterCard::NotReady(Reason::PREVIEW_TIMEOUT);
                    self.card_left(now, &lease.agent, lease.token, after);
                }
            }
            (Write::Reserve { agent, .. }, fact) => {
                tracing::error!(%agent, ?fact, "no card, and no reason for it");
                self.ask_later(now, &agent);
            }
            (Write::Outcome { command }, _) => {
                // Pages may ask for it from now on: the books know where it lies.
                if let store::Command::RecordingDone { attempt, .. } = *command {
                    self.mark_recording(CallId(attempt.0), super::call::Recording::Done);
                }
            }
            (Write::Step | Write::Expire, _) => {}
        }
    }

    fn settle_reply(&mut self, reply: ReplyId) {
        self.reply(reply, Ok(()));
    }

    fn not_written(&mut self, now: Now, write: Write, error: &StoreError) {
        self.counters.writes_failed += 1;
        tracing::error!(%error, "the store refused a write");
        let problem = || {
            Problem::new(
                503,
                "store",
                "Could not be saved",
                "Nothing was changed; try again.",
            )
        };
        match write {
            Write::Reserve { agent, .. } => self.ask_later(now, &agent),
            Write::LeaveCard {
                agent,
                token,
                reply,
                ..
            } => {
                self.stay(now, &agent, token);
                if let Some(reply) = reply {
                    self.reply(reply, Err(problem()));
                }
            }
            Write::Dispose {
                agent,
                token,
                reply,
                ..
            } => {
                self.stay(now, &agent, token);
                if let Some(reply) = reply {
                    self.reply(reply, Err(problem()));
                }
            }
            Write::Extend { reply, .. } | Write::Judge { reply } => {
                self.reply(reply, Err(problem()));
            }
            Write::Begin { call } => self.dial_refused(now, call, problem()),
            Write::FailOver { call } => self.no_further_way(now, call),
            Write::Third { call, third } => self.third_refused(now, call, third, problem()),
            // The call goes on; a store that cannot write is an alarm, not a hang-up.
            Write::Answered { session } => self.sip.acknowledge(now, session, None),
            Write::Step | Write::Expire => {}
            Write::Outcome { command } => {
                let at = now.instant + self.config.limits.write_again;
                let again = Write::Outcome {
                    command: command.clone(),
                };
                self.write_again.push((at, again, *command));
            }
        }
    }

    fn reserved(&mut self, now: Now, agent: &AgentId, asked_at: UtcMs, reservation: Reservation) {
        let campaign = self
            .config
            .campaigns
            .get(&reservation.lead.campaign)
            .cloned();
        let Some(desk) = self.desk(agent) else { return };
        desk.ask = Ask::Idle;
        desk.waiting = None;
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

    fn nothing_to_dial(&mut self, now: Now, agent: &AgentId, nothing: &NothingToDial) {
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

    fn ask_later(&mut self, now: Now, agent: &AgentId) {
        let again = now.instant + self.config.limits.ask_again;
        if let Some(desk) = self.desk(agent) {
            desk.ask = Ask::AgainAt(again);
        }
    }

    fn extended(
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
    fn card_left(&mut self, now: Now, agent: &AgentId, token: FenceToken, after: AfterCard) {
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

    fn disposed(&mut self, now: Now, agent: &AgentId, token: FenceToken, automatic: bool) {
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
    fn stay(&mut self, now: Now, agent: &AgentId, token: FenceToken) {
        let again = now.instant + self.config.limits.write_again;
        if let Some(card) = self.desk(agent).and_then(|desk| desk.card.as_mut())
            && card.token == token
        {
            card.leaving = false;
            card.again_at = Some(again);
        }
    }

    pub(super) fn recorded(
        &mut self,
        call: CallId,
        path: &Path,
        duration_ms: u64,
        bytes: u64,
        gap_ms: u64,
        sha256: Option<String>,
    ) {
        self.counters.recordings += 1;
        if gap_ms > 0 {
            tracing::warn!(%call, gap_ms, "the recorder could not keep up; silence was inserted");
        }
        let attempt = AttemptId(call.0);
        let path = self.recording_name(path);
        let command = store::Command::RecordingDone {
            attempt,
            path,
            duration_ms,
            bytes,
            sha256,
        };
        self.write(
            Write::Outcome {
                command: Box::new(command.clone()),
            },
            command,
        );
    }

    pub(super) fn recording_failed(&mut self, call: CallId, reason: &str) {
        self.counters.recordings_failed += 1;
        tracing::error!(%call, reason, "recording failed; the call goes on");
        let command = store::Command::RecordingFailed {
            attempt: AttemptId(call.0),
            why: reason.to_owned(),
        };
        self.write(
            Write::Outcome {
                command: Box::new(command.clone()),
            },
            command,
        );
        self.mark_recording(call, super::call::Recording::Failed);
    }

    fn mark_recording(&mut self, call: CallId, recording: super::call::Recording) {
        if let Some(call) = self.calls.get_mut(&call) {
            call.recording = recording;
            let (agent, id) = (call.agent.clone(), call.id);
            self.desk(&agent);
            self.forget_call(id);
        }
    }

    /// The recording's path below the recordings folder, as the store keeps it.
    pub(super) fn recording_name(&self, path: &Path) -> String {
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
}

fn stale(owner: Option<&AgentId>) -> Problem {
    let detail = match owner {
        Some(owner) => format!("It is now with {owner}."),
        None => "It was closed or given back.".to_owned(),
    };
    Problem::new(409, "stale_token", "This card is no longer yours", detail)
}

/// Why a dial did not begin, in a person's words.
pub(super) fn not_begun(fact: Fact) -> Problem {
    match fact {
        Fact::Denied { rules, earliest } => denied(&rules, earliest),
        Fact::Stale { owner } => stale(owner.as_ref()),
        Fact::Refused { rule, detail } => refused(rule, detail),
        Fact::AlreadyBegun { .. } => Problem::new(
            409,
            "already_dialed",
            "Already dialed",
            "This click was carried out before.",
        ),
        _ => Problem::overload(),
    }
}

fn refused(rule: &'static str, detail: String) -> Problem {
    Problem::new(409, rule, "Not possible now", detail)
}

fn denied(rules: &[Rule], earliest: Option<UtcMs>) -> Problem {
    let names: Vec<&str> = rules.iter().map(|rule| rule.name()).collect();
    let mut detail = format!("Refused by: {}.", names.join(", "));
    if let Some(at) = earliest.and_then(|at| jiff::Timestamp::from_millisecond(at.0).ok()) {
        detail.push_str(&format!(" Possible from {at}."));
    }
    Problem::new(409, "gate", "This number may not be called now", detail)
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
