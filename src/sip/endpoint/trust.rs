//! Who may ask for what (trust: deny by default), and what becomes of those who guess.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::now::Now;
use crate::sip::accounts::Verdict;
use crate::sip::event::{Flow, SipEvent};
use crate::sip::guard::{
    Bounded, Load, Locked, Lockout, LockoutRules, Overload, SecurityEvent, SecurityNote, Source,
    is_scanner,
};
use crate::sip::message::{Method, Request, Response, Uri};

use super::{Endpoint, EndpointConfig};

/// A source is told of once in this time for what it can repeat without end.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Sources and events remembered for that.
const SAID_MAX: usize = 10_000;

/// A peer known by its address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permit {
    pub may_register: bool,
}

/// What the endpoint holds against others.
pub(super) struct Defence {
    lockout: Lockout,
    overload: Overload,
    said: Bounded<(Source, SecurityEvent), Instant>,
    /// When somebody was last told that there is too much to do.
    said_overload: Option<Instant>,
}

impl Defence {
    pub fn new(config: &EndpointConfig) -> Defence {
        Defence {
            lockout: Lockout::new(config.lockout),
            overload: Overload::default(),
            said: Bounded::new(SAID_MAX),
            said_overload: None,
        }
    }

    pub fn set_rules(&mut self, rules: LockoutRules) {
        self.lockout.set_rules(rules);
    }

    /// Whether a new request is turned away because there is too much to do.
    pub fn refuses(&self, method: &Method) -> bool {
        match self.overload {
            Overload::None => false,
            Overload::Calls => *method == Method::Invite,
            Overload::CallsAndRegistrations => *method != Method::Options,
        }
    }
}

impl Endpoint {
    /// How busy the loop is; new work is refused with 503 while it is too much.
    pub fn note_load(&mut self, load: Load) {
        self.defence.overload = self.defence.overload.after(load);
    }

    fn is_known(&self, flow: &Flow) -> bool {
        let ip = flow.remote.ip().to_canonical();
        self.trusted.contains_key(&flow.id)
            || self.sources.contains_key(&ip)
            || self.is_permitted(ip)
    }

    fn is_permitted(&self, ip: IpAddr) -> bool {
        self.permitted.iter().any(|block| block.contains(ip))
    }

    /// Whether this address is locked out: nothing from it is even read.
    pub(super) fn turns_away(&mut self, now: Now, flow: &Flow) -> bool {
        let lockout = &self.defence.lockout;
        let away = lockout.is_address_locked(now.instant, flow.remote) && !self.is_known(flow);
        self.counters.locked_out += u64::from(away);
        away
    }

    /// Whether a scanner gave its name; it gets no answer.
    pub(super) fn is_scan(&mut self, now: Now, flow: &Flow, request: &Request) -> bool {
        if !self.stack.config.drop_scanners || self.is_known(flow) {
            return false;
        }
        let name = request.headers.text("User-Agent").unwrap_or_default();
        let scans = is_scanner(&name);
        if scans {
            self.counters.scanners += 1;
            self.say_at_times(now, flow, SecurityEvent::Scanner, "user_agent");
        }
        scans
    }

    /// The authenticated user of a request outside any dialog (`None`: a trunk known by its
    /// address), or the response that refuses it.
    pub(super) fn authorise(
        &mut self,
        now: Now,
        flow: &Flow,
        request: &Request,
    ) -> Result<Option<String>, Box<Response>> {
        if let Some(user) = self.trusted.get(&flow.id) {
            return Ok(Some(user.clone()));
        }
        if !self.stack.config.digest {
            return Ok(None);
        }
        let ip = flow.remote.ip().to_canonical();
        let source = self.sources.get(&ip);
        let registers = request.method == Method::Register;
        let known = match registers {
            true => source.is_some_and(|source| source.may_register),
            false => source.is_some() || self.is_permitted(ip),
        };
        if known {
            return Ok(None);
        }
        if self.accounts.is_empty() {
            self.counters.unauthorised += 1;
            self.say_at_times(now, flow, SecurityEvent::Refused, "unknown_source");
            let locked = self.defence.lockout.on_challenge(now.instant, flow.remote);
            self.say_locked(flow, None, locked, "scan");
            return Err(Box::new(self.stack.refusal(request, 403)));
        }
        self.authenticate(now, flow, request).map(Some)
    }

    fn authenticate(
        &mut self,
        now: Now,
        flow: &Flow,
        request: &Request,
    ) -> Result<String, Box<Response>> {
        let given = request.headers.texts("Authorization");
        let method = request.method.to_string();
        let source = source_text(flow.remote);
        let verdict = self
            .accounts
            .check(now.utc, &method, &request.uri, &source, &given);
        let lockout = &mut self.defence.lockout;
        let verdict = match verdict {
            Verdict::Known(user) | Verdict::Stale(user)
                if lockout.is_user_locked(now.instant, flow.remote, &user) =>
            {
                Verdict::Wrong {
                    user: Some(user),
                    reason: "user_locked",
                }
            }
            other => other,
        };
        let stale = match verdict {
            Verdict::Known(user) => {
                lockout.on_proof(flow.remote, &user);
                return Ok(user);
            }
            Verdict::Stale(_) => true,
            Verdict::Unanswered => {
                let locked = lockout.on_challenge(now.instant, flow.remote);
                self.say_locked(flow, None, locked, "scan");
                false
            }
            Verdict::Wrong { user, reason } => {
                let locked = lockout.on_failure(now.instant, flow.remote, user.as_deref());
                self.counters.auth_failed += 1;
                self.say(flow, SecurityEvent::AuthFailed, user.as_deref(), reason);
                self.say_locked(flow, user.as_deref(), locked, "too_many_failures");
                false
            }
        };
        self.counters.unauthorised += 1;
        Err(Box::new(self.challenge(now, flow, request, stale)))
    }

    fn challenge(&mut self, now: Now, flow: &Flow, request: &Request, stale: bool) -> Response {
        let from = request.headers.address("From");
        let user = from.and_then(|from| Uri::parse(&from.uri).ok()?.user_text());
        let salt = self.stack.token();
        let source = source_text(flow.remote);
        let mut response = self.stack.refusal(request, 401);
        for value in self
            .accounts
            .challenges(now.utc, user.as_deref(), &source, &salt, stale)
        {
            response.headers.put("WWW-Authenticate", value);
        }
        response
    }

    /// RFC 3261 21.5.4: too much is going on. The security log is told once in a while, whoever
    /// was turned away: in a flood they are many.
    pub(super) fn turned_away_busy(&mut self, now: Now, flow: &Flow, reason: &'static str) {
        self.counters.overload += 1;
        let said = self.defence.said_overload;
        if said.is_none_or(|at| now.instant.saturating_duration_since(at) >= SAY_AGAIN_AFTER) {
            self.defence.said_overload = Some(now.instant);
            self.say(flow, SecurityEvent::Overload, None, reason);
        }
    }

    // ── the security log

    pub(super) fn say(
        &mut self,
        flow: &Flow,
        event: SecurityEvent,
        user: Option<&str>,
        reason: &'static str,
    ) {
        self.stack.event(SipEvent::Security(SecurityNote {
            event,
            from: flow.remote,
            transport: flow.transport,
            user: user.map(str::to_owned),
            reason,
            seconds: None,
        }));
    }

    /// For what one sender can repeat as fast as he likes.
    pub(super) fn say_at_times(
        &mut self,
        now: Now,
        flow: &Flow,
        event: SecurityEvent,
        reason: &'static str,
    ) {
        let key = (Source::of(flow.remote.ip()), event);
        let said = self.defence.said.peek(&key);
        let recently =
            said.is_some_and(|at| now.instant.saturating_duration_since(*at) < SAY_AGAIN_AFTER);
        if !recently {
            *self.defence.said.touch(&key, || now.instant) = now.instant;
            self.say(flow, event, None, reason);
        }
    }

    fn say_locked(
        &mut self,
        flow: &Flow,
        user: Option<&str>,
        locked: impl IntoIterator<Item = Locked>,
        reason: &'static str,
    ) {
        for locked in locked {
            let (event, time, user) = match locked {
                Locked::Address(time) => (SecurityEvent::AddressLocked, time, None),
                Locked::User(time) => (SecurityEvent::UserLocked, time, user),
            };
            self.counters.lockouts += 1;
            self.stack.event(SipEvent::Security(SecurityNote {
                event,
                from: flow.remote,
                transport: flow.transport,
                user: user.map(str::to_owned),
                reason,
                seconds: Some(time.as_secs()),
            }));
        }
    }
}

/// What a nonce is bound to: the address, not the port, which a NAT may change between two
/// requests.
fn source_text(remote: SocketAddr) -> String {
    remote.ip().to_canonical().to_string()
}
