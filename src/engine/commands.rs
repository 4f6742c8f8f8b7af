//! What agents ask for, and the answers that can be given at once.

use super::desk::{Ask, Waiting};
use super::handle::{AgentCommand, Problem};
use super::media_worker::MediaCommand;
use super::resolved::Text;
use super::switch::{ReplyId, Switch};
use super::writes::{AfterCard, Write};
use crate::agent::state::{Reason, State};
use crate::call::transfer::Transfer;
use crate::id::{AgentId, CallId, FenceToken, PhoneId};
use crate::now::Now;
use crate::store;

/// The volume an agent may give the customer, in dB.
const VOLUME_DB: std::ops::RangeInclusive<i32> = -40..=12;
/// Longest notes kept with an outcome, in bytes.
const NOTES_LEN_MAX: usize = 8_000;

impl Switch {
    pub(super) fn command(
        &mut self,
        now: Now,
        agent: &AgentId,
        command: AgentCommand,
        reply: ReplyId,
    ) {
        let Some(desk) = self.desk(agent) else {
            let problem = Problem::new(404, "unknown_agent", "No such agent", agent.as_str());
            return self.reply(reply, Err(problem));
        };
        desk.agent.sign_in(now.utc);
        let done = match command {
            AgentCommand::Ready => {
                desk.agent.ready(now.utc);
                self.ask_for_card(now, agent);
                Ok(())
            }
            AgentCommand::NotReady { reason } => {
                desk.agent.not_ready(Reason(reason), now.utc);
                self.rest(agent);
                Ok(())
            }
            AgentCommand::LogOut => {
                desk.agent.log_out(now.utc);
                self.rest(agent);
                Ok(())
            }
            AgentCommand::Dial { token, key, phone } => {
                return self.dial(
                    now,
                    agent,
                    FenceToken(token),
                    key.to_string(),
                    phone.map(PhoneId),
                    reply,
                );
            }
            AgentCommand::Skip { token, key, reason } => {
                let token = FenceToken(token);
                let command = store::Command::Skip {
                    token,
                    agent: agent.clone(),
                    key: key.to_string(),
                    reason,
                };
                return self.leave_card(agent, token, command, AfterCard::Next, reply);
            }
            AgentCommand::Cancel { token, key } => {
                let token = FenceToken(token);
                let command = store::Command::Cancel {
                    token,
                    agent: agent.clone(),
                    key: key.to_string(),
                };
                let after = AfterCard::NotReady(Reason::CANCELLED);
                return self.leave_card(agent, token, command, after, reply);
            }
            AgentCommand::Dnc { token, key } => {
                let token = FenceToken(token);
                let command = store::Command::Suppress {
                    token,
                    agent: agent.clone(),
                    key: key.to_string(),
                };
                return self.leave_card(agent, token, command, AfterCard::Next, reply);
            }
            AgentCommand::Extend { token } => {
                return self.extend(agent, FenceToken(token), reply);
            }
            AgentCommand::Answer => self.answer(now, agent),
            AgentCommand::Decline => self.decline(now, agent),
            AgentCommand::HangUp => self.agent_hangs_up(now, agent),
            AgentCommand::Mute { on } => self.mute(now, agent, on),
            AgentCommand::Hold { on } => self.hold(now, agent, on),
            AgentCommand::Consult { to } => {
                return self.bring_in(now, agent, &to, Transfer::consult(), reply);
            }
            AgentCommand::Transfer { to } => {
                return self.bring_in(now, agent, &to, Transfer::blind(), reply);
            }
            AgentCommand::PickUp { call } => {
                return self.pick_up(now, agent, CallId(call), reply);
            }
            AgentCommand::Swap => self.swap(now, agent),
            AgentCommand::Complete => self.complete(now, agent),
            AgentCommand::Drop => self.drop_third(now, agent),
            AgentCommand::Volume { db } => self.volume(agent, db),
            AgentCommand::Dispose {
                token,
                key,
                disposition,
                notes,
                callback_at_ms,
            } => {
                let disposition = Some(disposition).filter(|key| !key.is_empty());
                let answer = super::writes::Answer {
                    disposition,
                    notes,
                    callback_at_ms,
                };
                return self.dispose(agent, FenceToken(token), key.to_string(), answer, reply);
            }
        };
        self.reply(reply, done);
    }

    /// Asks the store for a card when the agent is READY and has none.
    pub(super) fn ask_for_card(&mut self, now: Now, agent: &AgentId) {
        // Whoever waits for her already comes first.
        self.offer(now);
        let draining = self.draining;
        let Some(desk) = self.desks.get(agent) else {
            return;
        };
        let wants = *desk.agent.state() == State::Ready && desk.card.is_none();
        if !wants || desk.ask == Ask::Asking {
            return;
        }
        let campaigns = desk.profile.campaigns.clone();
        let Some(desk) = self.desk(agent) else { return };
        if draining {
            desk.waiting = Some(Waiting {
                reason: "draining",
                detail: Text::new(
                    "The switch is being stopped; no new cards.",
                    "系统正在停止，不再派发新名单。",
                ),
                earliest: None,
            });
            return;
        }
        desk.ask = Ask::Asking;
        let command = store::Command::ReserveNext {
            agent: agent.clone(),
            campaigns,
        };
        self.write(
            Write::Reserve {
                agent: agent.clone(),
                asked_at: now.utc,
            },
            command,
        );
    }

    /// The agent takes no cards now: stop asking for one.
    fn rest(&mut self, agent: &AgentId) {
        let Some(desk) = self.desk(agent) else { return };
        if !matches!(desk.agent.state(), State::Ready) {
            desk.waiting = None;
            if let Ask::AgainAt(_) = desk.ask {
                desk.ask = Ask::Idle;
            }
        }
    }

    /// Puts the card back, or away, and then goes on as `after` says. The store judges the token.
    fn leave_card(
        &mut self,
        agent: &AgentId,
        token: FenceToken,
        command: store::Command,
        after: AfterCard,
        reply: ReplyId,
    ) {
        let on_desk = self.desks.get(agent).and_then(|desk| {
            let card = desk.card.as_ref()?;
            (card.token == token).then(|| desk.agent.state().clone())
        });
        if let Some(state) = on_desk
            && !matches!(state, State::Previewing { .. })
        {
            return self.reply(reply, Err(wrong_state(&state)));
        }
        let write = Write::LeaveCard {
            agent: agent.clone(),
            token,
            after,
            reply: Some(reply),
        };
        self.write(write, command);
    }

    fn extend(&mut self, agent: &AgentId, token: FenceToken, reply: ReplyId) {
        let command = store::Command::Extend {
            token,
            agent: agent.clone(),
        };
        self.write(
            Write::Extend {
                agent: agent.clone(),
                token,
                reply,
            },
            command,
        );
    }

    fn mute(&mut self, now: Now, agent: &AgentId, on: bool) -> Result<(), Problem> {
        let seat = self.desks.get(agent).and_then(|desk| desk.seat.live_leg());
        let call = self.live_call_mut(agent)?;
        call.progress.mute(on, now.utc);
        if let Some(leg) = seat {
            self.media(MediaCommand::Mute { leg, on });
        }
        Ok(())
    }

    fn volume(&mut self, agent: &AgentId, db: i32) -> Result<(), Problem> {
        if !VOLUME_DB.contains(&db) {
            return Err(Problem::new(
                422,
                "volume_out_of_range",
                "Volume out of range",
                format!("{db} dB is not within −40 to +12 dB."),
            ));
        }
        let call = self.live_call_mut(agent)?;
        call.volume_db = db;
        let leg = call.leg;
        self.media(MediaCommand::Gain { leg, db: db as f32 });
        Ok(())
    }

    fn dispose(
        &mut self,
        agent: &AgentId,
        token: FenceToken,
        key: String,
        answer: super::writes::Answer,
        reply: ReplyId,
    ) {
        if answer.notes.len() > NOTES_LEN_MAX {
            let detail = format!("At most {NOTES_LEN_MAX} bytes are kept.");
            return self.reply(
                reply,
                Err(Problem::new(
                    422,
                    "notes_too_long",
                    "Notes too long",
                    detail,
                )),
            );
        }
        let Some(desk) = self.desks.get(agent) else {
            return;
        };
        let on_desk = desk.card.as_ref().is_some_and(|card| card.token == token);
        if on_desk {
            let state = desk.agent.state();
            if !matches!(state, State::WrapUp { .. }) {
                let problem = wrong_state(state);
                return self.reply(reply, Err(problem));
            }
        }
        self.write_disposition(agent, token, key, answer, false, Some(reply));
    }
}

pub(super) fn wrong_state(state: &State) -> Problem {
    Problem::new(
        409,
        "wrong_state",
        "Not possible now",
        format!("The agent is {}.", state.name().replace('_', " ")),
    )
}

pub(super) fn no_card() -> Problem {
    Problem::new(
        409,
        "stale_token",
        "This card is no longer yours",
        "It was closed or given away.",
    )
}

pub(super) fn no_call() -> Problem {
    Problem::new(409, "no_call", "There is no call", "It has already ended.")
}
