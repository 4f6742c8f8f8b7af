//! Non-INVITE client transaction (RFC 3261 §17.1.2).

use std::time::{Duration, Instant};

use crate::sip::message::{Request, Response};
use crate::sip::timer::{Deadline, Timers, earlier};

use super::{Effect, Failure};

pub(in crate::sip) struct Client {
    bytes: Vec<u8>,
    reliable: bool,
    timers: Timers,
    state: State,
}

enum State {
    /// `resend`: timer E with the pause after it.
    Trying {
        resend: Option<(Instant, Duration)>,
        timer_f: Instant,
    },
    /// Provisionally answered: timer E runs at T2.
    Proceeding {
        resend: Option<Instant>,
        timer_f: Instant,
    },
    Completed {
        timer_k: Instant,
    },
    Over,
}

impl Client {
    pub fn start(
        now: Instant,
        request: &Request,
        reliable: bool,
        timers: Timers,
        fx: &mut Vec<Effect>,
    ) -> Client {
        let bytes = request.to_bytes();
        fx.push(Effect::Send(bytes.clone()));
        let resend = (!reliable).then(|| (now + timers.t1, timers.doubled(timers.t1)));
        let state = State::Trying {
            resend,
            timer_f: now + timers.patience(),
        };
        Client {
            bytes,
            reliable,
            timers,
            state,
        }
    }

    pub fn handle_response(&mut self, now: Instant, response: Response, fx: &mut Vec<Effect>) {
        let (State::Trying { timer_f, .. } | State::Proceeding { timer_f, .. }) = self.state else {
            return;
        };
        self.state = if response.status < 200 {
            let resend = (!self.reliable).then(|| now + self.timers.t2);
            State::Proceeding { resend, timer_f }
        } else if self.reliable {
            State::Over
        } else {
            State::Completed {
                timer_k: now + self.timers.t4,
            }
        };
        fx.push(Effect::Response(Box::new(response)));
    }

    pub fn handle_unreachable(&mut self, fx: &mut Vec<Effect>) {
        if matches!(self.state, State::Trying { .. } | State::Proceeding { .. }) {
            fx.push(Effect::Failed(Failure::Unreachable));
            self.state = State::Over;
        }
    }

    pub fn handle_timeout(&mut self, now: Instant, fx: &mut Vec<Effect>) {
        match &mut self.state {
            State::Trying { timer_f, .. } | State::Proceeding { timer_f, .. }
                if *timer_f <= now =>
            {
                fx.push(Effect::Failed(Failure::Timeout));
                self.state = State::Over;
            }
            State::Trying {
                resend: Some((at, interval)),
                ..
            } if *at <= now => {
                *at = now + *interval;
                *interval = self.timers.doubled(*interval);
                fx.push(Effect::Send(self.bytes.clone()));
            }
            State::Proceeding {
                resend: Some(at), ..
            } if *at <= now => {
                *at = now + self.timers.t2;
                fx.push(Effect::Send(self.bytes.clone()));
            }
            State::Completed { timer_k } if *timer_k <= now => self.state = State::Over,
            _ => {}
        }
    }

    pub fn deadline(&self) -> Option<Deadline> {
        match &self.state {
            State::Trying { resend, timer_f } => earlier(
                resend.map(|(at, _)| (at, "timer E")),
                Some((*timer_f, "timer F")),
            ),
            State::Proceeding { resend, timer_f } => earlier(
                resend.map(|at| (at, "timer E")),
                Some((*timer_f, "timer F")),
            ),
            State::Completed { timer_k } => Some((*timer_k, "timer K")),
            State::Over => None,
        }
    }

    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }
}
