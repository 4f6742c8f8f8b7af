//! INVITE server transaction (RFC 3261 §17.2.1 with the Accepted state of RFC 6026).

use std::time::{Duration, Instant};

use crate::sip::message::Response;
use crate::sip::timer::{Deadline, Timers, earlier};

use super::Effect;

pub(in crate::sip) struct ServerInvite {
    reliable: bool,
    timers: Timers,
    state: State,
}

enum State {
    Proceeding {
        last: Option<Vec<u8>>,
    },
    /// `resend`: timer G with the pause after it.
    Completed {
        response: Vec<u8>,
        resend: Option<(Instant, Duration)>,
        timer_h: Instant,
    },
    Confirmed {
        timer_i: Instant,
    },
    /// The 2xx belongs to the session, which repeats it until the ACK comes.
    Accepted {
        timer_l: Instant,
    },
    Over,
}

impl ServerInvite {
    pub fn new(reliable: bool, timers: Timers) -> ServerInvite {
        ServerInvite {
            reliable,
            timers,
            state: State::Proceeding { last: None },
        }
    }

    /// Whether a final response may still be given.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Proceeding { .. })
    }

    pub fn respond(&mut self, now: Instant, response: &Response, fx: &mut Vec<Effect>) {
        if !self.is_open() {
            return;
        }
        let bytes = response.to_bytes();
        fx.push(Effect::Send(bytes.clone()));
        self.state = match response.status {
            100..200 => State::Proceeding { last: Some(bytes) },
            200..300 => State::Accepted {
                timer_l: now + self.timers.patience(),
            },
            _ => State::Completed {
                response: bytes,
                resend: (!self.reliable)
                    .then(|| (now + self.timers.t1, self.timers.doubled(self.timers.t1))),
                timer_h: now + self.timers.patience(),
            },
        };
    }

    pub fn handle_repeat(&mut self, fx: &mut Vec<Effect>) {
        match &self.state {
            State::Proceeding { last: Some(bytes) } => fx.push(Effect::Send(bytes.clone())),
            State::Completed { response, .. } => fx.push(Effect::Send(response.clone())),
            // RFC 6026 7.1: absorbed; the session repeats the 2xx on its own.
            State::Proceeding { last: None }
            | State::Confirmed { .. }
            | State::Accepted { .. }
            | State::Over => {}
        }
    }

    /// True when the ACK is the session's: it acknowledges a 2xx.
    pub fn handle_ack(&mut self, now: Instant) -> bool {
        match self.state {
            State::Completed { .. } if self.reliable => self.state = State::Over,
            State::Completed { .. } => {
                self.state = State::Confirmed {
                    timer_i: now + self.timers.t4,
                };
            }
            State::Accepted { .. } => return true,
            State::Proceeding { .. } | State::Confirmed { .. } | State::Over => {}
        }
        false
    }

    pub fn handle_timeout(&mut self, now: Instant, fx: &mut Vec<Effect>) {
        match &mut self.state {
            State::Completed { timer_h, .. } if *timer_h <= now => {
                fx.push(Effect::Unacknowledged);
                self.state = State::Over;
            }
            State::Completed {
                response,
                resend: Some((at, interval)),
                ..
            } if *at <= now => {
                *at = now + *interval;
                *interval = self.timers.doubled(*interval);
                fx.push(Effect::Send(response.clone()));
            }
            State::Confirmed { timer_i: at } | State::Accepted { timer_l: at } if *at <= now => {
                self.state = State::Over;
            }
            _ => {}
        }
    }

    pub fn deadline(&self) -> Option<Deadline> {
        match &self.state {
            State::Proceeding { .. } | State::Over => None,
            State::Completed {
                resend, timer_h, ..
            } => earlier(
                resend.map(|(at, _)| (at, "timer G")),
                Some((*timer_h, "timer H")),
            ),
            State::Confirmed { timer_i } => Some((*timer_i, "timer I")),
            State::Accepted { timer_l } => Some((*timer_l, "timer L")),
        }
    }

    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }
}
