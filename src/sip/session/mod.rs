//! Sessions: the life of one INVITE dialog, ours or theirs, from first message to last.
//! Each ends in exactly one event: `Failed`, `Ended` or `OrphanEnded`.

mod accept;
mod beside;
mod bye;
mod cancel;
mod fork;
mod info;
mod invite;
mod orphan;
mod refer;
mod refresh;
mod reliable;
mod table;
mod timing;
mod update;

pub(super) use info::relay_body;
pub(super) use table::Sessions;

use std::time::{Duration, Instant};

use crate::now::Now;

use beside::Beside;
use fork::Fork;
use refer::Referred;
use reliable::Reliable;
use timing::Timing;

use super::auth::Credentials;
use super::dialog::{DialogIdentity, InvitePlan};
use super::endpoint::EndpointConfig;
use super::event::{EndedBy, Flow, Reason, SessionId, SipEvent};
use super::message::{Body, Method, Request, Response, phrase};
use super::stack::Stack;
use super::timer::{Deadline, Timers, earlier};
use super::transaction::{Failure, TxId};

/// The Min-SE of the 422 that an INVITE with too short a session interval is answered with.
pub(super) fn session_too_brief(config: &EndpointConfig, request: &Request) -> Option<u32> {
    Timing::too_brief(config, request)
}

pub(super) struct Session {
    pub id: SessionId,
    pub call_id: String,
    pub local_tag: String,
    flow: Flow,
    origin: Origin,
    state: State,
    /// From the 2xx on; as the called from the first reliable 18x on.
    dialog: Option<DialogIdentity>,
    modify: Modify,
    /// A re-INVITE of ours that waits for its turn.
    retry: Option<Retry>,
    credentials: Option<Credentials>,
    reliable: Reliable,
    timing: Timing,
    /// The body the peer last agreed to hear from us: a refresh says it again.
    said: Option<Body>,
    /// Requests of ours that change nothing here: PRACK, INFO, REFER, NOTIFY.
    beside: Vec<Beside>,
    /// What the peer asked us to call.
    referred: Referred,
    /// REFERs of ours that are not refused and whose calls we still hear of.
    referring: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Outgoing,
    Incoming,
    /// Left behind by an earlier process.
    Orphan,
}

#[allow(clippy::large_enum_variant)] // One a session; a box would only move the bytes.
enum State {
    Calling(Calling),
    Offered(Offered),
    /// Our 200 is out and awaits its ACK. `leave`: hung up meanwhile (RFC 3261 15: no BYE
    /// before the ACK).
    Accepted {
        cseq: u32,
        repeat: Repeat,
        leave: Option<Leave>,
        /// The 200 carried our offer, so the ACK brings the answer.
        offered: bool,
    },
    /// Their 2xx is in; its ACK awaits the caller's word.
    Answered {
        tx: TxId,
        until: Instant,
    },
    Established,
    Leaving {
        tx: TxId,
        request: Request,
        answered_nonce: Option<String>,
        by: EndedBy,
    },
    Over,
}

/// What the caller gives for an INVITE.
pub(super) struct Wish<'a> {
    pub plan: InvitePlan,
    pub headers: &'a [(String, String)],
    pub body: Option<&'a super::message::Body>,
    pub credentials: Option<Credentials>,
    pub timers: super::event::InviteTimers,
}

/// An INVITE of ours without a final answer.
struct Calling {
    tx: TxId,
    plan: InvitePlan,
    request: Request,
    attempt: u32,
    timers: Timers,
    heard: bool,
    answered_nonce: Option<String>,
    cancel: Option<Cancel>,
    /// Early dialogs, one a To tag.
    forks: Vec<Fork>,
    /// How often a 422 has made us ask anew.
    too_brief: u32,
}

enum Cancel {
    /// RFC 3261 9.1: not before a provisional response.
    Waiting { reason: Option<String> },
    /// `reason` is kept for the BYE, should the answer have crossed the CANCEL.
    Sent {
        tx: TxId,
        until: Instant,
        reason: Option<String>,
    },
}

/// An INVITE of theirs without a final answer.
struct Offered {
    tx: TxId,
    request: Request,
    until: Instant,
    /// RFC 3261 13.3.1.1: a provisional response is repeated every minute.
    again: Option<(Instant, Response)>,
    /// Accepted, but an 18x with a body still waits for its PRACK (RFC 3262 3).
    acceptance: Option<Acceptance>,
}

struct Acceptance {
    headers: Vec<(String, String)>,
    body: Option<Body>,
}

struct Leave {
    reason: Option<String>,
}

/// Our 2xx, repeated until acknowledged (RFC 3261 13.3.1.4).
struct Repeat {
    flow: Flow,
    bytes: Vec<u8>,
    at: Instant,
    interval: Duration,
    until: Instant,
}

/// What is going on with a re-INVITE or UPDATE.
enum Modify {
    Idle,
    Sent {
        tx: TxId,
        request: Request,
        offerless: bool,
        until: Instant,
        answered_nonce: Option<String>,
        wish: Change,
        tries: u32,
    },
    /// Offerless: the answer belongs in the ACK, which waits for the caller.
    Answered {
        tx: TxId,
        cseq: u32,
    },
    /// A re-INVITE, UPDATE or PRACK with an offer. `until`: not for a re-INVITE, which may wait.
    Received {
        tx: TxId,
        request: Request,
        until: Option<Instant>,
    },
    /// `offered`: our 200 carried an offer, whose answer the ACK brings.
    Confirming {
        cseq: u32,
        repeat: Repeat,
        offered: bool,
    },
}

/// By which request a change is wished for, and whether it changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Reinvite,
    Update,
    /// RFC 4028: only to show that we live.
    Refresh,
}

struct Retry {
    at: Instant,
    body: Option<Body>,
    wish: Change,
    tries: u32,
}

impl Session {
    fn blank(
        id: SessionId,
        call_id: String,
        local_tag: String,
        flow: Flow,
        origin: Origin,
    ) -> Session {
        Session {
            id,
            call_id,
            local_tag,
            flow,
            origin,
            state: State::Over,
            dialog: None,
            modify: Modify::Idle,
            retry: None,
            credentials: None,
            reliable: Reliable::default(),
            timing: Timing::default(),
            said: None,
            beside: Vec::new(),
            referred: Referred::Nothing,
            referring: 0,
        }
    }

    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    pub fn has_dialog(&self) -> bool {
        self.dialog.is_some()
    }

    pub fn flow_id(&self) -> u64 {
        self.dialog
            .as_ref()
            .map_or(self.flow.id, |dialog| dialog.flow.id)
    }

    /// Whether a request with this From tag belongs to the session's dialog.
    pub fn is_with(&self, remote_tag: &str) -> bool {
        match (&self.dialog, &self.state) {
            (None, State::Calling(calling)) => calling
                .forks
                .iter()
                .any(|fork| fork.dialog.remote_tag == remote_tag),
            (Some(dialog), _) => dialog.remote_tag == remote_tag,
            (None, State::Offered(offered)) => {
                offered.request.headers.tag("From").unwrap_or_default() == remote_tag
            }
            (None, _) => false,
        }
    }

    /// RFC 3261 12.2.2: false when the request is older than the last one.
    pub fn is_in_order(&mut self, request: &Request) -> bool {
        let from_tag = request.headers.tag("From").unwrap_or_default();
        let dialog = match (&mut self.dialog, &mut self.state) {
            (Some(dialog), _) => Some(dialog),
            (None, State::Calling(calling)) => fork::of(&mut calling.forks, &from_tag),
            (None, _) => None,
        };
        let (Some(dialog), Some((cseq, _))) = (dialog, request.headers.cseq()) else {
            return true;
        };
        if dialog.remote_cseq.is_some_and(|last| cseq < last) {
            return false;
        }
        dialog.remote_cseq = Some(cseq);
        true
    }

    pub fn on_response(&mut self, now: Now, stack: &mut Stack, tx: TxId, response: &Response) {
        match &self.state {
            State::Calling(calling) if calling.tx == tx => {
                self.on_invite_response(now, stack, response)
            }
            State::Calling(calling) if calling.is_cancelled_by(tx) => {
                self.on_cancel_response(now, stack, tx, response);
            }
            State::Leaving { tx: bye, .. } if *bye == tx => {
                self.on_bye_response(now, stack, response)
            }
            State::Leaving { .. } | State::Over => {}
            _ if self.is_beside(tx) => self.on_beside_response(now, stack, tx, response),
            _ => self.on_reoffer_response(now, stack, tx, response),
        }
    }

    pub fn on_failure(&mut self, now: Now, stack: &mut Stack, tx: TxId, failure: Failure) {
        match &self.state {
            State::Calling(calling) if calling.tx == tx => self.fail_locally(now, stack, failure),
            // A CANCEL without an answer: `until` decides.
            State::Leaving { tx: bye, by, .. } if *bye == tx => {
                let by = *by;
                self.finish(now, stack, by, Reason::default());
            }
            State::Leaving { .. } | State::Over => {}
            _ if self.is_beside(tx) => self.on_beside_failure(stack, tx, failure),
            _ => self.on_reoffer_failure(now, stack, tx, failure),
        }
    }

    fn fail_locally(&mut self, now: Now, stack: &mut Stack, failure: Failure) {
        let status = match failure {
            Failure::Timeout => 408,
            Failure::Unreachable => 503,
        };
        if self.is_cancelled() {
            return self.finish(now, stack, EndedBy::Local, Reason::default());
        }
        stack.event(SipEvent::Failed {
            session: self.id,
            status,
            phrase: phrase(status).to_owned(),
            reason: Reason::default(),
            retry_after_s: None,
            local: true,
        });
        self.over(now, stack);
    }

    fn is_cancelled(&self) -> bool {
        matches!(
            &self.state,
            State::Calling(Calling {
                cancel: Some(_),
                ..
            })
        )
    }

    /// Nothing of the peer's stays unanswered.
    fn over(&mut self, now: Now, stack: &mut Stack) {
        self.refuse_pending_reoffer(now, stack);
        self.refuse_pending_refer(now, stack);
        self.state = State::Over;
    }

    /// The one event of the end.
    fn finish(&mut self, now: Now, stack: &mut Stack, by: EndedBy, reason: Reason) {
        if self.is_over() {
            return;
        }
        self.over(now, stack);
        stack.event(match self.origin {
            Origin::Orphan => SipEvent::OrphanEnded {
                call_id: self.call_id.clone(),
            },
            Origin::Outgoing | Origin::Incoming => SipEvent::Ended {
                session: self.id,
                by,
                reason,
            },
        });
    }

    /// The connection is gone: nothing can be sent any more.
    pub fn on_flow_closed(&mut self, now: Now, stack: &mut Stack) {
        if let State::Offered(offered) = &self.state {
            let response = stack.response(&offered.request, 480, Some(&self.local_tag));
            stack.tx.respond(now, offered.tx, &response);
        }
        self.refuse_pending_reoffer(now, stack);
        self.finish(now, stack, EndedBy::FlowClosed, Reason::default());
    }

    /// A request inside the session, its transaction made; ACK and CANCEL come elsewhere.
    pub fn on_request(&mut self, now: Now, stack: &mut Stack, tx: TxId, request: Request) {
        self.timing.learn(&request.headers);
        let leaving = matches!(self.state, State::Leaving { .. } | State::Over);
        match request.method {
            // RFC 3261 15: not on an early dialog of ours.
            Method::Bye if matches!(self.state, State::Calling(_)) => {
                self.answer(now, stack, tx, &request, 481);
            }
            Method::Bye => self.on_bye(now, stack, tx, &request),
            Method::Invite => self.on_reoffer(now, stack, tx, request),
            Method::Options => {
                let mut response = stack.response(&request, 200, Some(&self.local_tag));
                super::endpoint::put_capabilities(&mut response, &stack.config);
                stack.tx.respond(now, tx, &response);
            }
            _ if leaving => self.answer(now, stack, tx, &request, 481),
            Method::Prack => self.on_prack(now, stack, tx, request),
            Method::Update => self.on_update(now, stack, tx, request),
            Method::Info => self.on_info(now, stack, tx, &request),
            Method::Refer => self.on_refer(now, stack, tx, request),
            Method::Notify => self.on_notify(now, stack, tx, &request),
            _ => self.answer(now, stack, tx, &request, 405),
        }
    }

    /// A final response with nothing more to it.
    fn answer(&self, now: Now, stack: &mut Stack, tx: TxId, request: &Request, status: u16) {
        let response = stack.response(request, status, Some(&self.local_tag));
        stack.tx.respond(now, tx, &response);
    }

    /// RFC 3261 14.2 and RFC 3311 5.2: an answer is still owed, so come again.
    fn answer_later(&self, now: Now, stack: &mut Stack, tx: TxId, request: &Request) {
        let mut response = stack.response(request, 500, Some(&self.local_tag));
        let wait_s = stack.draw_ms(0..11);
        response.headers.put("Retry-After", wait_s.to_string());
        stack.tx.respond(now, tx, &response);
    }

    pub fn handle_timeout(&mut self, now: Now, stack: &mut Stack) {
        match &mut self.state {
            State::Calling(_) => self.on_cancel_timeout(now, stack),
            State::Offered(_) => self.on_offered_timeout(now, stack),
            State::Accepted { .. } => self.on_accepted_timeout(now, stack),
            State::Answered { until, .. } if *until <= now.instant => {
                self.leave(now, stack, EndedBy::Timeout, None);
            }
            State::Established => {}
            State::Answered { .. } | State::Leaving { .. } | State::Over => {}
        }
        if !matches!(self.state, State::Leaving { .. } | State::Over) {
            self.on_reoffer_timeout(now, stack);
            self.on_refer_timeout(now, stack);
        }
        if matches!(self.state, State::Established) {
            self.on_timing_timeout(now, stack);
        }
    }

    pub fn deadline(&self) -> Option<Deadline> {
        if matches!(self.state, State::Leaving { .. } | State::Over) {
            return None;
        }
        let change = earlier(self.reoffer_deadline(), self.refer_deadline());
        earlier(self.state_deadline(), change)
    }

    fn state_deadline(&self) -> Option<Deadline> {
        match &self.state {
            State::Calling(Calling {
                cancel: Some(Cancel::Sent { until, .. }),
                ..
            }) => Some((*until, "cancelled INVITE unanswered")),
            State::Offered(offered) => {
                let again = offered
                    .again
                    .as_ref()
                    .map(|(at, _)| (*at, "provisional again"));
                let once = earlier(again, Some((offered.until, "offer unanswered")));
                earlier(once, self.reliable.deadline())
            }
            State::Accepted { repeat, .. } => Some(repeat.deadline()),
            State::Answered { until, .. } => Some((*until, "answer unacknowledged")),
            State::Established => self.timing.deadline(),
            State::Calling(_) | State::Leaving { .. } | State::Over => None,
        }
    }
}

impl Calling {
    fn is_cancelled_by(&self, tx: TxId) -> bool {
        matches!(&self.cancel, Some(Cancel::Sent { tx: ours, .. }) if *ours == tx)
    }
}

impl Repeat {
    fn new(now: Now, timers: Timers, flow: Flow, bytes: Vec<u8>) -> Repeat {
        let until = now.instant + timers.patience();
        Repeat {
            flow,
            bytes,
            at: now.instant + timers.t1,
            interval: timers.t1,
            until,
        }
    }

    fn deadline(&self) -> Deadline {
        if self.until < self.at {
            (self.until, "ACK overdue")
        } else {
            (self.at, "2xx again")
        }
    }

    /// Repeats the 2xx when it is time. True when the ACK is overdue.
    fn is_overdue(&mut self, now: Now, stack: &mut Stack) -> bool {
        if self.until <= now.instant {
            return true;
        }
        if self.at <= now.instant {
            self.interval = stack.timers().doubled(self.interval);
            self.at = now.instant + self.interval;
            stack.tx.resend(self.flow, self.bytes.clone());
        }
        false
    }
}
