//! Being called: ringing, answering, refusing, and the ACK (RFC 3261 §13.3).

use std::time::Duration;

use crate::now::Now;
use crate::sip::dialog::DialogIdentity;
use crate::sip::event::{EndedBy, Flow, Reason, SessionId, SipEvent};
use crate::sip::message::{ALLOW, Body, Request, Response};
use crate::sip::stack::{SUPPORTED, Stack, put_body, reason_of};
use crate::sip::transaction::TxId;

use super::reliable::Exchange;
use super::{Acceptance, Offered, Origin, Repeat, Session, State};

/// RFC 3261 13.3.1.1.
const PROVISIONAL_AGAIN: Duration = Duration::from_secs(60);

impl Session {
    pub fn offered(
        now: Now,
        stack: &mut Stack,
        id: SessionId,
        flow: Flow,
        tx: TxId,
        request: Request,
    ) -> Session {
        let trying = stack.response(&request, 100, None);
        stack.tx.respond(now, tx, &trying);
        let until = now.instant + stack.timers().ring_limit;
        // A recreated dialog keeps the tag its INVITE names.
        let local_tag = request.headers.tag("To").unwrap_or_else(|| stack.token());
        let call_id = request.headers.call_id().unwrap_or_default();
        let mut session = Session::blank(id, call_id, local_tag, flow, Origin::Incoming);
        session.timing.learn(&request.headers);
        session.state = State::Offered(Offered {
            tx,
            request,
            until,
            again: None,
            acceptance: None,
        });
        session
    }

    /// Sends 180 or 183.
    pub fn ring(&mut self, now: Now, stack: &mut Stack, status: u16, body: Option<&Body>) {
        let status = status.clamp(101, 199);
        if self.ring_reliably(now, stack, status, body) {
            return;
        }
        let (flow, tag) = (self.flow, self.local_tag.clone());
        let State::Offered(offered) = &mut self.state else {
            return;
        };
        let mut response = stack.response(&offered.request, status, Some(&tag));
        put_dialog_headers(&mut response, stack, &offered.request, &flow);
        put_body(&mut response.headers, &mut response.body, body);
        stack.tx.respond(now, offered.tx, &response);
        offered.again = Some((now.instant + PROVISIONAL_AGAIN, response));
    }

    pub fn accept(
        &mut self,
        now: Now,
        stack: &mut Stack,
        headers: &[(String, String)],
        body: Option<&Body>,
    ) {
        let State::Offered(offered) = &mut self.state else {
            return;
        };
        if self.reliable.holds_answer_back() {
            offered.acceptance = Some(Acceptance {
                headers: headers.to_vec(),
                body: body.cloned(),
            });
            return;
        }
        let request = &offered.request;
        let dialog = self.dialog.take();
        let dialog =
            dialog.or_else(|| DialogIdentity::of_called(request, &self.local_tag, self.flow));
        let Some(dialog) = dialog else {
            return self.reject(now, stack, 400, None, &[]);
        };
        let mut response = stack.response(request, 200, Some(&self.local_tag));
        put_dialog_headers(&mut response, stack, request, &self.flow);
        self.timing
            .agree(now, &stack.config, request, &mut response);
        stack.add_headers(&mut response.headers, headers);
        // RFC 6337 2.2: what was answered reliably is not said again.
        let body = body.filter(|_| self.reliable.exchange() == Exchange::Open);
        put_body(&mut response.headers, &mut response.body, body);
        if body.is_some() {
            self.said = body.cloned();
        }
        let offered_here = request.body.is_empty() && body.is_some();
        stack.tx.respond(now, offered.tx, &response);
        let back = stack.tx.flow_of(offered.tx).unwrap_or(self.flow);
        let repeat = Repeat::new(now, stack.timers(), back, response.to_bytes());
        let cseq = request.headers.cseq().map_or(0, |(cseq, _)| cseq);
        self.dialog = Some(dialog);
        self.state = State::Accepted {
            cseq,
            repeat,
            leave: None,
            offered: offered_here,
        };
    }

    /// The dialog there is, or the one that answering makes.
    pub fn identity(&self) -> Option<DialogIdentity> {
        match (&self.dialog, &self.state) {
            (Some(dialog), _) => Some(dialog.clone()),
            (None, State::Offered(offered)) => {
                DialogIdentity::of_called(&offered.request, &self.local_tag, self.flow)
            }
            (None, _) => None,
        }
    }

    pub fn reject(
        &mut self,
        now: Now,
        stack: &mut Stack,
        status: u16,
        phrase: Option<&str>,
        headers: &[(String, String)],
    ) {
        let State::Offered(offered) = &self.state else {
            return;
        };
        let status = status.clamp(300, 699);
        let mut response = stack.response(&offered.request, status, Some(&self.local_tag));
        if let Some(phrase) = phrase {
            response.phrase = phrase.to_owned();
        }
        stack.add_headers(&mut response.headers, headers);
        stack.tx.respond(now, offered.tx, &response);
        self.finish(now, stack, EndedBy::Local, Reason::default());
    }

    /// RFC 3261 9.2: the caller gave up; the CANCEL itself is answered by the endpoint.
    pub fn on_cancel(&mut self, now: Now, stack: &mut Stack, cancel: &Request) {
        if let State::Offered(offered) = &self.state {
            let response = stack.response(&offered.request, 487, Some(&self.local_tag));
            stack.tx.respond(now, offered.tx, &response);
            return self.finish(now, stack, EndedBy::Remote, reason_of(&cancel.headers));
        }
        self.refuse_pending_reoffer(now, stack);
    }

    /// The ACK of a 2xx of ours.
    pub fn on_ack(&mut self, now: Now, stack: &mut Stack, ack: &Request) {
        let number = ack.headers.cseq().map(|(number, _)| number);
        let body = ack.typed_body();
        match &mut self.state {
            State::Accepted { cseq, leave, .. } if Some(*cseq) == number => {
                let leave = leave.take();
                self.state = State::Established;
                stack.event(SipEvent::Confirmed {
                    session: self.id,
                    body,
                });
                if let Some(leave) = leave {
                    self.leave(now, stack, EndedBy::Local, leave.reason.as_deref());
                }
            }
            State::Established => self.on_reoffer_ack(stack, number, body),
            _ => {}
        }
    }

    pub(super) fn on_offered_timeout(&mut self, now: Now, stack: &mut Stack) {
        let State::Offered(offered) = &mut self.state else {
            return;
        };
        if offered.until <= now.instant {
            let response = stack.response(&offered.request, 480, Some(&self.local_tag));
            stack.tx.respond(now, offered.tx, &response);
            return self.finish(now, stack, EndedBy::Timeout, Reason::default());
        }
        if self.on_reliable_timeout(now, stack) {
            return;
        }
        let State::Offered(offered) = &mut self.state else {
            return;
        };
        if let Some((at, response)) = &mut offered.again
            && *at <= now.instant
        {
            *at = now.instant + PROVISIONAL_AGAIN;
            stack.tx.respond(now, offered.tx, response);
        }
    }

    pub(super) fn on_accepted_timeout(&mut self, now: Now, stack: &mut Stack) {
        let State::Accepted { repeat, leave, .. } = &mut self.state else {
            return;
        };
        if repeat.is_overdue(now, stack) {
            // RFC 3261 13.3.1.4: no ACK, so the session is ended with a BYE.
            let by = if leave.is_some() {
                EndedBy::Local
            } else {
                EndedBy::Timeout
            };
            self.leave(now, stack, by, None);
        }
    }
}

/// What makes or keeps a dialog: Contact and the recorded route (RFC 3261 12.1.1).
pub(super) fn put_dialog_headers(
    response: &mut Response,
    stack: &Stack,
    request: &Request,
    flow: &Flow,
) {
    response.headers.copy(&request.headers, "Record-Route");
    let contact = stack.contact_for(request, flow);
    response.headers.put("Contact", contact);
    response.headers.put("Allow", ALLOW);
    response.headers.put("Supported", SUPPORTED);
}
