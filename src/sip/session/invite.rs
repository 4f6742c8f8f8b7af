//! Calling: our INVITE and its answers (RFC 3261 §13.2).

use crate::now::Now;
use crate::sip::dialog::{DialogIdentity, InvitePlan};
use crate::sip::event::{EndedBy, SessionId, SipEvent};
use crate::sip::message::{Body, Method, Request, Response, Uri};
use crate::sip::stack::{Ack, Stack, put_body, reason_of};
use crate::sip::transaction::{Failure, Owner, TxId};

use super::{Calling, Modify, Origin, Session, State, Wish};

impl Session {
    /// Sends the INVITE of a plan.
    pub fn invite(now: Now, stack: &mut Stack, id: SessionId, wish: Wish<'_>) -> Session {
        let Wish {
            plan,
            headers,
            body,
            credentials,
            timers,
        } = wish;
        let mut request = invite_request(&plan);
        let is_hops = |name: &str| name.eq_ignore_ascii_case("Max-Forwards");
        for given in headers {
            let (name, value) = given;
            if is_hops(name) {
                // A call that is passed on goes on counting (RFC 7332).
                request.headers.remove(name);
                request.headers.put(name, value);
            } else {
                stack.add_headers(&mut request.headers, std::slice::from_ref(given));
            }
        }
        put_body(&mut request.headers, &mut request.body, body);
        let mut clocks = stack.timers();
        clocks.invite_timeout = timers.answer.unwrap_or(clocks.invite_timeout);
        let mut session = Session::new(id, &plan, Origin::Outgoing);
        session.credentials = credentials;
        session.state = State::Calling(Calling {
            tx: TxId(0),
            plan,
            request,
            attempt: 0,
            timers: clocks,
            heard: false,
            answered_nonce: None,
            cancel: None,
        });
        session.send_invite(now, stack);
        session
    }

    pub(super) fn new(id: SessionId, plan: &InvitePlan, origin: Origin) -> Session {
        Session {
            id,
            call_id: plan.call_id.clone(),
            local_tag: plan.from_tag.clone(),
            flow: plan.flow,
            origin,
            state: State::Over,
            dialog: None,
            modify: Modify::Idle,
            retry: None,
            credentials: None,
        }
    }

    /// Sends the attempt that `Calling` describes.
    fn send_invite(&mut self, now: Now, stack: &mut Stack) {
        let id = self.id;
        let State::Calling(calling) = &mut self.state else {
            return;
        };
        let (branch, cseq) = calling.plan.attempt(calling.attempt);
        let mut request = calling.request.clone();
        request.headers.put("CSeq", format!("{cseq} INVITE"));
        stack.dress(&mut request, &calling.plan.flow, &branch);
        // An address that cannot stand in a message has cost us its header.
        let whole = ["From", "To", "Call-ID"]
            .iter()
            .all(|name| request.headers.count(name) == 1);
        if !whole || Uri::parse(&request.uri).is_err() {
            return self.fail_unsendable(stack);
        }
        let flow = calling.plan.flow;
        calling.tx = stack
            .tx
            .send_invite(now, flow, request, Owner::Session(id), calling.timers);
    }

    fn fail_unsendable(&mut self, stack: &mut Stack) {
        stack.event(SipEvent::Failed {
            session: self.id,
            status: 484,
            phrase: "Address Incomplete".to_owned(),
            reason: Default::default(),
            retry_after_s: None,
            local: true,
        });
        self.state = State::Over;
    }

    pub(super) fn on_invite_response(&mut self, now: Now, stack: &mut Stack, response: &Response) {
        match response.status {
            100..200 => self.on_provisional(now, stack, response),
            200..300 => self.on_answer(now, stack, response),
            401 | 407 if self.try_with_credentials(now, stack, response) => {}
            _ if self.is_cancelled() => {
                self.finish(stack, EndedBy::Local, reason_of(&response.headers));
            }
            _ => {
                stack.event(SipEvent::Failed {
                    session: self.id,
                    status: response.status,
                    phrase: response.phrase.clone(),
                    reason: reason_of(&response.headers),
                    retry_after_s: response.headers.seconds("Retry-After"),
                    local: false,
                });
                self.state = State::Over;
            }
        }
    }

    fn on_provisional(&mut self, now: Now, stack: &mut Stack, response: &Response) {
        let State::Calling(calling) = &mut self.state else {
            return;
        };
        calling.heard = true;
        if calling.cancel.is_some() {
            return self.cancel_if_heard(now, stack);
        }
        if response.status > 100 {
            stack.event(SipEvent::Provisional {
                session: self.id,
                status: response.status,
                phrase: response.phrase.clone(),
                to_tag: response.headers.tag("To"),
                body: response.typed_body(),
            });
        }
    }

    fn on_answer(&mut self, now: Now, stack: &mut Stack, response: &Response) {
        let State::Calling(calling) = &self.state else {
            return;
        };
        let tx = calling.tx;
        let flow = calling.plan.flow;
        let cancelled = calling.cancel.is_some();
        let invite = stack.tx.invite_of(tx);
        let dialog = invite.and_then(|i| DialogIdentity::of_caller(i, response, flow));
        // The transaction holds the INVITE for as long as it passes 2xx up, and we wrote all of
        // its headers; a peer that garbles them answers some other call.
        let Some(dialog) = dialog else {
            return self.fail_locally(stack, Failure::Timeout);
        };
        stack.acks.set(tx, &dialog.remote_tag, Ack::Withheld);
        let identity = dialog.clone();
        self.dialog = Some(dialog);
        self.state = State::Answered {
            tx,
            until: now.instant + stack.timers().patience(),
        };
        if cancelled {
            // RFC 3261 15 and RFC 5407 3.1.3: the 200 crossed our CANCEL.
            return self.leave(now, stack, EndedBy::Local, None);
        }
        let body = response.typed_body();
        stack.event(SipEvent::Answered {
            session: self.id,
            dialog: identity,
            body,
        });
    }

    /// RFC 3261 22.2: once, and once more when our nonce was merely stale.
    fn try_with_credentials(&mut self, now: Now, stack: &mut Stack, response: &Response) -> bool {
        let State::Calling(calling) = &mut self.state else {
            return false;
        };
        let Some(who) = self
            .credentials
            .as_ref()
            .filter(|_| calling.cancel.is_none())
        else {
            return false;
        };
        let answered = calling.answered_nonce.as_deref();
        let Some((again, nonce)) =
            stack.answer_challenge(&calling.request, response, who, answered)
        else {
            return false;
        };
        calling.request = again;
        calling.attempt += 1;
        calling.answered_nonce = Some(nonce);
        calling.heard = false;
        self.send_invite(now, stack);
        true
    }

    /// The caller has stored the answer: the ACK may leave.
    pub fn acknowledge(&mut self, now: Now, stack: &mut Stack, body: Option<&Body>) {
        match (&self.state, &self.modify) {
            (State::Answered { tx, .. }, _) => {
                let tx = *tx;
                let cseq = self.dialog.as_ref().map_or(0, |dialog| dialog.invite_cseq);
                self.state = State::Established;
                self.send_ack(stack, tx, cseq, body);
            }
            (State::Established, Modify::Answered { tx, cseq }) => {
                let (tx, cseq) = (*tx, *cseq);
                self.modify = Modify::Idle;
                self.send_ack(stack, tx, cseq, body);
            }
            _ => {}
        }
        // A re-INVITE may have been waiting for this.
        self.on_reoffer_timeout(now, stack);
    }

    pub(super) fn send_ack(&mut self, stack: &mut Stack, tx: TxId, cseq: u32, body: Option<&Body>) {
        let Some(dialog) = &self.dialog else { return };
        let ack = with_credentials_of(stack, tx, dialog.ack(cseq));
        let (flow, tag) = (dialog.flow, dialog.remote_tag.clone());
        let bytes = stack.ack(flow, ack, body);
        // Once the transaction is gone no repetition can come, and nothing would clear this.
        if stack.tx.invite_of(tx).is_some() {
            stack.acks.set(tx, &tag, Ack::Sent { flow, bytes });
        }
    }
}

/// RFC 3261 13.2.2.4: the ACK carries the credentials of its INVITE.
fn with_credentials_of(stack: &Stack, tx: TxId, mut ack: Request) -> Request {
    if let Some(invite) = stack.tx.invite_of(tx) {
        ack.headers.copy(&invite.headers, "Authorization");
        ack.headers.copy(&invite.headers, "Proxy-Authorization");
    }
    ack
}

/// The INVITE of a plan without Via, CSeq and Contact.
pub(super) fn invite_request(plan: &InvitePlan) -> Request {
    let mut request = Request::new(Method::Invite, plan.request_uri.clone());
    request.headers.put("Max-Forwards", "70");
    for route in &plan.route {
        request.headers.put("Route", route);
    }
    request
        .headers
        .put("From", plan.from.with_tag(&plan.from_tag).to_string());
    request.headers.put("To", plan.to.to_string());
    request.headers.put("Call-ID", &plan.call_id);
    request
}

/// A 2xx nobody waits for: a second callee of a forked INVITE, or one whose session is gone.
/// RFC 3261 13.2.2.4: acknowledged, and ended at once.
pub(in crate::sip) fn dismiss_answer(
    now: Now,
    stack: &mut Stack,
    tx: TxId,
    flow: crate::sip::event::Flow,
    response: &Response,
) {
    let Some(invite) = stack.tx.invite_of(tx) else {
        return;
    };
    let in_dialog = invite.headers.tag("To").is_some();
    let Some(mut dialog) = DialogIdentity::of_caller(invite, response, flow) else {
        return;
    };
    let ack = with_credentials_of(stack, tx, dialog.ack(dialog.invite_cseq));
    let bytes = stack.ack(dialog.flow, ack, None);
    let flow = dialog.flow;
    stack
        .acks
        .set(tx, &dialog.remote_tag, Ack::Sent { flow, bytes });
    if !in_dialog {
        let bye = dialog.request(Method::Bye);
        stack.request(now, dialog.flow, bye, Owner::Nobody);
    }
}
