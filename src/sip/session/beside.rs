//! Requests of ours within the session that neither make, change nor end it: PRACK, INFO, REFER
//! and NOTIFY. A challenge to one is answered once.

use crate::now::Now;
use crate::sip::event::{EndedBy, Flow, SipEvent};
use crate::sip::message::{Request, Response};
use crate::sip::stack::Stack;
use crate::sip::transaction::{Failure, Owner, TxId};

use super::refer::Referred;
use super::{Session, State, fork};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Prack,
    Info,
    Refer,
    Notify,
}

pub(super) struct Beside {
    tx: TxId,
    flow: Flow,
    request: Request,
    purpose: Purpose,
    answered_nonce: Option<String>,
}

impl Session {
    pub(super) fn send_beside(
        &mut self,
        now: Now,
        stack: &mut Stack,
        flow: Flow,
        request: Request,
        purpose: Purpose,
    ) {
        self.put_beside(now, stack, flow, request, purpose, None);
    }

    fn put_beside(
        &mut self,
        now: Now,
        stack: &mut Stack,
        flow: Flow,
        request: Request,
        purpose: Purpose,
        answered_nonce: Option<String>,
    ) {
        let tx = stack.request(now, flow, request.clone(), Owner::Session(self.id));
        self.beside.push(Beside {
            tx,
            flow,
            request,
            purpose,
            answered_nonce,
        });
    }

    pub(super) fn is_beside(&self, tx: TxId) -> bool {
        self.beside.iter().any(|one| one.tx == tx)
    }

    pub(super) fn on_beside_response(
        &mut self,
        now: Now,
        stack: &mut Stack,
        tx: TxId,
        response: &Response,
    ) {
        if response.status < 200 {
            return;
        }
        let Some(at) = self.beside.iter().position(|one| one.tx == tx) else {
            return;
        };
        let one = self.beside.swap_remove(at);
        let purpose = one.purpose;
        if matches!(response.status, 401 | 407)
            && self.beside_with_credentials(now, stack, one, response)
        {
            return;
        }
        self.judge_beside(now, stack, purpose, response.status);
    }

    fn beside_with_credentials(
        &mut self,
        now: Now,
        stack: &mut Stack,
        one: Beside,
        response: &Response,
    ) -> bool {
        let Some(who) = self.credentials.clone() else {
            return false;
        };
        let answered = one.answered_nonce.as_deref();
        let again = stack.answer_challenge(&one.request, response, &who, answered);
        let Some((mut again, nonce)) = again else {
            return false;
        };
        let to_tag = again.headers.tag("To").unwrap_or_default();
        let dialog = match (&mut self.dialog, &mut self.state) {
            (Some(dialog), _) => Some(dialog),
            (None, State::Calling(calling)) => fork::of(&mut calling.forks, &to_tag),
            (None, _) => None,
        };
        let Some(dialog) = dialog else { return false };
        dialog.local_cseq = dialog.local_cseq.wrapping_add(1);
        let cseq = format!("{} {}", dialog.local_cseq, again.method);
        again.headers.put("CSeq", cseq);
        self.put_beside(now, stack, one.flow, again, one.purpose, Some(nonce));
        true
    }

    pub(super) fn on_beside_failure(&mut self, stack: &mut Stack, tx: TxId, failure: Failure) {
        let Some(at) = self.beside.iter().position(|one| one.tx == tx) else {
            return;
        };
        let purpose = self.beside.swap_remove(at).purpose;
        let status = match failure {
            Failure::Timeout => 408,
            Failure::Unreachable => 503,
        };
        self.tell_beside(stack, purpose, status);
    }

    fn judge_beside(&mut self, now: Now, stack: &mut Stack, purpose: Purpose, status: u16) {
        self.tell_beside(stack, purpose, status);
        // RFC 5057 5.1: the peer knows the dialog no more. A NOTIFY's 481 is about its
        // subscription only.
        let gone = status == 481 && matches!(purpose, Purpose::Info | Purpose::Refer);
        if gone && matches!(self.state, State::Established) {
            self.leave(now, stack, EndedBy::Timeout, None);
        }
    }

    fn tell_beside(&mut self, stack: &mut Stack, purpose: Purpose, status: u16) {
        match purpose {
            Purpose::Refer => {
                if status >= 300 {
                    self.referring = self.referring.saturating_sub(1);
                }
                let session = self.id;
                stack.event(SipEvent::ReferAnswered { session, status });
            }
            // RFC 6665 4.2.2: nobody listens any more.
            Purpose::Notify if status == 481 => {
                if matches!(self.referred, Referred::Telling { .. }) {
                    self.referred = Referred::Nothing;
                }
            }
            Purpose::Notify | Purpose::Prack | Purpose::Info => {}
        }
    }
}
