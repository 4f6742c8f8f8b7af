//! What every session speaks through: the transactions, our name in Via and Contact, random
//! tokens, and answers that need no transaction.

use std::collections::HashMap;
use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::now::Now;

use super::auth::{self, Challenge, Credentials};
use super::doors::told;
use super::endpoint::EndpointConfig;
use super::event::{Flow, Output, Reason, SipEvent, Transport};
use super::message::{ALLOW, Body, Headers, Method, NameAddr, Param, Request, Response, Via};
use super::timer::Timers;
use super::transaction::{Owner, Transactions, TxId};

/// Headers that are ours alone; a caller cannot give them.
const OURS: [&str; 18] = [
    "Via",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Contact",
    "Max-Forwards",
    "Route",
    "Record-Route",
    "Content-Length",
    "Content-Type",
    "Authorization",
    "Allow",
    "Supported",
    "Session-Expires",
    "Min-SE",
    "RSeq",
    "RAck",
];

/// The extensions we speak: RFC 3262, RFC 4028, RFC 3891.
pub(super) const SUPPORTED: &str = "100rel, timer, replaces";
/// The same toward who is not to ring reliably.
pub(super) const SUPPORTED_UNRELIABLE: &str = "timer, replaces";

/// Whether a list header such as Supported or Require names this option.
pub(super) fn names_option(headers: &Headers, header: &str, option: &str) -> bool {
    headers
        .items(header)
        .iter()
        .any(|item| item.eq_ignore_ascii_case(option))
}

/// What was done with the 2xx of one callee.
pub(super) enum Ack {
    /// The caller has not yet said so: its repetitions are swallowed.
    Withheld,
    Sent {
        flow: Flow,
        bytes: Vec<u8>,
    },
}

/// By INVITE transaction and To tag, as long as the transaction lives.
#[derive(Default)]
pub(super) struct Acks(HashMap<TxId, Vec<(String, Ack)>>);

impl Acks {
    pub fn of(&self, tx: TxId, tag: &str) -> Option<&Ack> {
        self.0
            .get(&tx)?
            .iter()
            .find(|(of, _)| of == tag)
            .map(|(_, ack)| ack)
    }

    pub fn set(&mut self, tx: TxId, tag: &str, ack: Ack) {
        let list = self.0.entry(tx).or_default();
        list.retain(|(of, _)| of != tag);
        list.push((tag.to_owned(), ack));
    }

    pub fn forget(&mut self, tx: TxId) {
        self.0.remove(&tx);
    }

    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }
}

pub(super) struct Stack {
    pub config: EndpointConfig,
    pub tx: Transactions,
    pub acks: Acks,
    /// Outgoing headers that were refused.
    pub headers_refused: u64,
    random: StdRng,
    key: [u8; 32],
}

impl Stack {
    pub fn new(config: EndpointConfig, seed: u64) -> Stack {
        let mut random = StdRng::seed_from_u64(seed);
        let key = random.random();
        let tx = Transactions::new(config.timers);
        Stack {
            config,
            tx,
            acks: Acks::default(),
            headers_refused: 0,
            random,
            key,
        }
    }

    pub fn timers(&self) -> Timers {
        self.config.timers
    }

    pub fn key(&self) -> [u8; 32] {
        self.key
    }

    /// 96 random bits.
    pub fn token(&mut self) -> String {
        let bytes: [u8; 12] = self.random.random();
        auth::hex(&bytes)
    }

    pub fn branch(&mut self) -> String {
        format!("z9hG4bK{}", self.token())
    }

    /// Milliseconds drawn evenly from a range.
    pub fn draw_ms(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.random.random_range(range)
    }

    pub fn event(&mut self, event: SipEvent) {
        self.tx.out.push_back(Output::Event(event));
    }

    pub fn send(&mut self, flow: Flow, bytes: Vec<u8>) {
        self.tx.out.push_back(Output::Send { flow, bytes });
    }

    fn host(&self, flow: &Flow) -> String {
        match flow.transport {
            Transport::Udp | Transport::Tcp | Transport::Tls => self.advertised(flow).to_string(),
            Transport::Ws | Transport::Wss => self.config.ws_host.clone(),
        }
    }

    /// An unspecified advertised address stands for the socket's own.
    fn advertised(&self, flow: &Flow) -> SocketAddr {
        if let Some(told) = told(&self.config.doors, flow) {
            return told;
        }
        let advertised = self.config.udp_advertised;
        if advertised.ip().is_unspecified() || flow.transport != Transport::Udp {
            flow.local
        } else {
            advertised
        }
    }

    pub fn contact(&self, flow: &Flow) -> String {
        self.contact_as("foredial", flow)
    }

    pub fn contact_as(&self, user: &str, flow: &Flow) -> String {
        let host = self.host(flow);
        match flow.transport {
            Transport::Udp => format!("<sip:{user}@{host}>"),
            Transport::Tcp => format!("<sip:{user}@{host};transport=tcp>"),
            // RFC 5630 3.1.4 calls it deprecated, and it is what every peer understands.
            Transport::Tls => format!("<sip:{user}@{host};transport=tls>"),
            // RFC 7118 5: `transport=ws` for both WS and WSS.
            Transport::Ws | Transport::Wss => format!("<sip:{user}@{host};transport=ws>"),
        }
    }

    /// RFC 3261 12.1.1: who was asked for by `sips:` is so from end to end.
    pub fn contact_for(&self, request: &Request, flow: &Flow) -> String {
        let asked = request.uri.get(..5).unwrap_or_default();
        if flow.transport == Transport::Tls && asked.eq_ignore_ascii_case("sips:") {
            return format!("<sips:foredial@{}>", self.host(flow));
        }
        self.contact(flow)
    }

    /// Puts our Via on top of a request, which must have none.
    pub fn add_via(&self, request: &mut Request, flow: &Flow, branch: &str) {
        request.headers.put("Via", self.via(flow, branch));
    }

    pub fn via(&self, flow: &Flow, branch: &str) -> String {
        let (name, host) = (flow.transport.name(), self.host(flow));
        let param = match flow.transport {
            Transport::Udp => ";rport",
            // RFC 5923 5: requests to us may come back over this connection.
            Transport::Tls => ";alias",
            Transport::Tcp | Transport::Ws | Transport::Wss => "",
        };
        format!("SIP/2.0/{name} {host}{param};branch={branch}")
    }

    /// Completes a request of ours: Via, Contact where a dialog wants it, User-Agent.
    pub fn dress(&self, request: &mut Request, flow: &Flow, branch: &str) {
        self.add_via(request, flow, branch);
        // RFC 3311 5.1, RFC 3515 2.1 and RFC 6665 8.1.1: these move or name the target as well.
        let targets = matches!(
            request.method,
            Method::Invite | Method::Options | Method::Update | Method::Refer | Method::Notify
        );
        if targets {
            let contact = self.contact_for(request, flow);
            request.headers.put("Contact", contact);
            request.headers.put("Allow", ALLOW);
            if request.headers.count("Supported") == 0 {
                request.headers.put("Supported", SUPPORTED);
            }
        }
        if request.method != Method::Ack {
            request.headers.put("User-Agent", &self.config.user_agent);
        }
    }

    /// Takes over a caller's headers, except those that are ours or would break the message.
    pub fn add_headers(&mut self, headers: &mut Headers, given: &[(String, String)]) {
        for (name, value) in given {
            let ours = OURS.iter().any(|own| own.eq_ignore_ascii_case(name));
            if ours || headers.push(name, value).is_err() {
                self.headers_refused += 1;
            }
        }
    }

    /// Sends a request of a dialog or of our own outside INVITE.
    pub fn request(&mut self, now: Now, flow: Flow, mut request: Request, owner: Owner) -> TxId {
        let branch = self.branch();
        self.dress(&mut request, &flow, &branch);
        self.tx.send(now, flow, &request, owner)
    }

    pub fn ack(&mut self, flow: Flow, mut ack: Request, body: Option<&Body>) -> Vec<u8> {
        let branch = self.branch();
        self.dress(&mut ack, &flow, &branch);
        put_body(&mut ack.headers, &mut ack.body, body);
        let bytes = ack.to_bytes();
        self.send(flow, bytes.clone());
        bytes
    }

    /// The same request with the answer to a challenge, or `None` when there is none to give.
    /// `answered` is the nonce that was answered before: RFC 3261 22.1 lets us try again only
    /// when the server calls that one stale.
    pub fn answer_challenge(
        &mut self,
        request: &Request,
        response: &Response,
        who: &Credentials,
        answered: Option<&str>,
    ) -> Option<(Request, String)> {
        let (asked, answer) = match response.status {
            401 => ("WWW-Authenticate", "Authorization"),
            407 => ("Proxy-Authenticate", "Proxy-Authorization"),
            _ => return None,
        };
        let challenge = Challenge::choose(&response.headers.texts(asked), who)?;
        if answered.is_some_and(|nonce| !challenge.stale || nonce == challenge.nonce) {
            return None;
        }
        let cnonce = self.token();
        let method = request.method.to_string();
        let value = challenge.answer(who, &method, &request.uri, &cnonce);
        let mut again = request.clone();
        for name in ["Via", "CSeq", "Authorization", "Proxy-Authorization"] {
            again.headers.remove(name);
        }
        again.headers.put(answer, value);
        Some((again, challenge.nonce))
    }

    // ── as server

    /// A response with our own headers on it.
    pub fn response(&self, request: &Request, status: u16, to_tag: Option<&str>) -> Response {
        let mut response = Response::to(request, status, to_tag);
        if status != 100 {
            response.headers.put("Server", &self.config.user_agent);
        }
        if matches!(status, 405 | 501) {
            response.headers.put("Allow", ALLOW);
        }
        response
    }

    /// RFC 3261 8.2.7: without a transaction, and with the same To tag each time.
    pub fn stateless_tag(&self, request: &Request) -> String {
        let via = request
            .headers
            .via()
            .map(|via| via.to_string())
            .unwrap_or_default();
        let call_id = request.headers.call_id().unwrap_or_default();
        auth::mac(&self.key, &["tag", &via, &call_id])[..16].to_owned()
    }

    pub fn refuse(&mut self, flow: Flow, request: &Request, status: u16) {
        let response = self.refusal(request, status);
        self.send(flow, response.to_bytes());
    }

    pub fn refusal(&self, request: &Request, status: u16) -> Response {
        let tag = self.stateless_tag(request);
        self.response(request, status, Some(&tag))
    }
}

/// Notes the true source in the top Via and says where answers go.
pub(super) fn stamp_source(request: &mut Request, flow: &Flow) -> Option<Flow> {
    let mut via: Via = request.headers.via()?;
    let mut back = *flow;
    match flow.transport {
        Transport::Udp => back.remote = via.response_address(flow.remote),
        // RFC 3261 18.2.2: where to, should the connection be gone by then.
        Transport::Tcp | Transport::Tls => {
            let port = via.port.unwrap_or(flow.transport.default_port());
            back.remote.set_port(port);
        }
        Transport::Ws | Transport::Wss => {}
    }
    via.stamp(flow.remote);
    request.headers.replace_first_item("Via", &via.to_string());
    Some(back)
}

pub(super) fn put_body(headers: &mut Headers, bytes: &mut Vec<u8>, body: Option<&Body>) {
    if let Some(body) = body {
        headers.put("Content-Type", &body.content_type);
        bytes.clone_from(&body.bytes);
    }
}

/// The causes and the text of Reason (RFC 3326), wherever they stand.
pub(super) fn reason_of(headers: &Headers) -> Reason {
    let mut reason = Reason::default();
    for item in headers.items("Reason") {
        let Some((protocol, rest)) = item.split_once(';') else {
            continue;
        };
        let params: Vec<Param> = reason_params(rest);
        let value = |key: &str| {
            let found = params
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(key));
            found.and_then(|(_, value)| value.clone())
        };
        let cause = value("cause").and_then(|cause| cause.parse().ok());
        match protocol.trim() {
            name if name.eq_ignore_ascii_case("Q.850") => reason.q850 = cause,
            name if name.eq_ignore_ascii_case("SIP") => reason.sip = cause,
            _ => {}
        }
        reason.text = reason.text.or_else(|| value("text"));
    }
    reason
}

fn reason_params(text: &str) -> Vec<Param> {
    // The parameter syntax is that of an address, so one is put in front.
    NameAddr::parse(&format!("<sip:reason>;{text}"))
        .map(|one| one.params)
        .unwrap_or_default()
}
