//! Whether one server is up: by what OPTIONS and calls say of it. Down after so many misses in a
//! row, up again after [`UP_AFTER`] good signs; a 503 with Retry-After leaves it out until then.

use std::time::{Duration, Instant};

/// Good signs that bring a server back.
pub const UP_AFTER: u8 = 2;
/// The longest a Retry-After is believed.
pub const REST_MAX: Duration = Duration::from_secs(3_600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Up { misses: u8 },
    Down { good: u8 },
}

/// A change worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Up,
    Down,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    state: State,
    /// RFC 3261 21.5.4: it asked to be left alone until then.
    rests_until: Option<Instant>,
}

impl Default for Health {
    fn default() -> Health {
        Health {
            state: State::Up { misses: 0 },
            rests_until: None,
        }
    }
}

impl Health {
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// Up, and nothing has spoken against it lately.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.state == State::Up { misses: 0 }
    }

    #[must_use]
    pub fn rests(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }

    pub fn rest(&mut self, now: Instant, span: Duration) {
        self.rests_until = Some(now + span.min(REST_MAX));
    }

    pub fn good(&mut self) -> Option<Turn> {
        self.state = match self.state {
            State::Down { good } if good + 1 < UP_AFTER => State::Down { good: good + 1 },
            State::Down { .. } => {
                self.state = State::Up { misses: 0 };
                return Some(Turn::Up);
            }
            State::Up { .. } => State::Up { misses: 0 },
        };
        None
    }

    pub fn missed(&mut self, down_after: u8) -> Option<Turn> {
        self.state = match self.state {
            State::Up { misses } if misses + 1 < down_after => State::Up { misses: misses + 1 },
            State::Up { .. } => {
                self.state = State::Down { good: 0 };
                return Some(Turn::Down);
            }
            State::Down { .. } => State::Down { good: 0 },
        };
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_down_after_the_named_misses_in_a_row_and_no_earlier() {
        let mut health = Health::default();
        assert_eq!(health.missed(3), None);
        assert_eq!(health.missed(3), None);
        assert_eq!(health.good(), None, "the row is broken");
        assert_eq!(health.missed(3), None);
        assert_eq!(health.missed(3), None);
        assert!(health.is_up());
        assert_eq!(health.missed(3), Some(Turn::Down));
        assert_eq!(health.missed(3), None, "told once");
        assert!(!health.is_up());
    }

    #[test]
    fn it_comes_back_after_two_good_signs_in_a_row() {
        let mut health = Health::default();
        health.missed(1);
        assert_eq!(health.good(), None);
        assert_eq!(health.missed(1), None);
        assert_eq!(health.good(), None);
        assert!(!health.is_up());
        assert_eq!(health.good(), Some(Turn::Up));
        assert!(health.is_well());
    }

    #[test]
    fn a_rest_ends_by_itself_and_is_bounded() {
        let (mut health, now) = (Health::default(), Instant::now());
        health.rest(now, Duration::from_secs(30));
        assert!(health.rests(now + Duration::from_secs(29)));
        assert!(!health.rests(now + Duration::from_secs(30)));
        health.rest(now, Duration::from_secs(u32::MAX.into()));
        assert!(!health.rests(now + REST_MAX));
    }
}
