//! Registering at a carrier (RFC 3261 §10.2): when a REGISTER is due, at which server, and what its
//! answer means. The message itself is [`super::endpoint`]'s; expiries are seconds.
//!
//! One round asks server after server until one answers for the account. A round without success is
//! followed by a pause that doubles; what was granted stays in force until it expires.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// A REGISTER without an answer for this long goes to the next server.
const PATIENCE: Duration = Duration::from_secs(4);
/// After the first round that failed, and at most.
const PAUSE_FIRST: Duration = Duration::from_secs(30);
const PAUSE_MAX: Duration = Duration::from_secs(1_800);
/// No server is known yet: DNS is still being asked.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Of what was granted, in hundredths: refreshed in between, so that many trunks do not come at once.
const REFRESH_PERCENT: std::ops::RangeInclusive<u32> = 80..=90;
/// The longest a registrar may make us ask for (423).
const EXPIRES_S_MAX: u32 = 86_400;

/// What became of one REGISTER, challenges answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterAnswer {
    Granted {
        expires_s: u32,
    },
    /// 423.
    TooBrief {
        min_expires_s: u32,
    },
    Refused {
        status: u16,
        retry_after_s: Option<u32>,
    },
    Silent,
    Unreachable,
}

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub server: SocketAddr,
    /// 0: the registration is to be removed.
    pub expires_s: u32,
}

/// A change worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Registered,
    Lost,
}

pub struct Registration {
    wanted_s: u32,
    granted: Option<Granted>,
    step: Step,
    /// Servers this round has left.
    left: VecDeque<SocketAddr>,
    /// Rounds in a row that failed.
    failures: u32,
    last_failure: Option<String>,
    /// REGISTERs answered well since the start.
    successes: u64,
    random: StdRng,
    out: VecDeque<Due>,
}

#[derive(Clone, Copy)]
struct Granted {
    server: SocketAddr,
    expires_at: Instant,
}

#[derive(Clone, Copy)]
enum Step {
    /// The next round begins then.
    At(Instant),
    Asking {
        server: SocketAddr,
        until: Instant,
    },
    /// It was removed, and stays so.
    Off,
}

impl Registration {
    #[must_use]
    pub fn new(now: Instant, wanted_s: u32, seed: u64) -> Registration {
        Registration {
            wanted_s,
            granted: None,
            step: Step::At(now),
            left: VecDeque::new(),
            failures: 0,
            last_failure: None,
            successes: 0,
            random: StdRng::seed_from_u64(seed),
            out: VecDeque::new(),
        }
    }

    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.granted.is_some()
    }

    /// Seconds until what was granted ends without a refresh.
    #[must_use]
    pub fn expires_in_s(&self, now: Instant) -> Option<u64> {
        let granted = self.granted?;
        Some(granted.expires_at.saturating_duration_since(now).as_secs())
    }

    #[must_use]
    pub fn last_failure(&self) -> Option<&str> {
        self.last_failure.as_deref()
    }

    #[must_use]
    pub fn successes(&self) -> u64 {
        self.successes
    }

    /// Whether a round is to begin: see [`Registration::begin`].
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        matches!(self.step, Step::At(at) if at <= now)
    }

    /// Begins a round at these servers, best first.
    pub fn begin(&mut self, now: Instant, servers: Vec<SocketAddr>) {
        if servers.is_empty() {
            self.step = Step::At(now + LOOK_AGAIN);
            return;
        }
        self.left = servers.into();
        // Refreshed where it stands: another server might not know of the first.
        if let Some(granted) = self.granted
            && let Some(at) = self.left.iter().position(|it| *it == granted.server)
            && let Some(server) = self.left.remove(at)
        {
            self.left.push_front(server);
        }
        self.ask_next(now);
    }

    fn ask_next(&mut self, now: Instant) {
        match self.left.pop_front() {
            Some(server) => self.ask(now, server),
            None => self.pause(now, None),
        }
    }

    fn ask(&mut self, now: Instant, server: SocketAddr) {
        self.step = Step::Asking {
            server,
            until: now + PATIENCE,
        };
        self.out.push_back(Due {
            server,
            expires_s: self.wanted_s,
        });
    }

    /// No server of this round took us.
    fn pause(&mut self, now: Instant, asked: Option<Duration>) {
        let doubled = PAUSE_FIRST.saturating_mul(1 << self.failures.min(16));
        self.failures += 1;
        let span = asked.unwrap_or(doubled).min(PAUSE_MAX);
        let jitter = span.mul_f64(self.random.random_range(0.0..0.1));
        let mut at = now + span.min(PAUSE_MAX) + jitter;
        // While the last one still stands, once more before it falls.
        if let (Some(granted), None) = (self.granted, asked) {
            let before = now + granted.expires_at.saturating_duration_since(now) / 2;
            if before > now + LOOK_AGAIN {
                at = at.min(before);
            }
        }
        self.step = Step::At(at);
    }

    /// What a server said. An answer that comes late is believed when it is a good one.
    pub fn answered(
        &mut self,
        now: Instant,
        server: SocketAddr,
        answer: RegisterAnswer,
    ) -> Option<Standing> {
        if matches!(self.step, Step::Off) {
            return None;
        }
        if let RegisterAnswer::Granted { expires_s } = answer {
            return self.granted(now, server, expires_s);
        }
        let asking = matches!(self.step, Step::Asking { server: asked, .. } if asked == server);
        if !asking {
            return None;
        }
        self.last_failure = Some(match answer {
            RegisterAnswer::Silent => "REGISTER: no answer".to_owned(),
            RegisterAnswer::Unreachable => "REGISTER: unreachable".to_owned(),
            RegisterAnswer::TooBrief { min_expires_s } => {
                format!("REGISTER: 423, not below {min_expires_s} s")
            }
            RegisterAnswer::Refused { status, .. } => format!("REGISTER: {status}"),
            RegisterAnswer::Granted { .. } => return None,
        });
        match answer {
            // RFC 3261 10.2.8: as long as the registrar wants it, at once.
            RegisterAnswer::TooBrief { min_expires_s }
                if min_expires_s > self.wanted_s && min_expires_s <= EXPIRES_S_MAX =>
            {
                self.wanted_s = min_expires_s;
                self.ask(now, server);
            }
            RegisterAnswer::Refused {
                status,
                retry_after_s,
            } => {
                // The account's fault: every server of this carrier would say the same.
                if (400..500).contains(&status) && !matches!(status, 408 | 480) {
                    self.left.clear();
                }
                let asked = retry_after_s.map(|span| Duration::from_secs(span.into()));
                match self.left.is_empty() {
                    true => self.pause(now, asked),
                    false => self.ask_next(now),
                }
            }
            _ => self.ask_next(now),
        }
        None
    }

    fn granted(&mut self, now: Instant, server: SocketAddr, expires_s: u32) -> Option<Standing> {
        if expires_s == 0 {
            self.last_failure = Some("REGISTER: 200, but for 0 s".to_owned());
            self.pause(now, None);
            return None;
        }
        let span = Duration::from_secs(expires_s.into());
        let before = self.granted.replace(Granted {
            server,
            expires_at: now + span,
        });
        let percent = self.random.random_range(REFRESH_PERCENT);
        self.step = Step::At(now + span * percent / 100);
        self.left.clear();
        self.failures = 0;
        self.last_failure = None;
        self.successes += 1;
        before.is_none().then_some(Standing::Registered)
    }

    /// Removes it; no further REGISTER follows.
    pub fn leave(&mut self) {
        self.step = Step::Off;
        if let Some(granted) = self.granted.take() {
            self.out.push_back(Due {
                server: granted.server,
                expires_s: 0,
            });
        }
    }

    #[must_use]
    pub fn has_left(&self) -> bool {
        matches!(self.step, Step::Off)
    }

    /// What has passed. A round that is due waits for [`Registration::begin`].
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Standing> {
        if let Step::Asking { server, until } = self.step
            && until <= now
        {
            self.answered(now, server, RegisterAnswer::Silent);
        }
        if self
            .granted
            .is_some_and(|granted| granted.expires_at <= now)
        {
            self.granted = None;
            return Some(Standing::Lost);
        }
        None
    }

    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let step = match self.step {
            Step::At(at) => Some((at, "registration")),
            Step::Asking { until, .. } => Some((until, "registrar")),
            Step::Off => None,
        };
        let granted = self.granted.map(|it| (it.expires_at, "registration ends"));
        step.into_iter().chain(granted).min_by_key(|(at, _)| *at)
    }

    pub fn poll_output(&mut self) -> Option<Due> {
        self.out.pop_front()
    }
}

#[cfg(test)]
#[path = "register_tests.rs"]
mod tests;
