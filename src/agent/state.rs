//! The agent's states and the moves between them.
//!
//! ```text
//! LOGGED_OUT ► NOT_READY(reason) ⇄ READY ► PREVIEWING ► DIALING ► TALKING ► WRAP_UP ► READY | NOT_READY
//!                                  READY ► RINGING ► TALKING
//!                                          RINGING ► READY | NOT_READY(missed | declined)
//! ```
//! Who lets a call ring out, or will not take it, is NOT_READY: the next caller is not wasted on
//! an empty chair.
//! A change asked for while a card or a call is open is queued; the last one asked for wins.

use crate::now::UtcMs;

/// Why an agent takes no cards. The configured reasons plus the switch's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(pub String);

impl Reason {
    /// Signed in and not yet ready.
    pub const SIGNED_IN: &'static str = "signed_in";
    /// The preview limit passed without an answer to the card.
    pub const PREVIEW_TIMEOUT: &'static str = "preview_timeout";
    /// The wrap-up limit passed without a disposition.
    pub const WRAP_UP_TIMEOUT: &'static str = "wrap_up_timeout";
    /// The card was cancelled.
    pub const CANCELLED: &'static str = "cancelled";
    /// A call rang out.
    pub const MISSED: &'static str = "missed";
    /// She would not take a call.
    pub const DECLINED: &'static str = "declined";

    pub fn new(text: &str) -> Reason {
        Reason(text.to_owned())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    LoggedOut,
    NotReady {
        reason: Reason,
    },
    Ready,
    Previewing {
        deadline: UtcMs,
        extensions_left: u8,
    },
    Dialing,
    /// A caller waits for her to answer.
    Ringing {
        until: UtcMs,
    },
    Talking,
    WrapUp {
        deadline: UtcMs,
    },
}

/// A change of state asked for while the present one cannot be left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Queued {
    NotReady { reason: Reason },
    LoggedOut,
}

/// The move is not one the present state allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub state: &'static str,
}

#[derive(Clone, Debug)]
pub struct Agent {
    state: State,
    since: UtcMs,
    queued: Option<Queued>,
}

impl Agent {
    pub fn new(now: UtcMs) -> Agent {
        Agent {
            state: State::LoggedOut,
            since: now,
            queued: None,
        }
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn since(&self) -> UtcMs {
        self.since
    }

    pub fn queued(&self) -> Option<&Queued> {
        self.queued.as_ref()
    }

    /// What a restarted switch found in the store.
    pub fn restore(&mut self, state: State, now: UtcMs) {
        self.enter(state, now);
    }

    /// The first tab has opened, or the first command has come.
    pub fn sign_in(&mut self, now: UtcMs) {
        if self.state == State::LoggedOut {
            self.enter(
                State::NotReady {
                    reason: Reason::new(Reason::SIGNED_IN),
                },
                now,
            );
        }
    }

    /// Asks for a card. From a card or a call it takes back a queued break.
    pub fn ready(&mut self, now: UtcMs) {
        match self.state {
            State::LoggedOut | State::NotReady { .. } => self.enter(State::Ready, now),
            State::Ready => {}
            _ => self.queued = None,
        }
    }

    /// Takes no more cards: at once when free, else after the card or call in hand.
    pub fn not_ready(&mut self, reason: Reason, now: UtcMs) {
        match self.state {
            State::LoggedOut | State::NotReady { .. } | State::Ready => {
                self.enter(State::NotReady { reason }, now);
            }
            _ => self.queued = Some(Queued::NotReady { reason }),
        }
    }

    pub fn log_out(&mut self, now: UtcMs) {
        match self.state {
            State::LoggedOut | State::NotReady { .. } | State::Ready => {
                self.enter(State::LoggedOut, now);
            }
            _ => self.queued = Some(Queued::LoggedOut),
        }
    }

    pub fn preview(&mut self, deadline: UtcMs, extensions: u8, now: UtcMs) -> Result<(), Refused> {
        match self.state {
            State::Ready => {
                self.enter(
                    State::Previewing {
                        deadline,
                        extensions_left: extensions,
                    },
                    now,
                );
                Ok(())
            }
            _ => Err(self.refused()),
        }
    }

    /// The preview runs until `deadline` now; `extensions_left` more may be asked for.
    pub fn extend(&mut self, deadline: UtcMs, extensions_left: u8) {
        if let State::Previewing { .. } = self.state {
            self.state = State::Previewing {
                deadline,
                extensions_left,
            };
        }
    }

    pub fn dial(&mut self, now: UtcMs) -> Result<(), Refused> {
        match self.state {
            State::Previewing { .. } => {
                self.enter(State::Dialing, now);
                Ok(())
            }
            _ => Err(self.refused()),
        }
    }

    /// The dial was refused at the gate: the card is on screen again, until its old deadline.
    pub fn back_to_preview(&mut self, deadline: UtcMs, extensions: u8, now: UtcMs) {
        if self.state == State::Dialing {
            self.enter(
                State::Previewing {
                    deadline,
                    extensions_left: extensions,
                },
                now,
            );
        }
    }

    pub fn answered(&mut self, now: UtcMs) {
        if self.state == State::Dialing {
            self.enter(State::Talking, now);
        }
    }

    /// A call asks for her. On a break she may be called by name only, and the break goes on
    /// afterwards.
    pub fn ring(&mut self, until: UtcMs, now: UtcMs) -> Result<(), Refused> {
        self.queued = match &self.state {
            State::Ready => None,
            State::NotReady { reason } => Some(Queued::NotReady {
                reason: reason.clone(),
            }),
            _ => return Err(self.refused()),
        };
        self.enter(State::Ringing { until }, now);
        Ok(())
    }

    pub fn pick_up(&mut self, now: UtcMs) -> Result<(), Refused> {
        match self.state {
            State::Ringing { .. } => {
                self.enter(State::Talking, now);
                Ok(())
            }
            _ => Err(self.refused()),
        }
    }

    /// Every dial ends here, the failed ones too.
    pub fn wrap_up(&mut self, deadline: UtcMs, now: UtcMs) {
        self.enter(State::WrapUp { deadline }, now);
    }

    /// The card is done with: the queued change, or READY for the next one.
    pub fn card_done(&mut self, now: UtcMs) {
        let next = match self.queued.take() {
            Some(Queued::NotReady { reason }) => State::NotReady { reason },
            Some(Queued::LoggedOut) => State::LoggedOut,
            None => State::Ready,
        };
        self.enter(next, now);
    }

    /// The card was left for a reason that also takes the agent out of READY.
    pub fn card_done_not_ready(&mut self, reason: Reason, now: UtcMs) {
        let next = match self.queued.take() {
            Some(Queued::LoggedOut) => State::LoggedOut,
            Some(Queued::NotReady { reason }) => State::NotReady { reason },
            None => State::NotReady { reason },
        };
        self.enter(next, now);
    }

    fn enter(&mut self, state: State, now: UtcMs) {
        if self.state != state {
            self.since = now;
        }
        self.state = state;
    }

    fn refused(&self) -> Refused {
        Refused {
            state: self.state.name(),
        }
    }
}

impl State {
    /// The stable name in the API and in events.
    pub fn name(&self) -> &'static str {
        match self {
            State::LoggedOut => "logged_out",
            State::NotReady { .. } => "not_ready",
            State::Ready => "ready",
            State::Previewing { .. } => "previewing",
            State::Dialing => "dialing",
            State::Ringing { .. } => "ringing",
            State::Talking => "talking",
            State::WrapUp { .. } => "wrap_up",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: UtcMs = UtcMs(1_000);

    fn previewing() -> Agent {
        let mut agent = Agent::new(T);
        agent.ready(T);
        agent
            .preview(UtcMs(9_000), 2, T)
            .expect("a ready agent takes a card");
        agent
    }

    #[test]
    fn a_break_asked_for_in_a_call_comes_after_wrap_up() {
        let mut agent = previewing();
        agent.dial(T).unwrap();
        agent.answered(T);
        agent.not_ready(Reason::new("lunch"), T);
        assert_eq!(agent.state(), &State::Talking);
        agent.wrap_up(UtcMs(9_000), T);
        agent.card_done(T);
        assert_eq!(
            agent.state(),
            &State::NotReady {
                reason: Reason::new("lunch")
            }
        );
        assert_eq!(agent.queued(), None);
    }

    #[test]
    fn the_last_change_asked_for_wins() {
        let mut agent = previewing();
        agent.not_ready(Reason::new("lunch"), T);
        agent.log_out(T);
        agent.ready(T);
        agent.dial(T).unwrap();
        agent.wrap_up(UtcMs(9_000), T);
        agent.card_done(T);
        assert_eq!(agent.state(), &State::Ready);
    }

    #[test]
    fn only_a_preview_is_extended() {
        let mut agent = previewing();
        agent.extend(UtcMs(20_000), 1);
        let longer = State::Previewing {
            deadline: UtcMs(20_000),
            extensions_left: 1,
        };
        assert_eq!(agent.state(), &longer);
        agent.dial(T).unwrap();
        agent.extend(UtcMs(30_000), 0);
        assert_eq!(agent.state(), &State::Dialing);
    }

    #[test]
    fn only_a_card_on_screen_can_be_dialed() {
        let mut agent = Agent::new(T);
        assert!(agent.dial(T).is_err());
        agent.ready(T);
        assert!(agent.dial(T).is_err());
    }

    fn ringing() -> Agent {
        let mut agent = Agent::new(T);
        agent.ready(T);
        agent
            .ring(UtcMs(9_000), T)
            .expect("a ready agent is called");
        agent
    }

    #[test]
    fn a_call_that_is_answered_is_a_talk() {
        let mut agent = ringing();
        assert!(agent.preview(UtcMs(9_000), 2, T).is_err(), "one or other");
        agent.pick_up(T).unwrap();
        assert_eq!(agent.state(), &State::Talking);
        assert!(agent.pick_up(T).is_err());
    }

    #[test]
    fn a_caller_who_gives_up_leaves_her_ready_and_a_missed_call_does_not() {
        let mut agent = ringing();
        agent.card_done(T);
        assert_eq!(agent.state(), &State::Ready);
        let mut agent = ringing();
        agent.card_done_not_ready(Reason::new(Reason::MISSED), T);
        let missed = State::NotReady {
            reason: Reason::new("missed"),
        };
        assert_eq!(agent.state(), &missed);
    }

    #[test]
    fn who_is_called_by_name_on_a_break_has_her_break_back() {
        let mut agent = Agent::new(T);
        assert!(agent.ring(UtcMs(9_000), T).is_err(), "nobody is there");
        agent.not_ready(Reason::new("lunch"), T);
        agent.ring(UtcMs(9_000), T).unwrap();
        agent.pick_up(T).unwrap();
        agent.wrap_up(UtcMs(9_000), T);
        agent.card_done(T);
        let lunch = State::NotReady {
            reason: Reason::new("lunch"),
        };
        assert_eq!(agent.state(), &lunch);
    }

    #[test]
    fn only_a_free_agent_is_called() {
        let mut agent = previewing();
        assert!(agent.ring(UtcMs(9_000), T).is_err());
        assert!(ringing().dial(T).is_err());
    }

    #[test]
    fn the_time_in_a_state_starts_with_the_state() {
        let mut agent = Agent::new(T);
        agent.sign_in(UtcMs(2_000));
        agent.sign_in(UtcMs(3_000));
        assert_eq!(agent.since(), UtcMs(2_000));
    }
}
