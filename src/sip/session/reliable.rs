//! Our provisional responses, sent reliably to who requires it (RFC 3262 §3): repeated with
//! pauses that double from T1 until the PRACK comes, and given up after 64·T1 with a 504.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::now::Now;
use crate::sip::dialog::DialogIdentity;
use crate::sip::event::{EndedBy, Reason, SipEvent};
use crate::sip::message::{Body, Request, Response};
use crate::sip::stack::{Stack, names_option, put_body};
use crate::sip::timer::{Deadline, earlier};
use crate::sip::transaction::TxId;

use super::accept::put_dialog_headers;
use super::{Modify, Session, State};

/// RFC 3262 3: before a proxy's timer C of three minutes runs out.
const RELIABLE_AGAIN: Duration = Duration::from_secs(150);
/// Responses that may wait for the PRACK of the one before.
const WAITING_MAX: usize = 8;
/// RFC 3262 3: the first number lies below 2^31; a small one is as good.
const FIRST_RSEQ_MAX: u64 = 10_000;
/// A PRACK with an offer is to be answered within its own transaction.
pub(super) const ANSWER_WITHIN: u32 = 32;

#[derive(Default)]
pub(super) struct Reliable {
    /// RSeq of the last one sent.
    rseq: Option<u32>,
    unacknowledged: Option<Unacknowledged>,
    waiting: VecDeque<(u16, Option<Body>)>,
    exchange: Exchange,
    /// When an 18x is due again.
    again: Option<Instant>,
}

struct Unacknowledged {
    rack: String,
    response: Response,
    at: Instant,
    interval: Duration,
    until: Instant,
}

/// How far offer and answer have come in reliable responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Exchange {
    #[default]
    Open,
    /// We offered; the PRACK brings the answer.
    Offered,
    Settled,
}

impl Reliable {
    pub fn exchange(&self) -> Exchange {
        self.exchange
    }

    /// No 2xx may leave yet.
    pub fn holds_answer_back(&self) -> bool {
        let unacknowledged = self.unacknowledged.as_ref();
        unacknowledged.is_some_and(|one| !one.response.body.is_empty())
    }

    /// Nothing of ours waits for a PRACK, and offer and answer are done.
    pub fn is_settled(&self) -> bool {
        self.unacknowledged.is_none() && self.exchange == Exchange::Settled
    }

    pub fn deadline(&self) -> Option<Deadline> {
        let again = self.again.map(|at| (at, "reliable 18x, a new one"));
        let Some(one) = &self.unacknowledged else {
            return again;
        };
        earlier(
            Some((one.at, "reliable 18x again")),
            Some((one.until, "PRACK overdue")),
        )
    }
}

/// Whether to this caller 18x go reliably.
fn is_reliable(stack: &Stack, request: &Request) -> bool {
    let headers = &request.headers;
    names_option(headers, "Require", "100rel")
        || (stack.config.reliable_provisionals && names_option(headers, "Supported", "100rel"))
}

impl Session {
    /// Sends it reliably and says true, or false when this caller does not ask for that.
    pub(super) fn ring_reliably(
        &mut self,
        now: Now,
        stack: &mut Stack,
        status: u16,
        body: Option<&Body>,
    ) -> bool {
        let State::Offered(offered) = &self.state else {
            return false;
        };
        if !is_reliable(stack, &offered.request) {
            return false;
        }
        let offerless = offered.request.body.is_empty();
        if self.reliable.exchange == Exchange::Open && offerless && body.is_none() {
            // RFC 3262 5: the first one would have to carry an offer, and there is none. Who
            // does not insist gets it unreliably.
            return names_option(&offered.request.headers, "Require", "100rel");
        }
        if self.reliable.unacknowledged.is_some() {
            if self.reliable.waiting.len() < WAITING_MAX {
                self.reliable.waiting.push_back((status, body.cloned()));
            }
            return true;
        }
        self.send_reliable(now, stack, status, body);
        true
    }

    fn send_reliable(&mut self, now: Now, stack: &mut Stack, status: u16, body: Option<&Body>) {
        let State::Offered(offered) = &self.state else {
            return;
        };
        if self.dialog.is_none() {
            let dialog = DialogIdentity::of_called(&offered.request, &self.local_tag, self.flow);
            if dialog.is_none() {
                return self.reject(now, stack, 400, None, &[]);
            }
            self.dialog = dialog;
        }
        let rseq = match self.reliable.rseq {
            Some(last) => last + 1,
            None => stack.draw_ms(1..FIRST_RSEQ_MAX) as u32,
        };
        let mut response = stack.response(&offered.request, status, Some(&self.local_tag));
        put_dialog_headers(&mut response, stack, &offered.request, &self.flow);
        response.headers.put("Require", "100rel");
        response.headers.put("RSeq", rseq.to_string());
        // A second body would be another offer, and that is UPDATE's.
        if self.reliable.exchange == Exchange::Open && body.is_some() {
            put_body(&mut response.headers, &mut response.body, body);
            self.said = body.cloned();
            self.reliable.exchange = if offered.request.body.is_empty() {
                Exchange::Offered
            } else {
                Exchange::Settled
            };
        }
        let cseq = offered.request.headers.cseq().map_or(0, |(cseq, _)| cseq);
        stack.tx.respond(now, offered.tx, &response);
        let t1 = stack.timers().t1;
        self.reliable.rseq = Some(rseq);
        self.reliable.again = Some(now.instant + RELIABLE_AGAIN);
        self.reliable.unacknowledged = Some(Unacknowledged {
            rack: format!("{rseq} {cseq} INVITE"),
            response,
            at: now.instant + t1,
            interval: t1,
            until: now.instant + stack.timers().patience(),
        });
    }

    pub(super) fn on_prack(&mut self, now: Now, stack: &mut Stack, tx: TxId, request: Request) {
        let rack = request.headers.text("RAck").unwrap_or_default();
        let words: Vec<&str> = rack.split_ascii_whitespace().collect();
        let rack = words.join(" ");
        let waited = self.reliable.unacknowledged.as_ref();
        if waited.is_none_or(|one| one.rack != rack) {
            return self.answer(now, stack, tx, &request, 481);
        }
        self.reliable.unacknowledged = None;
        let body = request.typed_body();
        match (body, self.reliable.exchange) {
            (Some(body), Exchange::Offered) => {
                self.reliable.exchange = Exchange::Settled;
                self.answer(now, stack, tx, &request, 200);
                let session = self.id;
                stack.event(SipEvent::EarlyAnswer { session, body });
            }
            // RFC 3262 5: an offer, answered in the 200 of the PRACK.
            (Some(body), Exchange::Settled) if matches!(self.modify, Modify::Idle) => {
                let until = Some(now.instant + stack.timers().t1 * ANSWER_WITHIN);
                self.modify = Modify::Received { tx, request, until };
                let (session, body) = (self.id, Some(body));
                stack.event(SipEvent::Reoffer { session, body });
            }
            (Some(_), Exchange::Settled) => self.answer(now, stack, tx, &request, 491),
            (_, _) => self.answer(now, stack, tx, &request, 200),
        }
        self.after_prack(now, stack);
    }

    fn after_prack(&mut self, now: Now, stack: &mut Stack) {
        let State::Offered(offered) = &mut self.state else {
            return;
        };
        if let Some(acceptance) = offered.acceptance.take() {
            let body = acceptance.body.as_ref();
            return self.accept(now, stack, &acceptance.headers, body);
        }
        if let Some((status, body)) = self.reliable.waiting.pop_front() {
            self.send_reliable(now, stack, status, body.as_ref());
        }
    }

    /// True when the call was given up.
    pub(super) fn on_reliable_timeout(&mut self, now: Now, stack: &mut Stack) -> bool {
        let State::Offered(offered) = &self.state else {
            return false;
        };
        if let Some(one) = &mut self.reliable.unacknowledged {
            if one.until <= now.instant {
                let response = stack.response(&offered.request, 504, Some(&self.local_tag));
                stack.tx.respond(now, offered.tx, &response);
                self.finish(now, stack, EndedBy::Timeout, Reason::default());
                return true;
            }
            if one.at <= now.instant {
                one.interval *= 2;
                one.at = now.instant + one.interval;
                stack.tx.respond(now, offered.tx, &one.response);
            }
        } else if self.reliable.again.is_some_and(|at| at <= now.instant) {
            self.reliable.again = None;
            self.send_reliable(now, stack, 183, None);
        }
        false
    }
}
