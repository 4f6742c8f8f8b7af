//! What happens at a number.

/// What the carrier does with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// 180, then 200 after `after_ms`; talks until the caller hangs up.
    Answer { after_ms: u64 },
    /// As `Answer`, then BYE `talk_ms` after the 200.
    AnswerThenHangUp { after_ms: u64, talk_ms: u64 },
    /// 183 with SDP and a ringing tone in the audio, then 200.
    EarlyMedia { after_ms: u64 },
    /// 180, then two 200 with different To tags, as a forking proxy passes them on.
    AnswerTwice { after_ms: u64 },
    /// Rings and picks up at the very moment the CANCEL arrives: 200 to both (RFC 5407 3.1.2).
    AnswerOnCancel,
    /// The final status `status`; 180 first when `after_ms` is not 0.
    Refuse { status: u16, after_ms: u64 },
    /// Rings until the caller gives up, or for three minutes, then 480.
    RingOut,
    /// Hears everything, sends nothing.
    Silent,
    /// As `then`, but the first `count` responses of the call are lost on the way.
    LoseResponses { count: u32, then: Box<Behaviour> },
}

/// The times the number plan fills in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    pub answer_after_ms: u64,
    pub hang_up_after_ms: u64,
}

impl Behaviour {
    /// The number plan, by the last two digits: 00–69 answers, 70–74 busy, 75–79 rings out,
    /// 80–84 declines, 85–89 does not exist, 90–94 unavailable (503), 95–99 answers and hangs up.
    pub fn of_number(number: &str, timing: Timing) -> Behaviour {
        let after_ms = timing.answer_after_ms;
        match last_two_digits(number) {
            0..=69 => Behaviour::Answer { after_ms },
            70..=74 => Behaviour::Refuse {
                status: 486,
                after_ms: 0,
            },
            75..=79 => Behaviour::RingOut,
            // A person looks at the display first.
            80..=84 => Behaviour::Refuse {
                status: 603,
                after_ms,
            },
            85..=89 => Behaviour::Refuse {
                status: 404,
                after_ms: 0,
            },
            90..=94 => Behaviour::Refuse {
                status: 503,
                after_ms: 0,
            },
            _ => Behaviour::AnswerThenHangUp {
                after_ms,
                talk_ms: timing.hang_up_after_ms,
            },
        }
    }
}

fn last_two_digits(number: &str) -> u32 {
    let mut digits = number.chars().rev().filter_map(|c| c.to_digit(10));
    let ones = digits.next().unwrap_or(0);
    ones + 10 * digits.next().unwrap_or(0)
}

/// The digits of a number as dialed, so that `+86 10` and `8610` are one key.
pub(super) fn digits(number: &str) -> String {
    number.chars().filter(char::is_ascii_digit).collect()
}
