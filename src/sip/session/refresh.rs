//! Re-INVITE in both directions (RFC 3261 §14) with glare (491).

use std::mem;
use std::time::{Duration, Instant};

use crate::now::Now;
use crate::sip::dialog::DialogIdentity;
use crate::sip::event::{EndedBy, SipEvent};
use crate::sip::message::{Body, Method, Request, Response};
use crate::sip::stack::{Ack, Stack, put_body};
use crate::sip::timer::Deadline;
use crate::sip::transaction::{Failure, Owner, TxId};

use super::accept::put_dialog_headers;
use super::timing::Timing;
use super::{Change, Modify, Origin, Repeat, Retry, Session, State};

/// How often a change that met 491, 500 or 422 is tried again.
const TRIES_MAX: u32 = 10;
/// RFC 3311 5.2 lets a peer ask for 0 to 10 s.
const RETRY_AFTER_MAX_S: u32 = 10;
/// So that a Retry-After of 0 does not make two endpoints spin.
const TAKE_BREATH: Duration = Duration::from_millis(100);

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
            wish: Change::Reinvite,
            tries: 0,
        });
        self.on_reoffer_timeout(now, stack);
    }

    /// By UPDATE where that was asked for or, to refresh, where the peer takes one (RFC 4028
    /// 7.4); else by re-INVITE.
    fn send_change(&mut self, now: Now, stack: &mut Stack, retry: Retry) {
        let by_update = match retry.wish {
            Change::Update => true,
            Change::Reinvite => false,
            Change::Refresh => self.timing.peer_updates,
        };
        let method = if by_update {
            Method::Update
        } else {
            Method::Invite
        };
        let body = match (retry.wish, by_update) {
            (Change::Refresh, true) => None,
            (Change::Refresh, false) => self.said.clone(),
            _ => retry.body,
        };
        let Some(dialog) = self.dialog_now() else {
            return;
        };
        let mut request = dialog.request(method);
        self.timing.ask(&stack.config, &mut request.headers);
        put_body(&mut request.headers, &mut request.body, body.as_ref());
        self.send_modify(now, stack, request, None, retry.wish, retry.tries);
    }

    fn send_modify(
        &mut self,
        now: Now,
        stack: &mut Stack,
        request: Request,
        answered_nonce: Option<String>,
        wish: Change,
        tries: u32,
    ) {
        let owner = Owner::Session(self.id);
        let Some(dialog) = self.dialog_now() else {
            return;
        };
        let flow = dialog.flow;
        let timers = stack.timers();
        let invites = request.method == Method::Invite;
        let tx = if invites {
            let mut dressed = request.clone();
            let branch = stack.branch();
            stack.dress(&mut dressed, &flow, &branch);
            stack.tx.send_invite(now, flow, dressed, owner, timers)
        } else {
            stack.request(now, flow, request.clone(), owner)
        };
        let offerless = invites && request.body.is_empty();
        let until = now.instant + timers.patience() * 2;
        self.modify = Modify::Sent {
            tx,
            request,
            offerless,
            until,
            answered_nonce,
            wish,
            tries,
        };
    }

    /// The dialog a change of ours goes into: before the answer, the fork that settled an offer
    /// last.
    fn dialog_now(&mut self) -> Option<&mut DialogIdentity> {
        match (&mut self.dialog, &mut self.state) {
            (Some(dialog), _) => Some(dialog),
            (None, State::Calling(calling)) => {
                let settled = calling.forks.iter_mut().rfind(|fork| fork.settled);
                settled.map(|fork| &mut fork.dialog)
            }
            (None, _) => None,
        }
    }

    /// Whether this change may leave now.
    fn may_change(&self, wish: Change) -> bool {
        if !matches!(self.modify, Modify::Idle) {
            return false;
        }
        match &self.state {
            State::Established => true,
            State::Offered(_) => wish == Change::Update && self.reliable.is_settled(),
            State::Calling(calling) => {
                let settled = calling.forks.iter().any(|fork| fork.settled);
                wish == Change::Update && settled && calling.cancel.is_none()
            }
            _ => false,
        }
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
            wish,
            request,
            ..
        } = &self.modify
        else {
            return;
        };
        if *ours != tx || response.status < 200 {
            return;
        }
        let (offerless, wish) = (*offerless, *wish);
        let updates = request.method == Method::Update;
        let body = response.typed_body();
        let status = response.status;
        match status {
            200..300 => self.on_reoffer_accepted(now, stack, tx, offerless, response),
            491 if self.change_again(now, stack, None) => return,
            500 if self.change_again(now, stack, response.headers.seconds("Retry-After")) => return,
            422 if self.change_with_longer_interval(now, stack, response) => return,
            401 | 407 if self.reoffer_with_credentials(now, stack, response) => return,
            _ => self.modify = Modify::Idle,
        }
        if updates && matches!(status, 405 | 501) {
            self.timing.peer_updates = false;
        }
        let session = self.id;
        match wish {
            Change::Refresh if (200..300).contains(&status) => {
                if !updates {
                    stack.event(SipEvent::Refreshed { session, body });
                }
            }
            // It is tried again until the session expires.
            Change::Refresh => {}
            Change::Reinvite | Change::Update => stack.event(SipEvent::ReofferAnswered {
                session,
                status,
                body,
            }),
        }
        if matches!(status, 408 | 481) {
            // RFC 3261 12.2.1.2: the peer knows the dialog no more.
            self.leave_answered(now, stack);
        }
    }

    /// Leaves a session that was answered; one that was not has its INVITE to end it.
    fn leave_answered(&mut self, now: Now, stack: &mut Stack) {
        if matches!(self.state, State::Established) {
            self.leave(now, stack, EndedBy::Timeout, None);
        }
    }

    fn on_reoffer_accepted(
        &mut self,
        now: Now,
        stack: &mut Stack,
        tx: TxId,
        offerless: bool,
        response: &Response,
    ) {
        let sent = mem::replace(&mut self.modify, Modify::Idle);
        let Some(dialog) = self.dialog_now() else {
            return;
        };
        dialog.retarget(response.headers.contact_uri());
        let remote_tag = dialog.remote_tag.clone();
        self.timing.agreed_by_peer(now, &stack.config, response);
        if let Modify::Sent { request, .. } = sent {
            if !request.body.is_empty() {
                self.said = request.typed_body();
            }
            if request.method == Method::Update {
                return;
            }
        }
        let cseq = response.headers.cseq().map_or(0, |(cseq, _)| cseq);
        stack.acks.set(tx, &remote_tag, Ack::Withheld);
        if offerless {
            self.modify = Modify::Answered { tx, cseq };
        } else {
            self.send_ack(stack, tx, cseq, None);
        }
    }

    /// After a 491 (RFC 3261 14.1: the owner of the Call-ID waits longer), or as long as a 500
    /// asks for (RFC 3311 5.2). False when it has been tried often enough.
    fn change_again(&mut self, now: Now, stack: &mut Stack, after_s: Option<u32>) -> bool {
        let Modify::Sent { tries, .. } = &self.modify else {
            return false;
        };
        if *tries >= TRIES_MAX || after_s.is_some_and(|after_s| after_s > RETRY_AFTER_MAX_S) {
            return false;
        }
        let range = match self.origin {
            Origin::Outgoing | Origin::Orphan => 2_100..4_000,
            Origin::Incoming => 10..2_000,
        };
        let wait = match after_s {
            Some(after_s) => Duration::from_secs(u64::from(after_s)) + TAKE_BREATH,
            None => Duration::from_millis(stack.draw_ms(range)),
        };
        self.wish_again(now.instant + wait);
        true
    }

    /// RFC 4028 7.3: the same with a longer session interval.
    fn change_with_longer_interval(
        &mut self,
        now: Now,
        stack: &mut Stack,
        response: &Response,
    ) -> bool {
        let Modify::Sent { tries, .. } = &self.modify else {
            return false;
        };
        let Some(min_s) = response.headers.seconds("Min-SE") else {
            return false;
        };
        if *tries >= TRIES_MAX {
            return false;
        }
        self.timing.raise(min_s);
        self.wish_again(now.instant);
        self.on_reoffer_timeout(now, stack);
        true
    }

    fn wish_again(&mut self, at: Instant) {
        let sent = mem::replace(&mut self.modify, Modify::Idle);
        let Modify::Sent {
            request,
            wish,
            tries,
            ..
        } = sent
        else {
            return;
        };
        match &mut self.retry {
            // A newer wish is already waiting, and refreshes as well.
            Some(retry) => retry.at = retry.at.max(at),
            None => {
                self.retry = Some(Retry {
                    at,
                    body: request.typed_body(),
                    wish,
                    tries: tries + 1,
                });
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
                wish,
                tries,
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
        let (wish, tries) = (*wish, *tries);
        let cseq = format!("{} {}", dialog.local_cseq, again.method);
        again.headers.put("CSeq", cseq);
        self.send_modify(now, stack, again, Some(nonce), wish, tries);
        true
    }

    pub(super) fn on_reoffer_failure(
        &mut self,
        now: Now,
        stack: &mut Stack,
        tx: TxId,
        failure: Failure,
    ) {
        let Modify::Sent { tx: ours, wish, .. } = &self.modify else {
            return;
        };
        if *ours != tx {
            return;
        }
        let wish = *wish;
        let status = match failure {
            Failure::Timeout => 408,
            Failure::Unreachable => 503,
        };
        self.give_change_up(now, stack, wish, status);
    }

    fn give_change_up(&mut self, now: Now, stack: &mut Stack, wish: Change, status: u16) {
        self.modify = Modify::Idle;
        if wish != Change::Refresh {
            stack.event(SipEvent::ReofferAnswered {
                session: self.id,
                status,
                body: None,
            });
        }
        self.leave_answered(now, stack);
    }

    // ── theirs

    pub(super) fn on_reoffer(&mut self, now: Now, stack: &mut Stack, tx: TxId, request: Request) {
        if let Some(min_s) = Timing::too_brief(&stack.config, &request) {
            return self.answer_too_brief(now, stack, tx, &request, min_s);
        }
        match (&self.state, &self.modify) {
            (State::Established, Modify::Idle) => {
                let body = request.typed_body();
                let trying = stack.response(&request, 100, None);
                stack.tx.respond(now, tx, &trying);
                self.modify = Modify::Received {
                    tx,
                    request,
                    until: None,
                };
                stack.event(SipEvent::Reoffer {
                    session: self.id,
                    body,
                });
            }
            // RFC 3261 14.2: a second one before the first is answered.
            (State::Offered(_), _) | (State::Established, Modify::Received { .. }) => {
                self.answer_later(now, stack, tx, &request);
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
        if !matches!(self.modify, Modify::Received { .. }) {
            return;
        }
        let received = mem::replace(&mut self.modify, Modify::Idle);
        let Modify::Received { tx, request, .. } = received else {
            return;
        };
        if request.method != Method::Invite {
            return self.accept_update(now, stack, tx, &request, body);
        }
        let Some(dialog) = &mut self.dialog else {
            return;
        };
        dialog.retarget(request.headers.contact_uri());
        let mut response = stack.response(&request, 200, Some(&self.local_tag));
        put_dialog_headers(&mut response, stack, &request, &dialog.flow);
        self.timing
            .agree(now, &stack.config, &request, &mut response);
        put_body(&mut response.headers, &mut response.body, body);
        if body.is_some() {
            self.said = body.cloned();
        }
        stack.tx.respond(now, tx, &response);
        let back = stack.tx.flow_of(tx).unwrap_or(dialog.flow);
        let repeat = Repeat::new(now, stack.timers(), back, response.to_bytes());
        let cseq = request.headers.cseq().map_or(0, |(cseq, _)| cseq);
        let offered = request.body.is_empty();
        self.modify = Modify::Confirming {
            cseq,
            repeat,
            offered,
        };
    }

    pub fn refuse_reoffer(&mut self, now: Now, stack: &mut Stack, status: u16) {
        let Modify::Received { tx, request, .. } = &self.modify else {
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
        if let Modify::Sent { until, wish, .. } = &self.modify
            && *until <= now.instant
        {
            // Provisionally answered and then forgotten.
            let wish = *wish;
            return self.give_change_up(now, stack, wish, 408);
        }
        if let Modify::Received {
            until: Some(until), ..
        } = &self.modify
            && *until <= now.instant
        {
            // RFC 3311 5.2: it cannot wait for anyone.
            self.refuse_reoffer(now, stack, 504);
        }
        let due = self.retry.take_if(|retry| retry.at <= now.instant);
        if let Some(retry) = due {
            if self.may_change(retry.wish) {
                self.send_change(now, stack, retry);
            } else {
                self.retry = Some(retry);
            }
        }
    }

    pub(super) fn reoffer_deadline(&self) -> Option<Deadline> {
        match &self.modify {
            Modify::Idle => {
                let retry = self.retry.as_ref();
                let retry = retry.filter(|retry| self.may_change(retry.wish));
                retry.map(|retry| (retry.at, "change again"))
            }
            Modify::Sent { until, .. } => Some((*until, "change unanswered")),
            Modify::Confirming { repeat, .. } => Some(repeat.deadline()),
            Modify::Received { until, .. } => until.map(|until| (until, "offer unanswered")),
            Modify::Answered { .. } => None,
        }
    }
}
