//! Sessions: the life of one INVITE dialog, ours or theirs, from first message to last.
//! Each ends in exactly one event: `Failed`, `Ended` or `OrphanEnded`.

mod accept;
mod bye;
mod cancel;
mod invite;
mod orphan;
mod refresh;
mod table;

pub(super) use table::Sessions;

use std::time::{Duration, Instant};

use crate::now::Now;

use super::auth::Credentials;
use super::dialog::{DialogIdentity, InvitePlan};
use super::event::{EndedBy, Flow, Reason, SessionId, SipEvent};
use super::message::{Method, Request, Response, phrase};
use super::stack::Stack;
use super::timer::{Deadline, Timers, earlier};
use super::transaction::{Failure, TxId};

pub(super) struct Session {
    pub id: SessionId,
    pub call_id: String,
    pub local_tag: String,
    flow: Flow,
    origin: Origin,
    state: State,
    /// From the 2xx on.
    dialog: Option<DialogIdentity>,
    modify: Modify,
    /// A re-INVITE of ours that waits for its turn.
    retry: Option<Retry>,
    credentials: Option<Credentials>,
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
}

enum Cancel {
    /// RFC 3261 9.1: not before a provisional response.
    Waiting {
        reason: Option<String>,
    },
    Sent {
        tx: TxId,
        until: Instant,
    },
}

/// An INVITE of theirs without a final answer.
struct Offered {
    tx: TxId,
    request: Request,
    until: Instant,
    /// RFC 3261 13.3.1.1: a provisional response is repeated every minute.
    again: Option<(Instant, Response)>,
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

/// What is going on with a re-INVITE.
enum Modify {
    Idle,
    Sent {
        tx: TxId,
        request: Request,
        offerless: bool,
        until: Instant,
        answered_nonce: Option<String>,
    },
    /// Offerless: the answer belongs in the ACK, which waits for the caller.
    Answered {
        tx: TxId,
        cseq: u32,
    },
    Received {
        tx: TxId,
        request: Request,
    },
    Confirming {
        cseq: u32,
        repeat: Repeat,
    },
}

struct Retry {
    at: Instant,
    body: Option<super::message::Body>,
}

impl Session {
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
            (Some(dialog), _) => dialog.remote_tag == remote_tag,
            (None, State::Offered(offered)) => {
                offered.request.headers.tag("From").unwrap_or_default() == remote_tag
            }
            (None, _) => false,
        }
    }

    /// RFC 3261 12.2.2: false when the request is older than the last one.
    pub fn is_in_order(&mut self, request: &Request) -> bool {
        let (Some(dialog), Some((cseq, _))) = (&mut self.dialog, request.headers.cseq()) else {
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
            State::Calling(_) => self.on_cancel_response(now, stack, tx, response),
            State::Leaving { tx: bye, .. } if *bye == tx => {
                self.on_bye_response(now, stack, response)
            }
            State::Established => self.on_reoffer_response(now, stack, tx, response),
            _ => {}
        }
    }

    pub fn on_failure(&mut self, now: Now, stack: &mut Stack, tx: TxId, failure: Failure) {
        match &self.state {
            State::Calling(calling) if calling.tx == tx => self.fail_locally(stack, failure),
            // A CANCEL without an answer: `until` decides.
            State::Leaving { tx: bye, by, .. } if *bye == tx => {
                let by = *by;
                self.finish(stack, by, Reason::default());
            }
            State::Established => self.on_reoffer_failure(now, stack, tx, failure),
            _ => {}
        }
    }

    fn fail_locally(&mut self, stack: &mut Stack, failure: Failure) {
        let status = match failure {
            Failure::Timeout => 408,
            Failure::Unreachable => 503,
        };
        if self.is_cancelled() {
            return self.finish(stack, EndedBy::Local, Reason::default());
        }
        stack.event(SipEvent::Failed {
            session: self.id,
            status,
            phrase: phrase(status).to_owned(),
            reason: Reason::default(),
            retry_after_s: None,
            local: true,
        });
        self.state = State::Over;
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

    /// The one event of the end.
    fn finish(&mut self, stack: &mut Stack, by: EndedBy, reason: Reason) {
        if self.is_over() {
            return;
        }
        self.state = State::Over;
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
        self.finish(stack, EndedBy::FlowClosed, Reason::default());
    }

    /// A request inside the session, its transaction made; ACK and CANCEL come elsewhere.
    pub fn on_request(&mut self, now: Now, stack: &mut Stack, tx: TxId, request: Request) {
        match request.method {
            Method::Bye => self.on_bye(now, stack, tx, &request),
            Method::Invite => self.on_reoffer(now, stack, tx, request),
            Method::Info => {
                let response = self.info_response(stack, &request);
                stack.tx.respond(now, tx, &response);
            }
            Method::Options => {
                let mut response = stack.response(&request, 200, Some(&self.local_tag));
                super::endpoint::put_capabilities(&mut response, &stack.config);
                stack.tx.respond(now, tx, &response);
            }
            _ => {
                let response = stack.response(&request, 405, Some(&self.local_tag));
                stack.tx.respond(now, tx, &response);
            }
        }
    }

    /// RFC 6086 has packages, and older INFO carries digits. Neither means anything here yet,
    /// but an empty or a digit INFO is a good one.
    fn info_response(&self, stack: &Stack, request: &Request) -> Response {
        const KNOWN: [&str; 2] = ["application/dtmf-relay", "application/dtmf"];
        let content_type = request.headers.text("Content-Type").unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let known = KNOWN.iter().any(|one| one.eq_ignore_ascii_case(media_type));
        if request.headers.count("Info-Package") > 0 {
            let mut response = stack.response(request, 469, Some(&self.local_tag));
            response.phrase = "Bad Info Package".to_owned();
            return response;
        }
        if request.body.is_empty() || known {
            return stack.response(request, 200, Some(&self.local_tag));
        }
        let mut response = stack.response(request, 415, Some(&self.local_tag));
        response.headers.put("Accept", KNOWN.join(", "));
        response
    }

    pub fn handle_timeout(&mut self, now: Now, stack: &mut Stack) {
        match &mut self.state {
            State::Calling(_) => self.on_cancel_timeout(now, stack),
            State::Offered(_) => self.on_offered_timeout(now, stack),
            State::Accepted { .. } => self.on_accepted_timeout(now, stack),
            State::Established => self.on_reoffer_timeout(now, stack),
            State::Answered { until, .. } if *until <= now.instant => {
                self.leave(now, stack, EndedBy::Timeout, None);
            }
            State::Answered { .. } | State::Leaving { .. } | State::Over => {}
        }
    }

    pub fn deadline(&self) -> Option<Deadline> {
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
                earlier(again, Some((offered.until, "offer unanswered")))
            }
            State::Accepted { repeat, .. } => Some(repeat.deadline()),
            State::Answered { until, .. } => Some((*until, "answer unacknowledged")),
            State::Established => self.reoffer_deadline(),
            State::Calling(_) | State::Leaving { .. } | State::Over => None,
        }
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
