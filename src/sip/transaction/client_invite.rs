//! INVITE client transaction (RFC 3261 §17.1.1 with the Accepted state of RFC 6026).

use std::time::{Duration, Instant};

use crate::sip::message::{Method, Request, Response};
use crate::sip::timer::{Deadline, Timers, earlier};

use super::{Effect, Failure};

pub(in crate::sip) struct ClientInvite {
    request: Request,
    bytes: Vec<u8>,
    reliable: bool,
    timers: Timers,
    state: State,
}

enum State {
    /// `resend`: timer A with the pause after it; none over a reliable transport.
    Calling {
        resend: Option<(Instant, Duration)>,
        timer_b: Instant,
    },
    Proceeding {
        until: Instant,
    },
    /// Given up after a silence shorter than 64·T1, so that the call could go elsewhere. Nothing
    /// is sent any more; what comes late all the same is ended, not left ringing.
    Abandoned {
        until: Instant,
        cancelled: bool,
    },
    Completed {
        ack: Vec<u8>,
        timer_d: Instant,
    },
    Accepted {
        timer_m: Instant,
    },
    Over,
}

impl ClientInvite {
    pub fn start(
        now: Instant,
        request: Request,
        reliable: bool,
        timers: Timers,
        fx: &mut Vec<Effect>,
    ) -> ClientInvite {
        let bytes = request.to_bytes();
        fx.push(Effect::Send(bytes.clone()));
        let resend = (!reliable).then(|| (now + timers.t1, timers.t1 * 2));
        let state = State::Calling {
            resend,
            timer_b: now + timers.invite_timeout,
        };
        ClientInvite {
            request,
            bytes,
            reliable,
            timers,
            state,
        }
    }

    /// Takes up an INVITE that an earlier process sent: nothing is sent, and answers are awaited
    /// for as long as a peer repeats them.
    pub fn resume(now: Instant, request: Request, reliable: bool, timers: Timers) -> ClientInvite {
        let state = State::Proceeding {
            until: now + timers.patience(),
        };
        ClientInvite {
            bytes: request.to_bytes(),
            request,
            reliable,
            timers,
            state,
        }
    }

    pub fn request(&self) -> &Request {
        &self.request
    }

    pub fn handle_response(&mut self, now: Instant, response: Response, fx: &mut Vec<Effect>) {
        let accepted = (200..300).contains(&response.status);
        match &self.state {
            State::Calling { .. } | State::Proceeding { .. } => self.first(now, response, fx),
            State::Abandoned { until, cancelled } => {
                let (until, again) = (*until, *cancelled);
                if response.status >= 200 {
                    return self.first(now, response, fx);
                }
                self.state = State::Abandoned {
                    until,
                    cancelled: true,
                };
                if !again {
                    fx.push(Effect::Response(Box::new(response)));
                }
            }
            State::Completed { ack, .. } if response.status >= 300 => {
                fx.push(Effect::Send(ack.clone()));
            }
            // Further 2xx, retransmitted or forked, are the session's to judge.
            State::Accepted { .. } if accepted => fx.push(Effect::Response(Box::new(response))),
            State::Completed { .. } | State::Accepted { .. } | State::Over => {}
        }
    }

    fn first(&mut self, now: Instant, response: Response, fx: &mut Vec<Effect>) {
        self.state = match response.status {
            100..200 => match self.state {
                State::Proceeding { until } => State::Proceeding { until },
                _ => State::Proceeding {
                    until: now + self.timers.ring_limit,
                },
            },
            200..300 => State::Accepted {
                timer_m: now + self.timers.patience(),
            },
            _ => {
                let ack = self.ack(&response).to_bytes();
                fx.push(Effect::Send(ack.clone()));
                if self.reliable {
                    State::Over
                } else {
                    State::Completed {
                        ack,
                        timer_d: now + self.timers.d(),
                    }
                }
            }
        };
        fx.push(Effect::Response(Box::new(response)));
    }

    /// RFC 3261 17.1.1.3: the ACK for a refusal repeats the INVITE's Via and route.
    fn ack(&self, response: &Response) -> Request {
        let mut ack = Request::new(Method::Ack, self.request.uri.clone());
        let via = self.request.headers.items("Via");
        ack.headers
            .put("Via", via.first().map_or("", String::as_str));
        ack.headers.put("Max-Forwards", "70");
        ack.headers.copy(&self.request.headers, "Route");
        ack.headers.copy(&self.request.headers, "From");
        ack.headers.copy(&response.headers, "To");
        ack.headers.copy(&self.request.headers, "Call-ID");
        let number = self.request.headers.cseq().map_or(0, |(number, _)| number);
        ack.headers.put("CSeq", format!("{number} ACK"));
        ack
    }

    pub fn handle_unreachable(&mut self, fx: &mut Vec<Effect>) {
        match self.state {
            State::Calling { .. } | State::Proceeding { .. } => {
                fx.push(Effect::Failed(Failure::Unreachable));
                self.state = State::Over;
            }
            State::Abandoned { .. } => self.state = State::Over,
            State::Completed { .. } | State::Accepted { .. } | State::Over => {}
        }
    }

    pub fn handle_timeout(&mut self, now: Instant, fx: &mut Vec<Effect>) {
        match &mut self.state {
            State::Calling { timer_b, .. } if *timer_b <= now => {
                fx.push(Effect::Failed(Failure::Timeout));
                let early = self.timers.invite_timeout < self.timers.patience();
                self.state = match early {
                    true => State::Abandoned {
                        until: now + self.timers.patience(),
                        cancelled: false,
                    },
                    false => State::Over,
                };
            }
            State::Abandoned { until, .. } if *until <= now => self.state = State::Over,
            State::Calling {
                resend: Some((at, interval)),
                ..
            } if *at <= now => {
                // RFC 3261 17.1.1.2: timer A doubles without the ceiling T2.
                *at = now + *interval;
                *interval *= 2;
                fx.push(Effect::Send(self.bytes.clone()));
            }
            State::Proceeding { until } if *until <= now => {
                fx.push(Effect::Failed(Failure::Timeout));
                self.state = State::Over;
            }
            State::Completed { timer_d: at, .. } | State::Accepted { timer_m: at }
                if *at <= now =>
            {
                self.state = State::Over;
            }
            _ => {}
        }
    }

    pub fn deadline(&self) -> Option<Deadline> {
        match &self.state {
            State::Calling { resend, timer_b } => earlier(
                resend.map(|(at, _)| (at, "timer A")),
                Some((*timer_b, "timer B")),
            ),
            State::Proceeding { until } => Some((*until, "ring limit")),
            State::Abandoned { until, .. } => Some((*until, "late answer")),
            State::Completed { timer_d, .. } => Some((*timer_d, "timer D")),
            State::Accepted { timer_m } => Some((*timer_m, "timer M")),
            State::Over => None,
        }
    }

    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }
}
