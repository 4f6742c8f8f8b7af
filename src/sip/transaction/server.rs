//! Non-INVITE server transaction (RFC 3261 §17.2.2). RFC 4320: no provisional response and never
//! a 408; whoever owns one answers it at once.

use std::time::Instant;

use crate::sip::message::Response;
use crate::sip::timer::{Deadline, Timers};

use super::Effect;

pub(in crate::sip) struct Server {
    reliable: bool,
    timers: Timers,
    state: State,
}

enum State {
    Trying,
    Completed { response: Vec<u8>, timer_j: Instant },
    Over,
}

impl Server {
    pub fn new(reliable: bool, timers: Timers) -> Server {
        Server {
            reliable,
            timers,
            state: State::Trying,
        }
    }

    pub fn respond(&mut self, now: Instant, response: &Response, fx: &mut Vec<Effect>) {
        if !matches!(self.state, State::Trying) || response.status < 200 {
            return;
        }
        let bytes = response.to_bytes();
        fx.push(Effect::Send(bytes.clone()));
        self.state = if self.reliable {
            State::Over
        } else {
            State::Completed {
                response: bytes,
                timer_j: now + self.timers.patience(),
            }
        };
    }

    pub fn handle_repeat(&mut self, fx: &mut Vec<Effect>) {
        if let State::Completed { response, .. } = &self.state {
            fx.push(Effect::Send(response.clone()));
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline().is_some_and(|(at, _)| at <= now) {
            self.state = State::Over;
        }
    }

    pub fn deadline(&self) -> Option<Deadline> {
        match &self.state {
            State::Completed { timer_j, .. } => Some((*timer_j, "timer J")),
            State::Trying | State::Over => None,
        }
    }

    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }
}
