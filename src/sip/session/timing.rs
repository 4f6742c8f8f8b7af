//! Session timers (RFC 4028): who refreshes, how often, and what happens when nobody does.
//! Intervals are seconds.

use std::time::{Duration, Instant};

use crate::now::Now;
use crate::sip::endpoint::EndpointConfig;
use crate::sip::event::EndedBy;
use crate::sip::message::{Headers, NameAddr, Request, Response};
use crate::sip::stack::{Stack, names_option};
use crate::sip::timer::Deadline;

use super::{Change, Modify, Retry, Session};

/// RFC 4028 5: what Min-SE means when it is not there, and the least it may be.
const MIN_SE_DEFAULT_S: u32 = 90;
/// A peer that asks for less is refreshed no more often than this allows.
const INTERVAL_MIN_S: u32 = 10;
/// RFC 4028 10: the side that waits leaves this long before the end, or a third of it.
const MARGIN: Duration = Duration::from_secs(32);
/// The pause before a refresh that could not be sent or was refused is tried again.
const AGAIN: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Timing {
    running: Option<Running>,
    /// Instead of the configured interval, in this session.
    wish_s: Option<u32>,
    /// The largest Min-SE heard.
    min_s: u32,
    pub peer_updates: bool,
    peer_times: bool,
}

#[derive(Clone, Copy)]
struct Running {
    interval_s: u32,
    refresher: Refresher,
    since: Instant,
}

#[derive(Clone, Copy)]
enum Refresher {
    Us { at: Instant },
    Them,
}

impl Timing {
    /// What the peer can do, from any message of its.
    pub fn learn(&mut self, headers: &Headers) {
        if headers.count("Allow") > 0 {
            self.peer_updates = names_option(headers, "Allow", "UPDATE");
        }
        if headers.count("Supported") > 0 {
            self.peer_times = names_option(headers, "Supported", "timer");
        }
    }

    /// Another interval than the configured one.
    pub fn wish(&mut self, wish_s: Option<u32>) {
        self.wish_s = wish_s;
    }

    fn wished_s(&self, config: &EndpointConfig) -> u32 {
        self.wish_s.unwrap_or(config.session_expires_s)
    }

    pub fn raise(&mut self, min_s: u32) {
        self.min_s = self.min_s.max(min_s);
    }

    /// Puts our wish into an INVITE or UPDATE (RFC 4028 7.1, 7.4).
    pub fn ask(&self, config: &EndpointConfig, headers: &mut Headers) {
        headers.remove("Session-Expires");
        headers.remove("Min-SE");
        let wish_s = match self.running {
            Some(running) => running.interval_s,
            None => self.wished_s(config),
        };
        if wish_s == 0 {
            return;
        }
        let min_s = self.min_s.max(config.min_se_s);
        let refresher = match self.running.map(|running| running.refresher) {
            Some(Refresher::Us { .. }) => ";refresher=uac",
            Some(Refresher::Them) => ";refresher=uas",
            None => "",
        };
        let wish_s = wish_s.max(min_s);
        headers.put("Session-Expires", format!("{wish_s}{refresher}"));
        if min_s > MIN_SE_DEFAULT_S || self.min_s > 0 {
            headers.put("Min-SE", min_s.to_string());
        }
    }

    /// RFC 4028 9: what the peer asks for, put into our 2xx and kept.
    pub fn agree(
        &mut self,
        now: Now,
        config: &EndpointConfig,
        request: &Request,
        response: &mut Response,
    ) {
        let headers = &request.headers;
        let timer = names_option(headers, "Supported", "timer")
            || names_option(headers, "Require", "timer");
        let floor_s = headers.seconds("Min-SE").unwrap_or(MIN_SE_DEFAULT_S);
        self.raise(headers.seconds("Min-SE").unwrap_or(0));
        let (asked_s, refresher) = session_expires(headers);
        let ours_s = match self.running {
            Some(running) => running.interval_s,
            None => self.wished_s(config),
        };
        let wish_s = if ours_s == 0 {
            u32::MAX
        } else {
            ours_s.max(floor_s)
        };
        let interval_s = match asked_s {
            Some(asked_s) => asked_s.min(wish_s),
            None if timer && ours_s > 0 => wish_s,
            None => {
                self.running = None;
                return;
            }
        };
        // Table 2: the caller's choice stands; without timers over there it is us.
        let theirs = timer && refresher.as_deref() != Some("uas");
        let name = if theirs { "uac" } else { "uas" };
        if timer {
            response.headers.put("Require", "timer");
        }
        response
            .headers
            .put("Session-Expires", format!("{interval_s};refresher={name}"));
        self.run(now, interval_s, !theirs);
    }

    /// RFC 4028 7.2: what came back with a 2xx to our INVITE or UPDATE.
    pub fn agreed_by_peer(&mut self, now: Now, config: &EndpointConfig, response: &Response) {
        self.learn(&response.headers);
        match session_expires(&response.headers) {
            (Some(interval_s), refresher) if self.wished_s(config) > 0 => {
                self.run(now, interval_s, refresher.as_deref() != Some("uas"));
            }
            _ => self.running = None,
        }
    }

    /// RFC 4028 9: shorter than we agree to; what Min-SE is to say in the 422.
    pub fn too_brief(config: &EndpointConfig, request: &Request) -> Option<u32> {
        let timer = names_option(&request.headers, "Supported", "timer");
        let (asked_s, _) = session_expires(&request.headers);
        asked_s
            .filter(|asked_s| timer && *asked_s < config.min_se_s)
            .map(|_| config.min_se_s)
    }

    fn run(&mut self, now: Now, interval_s: u32, ours: bool) {
        let interval_s = interval_s.max(INTERVAL_MIN_S);
        let half = Duration::from_secs(u64::from(interval_s)) / 2;
        let refresher = if ours {
            Refresher::Us {
                at: now.instant + half,
            }
        } else {
            Refresher::Them
        };
        self.running = Some(Running {
            interval_s,
            refresher,
            since: now.instant,
        });
    }

    pub fn deadline(&self) -> Option<Deadline> {
        let running = self.running.as_ref()?;
        let until = running.until();
        Some(match running.refresher {
            Refresher::Us { at } if at < until => (at, "session refresh"),
            _ => (until, "session expired"),
        })
    }
}

impl Running {
    /// When we leave a session nobody refreshed.
    fn until(&self) -> Instant {
        let interval = Duration::from_secs(u64::from(self.interval_s));
        let early = match self.refresher {
            Refresher::Us { .. } => Duration::ZERO,
            Refresher::Them => MARGIN.min(interval / 3),
        };
        self.since + interval - early
    }
}

/// Seconds and refresher of Session-Expires.
fn session_expires(headers: &Headers) -> (Option<u32>, Option<String>) {
    let Some(text) = headers.text("Session-Expires") else {
        return (None, None);
    };
    let refresher = text.split_once(';').and_then(|(_, params)| {
        // The parameter syntax is that of an address, so one is put in front.
        let params = NameAddr::parse(&format!("<sip:timer>;{params}"))?;
        params.param("refresher").map(str::to_ascii_lowercase)
    });
    (headers.seconds("Session-Expires"), refresher)
}

impl Session {
    pub(super) fn on_timing_timeout(&mut self, now: Now, stack: &mut Stack) {
        let Some(running) = &mut self.timing.running else {
            return;
        };
        if running.until() <= now.instant {
            self.timing.running = None;
            return self.leave(now, stack, EndedBy::Timeout, None);
        }
        let Refresher::Us { at } = &mut running.refresher else {
            return;
        };
        if *at > now.instant {
            return;
        }
        // Success moves this on; until then it is tried again and again.
        *at = now.instant + AGAIN;
        if matches!(self.modify, Modify::Idle) && self.retry.is_none() {
            let body = match self.timing.peer_updates {
                true => None,
                false => self.said.clone(),
            };
            self.retry = Some(Retry {
                at: now.instant,
                body,
                wish: Change::Refresh,
                tries: 0,
            });
            self.on_reoffer_timeout(now, stack);
        }
    }
}
