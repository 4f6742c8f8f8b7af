//! UPDATE in both directions (RFC 3311): a change that needs no ACK and may come before the
//! answer. What is offered goes the way of a re-INVITE's offer; without a body it only moves the
//! target and shows that the session lives.

use crate::now::Now;
use crate::sip::event::SipEvent;
use crate::sip::message::{Body, Request};
use crate::sip::stack::Stack;
use crate::sip::transaction::TxId;

use super::accept::put_dialog_headers;
use super::reliable::{ANSWER_WITHIN, Exchange};
use super::timing::Timing;
use super::{Change, Modify, Retry, Session, State};

/// What may be said to an offer right now.
enum Turn {
    Ours,
    /// Our own offer is still open: 491.
    Glare,
    /// We owe an answer: 500 with Retry-After.
    Owing,
}

impl Session {
    /// Offers a change by UPDATE, or only shows that we live. Waits like a re-INVITE; before the
    /// answer it leaves once an offer has been answered reliably.
    pub fn update(&mut self, now: Now, stack: &mut Stack, body: Option<Body>) {
        if matches!(self.state, State::Leaving { .. } | State::Over) {
            return;
        }
        self.retry = Some(Retry {
            at: now.instant,
            body,
            wish: Change::Update,
            tries: 0,
        });
        self.on_reoffer_timeout(now, stack);
    }

    pub(super) fn on_update(&mut self, now: Now, stack: &mut Stack, tx: TxId, request: Request) {
        if let Some(min_s) = Timing::too_brief(&stack.config, &request) {
            return self.answer_too_brief(now, stack, tx, &request, min_s);
        }
        let Some(body) = request.typed_body() else {
            if matches!(self.modify, Modify::Received { .. }) {
                // RFC 3311 5.2: the one before has no answer yet.
                return self.answer_later(now, stack, tx, &request);
            }
            return self.accept_update(now, stack, tx, &request, None);
        };
        match self.turn() {
            Turn::Glare => self.answer(now, stack, tx, &request, 491),
            Turn::Owing => self.answer_later(now, stack, tx, &request),
            Turn::Ours => {
                let until = Some(now.instant + stack.timers().t1 * ANSWER_WITHIN);
                self.modify = Modify::Received { tx, request, until };
                let (session, body) = (self.id, Some(body));
                stack.event(SipEvent::Reoffer { session, body });
            }
        }
    }

    /// RFC 3311 5.2.
    fn turn(&self) -> Turn {
        match &self.modify {
            Modify::Idle => {}
            Modify::Received { .. } => return Turn::Owing,
            // Our 2xx to their re-INVITE: when it brought the answer, all is said.
            Modify::Confirming { offered: false, .. } => {}
            Modify::Answered { .. } => return Turn::Owing,
            Modify::Sent { .. } | Modify::Confirming { .. } => return Turn::Glare,
        }
        match &self.state {
            State::Established => Turn::Ours,
            State::Accepted { offered: false, .. } => Turn::Ours,
            State::Accepted { .. } => Turn::Glare,
            State::Answered { .. } => Turn::Ours,
            State::Offered(_) => match self.reliable.exchange() {
                Exchange::Open => Turn::Owing,
                Exchange::Offered => Turn::Glare,
                Exchange::Settled => Turn::Ours,
            },
            State::Calling(calling) => {
                if calling.forks.iter().any(|fork| fork.settled) {
                    Turn::Ours
                } else if calling.request.body.is_empty() {
                    Turn::Owing
                } else {
                    Turn::Glare
                }
            }
            State::Leaving { .. } | State::Over => Turn::Glare,
        }
    }

    /// The 200 of an UPDATE.
    pub(super) fn accept_update(
        &mut self,
        now: Now,
        stack: &mut Stack,
        tx: TxId,
        request: &Request,
        body: Option<&Body>,
    ) {
        let from_tag = request.headers.tag("From").unwrap_or_default();
        let dialog = match (&mut self.dialog, &mut self.state) {
            (Some(dialog), _) => Some(dialog),
            (None, State::Calling(calling)) => super::fork::of(&mut calling.forks, &from_tag),
            (None, _) => None,
        };
        let mut response = stack.response(request, 200, Some(&self.local_tag));
        let mut flow = self.flow;
        if let Some(dialog) = dialog {
            dialog.retarget(request.headers.contact_uri());
            flow = dialog.flow;
        }
        put_dialog_headers(&mut response, stack, request, &flow);
        self.timing
            .agree(now, &stack.config, request, &mut response);
        crate::sip::stack::put_body(&mut response.headers, &mut response.body, body);
        if body.is_some() {
            self.said = body.cloned();
        }
        stack.tx.respond(now, tx, &response);
    }

    /// RFC 4028 9.
    pub(super) fn answer_too_brief(
        &self,
        now: Now,
        stack: &mut Stack,
        tx: TxId,
        request: &Request,
        min_s: u32,
    ) {
        let mut response = stack.response(request, 422, Some(&self.local_tag));
        response.headers.put("Min-SE", min_s.to_string());
        stack.tx.respond(now, tx, &response);
    }
}
