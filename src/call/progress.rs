//! How far a customer's call has come, and for how long it was held or muted.
//!
//! ```text
//! Dialing ► Ringing ► Talking ⇄ Held ► Ended
//! ```
//! A call moves forward only, hold apart; a step that comes twice or too late changes nothing.

use crate::now::UtcMs;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Dialing,
    Ringing,
    Talking,
    Held,
    Ended,
}

impl State {
    /// The stable name in the API.
    pub fn name(self) -> &'static str {
        match self {
            State::Dialing => "dialing",
            State::Ringing => "ringing",
            State::Talking => "talking",
            State::Held => "held",
            State::Ended => "ended",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Progress {
    pub created: UtcMs,
    ringing: Option<UtcMs>,
    answered: Option<UtcMs>,
    ended: Option<UtcMs>,
    hold: Span,
    mute: Span,
    /// Sound came before the answer.
    pub early_media: bool,
}

/// How long something was on, in all.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    since: Option<UtcMs>,
    total_ms: u64,
}

impl Progress {
    pub fn new(created: UtcMs) -> Progress {
        Progress {
            created,
            ringing: None,
            answered: None,
            ended: None,
            hold: Span::default(),
            mute: Span::default(),
            early_media: false,
        }
    }

    pub fn state(&self) -> State {
        match (self.ended, self.answered, self.ringing) {
            (Some(_), ..) => State::Ended,
            (None, Some(_), _) if self.is_held() => State::Held,
            (None, Some(_), _) => State::Talking,
            (None, None, Some(_)) => State::Ringing,
            (None, None, None) => State::Dialing,
        }
    }

    /// The customer's phone rings. True the first time.
    pub fn ring(&mut self, at: UtcMs) -> bool {
        let first = self.state() == State::Dialing;
        if first {
            self.ringing = Some(at);
        }
        first
    }

    /// The customer answers. True the first time, while the call lives.
    pub fn answer(&mut self, at: UtcMs) -> bool {
        let first = matches!(self.state(), State::Dialing | State::Ringing);
        if first {
            self.answered = Some(at);
        }
        first
    }

    /// The call is over; what is on ends with it. True the first time.
    pub fn end(&mut self, at: UtcMs) -> bool {
        if self.ended.is_some() {
            return false;
        }
        self.hold.set(false, at);
        self.mute.set(false, at);
        self.ended = Some(at);
        true
    }

    pub fn hold(&mut self, on: bool, at: UtcMs) {
        if self.ended.is_none() {
            self.hold.set(on, at);
        }
    }

    pub fn mute(&mut self, on: bool, at: UtcMs) {
        if self.ended.is_none() {
            self.mute.set(on, at);
        }
    }

    pub fn is_held(&self) -> bool {
        self.hold.since.is_some()
    }

    pub fn is_muted(&self) -> bool {
        self.mute.since.is_some()
    }

    /// An 18x has come: somebody's phone may have rung.
    pub fn has_alerted(&self) -> bool {
        self.ringing.is_some()
    }

    pub fn ringing_at(&self) -> Option<UtcMs> {
        self.ringing
    }

    pub fn answered_at(&self) -> Option<UtcMs> {
        self.answered
    }

    pub fn ended_at(&self) -> Option<UtcMs> {
        self.ended
    }

    pub fn hold_ms(&self) -> u64 {
        self.hold.total_ms
    }

    pub fn mute_ms(&self) -> u64 {
        self.mute.total_ms
    }
}

impl Span {
    fn set(&mut self, on: bool, at: UtcMs) {
        if let Some(since) = self.since.take() {
            self.total_ms += at.ms_since(since);
        }
        self.since = on.then_some(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_goes_forward_only() {
        let mut call = Progress::new(UtcMs(0));
        assert_eq!(call.state(), State::Dialing);
        assert!(call.ring(UtcMs(1_000)));
        assert!(!call.ring(UtcMs(2_000)), "a second 180");
        assert!(call.answer(UtcMs(3_000)));
        assert!(!call.ring(UtcMs(4_000)), "an 18x that came late");
        assert!(call.end(UtcMs(9_000)));
        assert!(!call.end(UtcMs(10_000)), "one end a call");
        assert!(!call.answer(UtcMs(11_000)));
        assert_eq!(call.ringing_at(), Some(UtcMs(1_000)));
        assert_eq!(call.ended_at(), Some(UtcMs(9_000)));
        assert_eq!(call.state(), State::Ended);
    }

    #[test]
    fn an_answer_without_ringing_is_an_answer() {
        let mut call = Progress::new(UtcMs(0));
        assert!(call.answer(UtcMs(100)));
        assert!(!call.has_alerted());
        assert_eq!(call.state(), State::Talking);
    }

    #[test]
    fn hold_and_mute_add_up_and_end_with_the_call() {
        let mut call = Progress::new(UtcMs(0));
        call.answer(UtcMs(0));
        call.hold(true, UtcMs(1_000));
        assert_eq!(call.state(), State::Held);
        call.hold(true, UtcMs(2_000));
        call.hold(false, UtcMs(3_000));
        call.mute(true, UtcMs(4_000));
        call.end(UtcMs(4_500));
        assert_eq!((call.hold_ms(), call.mute_ms()), (2_000, 500));
        assert!(!call.is_muted());
    }
}
