//! What arrives: the checks of RFC 3261 §8.2 in order, then the session, the registrar, or an
//! answer on the spot. Refusals outside transactions are stateless (§8.2.7).

use crate::now::Now;
use crate::sip::event::{Flow, Output, Party, SessionId, SipEvent, Transport};
use crate::sip::message::{
    ALLOW, Body, Message, Method, Parsed, Part, Request, Response, Target, Uri, UriError,
    media_type, parse, parts,
};
use crate::sip::registrar::covers;
use crate::sip::replaces::Replaces;
use crate::sip::session::{Session, session_too_brief};
use crate::sip::stack::{SUPPORTED, stamp_source};
use crate::sip::transaction::{Arrival, Owner};

use super::register::EXTENSIONS;
use super::{Endpoint, EndpointConfig};

/// Seconds a peer is asked to stay away when a limit is reached.
const OVERLOAD_RETRY_AFTER_S: u32 = 5;

impl Endpoint {
    pub(super) fn receive(&mut self, now: Now, flow: &Flow, bytes: &[u8]) {
        if self.turns_away(now, flow) {
            return;
        }
        match parse(bytes, &self.stack.config.limits) {
            Parsed::Message(Message::Request(request)) => self.on_request(now, flow, request),
            Parsed::Message(Message::Response(response)) => {
                if !self.stack.tx.handle_response(now, flow, response) {
                    self.counters.stray_responses += 1;
                }
            }
            Parsed::Refused {
                mut request,
                status,
                phrase,
            } => {
                self.counters.malformed += 1;
                let back = stamp_source(&mut request, flow).unwrap_or(*flow);
                let mut response = self.stack.refusal(&request, status);
                response.phrase = phrase.to_owned();
                self.stack.send(back, response.to_bytes());
            }
            Parsed::KeepAlive { ping } => {
                if ping && flow.transport != Transport::Udp {
                    self.stack.send(*flow, b"\r\n".to_vec());
                }
            }
            Parsed::Garbage(_) => self.counters.garbage += 1,
        }
    }

    fn on_request(&mut self, now: Now, flow: &Flow, mut request: Request) {
        if self.is_scan(now, flow, &request) {
            return;
        }
        // The parser has seen a good top Via.
        let Some(back) = stamp_source(&mut request, flow) else {
            return;
        };
        match self.stack.tx.handle_request(now, &request) {
            Arrival::Absorbed => {}
            Arrival::Ack => self.on_ack(now, &request),
            Arrival::Merged => self.stack.refuse(back, &request, 482),
            Arrival::New if request.method == Method::Cancel => self.on_cancel(now, back, &request),
            Arrival::New if request.headers.tag("To").is_some() => {
                self.on_request_inside(now, flow, back, request);
            }
            Arrival::New => self.on_request_outside(now, flow, back, request),
        }
    }

    fn on_ack(&mut self, now: Now, ack: &Request) {
        let Some(id) = self.sessions.find(ack) else {
            self.counters.stray_acks += 1;
            return;
        };
        let stack = &mut self.stack;
        self.sessions
            .with(id, |session| session.on_ack(now, stack, ack));
    }

    /// RFC 3261 9.2.
    fn on_cancel(&mut self, now: Now, back: Flow, cancel: &Request) {
        let Some((_, open, owner)) = self.stack.tx.cancelled_by(cancel) else {
            return self.stack.refuse(back, cancel, 481);
        };
        let Some(tx) = self.stack.tx.accept(back, cancel, Owner::Nobody) else {
            return;
        };
        let id = super::session_of(owner);
        // The To tag is that of the answers to the INVITE.
        let tag = id.and_then(|id| self.sessions.local_tag(id));
        let tag = tag.unwrap_or_else(|| self.stack.stateless_tag(cancel));
        let response = self.stack.response(cancel, 200, Some(&tag));
        self.stack.tx.respond(now, tx, &response);
        if let Some(id) = id.filter(|_| open) {
            let stack = &mut self.stack;
            self.sessions
                .with(id, |session| session.on_cancel(now, stack, cancel));
        }
    }

    /// RFC 3261 12.2.2.
    fn on_request_inside(&mut self, now: Now, flow: &Flow, back: Flow, request: Request) {
        if let Some(refusal) = self.extension_refusal(&request) {
            return self.stack.send(back, refusal.to_bytes());
        }
        let Some(id) = self.sessions.find(&request) else {
            if request.method == Method::Invite && self.stack.config.recreate_dialogs {
                return self.on_request_outside(now, flow, back, request);
            }
            let status = method_refusal(&request.method).unwrap_or(481);
            return self.stack.refuse(back, &request, status);
        };
        let Some(tx) = self.stack.tx.accept(back, &request, Owner::Session(id)) else {
            return;
        };
        let refusal = self.content_refusal(&request);
        let refers = request.method == Method::Refer;
        let stack = &mut self.stack;
        self.sessions.with(id, |session| {
            if !session.is_in_order(&request) {
                let response = stack.response(&request, 500, None);
                stack.tx.respond(now, tx, &response);
            } else if let Some(response) = refusal {
                stack.tx.respond(now, tx, &response);
            } else {
                session.on_request(now, stack, tx, request);
            }
        });
        if refers {
            self.resolve_refer(id);
        }
    }

    /// Names the session that the REFER just told of wants replaced, if it is one of ours.
    fn resolve_refer(&mut self, id: SessionId) {
        let replaced = self.sessions.referred_replacement(id);
        if let Some(Output::Event(SipEvent::Refer {
            session,
            replaces_session,
            ..
        })) = self.stack.tx.out.back_mut()
            && *session == id
        {
            *replaces_session = replaced;
        }
    }

    fn on_request_outside(&mut self, now: Now, flow: &Flow, back: Flow, request: Request) {
        if let Some(refusal) = self.refusal_outside(now, flow, &request) {
            return self.stack.send(back, refusal.to_bytes());
        }
        match request.method {
            Method::Options => {
                let mut response = self.stack.refusal(&request, 200);
                response.headers.put("Contact", self.stack.contact(flow));
                put_capabilities(&mut response, &self.stack.config);
                self.stack.send(back, response.to_bytes());
            }
            Method::Invite | Method::Register => match self.authorise(now, flow, &request) {
                Err(refusal) => self.stack.send(back, refusal.to_bytes()),
                Ok(user) if request.method == Method::Invite => {
                    self.on_invite(now, flow, back, request, user);
                }
                Ok(user) => self.on_register(now, flow, back, &request, user.as_deref()),
            },
            // Whoever is not in a call with us has nobody to transfer.
            Method::Refer => self.stack.refuse(back, &request, 603),
            // BYE, INFO and the rest mean nothing without a dialog.
            _ => self.stack.refuse(back, &request, 481),
        }
    }

    /// RFC 3261 8.2.1 to 8.2.3, and the limits.
    fn refusal_outside(&mut self, now: Now, flow: &Flow, request: &Request) -> Option<Response> {
        if let Some(status) = method_refusal(&request.method) {
            return Some(self.stack.refusal(request, status));
        }
        match Target::parse(&request.uri) {
            Err(UriError::Scheme) => return Some(self.stack.refusal(request, 416)),
            Err(UriError::Malformed) => return Some(self.stack.refusal(request, 400)),
            // RFC 3261 19.1.1: no headers in a Request-URI.
            Ok(Target::Sip(uri)) if uri.headers.is_some() => {
                return Some(self.stack.refusal(request, 400));
            }
            // A domain registers at a SIP URI (RFC 3261 10.2); numbers and services are called.
            Ok(Target::Tel(_) | Target::Urn(_)) if request.method == Method::Register => {
                return Some(self.stack.refusal(request, 416));
            }
            // RFC 3261 8.2.2.1: not an address that is ours. A registrar judges the To.
            Ok(Target::Sip(uri))
                if request.method != Method::Register && !self.is_at_home(flow, &uri) =>
            {
                return Some(self.stack.refusal(request, 404));
            }
            Ok(_) => {}
        }
        if let Some(refusal) = self.extension_refusal(request) {
            return Some(refusal);
        }
        // A call would be passed on, so its hops count as at a proxy (RFC 7332).
        let hops = request.headers.text("Max-Forwards");
        let spent = hops.is_some_and(|hops| hops.bytes().all(|digit| digit == b'0'));
        if request.method == Method::Invite && spent {
            return Some(self.stack.refusal(request, 483));
        }
        if let Some(refusal) = self.content_refusal(request) {
            return Some(refusal);
        }
        // RFC 4475 3.3.15: an INVITE whose answer may hold none of what we can say.
        if request.method == Method::Invite && !self.may_answer(request) {
            return Some(self.stack.refusal(request, 406));
        }
        if let Some(reason) = self.busy(&request.method) {
            self.turned_away_busy(now, flow, reason);
            let mut refusal = self.stack.refusal(request, 503);
            refusal
                .headers
                .put("Retry-After", OVERLOAD_RETRY_AFTER_S.to_string());
            return Some(refusal);
        }
        None
    }

    /// Whether requests for this host are taken: for an address always, for a name when `domains`
    /// holds it or nothing.
    fn is_at_home(&self, flow: &Flow, uri: &Uri) -> bool {
        let config = &self.stack.config;
        let named = || {
            let mut names = config.domains.iter().chain(&config.domain);
            names.any(|domain| covers(domain, &uri.host))
        };
        // A page of ours calls its seat by a name of its own.
        let seat = self.trusted.contains_key(&flow.id);
        seat || config.domains.is_empty() || uri.host_ip().is_some() || named()
    }

    /// Why nothing new is begun now, if it is not. OPTIONS costs nothing.
    fn busy(&self, method: &Method) -> Option<&'static str> {
        if *method == Method::Options {
            return None;
        }
        let config = &self.stack.config;
        if self.stack.tx.len() >= config.transactions_max {
            return Some("transactions");
        }
        if self.sessions.len() >= config.sessions_max {
            return Some("sessions");
        }
        self.defence.refuses(method).then_some("load")
    }

    /// RFC 3261 8.2.2.3: what is required and we do not do. No proxy feature is ours.
    fn extension_refusal(&self, request: &Request) -> Option<Response> {
        let mut unsupported = request.headers.items("Require");
        unsupported.retain(|option| {
            let served = |ours: &str| ours.eq_ignore_ascii_case(option);
            if request.method == Method::Register && EXTENSIONS.iter().any(|ours| served(ours)) {
                return false;
            }
            let reliable = option.eq_ignore_ascii_case("100rel");
            // RFC 3262 4: in an INVITE only.
            let misplaced = reliable && request.method != Method::Invite;
            misplaced || !SUPPORTED.split(", ").any(served)
        });
        unsupported.extend(request.headers.items("Proxy-Require"));
        if unsupported.is_empty() {
            return None;
        }
        let mut refusal = self.stack.refusal(request, 420);
        refusal.headers.put("Unsupported", unsupported.join(", "));
        Some(refusal)
    }

    /// RFC 3891 3: the session of ours that a new call is to take the place of.
    fn replaced_by(&self, request: &Request) -> Result<Option<SessionId>, u16> {
        match request.headers.texts("Replaces").as_slice() {
            [] => Ok(None),
            [one] => {
                let replaces = Replaces::parse(one).ok_or(400u16)?;
                self.sessions.find_replaced(&replaces).map(Some)
            }
            _ => Err(400),
        }
    }

    /// RFC 3261 8.2.3.
    fn content_refusal(&self, request: &Request) -> Option<Response> {
        if request.method != Method::Invite || request.body.is_empty() {
            return None;
        }
        let coded = request.headers.items("Content-Encoding");
        if coded
            .iter()
            .any(|coding| !coding.eq_ignore_ascii_case("identity"))
        {
            let mut refusal = self.stack.refusal(request, 415);
            refusal.headers.put("Accept-Encoding", "identity");
            return Some(refusal);
        }
        let accept = &self.stack.config.accept;
        let content_type = request.headers.text("Content-Type").unwrap_or_default();
        let bytes = request.body.clone();
        let known = accepted_content(
            &Body {
                content_type,
                bytes,
            },
            accept,
        );
        if known {
            return None;
        }
        let mut refusal = self.stack.refusal(request, 415);
        refusal.headers.put("Accept", accept.join(", "));
        Some(refusal)
    }

    /// RFC 3261 20.1: without Accept, SDP is.
    fn may_answer(&self, request: &Request) -> bool {
        if request.headers.count("Accept") == 0 {
            return true;
        }
        let ranges: Vec<String> = request
            .headers
            .items("Accept")
            .iter()
            .map(|r| media_type(r))
            .collect();
        let mut ours = self.stack.config.accept.iter().map(|one| media_type(one));
        ours.any(|one| {
            let group = one.split('/').next().unwrap_or_default();
            let in_group = format!("{group}/*");
            ranges
                .iter()
                .any(|range| *range == one || *range == in_group || range == "*/*")
        })
    }

    fn on_invite(
        &mut self,
        now: Now,
        flow: &Flow,
        back: Flow,
        request: Request,
        user: Option<String>,
    ) {
        if let Some(min_s) = session_too_brief(&self.stack.config, &request) {
            let mut refusal = self.stack.refusal(&request, 422);
            refusal.headers.put("Min-SE", min_s.to_string());
            return self.stack.send(back, refusal.to_bytes());
        }
        let replaces = match self.replaced_by(&request) {
            Ok(replaces) => replaces,
            Err(status) => return self.stack.refuse(back, &request, status),
        };
        let id = self.sessions.next_id();
        let Some(tx) = self.stack.tx.accept(back, &request, Owner::Session(id)) else {
            return;
        };
        let party = |name: &str| request.headers.address(name).map(|a| Party::of(&a));
        let event = SipEvent::Incoming {
            session: id,
            flow: *flow,
            user,
            request_uri: request.uri.clone(),
            from: party("From").unwrap_or_default(),
            to: party("To").unwrap_or_default(),
            call_id: request.headers.call_id().unwrap_or_default(),
            headers: request.headers.clone(),
            body: request.typed_body(),
            replaces,
        };
        let session = Session::offered(now, &mut self.stack, id, *flow, tx, request);
        self.sessions.insert(session);
        self.stack.event(event);
    }
}

/// A type we take, or a multipart body with a part of one and no other that must be understood
/// (RFC 5621 3 and 5).
fn accepted_content(body: &Body, accept: &[String]) -> bool {
    let known = |content_type: &str| {
        let content_type = media_type(content_type);
        accept
            .iter()
            .any(|one| one.eq_ignore_ascii_case(&content_type))
    };
    if known(&body.content_type) {
        return true;
    }
    let alternative = media_type(&body.content_type) == "multipart/alternative";
    parts(body).is_some_and(|parts| {
        let spare = |part: &Part| alternative || part.is_optional() || known(part.content_type());
        parts.iter().any(|part| known(part.content_type())) && parts.iter().all(spare)
    })
}

/// RFC 3261 8.2.1 and 21.5.2.
fn method_refusal(method: &Method) -> Option<u16> {
    match method {
        Method::Unserved(_) => Some(405),
        Method::Unknown(_) => Some(501),
        _ => None,
    }
}

/// RFC 3261 11.2.
pub(in crate::sip) fn put_capabilities(response: &mut Response, config: &EndpointConfig) {
    response.headers.put("Allow", ALLOW);
    response.headers.put("Supported", SUPPORTED);
    response.headers.put("Accept", config.accept.join(", "));
    response.headers.put("Accept-Encoding", "identity");
    response.headers.put("Accept-Language", "en");
}
