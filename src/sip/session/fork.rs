//! Early dialogs of our INVITE, one a To tag (RFC 3261 §12.1), and the PRACK of each reliable
//! provisional response in them (RFC 3262 §4).

use crate::now::Now;
use crate::sip::dialog::DialogIdentity;
use crate::sip::event::SipEvent;
use crate::sip::message::{Body, Headers, Method, Response};
use crate::sip::stack::{Stack, names_option, put_body};

use super::beside::Purpose;
use super::{Session, State};

/// Early dialogs of one INVITE; what a further fork says is not heard.
const FORKS_MAX: usize = 32;

pub(super) struct Fork {
    pub dialog: DialogIdentity,
    /// RSeq of the last reliable response.
    rseq: Option<u32>,
    /// The RAck of an 18x with an offer, whose PRACK waits for the caller's answer.
    owed: Option<String>,
    /// One offer has been answered reliably, so UPDATE may bring another.
    pub settled: bool,
}

/// The early dialog with this remote tag.
pub(super) fn of<'a>(forks: &'a mut [Fork], remote_tag: &str) -> Option<&'a mut DialogIdentity> {
    let found = forks
        .iter_mut()
        .find(|fork| fork.dialog.remote_tag == remote_tag);
    found.map(|fork| &mut fork.dialog)
}

impl Session {
    /// A provisional response above 100.
    pub(super) fn on_fork(&mut self, now: Now, stack: &mut Stack, response: &Response) {
        let (session, to_tag) = (self.id, response.headers.tag("To"));
        let reliable = reliable_number(response);
        let heard = match &to_tag {
            Some(tag) => self.hear(stack, tag, reliable, response),
            // RFC 3262 4: a reliable one makes a dialog, so it has a tag.
            None => reliable.is_none(),
        };
        if !heard {
            return;
        }
        let body = response.typed_body();
        stack.event(SipEvent::Provisional {
            session,
            status: response.status,
            phrase: response.phrase.clone(),
            to_tag: to_tag.clone(),
            body: body.clone(),
        });
        let (Some(tag), Some(rseq)) = (to_tag, reliable) else {
            return;
        };
        let cseq = response.headers.cseq().map_or(0, |(number, _)| number);
        let rack = format!("{rseq} {cseq} INVITE");
        let State::Calling(calling) = &mut self.state else {
            return;
        };
        let offerless = calling.request.body.is_empty();
        let fork = calling
            .forks
            .iter_mut()
            .find(|fork| fork.dialog.remote_tag == tag);
        let Some(fork) = fork else { return };
        match body {
            Some(body) if offerless && !fork.settled => {
                fork.owed = Some(rack);
                stack.event(SipEvent::EarlyOffer {
                    session,
                    to_tag: tag,
                    body,
                });
            }
            body => {
                fork.settled |= body.is_some();
                self.send_prack(now, stack, &tag, rack, None);
            }
        }
    }

    /// Notes the response in its early dialog. False when it is a repetition, or one before it
    /// is missing: then it is not acknowledged and so comes again.
    fn hear(
        &mut self,
        stack: &Stack,
        tag: &str,
        reliable: Option<u32>,
        response: &Response,
    ) -> bool {
        let State::Calling(calling) = &mut self.state else {
            return false;
        };
        if response.status == 199 {
            // RFC 6228: this branch has ended.
            calling.forks.retain(|fork| fork.dialog.remote_tag != tag);
            return reliable.is_none();
        }
        let known = calling
            .forks
            .iter()
            .position(|fork| fork.dialog.remote_tag == tag);
        let at = match known {
            Some(at) => at,
            None if calling.forks.len() >= FORKS_MAX => return false,
            None => {
                let flow = calling.plan.flow;
                let invite = stack.tx.invite_of(calling.tx);
                let dialog = invite.and_then(|one| DialogIdentity::of_caller(one, response, flow));
                let Some(dialog) = dialog else { return false };
                calling.forks.push(Fork {
                    dialog,
                    rseq: None,
                    owed: None,
                    settled: false,
                });
                calling.forks.len() - 1
            }
        };
        let fork = &mut calling.forks[at];
        let Some(rseq) = reliable else { return true };
        if fork
            .rseq
            .is_some_and(|last| last.checked_add(1) != Some(rseq))
        {
            return false;
        }
        fork.rseq = Some(rseq);
        fork.dialog.retarget(response.headers.contact_uri());
        true
    }

    /// The caller's answer to an offer in an 18x.
    pub fn prack(&mut self, now: Now, stack: &mut Stack, to_tag: &str, body: Option<&Body>) {
        let State::Calling(calling) = &mut self.state else {
            return;
        };
        let fork = calling
            .forks
            .iter_mut()
            .find(|fork| fork.dialog.remote_tag == to_tag);
        let Some(fork) = fork else { return };
        let Some(rack) = fork.owed.take() else { return };
        fork.settled = body.is_some();
        if body.is_some() {
            self.said = body.cloned();
        }
        self.send_prack(now, stack, to_tag, rack, body);
    }

    fn send_prack(
        &mut self,
        now: Now,
        stack: &mut Stack,
        to_tag: &str,
        rack: String,
        body: Option<&Body>,
    ) {
        let State::Calling(calling) = &mut self.state else {
            return;
        };
        let Some(dialog) = of(&mut calling.forks, to_tag) else {
            return;
        };
        let mut request = dialog.request(Method::Prack);
        request.headers.put("RAck", rack);
        put_body(&mut request.headers, &mut request.body, body);
        let flow = dialog.flow;
        self.send_beside(now, stack, flow, request, Purpose::Prack);
    }
}

/// The RSeq of a response that wants a PRACK.
fn reliable_number(response: &Response) -> Option<u32> {
    let headers: &Headers = &response.headers;
    if !names_option(headers, "Require", "100rel") {
        return None;
    }
    headers.text("RSeq")?.trim().parse().ok()
}
