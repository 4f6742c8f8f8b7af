//! Re-INVITE in both directions (RFC 3261 §14) with glare (491).

use std::mem;
use std::time::Duration;

use crate::now::Now;
use crate::sip::event::{EndedBy, SipEvent};
use crate::sip::message::{Body, Method, Request, Response};
use crate::sip::stack::{Ack, Stack, put_body};
use crate::sip::timer::{Deadline, earlier};
use crate::sip::transaction::{Failure, Owner, TxId};

use super::accept::put_dialog_headers;
use super::{Modify, Origin, Repeat, Retry, Session, State};

impl Session {
    // ── ours

    /// Offers a change; with no body the peer is asked for an offer. What cannot be sent yet
    /// waits, and a newer wish replaces it.
    pub fn reoffer(&mut self, now: Now, stack: &mut Stack, body: Option<Body>) {
        if matches!(self.state, State::Leaving { .. } | State::Over) {
            return;
        }
        self.retry = Some(Retry {
            at: now.instant,
            body,
        });
        self.on_reoffer_timeout(now, stack);
    }

    fn send_reoffer(&mut self, now: Now, stack: &mut Stack, body: Option<&Body>) {
        let Some(dialog) = &mut self.dialog else {
            return;
        };
        let mut request = dialog.request(Method::Invite);
        put_body(&mut request.headers, &mut request.body, body);
        self.send_reinvite(now, stack, request, None);
    }

    fn send_reinvite(
        &mut self,
        now: Now,
        stack: &mut Stack,
        request: Request,
        answered_nonce: Option<String>,
    ) {
        let Some(dialog) = &self.dialog else { return };
        let mut dressed = request.clone();
        let branch = stack.branch();
        stack.dress(&mut dressed, &dialog.flow, &branch);
        let timers = stack.timers();
        let offerless = request.body.is_empty();
        let tx = stack
            .tx
            .send_invite(now, dialog.flow, dressed, Owner::Session(self.id), timers);
        let until = now.instant + timers.patience() * 2;
        self.modify = Modify::Sent {
            tx,
            request,
            offerless,
            until,
            answered_nonce,
        };
    }

    pub(super) fn on_reoffer_response(
        &mut self,
        now: Now,
        stack: &mut Stack,
        tx: TxId,
        response: &Response,
    ) {
        let Modify::Sent {
            tx: ours,
            offerless,
            ..
        } = &self.modify
        else {
            return;
        };
        if *ours != tx || response.status < 200 {
            return;
        }
        let offerless = *offerless;
        let body = response.typed_body();
        let status = response.status;
        match status {
            200..300 => self.on_reoffer_accepted(stack, tx, offerless, response),
            491 => return self.retry_after_glare(now, stack),
            401 | 407 if self.reoffer_with_credentials(now, stack, response) => return,
            _ => self.modify = Modify::Idle,
        }
        stack.event(SipEvent::ReofferAnswered {
            session: self.id,
            status,
            body,
        });
        if matches!(status, 408 | 481) {
            // RFC 3261 12.2.1.2: the peer knows the dialog no more.
            self.leave(now, stack, EndedBy::Timeout, None);
        }
    }

    fn on_reoffer_accepted(
        &mut self,
        stack: &mut Stack,
        tx: TxId,
        offerless: bool,
        response: &Response,
    ) {
        let Some(dialog) = &mut self.dialog else {
            return;
        };
        dialog.retarget(response.headers.contact_uri());
        let cseq = response.headers.cseq().map_or(0, |(cseq, _)| cseq);
        stack.acks.set(tx, &dialog.remote_tag, Ack::Withheld);
        if offerless {
            self.modify = Modify::Answered { tx, cseq };
        } else {
            self.modify = Modify::Idle;
            self.send_ack(stack, tx, cseq, None);
        }
    }

    /// RFC 3261 14.1: the owner of the Call-ID waits longer.
    fn retry_after_glare(&mut self, now: Now, stack: &mut Stack) {
        let range = match self.origin {
            Origin::Outgoing | Origin::Orphan => 2_100..4_000,
            Origin::Incoming => 10..2_000,
        };
        let wait = Duration::from_millis(stack.draw_ms(range));
        let sent = mem::replace(&mut self.modify, Modify::Idle);
        let Modify::Sent { request, .. } = sent else {
            return;
        };
        let at = now.instant + wait;
        match &mut self.retry {
            // A newer wish is already waiting.
            Some(retry) => retry.at = retry.at.max(at),
            None => {
                self.retry = Some(Retry {
                    at,
                    body: request.typed_body(),
                })
            }
        }
    }

    fn reoffer_with_credentials(
        &mut self,
        now: Now,
        stack: &mut Stack,
        response: &Response,
    ) -> bool {
        let (
            Modify::Sent {
                request,
                answered_nonce,
                ..
            },
            Some(dialog),
            Some(who),
        ) = (&self.modify, &mut self.dialog, &self.credentials)
        else {
            return false;
        };
        let answered = answered_nonce.as_deref();
        let Some((mut again, nonce)) = stack.answer_challenge(request, response, who, answered)
        else {
            return false;
        };
        dialog.local_cseq = dialog.local_cseq.wrapping_add(1);
        again
            .headers
            .put("CSeq", format!("{} INVITE", dialog.local_cseq));
        self.send_reinvite(now, stack, again, Some(nonce));
        true
    }

    pub(super) fn on_reoffer_failure(
        &mut self,
        now: Now,
        stack: &mut Stack,
        tx: TxId,
        failure: Failure,
    ) {
        let Modify::Sent { tx: ours, .. } = &self.modify else {
            return;
        };
        if *ours != tx {
            return;
        }
        let status = match failure {
            Failure::Timeout => 408,
            Failure::Unreachable => 503,
        };
        self.modify = Modify::Idle;
        stack.event(SipEvent::ReofferAnswered {
            session: self.id,
            status,
            body: None,
        });
        self.leave(now, stack, EndedBy::Timeout, None);
    }

    // ── theirs

    pub(super) fn on_reoffer(&mut self, now: Now, stack: &mut Stack, tx: TxId, request: Request) {
        match (&self.state, &self.modify) {
            (State::Established, Modify::Idle) => {
                let body = request.typed_body();
                let trying = stack.response(&request, 100, None);
                stack.tx.respond(now, tx, &trying);
                self.modify = Modify::Received { tx, request };
                stack.event(SipEvent::Reoffer {
                    session: self.id,
                    body,
                });
            }
            // RFC 3261 14.2: a second one before the first is answered.
            (State::Offered(_), _) | (State::Established, Modify::Received { .. }) => {
                let mut response = stack.response(&request, 500, Some(&self.local_tag));
                let wait_s = stack.draw_ms(0..11);
                response.headers.put("Retry-After", wait_s.to_string());
                stack.tx.respond(now, tx, &response);
            }
            (State::Leaving { .. } | State::Over, _) => {
                let response = stack.response(&request, 481, Some(&self.local_tag));
                stack.tx.respond(now, tx, &response);
            }
            // Glare, or an exchange whose ACK is still under way (RFC 5407 3.1.4).
            _ => {
                let response = stack.response(&request, 491, Some(&self.local_tag));
                stack.tx.respond(now, tx, &response);
            }
        }
    }

    pub fn answer_reoffer(&mut self, now: Now, stack: &mut Stack, body: Option<&Body>) {
        let (Modify::Received { tx, request }, Some(dialog)) = (&self.modify, &mut self.dialog)
        else {
            return;
        };
        dialog.retarget(request.headers.contact_uri());
        let mut response = stack.response(request, 200, Some(&self.local_tag));
        put_dialog_headers(&mut response, stack, request, &dialog.flow);
        put_body(&mut response.headers, &mut response.body, body);
        stack.tx.respond(now, *tx, &response);
        let back = stack.tx.flow_of(*tx).unwrap_or(dialog.flow);
        let repeat = Repeat::new(now, stack.timers(), back, response.to_bytes());
        let cseq = request.headers.cseq().map_or(0, |(cseq, _)| cseq);
        self.modify = Modify::Confirming { cseq, repeat };
    }

    pub fn refuse_reoffer(&mut self, now: Now, stack: &mut Stack, status: u16) {
        let Modify::Received { tx, request } = &self.modify else {
            return;
        };
        let response = stack.response(request, status.clamp(300, 699), Some(&self.local_tag));
        stack.tx.respond(now, *tx, &response);
        self.modify = Modify::Idle;
    }

    /// A re-INVITE of theirs that nobody will answer any more.
    pub(super) fn refuse_pending_reoffer(&mut self, now: Now, stack: &mut Stack) {
        self.refuse_reoffer(now, stack, 487);
    }

    pub(super) fn on_reoffer_ack(
        &mut self,
        stack: &mut Stack,
        number: Option<u32>,
        body: Option<Body>,
    ) {
        let Modify::Confirming { cseq, .. } = &self.modify else {
            return;
        };
        if Some(*cseq) == number {
            self.modify = Modify::Idle;
            if body.is_some() {
                stack.event(SipEvent::Confirmed {
                    session: self.id,
                    body,
                });
            }
        }
    }

    // ── time

    pub(super) fn on_reoffer_timeout(&mut self, now: Now, stack: &mut Stack) {
        if let Modify::Confirming { repeat, .. } = &mut self.modify
            && repeat.is_overdue(now, stack)
        {
            self.modify = Modify::Idle;
            return self.leave(now, stack, EndedBy::Timeout, None);
        }
        if let Modify::Sent { until, .. } = &self.modify
            && *until <= now.instant
        {
            // Provisionally answered and then forgotten.
            self.modify = Modify::Idle;
            let (session, status) = (self.id, 408);
            stack.event(SipEvent::ReofferAnswered {
                session,
                status,
                body: None,
            });
            return self.leave(now, stack, EndedBy::Timeout, None);
        }
        if self
            .retry
            .as_ref()
            .is_some_and(|retry| retry.at <= now.instant)
            && matches!(
                (&self.state, &self.modify),
                (State::Established, Modify::Idle)
            )
            && let Some(retry) = self.retry.take()
        {
            self.send_reoffer(now, stack, retry.body.as_ref());
        }
    }

    pub(super) fn reoffer_deadline(&self) -> Option<Deadline> {
        let current = match &self.modify {
            Modify::Idle => self
                .retry
                .as_ref()
                .map(|retry| (retry.at, "re-INVITE again")),
            Modify::Sent { until, .. } => Some((*until, "re-INVITE unanswered")),
            Modify::Confirming { repeat, .. } => Some(repeat.deadline()),
            Modify::Answered { .. } | Modify::Received { .. } => None,
        };
        earlier(current, None)
    }
}
