//! REFER in both directions (RFC 3515, RFC 3892, RFC 4488) with the subscription it implies
//! (RFC 6665). The subscription ends with the session: whoever left hears no more.

use std::time::{Duration, Instant};

use crate::now::Now;
use crate::sip::event::{SessionId, SipEvent};
use crate::sip::message::{Method, NameAddr, Request};
use crate::sip::replaces::Replaces;
use crate::sip::stack::Stack;
use crate::sip::timer::Deadline;
use crate::sip::transaction::TxId;

use super::beside::Purpose;
use super::reliable::ANSWER_WITHIN;
use super::{Session, State};

/// How long the implied subscription lasts; each notification begins it anew.
const SUBSCRIBED: Duration = Duration::from_secs(180);

/// What the peer asked us to call.
pub(super) enum Referred {
    Nothing,
    Asked {
        tx: TxId,
        request: Request,
        until: Instant,
        subscribed: bool,
        replaces: Option<Replaces>,
    },
    /// Accepted: it wants to hear how it goes.
    Telling {
        /// RFC 3515 2.4.6: the CSeq of the REFER.
        id: u32,
        until: Instant,
    },
}

impl Session {
    // ── theirs

    pub(super) fn on_refer(&mut self, now: Now, stack: &mut Stack, tx: TxId, request: Request) {
        if !matches!(self.state, State::Established | State::Accepted { .. }) {
            return self.answer(now, stack, tx, &request, 603);
        }
        if !matches!(self.referred, Referred::Nothing) {
            return self.answer(now, stack, tx, &request, 491);
        }
        let targets = request.headers.items("Refer-To");
        let target = match targets.as_slice() {
            [one] => NameAddr::parse(one),
            _ => None,
        };
        // RFC 3515 2.4.1: exactly one.
        let Some(target) = target else {
            return self.answer(now, stack, tx, &request, 400);
        };
        let (uri, headers) = match target.uri.split_once('?') {
            Some((uri, headers)) => (uri.to_owned(), Some(headers)),
            None => (target.uri.clone(), None),
        };
        let Some(uri) = invitable(&uri) else {
            return self.answer(now, stack, tx, &request, 603);
        };
        let replaces = headers.and_then(Replaces::of_uri_headers);
        let unsubscribed = request.headers.text("Refer-Sub");
        let unsubscribed =
            unsubscribed.is_some_and(|text| text.trim().eq_ignore_ascii_case("false"));
        let event = SipEvent::Refer {
            session: self.id,
            refer_to: uri,
            replaces: replaces.clone(),
            // The table knows the other sessions; see `Sessions::resolve_refer`.
            replaces_session: None,
            referred_by: request.headers.text("Referred-By"),
            subscribed: !unsubscribed,
        };
        self.referred = Referred::Asked {
            tx,
            request,
            until: now.instant + stack.timers().t1 * ANSWER_WITHIN,
            subscribed: !unsubscribed,
            replaces,
        };
        stack.event(event);
    }

    /// No, and why.
    pub fn refuse_refer(&mut self, now: Now, stack: &mut Stack, status: u16) {
        match std::mem::replace(&mut self.referred, Referred::Nothing) {
            Referred::Asked { tx, request, .. } => self.answer(now, stack, tx, &request, status),
            other => self.referred = other,
        }
    }

    /// 202 and the first notification, or 603.
    pub fn answer_refer(&mut self, now: Now, stack: &mut Stack, accept: bool) {
        let asked = std::mem::replace(&mut self.referred, Referred::Nothing);
        let Referred::Asked {
            tx,
            request,
            subscribed,
            ..
        } = asked
        else {
            self.referred = asked;
            return;
        };
        if !accept {
            return self.answer(now, stack, tx, &request, 603);
        }
        let mut response = stack.response(&request, 202, Some(&self.local_tag));
        let flow = self.dialog.as_ref().map_or(self.flow, |dialog| dialog.flow);
        response.headers.put("Contact", stack.contact(&flow));
        if !subscribed {
            response.headers.put("Refer-Sub", "false");
        }
        stack.tx.respond(now, tx, &response);
        if subscribed {
            let id = request.headers.cseq().map_or(0, |(number, _)| number);
            let until = now.instant + SUBSCRIBED;
            self.referred = Referred::Telling { id, until };
            self.notify_refer(now, stack, 100, "Trying");
        }
    }

    /// The session ends before anyone answered.
    pub(super) fn refuse_pending_refer(&mut self, now: Now, stack: &mut Stack) {
        if matches!(self.referred, Referred::Asked { .. }) {
            self.answer_refer(now, stack, false);
        }
    }

    /// Tells how the call goes; a final status ends the telling.
    pub fn notify_refer(&mut self, now: Now, stack: &mut Stack, status: u16, phrase: &str) {
        let Referred::Telling { id, until } = &mut self.referred else {
            return;
        };
        *until = now.instant + SUBSCRIBED;
        let id = *id;
        let state = if status >= 200 {
            "terminated;reason=noresource".to_owned()
        } else {
            format!("active;expires={}", SUBSCRIBED.as_secs())
        };
        self.send_notify(now, stack, id, &state, status, phrase);
        if status >= 200 {
            self.referred = Referred::Nothing;
        }
    }

    fn send_notify(
        &mut self,
        now: Now,
        stack: &mut Stack,
        id: u32,
        state: &str,
        status: u16,
        phrase: &str,
    ) {
        let Some(dialog) = &mut self.dialog else {
            return;
        };
        let phrase: String = phrase.chars().filter(|c| !c.is_control()).collect();
        let mut request = dialog.request(Method::Notify);
        request.headers.put("Event", format!("refer;id={id}"));
        request.headers.put("Subscription-State", state);
        request
            .headers
            .put("Content-Type", "message/sipfrag;version=2.0");
        request.body = format!("SIP/2.0 {status} {phrase}\r\n").into_bytes();
        let flow = dialog.flow;
        self.send_beside(now, stack, flow, request, Purpose::Notify);
    }

    // ── ours

    /// Asks the peer to call someone, in place of `replaces` if given.
    pub fn refer(
        &mut self,
        now: Now,
        stack: &mut Stack,
        refer_to: &str,
        replaces: Option<&Replaces>,
        referred_by: Option<&str>,
    ) {
        if !matches!(self.state, State::Established) {
            return;
        }
        let Some(dialog) = &mut self.dialog else {
            return;
        };
        let uri = match replaces {
            Some(replaces) => replaces.within(refer_to),
            None => refer_to.to_owned(),
        };
        let mut request = dialog.request(Method::Refer);
        request.headers.put("Refer-To", format!("<{uri}>"));
        if let Some(by) = referred_by {
            request.headers.put("Referred-By", by);
        }
        let flow = dialog.flow;
        self.referring = self.referring.saturating_add(1);
        self.send_beside(now, stack, flow, request, Purpose::Refer);
    }

    pub(super) fn on_notify(&mut self, now: Now, stack: &mut Stack, tx: TxId, request: &Request) {
        let event = request.headers.text("Event").unwrap_or_default();
        let package = event.split(';').next().unwrap_or_default().trim();
        if !package.eq_ignore_ascii_case("refer") {
            return self.answer(now, stack, tx, request, 489);
        }
        if self.referring == 0 {
            return self.answer(now, stack, tx, request, 481);
        }
        let state = request
            .headers
            .text("Subscription-State")
            .unwrap_or_default();
        let over = state.trim().to_ascii_lowercase().starts_with("terminated");
        self.answer(now, stack, tx, request, 200);
        if over {
            self.referring -= 1;
        }
        let fragment = String::from_utf8_lossy(&request.body);
        if let Some((status, phrase)) = status_line(&fragment) {
            stack.event(SipEvent::ReferProgress {
                session: self.id,
                status,
                phrase,
                over,
            });
        }
    }

    /// What a Replaces names this session's dialog with, told to the peer's peer.
    pub fn replaces(&self) -> Option<Replaces> {
        let dialog = self.dialog.as_ref()?;
        Some(Replaces {
            call_id: dialog.call_id.clone(),
            to_tag: dialog.remote_tag.clone(),
            from_tag: dialog.local_tag.clone(),
            early_only: false,
        })
    }

    /// The Replaces of a REFER that waits for its answer.
    pub fn asked_replaces(&self) -> Option<&Replaces> {
        match &self.referred {
            Referred::Asked { replaces, .. } => replaces.as_ref(),
            _ => None,
        }
    }

    /// RFC 3891 3: whether a new call may take this session's place, or the status that says no.
    pub fn may_be_replaced(&self, replaces: &Replaces) -> Result<SessionId, u16> {
        match &self.state {
            State::Established | State::Accepted { .. } | State::Answered { .. } => {
                if replaces.early_only {
                    Err(486)
                } else {
                    Ok(self.id)
                }
            }
            State::Calling(calling) if calling.cancel.is_none() => Ok(self.id),
            // It is over: whoever comes now is told so.
            State::Leaving { .. } => Err(603),
            // Early and not begun by us.
            _ => Err(481),
        }
    }

    // ── time

    pub(super) fn on_refer_timeout(&mut self, now: Now, stack: &mut Stack) {
        match &self.referred {
            // Nobody wanted to answer: declined.
            Referred::Asked { until, .. } if *until <= now.instant => {
                self.answer_refer(now, stack, false);
            }
            Referred::Telling { id, until } if *until <= now.instant => {
                let id = *id;
                self.referred = Referred::Nothing;
                let state = "terminated;reason=timeout";
                self.send_notify(now, stack, id, state, 408, "Request Timeout");
            }
            _ => {}
        }
    }

    pub(super) fn refer_deadline(&self) -> Option<Deadline> {
        match &self.referred {
            Referred::Nothing => None,
            Referred::Asked { until, .. } => Some((*until, "REFER unanswered")),
            Referred::Telling { until, .. } => Some((*until, "refer subscription")),
        }
    }
}

/// The target without its method, which must be INVITE.
fn invitable(uri: &str) -> Option<String> {
    let mut parts = uri.split(';');
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for param in parts {
        match param.split_once('=') {
            Some((name, method)) if name.eq_ignore_ascii_case("method") => {
                if !method.eq_ignore_ascii_case("INVITE") {
                    return None;
                }
            }
            _ => {
                kept.push(';');
                kept.push_str(param);
            }
        }
    }
    Some(kept)
}

/// RFC 3420: the status line a fragment begins with.
fn status_line(fragment: &str) -> Option<(u16, String)> {
    let line = fragment.lines().next()?.strip_prefix("SIP/2.0 ")?;
    let (status, phrase) = line.split_once(' ').unwrap_or((line, ""));
    let status = status.trim().parse().ok()?;
    (100..700)
        .contains(&status)
        .then(|| (status, phrase.trim().to_owned()))
}
