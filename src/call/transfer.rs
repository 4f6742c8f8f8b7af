//! A third party in an agent's call, and who hears whom.
//!
//! ```text
//! consult ► Calling ───answer──► Consulting(third ⇄ customer) ──complete──► Joined
//!              └─complete─┐
//! blind ──────────────────┴► Leaving ──────────answer──────────────────────► Joined
//! ```
//! Until the third party is joined the call is the agent's: whenever the third party goes away,
//! she and the customer hear each other again, and nobody is lost.

use super::result::CallResult;

/// Of whom the agent is heard in a consultation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Third,
    Customer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The third party is called for the agent; the customer hears music.
    Calling,
    /// It is called for the customer, who hears it ring.
    Leaving,
    /// It has answered; the one who is not heard hears music.
    Consulting { heard: Heard },
    /// Customer and third party talk; the agent is out of it.
    Joined,
}

/// What one of the three hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hears {
    Silence,
    Music,
    Ringback,
    Customer,
    Agent,
    Third,
}

/// What each of them hears now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ears {
    pub customer: Hears,
    pub agent: Hears,
    pub third: Hears,
}

/// How a third party's part came to an end, or to its success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Customer and third party were joined.
    Completed,
    /// The agent ended it.
    Dropped,
    /// The third party hung up on the agent.
    ThirdLeft,
    /// The customer's call ended first.
    CallEnded,
    /// A rule or the store said no.
    Denied,
    /// It was never answered, and why.
    NotReached(CallResult),
}

/// The step does not fit the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub state: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    state: State,
    /// Sound comes from the third party before its answer.
    early_media: bool,
}

impl Transfer {
    /// The agent wants to talk to the third party first.
    pub fn consult() -> Transfer {
        Transfer {
            state: State::Calling,
            early_media: false,
        }
    }

    /// The customer goes there without a word.
    pub fn blind() -> Transfer {
        Transfer {
            state: State::Leaving,
            early_media: false,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn early_media(&mut self, on: bool) {
        self.early_media = on;
    }

    /// The third party answers. True when that joins it with the customer.
    pub fn answered(&mut self) -> bool {
        match self.state {
            State::Calling => {
                let heard = Heard::Third;
                self.state = State::Consulting { heard };
                false
            }
            State::Leaving => {
                self.state = State::Joined;
                true
            }
            State::Consulting { .. } | State::Joined => false,
        }
    }

    /// The agent turns to the other one.
    pub fn swap(&mut self) -> Result<(), Refused> {
        let State::Consulting { heard } = &mut self.state else {
            return Err(self.refused());
        };
        *heard = match heard {
            Heard::Third => Heard::Customer,
            Heard::Customer => Heard::Third,
        };
        Ok(())
    }

    /// The agent lets go. True when customer and third party are joined by it; false while the
    /// third party is still called. A second click changes nothing.
    pub fn complete(&mut self) -> bool {
        match self.state {
            State::Calling | State::Leaving => {
                self.state = State::Leaving;
                false
            }
            State::Consulting { .. } => {
                self.state = State::Joined;
                true
            }
            State::Joined => false,
        }
    }

    /// The call is the agent's no more.
    pub fn is_joined(&self) -> bool {
        self.state == State::Joined
    }

    /// The customer is with neither of the other two.
    pub fn holds_customer(&self) -> bool {
        match self.state {
            State::Calling | State::Leaving => true,
            State::Consulting { heard } => heard == Heard::Third,
            State::Joined => false,
        }
    }

    pub fn ears(&self) -> Ears {
        let rings = match self.early_media {
            true => Hears::Third,
            false => Hears::Ringback,
        };
        let (customer, agent, third) = match self.state {
            State::Calling => (Hears::Music, rings, Hears::Silence),
            State::Leaving => (rings, rings, Hears::Silence),
            State::Consulting {
                heard: Heard::Third,
            } => (Hears::Music, Hears::Third, Hears::Agent),
            State::Consulting {
                heard: Heard::Customer,
            } => (Hears::Agent, Hears::Customer, Hears::Music),
            State::Joined => (Hears::Third, Hears::Silence, Hears::Customer),
        };
        Ears {
            customer,
            agent,
            third,
        }
    }

    fn refused(self) -> Refused {
        let state = self.state.name();
        Refused { state }
    }
}

impl State {
    /// The stable name in the API.
    pub fn name(self) -> &'static str {
        match self {
            State::Calling => "calling",
            State::Leaving => "leaving",
            State::Consulting { .. } => "consulting",
            State::Joined => "joined",
        }
    }
}

impl Outcome {
    /// The stable name in the API, in events and in `/metrics`.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::Dropped => "dropped",
            Outcome::ThirdLeft => "third_left",
            Outcome::CallEnded => "call_ended",
            Outcome::Denied => "denied",
            Outcome::NotReached(result) => result.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consultation_goes_to_and_fro_and_ends_with_the_two_joined() {
        let mut transfer = Transfer::consult();
        assert_eq!(transfer.ears().customer, Hears::Music);
        assert_eq!(transfer.ears().agent, Hears::Ringback);
        assert!(!transfer.answered());
        assert_eq!(transfer.ears().agent, Hears::Third);
        assert!(transfer.holds_customer());
        transfer.swap().unwrap();
        let ears = transfer.ears();
        assert_eq!((ears.customer, ears.third), (Hears::Agent, Hears::Music));
        assert!(!transfer.holds_customer());
        transfer.swap().unwrap();
        assert!(transfer.complete());
        let ears = transfer.ears();
        assert_eq!(ears.customer, Hears::Third);
        assert_eq!((ears.agent, ears.third), (Hears::Silence, Hears::Customer));
        assert!(!transfer.complete(), "the second half of a double click");
    }

    #[test]
    fn who_lets_go_while_it_rings_leaves_the_customer_with_the_ringing() {
        let mut transfer = Transfer::consult();
        assert!(!transfer.complete());
        assert_eq!(transfer.state(), State::Leaving);
        assert_eq!(transfer.ears().customer, Hears::Ringback);
        assert!(transfer.answered());
        assert!(transfer.is_joined());
    }

    #[test]
    fn a_blind_transfer_joins_by_the_answer() {
        let mut transfer = Transfer::blind();
        assert_eq!(transfer.swap(), Err(Refused { state: "leaving" }));
        assert!(transfer.answered());
        assert!(!transfer.answered(), "a second answer");
    }

    #[test]
    fn early_media_is_heard_by_whom_it_is_called_for() {
        let mut transfer = Transfer::consult();
        transfer.early_media(true);
        let ears = transfer.ears();
        assert_eq!((ears.customer, ears.agent), (Hears::Music, Hears::Third));
        transfer.complete();
        assert_eq!(transfer.ears().customer, Hears::Third);
    }

    #[test]
    fn nobody_is_ever_left_with_nothing_but_the_agent_who_is_out_of_it() {
        let mut all = vec![Transfer::consult(), Transfer::blind()];
        for at in 0..3 {
            let mut next: Vec<Transfer> = Vec::new();
            for transfer in &all {
                let mut steps = [*transfer; 4];
                steps[0].answered();
                steps[1].complete();
                let _ = steps[2].swap();
                steps[3].early_media(at % 2 == 0);
                next.extend(steps);
            }
            all.extend(next);
        }
        for transfer in all {
            let ears = transfer.ears();
            assert_ne!(ears.customer, Hears::Silence, "{transfer:?}");
            assert_eq!(ears.agent == Hears::Silence, transfer.is_joined());
            assert_ne!(ears.customer, Hears::Customer);
            assert_ne!(ears.third, Hears::Third);
        }
    }
}
