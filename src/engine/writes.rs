//! What the store answers, and whom it concerns. A write is remembered here until its fact comes;
//! an outcome stays until the store has it on disk. What follows on a desk is in `lease.rs`.

use super::call::Recording;
use super::handle::Problem;
use super::kept_phones::PhoneWrite;
use super::switch::{ReplyId, Switch};
use crate::agent::state::Reason;
use crate::dialer::gate::Rule;
use crate::id::{AgentId, CallId, FenceToken, ThirdId};
use crate::now::{Now, UtcMs};
use crate::sip::SessionId;
use crate::store::{self, Fact, StoreError};

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
    /// A caller's card for an agent.
    Ring {
        agent: AgentId,
        call: CallId,
    },
    /// Another agent has answered: the call and its card become hers.
    TakeOver {
        agent: AgentId,
        call: CallId,
        reply: Option<ReplyId>,
    },
    LastAgent {
        caller: CallId,
    },
    /// A caller's answer: the 200 waits for it. `answer` is `None` when there is none to send,
    /// and in it `None` for an offer of ours.
    PickUp {
        call: CallId,
        session: SessionId,
        answer: Option<Option<String>>,
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
    /// Where these users' phones can be reached.
    Bindings {
        users: Vec<String>,
    },
    Phone(Box<PhoneWrite>),
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
            (Write::Ring { agent, call }, Fact::Rung(reservation)) => {
                self.rung(now, &agent, call, *reservation);
            }
            (Write::Ring { agent, .. }, fact) => {
                tracing::warn!(%agent, ?fact, "no card for a caller");
                self.not_rung(now, &agent);
            }
            (Write::TakeOver { agent, call, reply }, Fact::TakenOver(reservation)) => {
                self.taken_over(now, &agent, call, *reservation);
                if let Some(reply) = reply {
                    self.settle_reply(reply);
                }
            }
            (Write::TakeOver { agent, call, reply }, fact) => {
                tracing::warn!(%agent, %call, ?fact, "the call was not handed over");
                self.not_taken_over(now, &agent, call);
                if let Some(reply) = reply {
                    self.reply(reply, Err(not_begun(fact)));
                }
            }
            (Write::LastAgent { caller }, Fact::LastAgent { agent }) => {
                self.last_agent_known(now, caller, agent);
            }
            (Write::LastAgent { caller }, _) => self.last_agent_known(now, caller, None),
            (
                Write::PickUp {
                    call,
                    session,
                    answer,
                },
                _,
            ) => self.picked_up(now, call, session, answer),
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
            (Write::Phone(write), fact) => self.phone_written(now, *write, fact),
            (Write::Reserve { agent, .. }, fact) => {
                tracing::error!(%agent, ?fact, "no card, and no reason for it");
                self.ask_later(now, &agent);
            }
            (Write::Outcome { command }, _) => {
                // Pages may ask for it from now on: the books know where it lies.
                if let store::Command::RecordingDone { attempt, .. } = *command {
                    self.mark_recording(CallId(attempt.0), Recording::Done);
                }
            }
            (Write::Step | Write::Expire | Write::Bindings { .. }, _) => {}
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
            Write::Ring { agent, .. } => self.not_rung(now, &agent),
            Write::TakeOver { agent, call, reply } => {
                self.not_taken_over(now, &agent, call);
                if let Some(reply) = reply {
                    self.reply(reply, Err(problem()));
                }
            }
            Write::LastAgent { caller } => self.last_agent_known(now, caller, None),
            Write::PickUp {
                call,
                session,
                answer,
            } => self.picked_up(now, call, session, answer),
            Write::Third { call, third } => self.third_refused(now, call, third, problem()),
            // The call goes on; a store that cannot write is an alarm, not a hang-up.
            Write::Answered { session } => self.sip.acknowledge(now, session, None),
            Write::Step | Write::Expire => {}
            Write::Phone(write) => self.reply(write.reply(), Err(problem())),
            Write::Bindings { users } => self.bindings_not_saved(now, users),
            Write::Outcome { command } => {
                let at = now.instant + self.config.limits.write_again;
                let again = Write::Outcome {
                    command: command.clone(),
                };
                self.write_again.push((at, again, *command));
            }
        }
    }
}

pub(super) fn stale(owner: Option<&AgentId>) -> Problem {
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

pub(super) fn refused(rule: &'static str, detail: String) -> Problem {
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
