//! Calling: our INVITE and its answers (RFC 3261 §13.2).

use crate::now::Now;
use crate::sip::dialog::{DialogIdentity, InvitePlan};
use crate::sip::event::{EndedBy, RedirectContact, Reliability, SessionId, SipEvent};
use crate::sip::message::{Body, Method, NameAddr, Request, Response, Uri};
use crate::sip::stack::{Ack, SUPPORTED_UNRELIABLE, Stack, put_body, reason_of};
use crate::sip::transaction::{Failure, Owner, TxId};

use super::orphan::CSEQ_LEAP;
use super::{Calling, Cancel, Modify, Origin, Session, State, Wish};

/// How often a 422 makes us ask with a longer session interval.
const TOO_BRIEF_MAX: u32 = 2;
/// Contacts of a 3xx that are passed on.
const CONTACTS_MAX: usize = 10;

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
        let mut session = Session::new(id, &plan, Origin::Outgoing);
        session.timing.wish(timers.session_expires_s);
        session.timing.ask(&stack.config, &mut request.headers);
        match timers.reliability.unwrap_or(stack.config.reliability) {
            Reliability::Off => request.headers.put("Supported", SUPPORTED_UNRELIABLE),
            Reliability::Supported => {}
            Reliability::Required => request.headers.put("Require", "100rel"),
        }
        let mut clocks = stack.timers();
        clocks.invite_timeout = timers.answer.unwrap_or(clocks.invite_timeout);
        session.said = body.cloned();
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
            forks: Vec::new(),
            too_brief: 0,
        });
        session.send_invite(now, stack);
        session
    }

    pub(super) fn new(id: SessionId, plan: &InvitePlan, origin: Origin) -> Session {
        let (call_id, tag) = (plan.call_id.clone(), plan.from_tag.clone());
        Session::blank(id, call_id, tag, plan.flow, origin)
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
            return self.fail_unsendable(now, stack);
        }
        let flow = calling.plan.flow;
        calling.tx = stack
            .tx
            .send_invite(now, flow, request, Owner::Session(id), calling.timers);
    }

    fn fail_unsendable(&mut self, now: Now, stack: &mut Stack) {
        stack.event(SipEvent::Failed {
            session: self.id,
            status: 484,
            phrase: "Address Incomplete".to_owned(),
            reason: Default::default(),
            retry_after_s: None,
            local: true,
        });
        self.over(now, stack);
    }

    pub(super) fn on_invite_response(&mut self, now: Now, stack: &mut Stack, response: &Response) {
        match response.status {
            100..200 => self.on_provisional(now, stack, response),
            200..300 => self.on_answer(now, stack, response),
            401 | 407 if self.try_with_credentials(now, stack, response) => {}
            422 if self.try_with_longer_interval(now, stack, response) => {}
            _ if self.is_cancelled() => {
                self.finish(now, stack, EndedBy::Local, reason_of(&response.headers));
            }
            status => {
                if (300..400).contains(&status) {
                    let (session, contacts) = (self.id, redirect_contacts(response));
                    stack.event(SipEvent::Redirected {
                        session,
                        status,
                        contacts,
                    });
                }
                stack.event(SipEvent::Failed {
                    session: self.id,
                    status,
                    phrase: response.phrase.clone(),
                    reason: reason_of(&response.headers),
                    retry_after_s: response.headers.seconds("Retry-After"),
                    local: false,
                });
                self.over(now, stack);
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
            self.timing.learn(&response.headers);
            self.on_fork(now, stack, response);
        }
    }

    fn on_answer(&mut self, now: Now, stack: &mut Stack, response: &Response) {
        let State::Calling(calling) = &self.state else {
            return;
        };
        let tx = calling.tx;
        let flow = calling.plan.flow;
        let (cancelled, reason) = match &calling.cancel {
            Some(Cancel::Waiting { reason } | Cancel::Sent { reason, .. }) => {
                (true, reason.clone())
            }
            None => (false, None),
        };
        let invite = stack.tx.invite_of(tx);
        let dialog = invite.and_then(|i| DialogIdentity::of_caller(i, response, flow));
        // The transaction holds the INVITE for as long as it passes 2xx up, and we wrote all of
        // its headers; a peer that garbles them answers some other call.
        let Some(mut dialog) = dialog else {
            return self.fail_locally(now, stack, Failure::Timeout);
        };
        if let Some(early) = calling
            .forks
            .iter()
            .map(|fork| &fork.dialog)
            .find(|early| early.remote_tag == dialog.remote_tag)
        {
            // PRACK and UPDATE have moved both numbers on.
            dialog.local_cseq = dialog.local_cseq.max(early.local_cseq);
            dialog.remote_cseq = early.remote_cseq;
        }
        self.timing.agreed_by_peer(now, &stack.config, response);
        stack.acks.set(tx, &dialog.remote_tag, Ack::Withheld);
        let identity = dialog.clone();
        self.dialog = Some(dialog);
        self.state = State::Answered {
            tx,
            until: now.instant + stack.timers().patience(),
        };
        if cancelled {
            // RFC 3261 15 and RFC 5407 3.1.3: the 200 crossed our CANCEL.
            return self.leave(now, stack, EndedBy::Local, reason.as_deref());
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
        calling.answered_nonce = Some(nonce);
        self.invite_again(now, stack, again);
        true
    }

    /// RFC 4028 7.3: somebody on the way wants a longer session interval.
    fn try_with_longer_interval(
        &mut self,
        now: Now,
        stack: &mut Stack,
        response: &Response,
    ) -> bool {
        let State::Calling(calling) = &mut self.state else {
            return false;
        };
        let Some(min_s) = response.headers.seconds("Min-SE") else {
            return false;
        };
        if calling.cancel.is_some() || calling.too_brief >= TOO_BRIEF_MAX {
            return false;
        }
        calling.too_brief += 1;
        let mut again = calling.request.clone();
        self.timing.raise(min_s);
        self.timing.ask(&stack.config, &mut again.headers);
        self.invite_again(now, stack, again);
        true
    }

    /// The next attempt, which starts from nothing: no answer, no early dialog.
    fn invite_again(&mut self, now: Now, stack: &mut Stack, request: Request) {
        if let State::Calling(calling) = &mut self.state {
            calling.request = request;
            calling.attempt += 1;
            calling.heard = false;
            calling.forks.clear();
        }
        self.send_invite(now, stack);
    }

    /// The caller has stored the answer: the ACK may leave.
    pub fn acknowledge(&mut self, now: Now, stack: &mut Stack, body: Option<&Body>) {
        if body.is_some() {
            self.said = body.cloned();
        }
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

/// RFC 3261 8.1.3.4: best first; without a q all are the best.
fn redirect_contacts(response: &Response) -> Vec<RedirectContact> {
    let items = response.headers.items("Contact");
    let contacts = items.iter().filter_map(|item| NameAddr::parse(item));
    let mut contacts: Vec<RedirectContact> = contacts
        .map(|contact| RedirectContact {
            q: thousandths(contact.param("q")),
            uri: contact.uri,
            display: contact.display,
        })
        .collect();
    contacts.sort_by_key(|contact| std::cmp::Reverse(contact.q));
    contacts.truncate(CONTACTS_MAX);
    contacts
}

fn thousandths(q: Option<&str>) -> u16 {
    let q = q.and_then(|q| q.parse::<f32>().ok()).unwrap_or(1.0);
    (q.clamp(0.0, 1.0) * 1000.0).round() as u16
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
    // While it was early, PRACKs may have used numbers of this dialog.
    dialog.local_cseq = dialog.local_cseq.saturating_add(CSEQ_LEAP);
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
