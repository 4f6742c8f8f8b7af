//! Leaving an answered session (RFC 3261 §15).

use crate::now::Now;
use crate::sip::event::EndedBy;
use crate::sip::message::{Method, Request, Response};
use crate::sip::stack::{Stack, reason_of};
use crate::sip::transaction::{Owner, TxId};

use super::{Modify, Session, State};

impl Session {
    /// ACKs what still waits for an ACK, then says BYE.
    pub(super) fn leave(&mut self, now: Now, stack: &mut Stack, by: EndedBy, reason: Option<&str>) {
        let owner = Owner::Session(self.id);
        self.settle_acks(stack);
        self.refuse_pending_reoffer(now, stack);
        self.retry = None;
        self.refuse_pending_refer(now, stack);
        // Every caller has a dialog: `Answered`, `Accepted` and `Established` are entered with one.
        let Some(dialog) = &mut self.dialog else {
            return self.finish(now, stack, by, Default::default());
        };
        let mut request = dialog.request(Method::Bye);
        if let Some(reason) = reason {
            request.headers.put("Reason", reason);
        }
        let tx = stack.request(now, dialog.flow, request.clone(), owner);
        self.state = State::Leaving {
            tx,
            request,
            answered_nonce: None,
            by,
        };
    }

    fn settle_acks(&mut self, stack: &mut Stack) {
        if let State::Answered { tx, .. } = self.state {
            let cseq = self.dialog.as_ref().map_or(0, |dialog| dialog.invite_cseq);
            self.send_ack(stack, tx, cseq, None);
        }
        if let Modify::Answered { tx, cseq } = self.modify {
            self.send_ack(stack, tx, cseq, None);
            self.modify = Modify::Idle;
        }
    }

    pub(super) fn on_bye_response(&mut self, now: Now, stack: &mut Stack, response: &Response) {
        if response.status < 200 || self.bye_with_credentials(now, stack, response) {
            return;
        }
        let State::Leaving { by, .. } = self.state else {
            return;
        };
        // 2xx or 481, the dialog is gone; any other refusal leaves nothing more to try.
        self.finish(now, stack, by, Default::default());
    }

    fn bye_with_credentials(&mut self, now: Now, stack: &mut Stack, response: &Response) -> bool {
        let owner = Owner::Session(self.id);
        let (
            State::Leaving {
                tx,
                request,
                answered_nonce,
                ..
            },
            Some(dialog),
            Some(who),
        ) = (&mut self.state, &mut self.dialog, &self.credentials)
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
            .put("CSeq", format!("{} BYE", dialog.local_cseq));
        *tx = stack.request(now, dialog.flow, again.clone(), owner);
        *request = again;
        *answered_nonce = Some(nonce);
        true
    }

    pub(super) fn on_bye(&mut self, now: Now, stack: &mut Stack, tx: TxId, request: &Request) {
        let response = stack.response(request, 200, Some(&self.local_tag));
        stack.tx.respond(now, tx, &response);
        if let State::Offered(offered) = &self.state {
            // RFC 3261 15.1.2: requests still open in the dialog are answered 487.
            let response = stack.response(&offered.request, 487, Some(&self.local_tag));
            stack.tx.respond(now, offered.tx, &response);
        }
        if matches!(self.state, State::Leaving { .. }) {
            // BYE met BYE: ours is still to be answered, and that is the end of the session.
            return;
        }
        self.settle_acks(stack);
        self.refuse_pending_reoffer(now, stack);
        self.refuse_pending_refer(now, stack);
        self.finish(now, stack, EndedBy::Remote, reason_of(&request.headers));
    }
}
