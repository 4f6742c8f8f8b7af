//! Giving up a call that has no answer yet (RFC 3261 §9.1), and hanging up in any state.

use crate::now::Now;
use crate::sip::event::{EndedBy, Flow, Reason};
use crate::sip::message::{Method, Request, Response};
use crate::sip::stack::Stack;
use crate::sip::transaction::{Owner, TxId};

use super::{Calling, Cancel, Leave, Origin, Session, State};

impl Session {
    /// Ends the session by whatever its state asks for.
    pub fn hang_up(&mut self, now: Now, stack: &mut Stack, reason: Option<&str>) {
        match &mut self.state {
            State::Calling(calling) if calling.cancel.is_none() => {
                calling.cancel = Some(Cancel::Waiting {
                    reason: reason.map(str::to_owned),
                });
                self.cancel_if_heard(now, stack);
            }
            State::Offered(_) => {
                let why = reason.map(|reason| ("Reason".to_owned(), reason.to_owned()));
                self.reject(now, stack, 480, None, why.as_slice());
            }
            State::Accepted { leave, .. } => {
                leave.get_or_insert(Leave {
                    reason: reason.map(str::to_owned),
                });
            }
            State::Answered { .. } | State::Established => {
                self.leave(now, stack, EndedBy::Local, reason);
            }
            State::Calling(_) | State::Leaving { .. } | State::Over => {}
        }
    }

    /// Sends the CANCEL once a provisional response has shown that the INVITE arrived.
    pub(super) fn cancel_if_heard(&mut self, now: Now, stack: &mut Stack) {
        let owner = Owner::Session(self.id);
        let State::Calling(calling) = &mut self.state else {
            return;
        };
        let Some(Cancel::Waiting { reason }) = calling.cancel.as_ref().filter(|_| calling.heard)
        else {
            return;
        };
        let Some(invite) = stack.tx.invite_of(calling.tx) else {
            return;
        };
        let mut cancel = cancel_of(invite);
        if let Some(reason) = reason {
            cancel.headers.put("Reason", reason);
        }
        let tx = stack.tx.send(now, calling.plan.flow, &cancel, owner);
        let until = now.instant + stack.timers().patience();
        let reason = reason.clone();
        calling.cancel = Some(Cancel::Sent { tx, until, reason });
    }

    pub(super) fn on_cancel_response(
        &mut self,
        now: Now,
        stack: &mut Stack,
        tx: TxId,
        response: &Response,
    ) {
        let State::Calling(Calling {
            cancel: Some(Cancel::Sent { tx: ours, .. }),
            ..
        }) = &self.state
        else {
            return;
        };
        if *ours == tx && response.status == 481 && self.origin == Origin::Orphan {
            self.cancel_next_attempt(now, stack);
        }
    }

    /// RFC 3261 9.1: 64·T1 after the CANCEL the INVITE counts as cancelled.
    pub(super) fn on_cancel_timeout(&mut self, now: Now, stack: &mut Stack) {
        let State::Calling(calling) = &self.state else {
            return;
        };
        let Some(Cancel::Sent { until, .. }) = &calling.cancel else {
            return;
        };
        if *until <= now.instant {
            stack.tx.abandon(calling.tx);
            self.finish(now, stack, EndedBy::Local, Reason::default());
        }
    }
}

/// A server that was given up rings after all: nobody waits for it any more.
pub(in crate::sip) fn cancel_late(now: Now, stack: &mut Stack, tx: TxId, flow: Flow) {
    if let Some(invite) = stack.tx.invite_of(tx) {
        let cancel = cancel_of(invite);
        stack.tx.send(now, flow, &cancel, Owner::Nobody);
    }
}

/// RFC 3261 9.1: the CANCEL repeats its INVITE's Request-URI, top Via, Route, addresses and
/// CSeq number.
pub(super) fn cancel_of(invite: &Request) -> Request {
    let mut cancel = Request::new(Method::Cancel, invite.uri.clone());
    let via = invite.headers.items("Via");
    cancel
        .headers
        .put("Via", via.first().map_or("", String::as_str));
    cancel.headers.put("Max-Forwards", "70");
    for name in ["Route", "From", "To", "Call-ID"] {
        cancel.headers.copy(&invite.headers, name);
    }
    let number = invite.headers.cseq().map_or(0, |(number, _)| number);
    cancel.headers.put("CSeq", format!("{number} CANCEL"));
    cancel
}
