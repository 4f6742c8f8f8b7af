//! Our own REGISTER at a carrier (RFC 3261 §10.2) and what it was answered, a challenge included.
//! When one is due and where is [`crate::sip::register`]'s to say.

use std::collections::HashMap;

use crate::now::Now;
use crate::sip::auth::Credentials;
use crate::sip::event::{Flow, SipEvent};
use crate::sip::message::{Method, NameAddr, Request, Response, Uri};
use crate::sip::register::RegisterAnswer;
use crate::sip::transaction::{Failure, Owner};

use super::Endpoint;

/// A registrar that calls every nonce stale is answered so often and no more.
const CHALLENGES_MAX: u8 = 4;

/// One REGISTER of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegisterId(pub u64);

/// What is registered where.
#[derive(Clone, Debug)]
pub struct RegisterPlan {
    /// The user of our Contact; one an account, so that its calls can be told from others.
    pub contact_user: String,
    /// The registrar: `sip:carrier.example`.
    pub request_uri: String,
    /// The address of record: `sip:account@carrier.example`.
    pub aor: String,
    /// 0 removes it.
    pub expires_s: u32,
    pub credentials: Option<Credentials>,
}

/// What goes on from one REGISTER of an account to its next (RFC 3261 10.2: Call-ID, CSeq).
struct Account {
    call_id: String,
    from_tag: String,
    cseq: u32,
}

/// Under way.
struct Asked {
    plan: RegisterPlan,
    request: Request,
    flow: Flow,
    /// The nonce that was answered before.
    answered: Option<String>,
    challenges: u8,
}

#[derive(Default)]
pub(super) struct Registering {
    accounts: HashMap<String, Account>,
    asked: HashMap<RegisterId, Asked>,
    next: u64,
}

impl Endpoint {
    /// Sends a REGISTER; [`SipEvent::RegisterAnswered`] follows.
    pub fn register_at(&mut self, now: Now, plan: RegisterPlan, flow: &Flow) -> RegisterId {
        self.registering.next += 1;
        let id = RegisterId(self.registering.next);
        let (call_id, from_tag) = (self.stack.token(), self.stack.token());
        let known = &mut self.registering.accounts;
        let account = known
            .entry(plan.contact_user.clone())
            .or_insert_with(|| Account {
                call_id,
                from_tag,
                cseq: 0,
            });
        let aor = NameAddr::new(None, &plan.aor);
        let mut request = Request::new(Method::Register, &plan.request_uri);
        request.headers.put("Max-Forwards", "70");
        request
            .headers
            .put("From", aor.clone().with_tag(&account.from_tag).to_string());
        request.headers.put("To", aor.to_string());
        request.headers.put("Call-ID", account.call_id.clone());
        let contact = self.stack.contact_as(&plan.contact_user, flow);
        request.headers.put("Contact", contact);
        request.headers.put("Expires", plan.expires_s.to_string());
        let asked = Asked {
            plan,
            request,
            flow: *flow,
            answered: None,
            challenges: 0,
        };
        self.send_register(now, id, asked);
        self.settle(now);
        id
    }

    fn send_register(&mut self, now: Now, id: RegisterId, mut asked: Asked) {
        let user = &asked.plan.contact_user;
        let Some(account) = self.registering.accounts.get_mut(user) else {
            return;
        };
        account.cseq += 1;
        asked
            .request
            .headers
            .put("CSeq", format!("{} REGISTER", account.cseq));
        let request = asked.request.clone();
        self.stack
            .request(now, asked.flow, request, Owner::Register(id));
        self.registering.asked.insert(id, asked);
    }

    pub(super) fn on_register_answer(&mut self, now: Now, id: RegisterId, response: &Response) {
        if response.status < 200 {
            return;
        }
        let Some(mut asked) = self.registering.asked.remove(&id) else {
            return;
        };
        let credentials = asked.plan.credentials.clone();
        if let Some(who) = credentials.filter(|_| asked.challenges < CHALLENGES_MAX)
            && let Some((again, nonce)) = self.stack.answer_challenge(
                &asked.request,
                response,
                &who,
                asked.answered.as_deref(),
            )
        {
            asked.request = again;
            asked.answered = Some(nonce);
            asked.challenges += 1;
            return self.send_register(now, id, asked);
        }
        let retry_after_s = response.headers.seconds("Retry-After");
        let answer = match response.status {
            200..=299 => RegisterAnswer::Granted {
                expires_s: granted(response, &asked.plan),
            },
            423 => RegisterAnswer::TooBrief {
                min_expires_s: response.headers.seconds("Min-Expires").unwrap_or(0),
            },
            status => RegisterAnswer::Refused {
                status,
                retry_after_s,
            },
        };
        self.stack.event(SipEvent::RegisterAnswered {
            register: id,
            answer,
        });
    }

    pub(super) fn on_register_failure(&mut self, id: RegisterId, failure: Failure) {
        if self.registering.asked.remove(&id).is_none() {
            return;
        }
        let answer = match failure {
            Failure::Timeout => RegisterAnswer::Silent,
            Failure::Unreachable => RegisterAnswer::Unreachable,
        };
        self.stack.event(SipEvent::RegisterAnswered {
            register: id,
            answer,
        });
    }
}

/// RFC 3261 10.2.4: what stands beside our Contact, else in Expires, else what we asked for.
fn granted(response: &Response, plan: &RegisterPlan) -> u32 {
    let ours = |contact: &NameAddr| {
        let user = Uri::parse(&contact.uri)
            .ok()
            .and_then(|uri| uri.user_text());
        user.as_deref() == Some(&plan.contact_user)
    };
    let contacts = response.headers.items("Contact");
    let mut contacts = contacts.iter().filter_map(|item| NameAddr::parse(item));
    let beside = contacts
        .find(ours)
        .and_then(|contact| contact.param("expires")?.parse().ok());
    beside
        .or_else(|| response.headers.seconds("Expires"))
        .unwrap_or(plan.expires_s)
}

#[cfg(test)]
#[path = "registering_tests.rs"]
mod tests;
