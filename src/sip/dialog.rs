//! Dialogs (RFC 3261 §12) as plain data, and the identities that survive a restart as text:
//! lines of `key: value`.

use std::net::{IpAddr, SocketAddr};

use super::event::{Flow, Transport};
use super::message::{Method, NameAddr, Request, Response, Uri};

/// An INVITE before it is sent: what its CANCEL, ACK and BYE will need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitePlan {
    pub call_id: String,
    pub from_tag: String,
    pub branch: String,
    pub cseq: u32,
    pub request_uri: String,
    /// Route values, first hop first: those of a phone that registered through a proxy.
    pub route: Vec<String>,
    pub from: NameAddr,
    pub to: NameAddr,
    pub flow: Flow,
}

/// A confirmed dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialogIdentity {
    pub call_id: String,
    pub local_tag: String,
    pub remote_tag: String,
    /// Our From without its tag.
    pub local: NameAddr,
    /// Their To (or From) without its tag.
    pub remote: NameAddr,
    /// Where requests are addressed: the peer's Contact.
    pub remote_target: String,
    /// Route values, first hop first.
    pub route_set: Vec<String>,
    pub local_cseq: u32,
    pub remote_cseq: Option<u32>,
    /// CSeq of the INVITE that made the dialog; 0 when it was theirs.
    pub invite_cseq: u32,
    pub flow: Flow,
}

/// What an earlier process left on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Orphan {
    Unanswered(InvitePlan),
    Answered(DialogIdentity),
}

impl InvitePlan {
    /// The INVITE of the n-th attempt. A challenged INVITE goes out again with a branch that
    /// follows from the first, so that what was stored before sending still finds it.
    pub(super) fn attempt(&self, attempt: u32) -> (String, u32) {
        let cseq = self.cseq.wrapping_add(attempt);
        match attempt {
            0 => (self.branch.clone(), cseq),
            n => (format!("{}.{n}", self.branch), cseq),
        }
    }

    /// The stored form.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = Lines::default();
        text.put("call-id", &self.call_id);
        text.put("from-tag", &self.from_tag);
        text.put("branch", &self.branch);
        text.put("cseq", &self.cseq.to_string());
        text.put("request-uri", &self.request_uri);
        for route in &self.route {
            text.put("route", route);
        }
        text.put("from", &self.from.to_string());
        text.put("to", &self.to.to_string());
        text.put("flow", &flow_text(&self.flow));
        text.0
    }

    #[must_use]
    pub fn from_text(text: &str) -> Option<InvitePlan> {
        Some(InvitePlan {
            call_id: line(text, "call-id")?.to_owned(),
            from_tag: line(text, "from-tag")?.to_owned(),
            branch: line(text, "branch")?.to_owned(),
            cseq: line(text, "cseq")?.parse().ok()?,
            request_uri: line(text, "request-uri")?.to_owned(),
            route: lines(text, "route").map(str::to_owned).collect(),
            from: NameAddr::parse(line(text, "from")?)?,
            to: NameAddr::parse(line(text, "to")?)?,
            flow: parse_flow(line(text, "flow")?)?,
        })
    }
}

impl DialogIdentity {
    /// RFC 3261 12.1.2: the dialog a 2xx makes for the caller.
    pub(super) fn of_caller(invite: &Request, response: &Response, flow: Flow) -> Option<Self> {
        let mut route_set = response.headers.items("Record-Route");
        route_set.reverse();
        let cseq = invite.headers.cseq()?.0;
        let mut dialog = DialogIdentity {
            call_id: invite.headers.call_id()?,
            local_tag: invite.headers.tag("From")?,
            remote_tag: response.headers.tag("To").unwrap_or_default(),
            local: untagged(invite.headers.address("From")?),
            remote: untagged(response.headers.address("To")?),
            // A 2xx without Contact breaks 12.1.1; the callee is then where the INVITE went.
            remote_target: response
                .headers
                .contact_uri()
                .unwrap_or_else(|| invite.uri.clone()),
            route_set,
            local_cseq: cseq,
            remote_cseq: None,
            invite_cseq: cseq,
            flow,
        };
        dialog.aim(Some(&invite.uri));
        Some(dialog)
    }

    /// RFC 3261 12.1.1: the dialog our 2xx makes for us as the called.
    pub(super) fn of_called(invite: &Request, local_tag: &str, flow: Flow) -> Option<Self> {
        let via = invite.headers.via()?;
        let behind_nat = via
            .host_ip()
            .is_none_or(|ip| ip != flow.remote.ip().to_canonical());
        let mut dialog = DialogIdentity {
            call_id: invite.headers.call_id()?,
            local_tag: local_tag.to_owned(),
            remote_tag: invite.headers.tag("From").unwrap_or_default(),
            local: untagged(invite.headers.address("To")?),
            remote: untagged(invite.headers.address("From")?),
            remote_target: invite.headers.contact_uri()?,
            route_set: invite.headers.items("Record-Route"),
            local_cseq: 0,
            remote_cseq: Some(invite.headers.cseq()?.0),
            invite_cseq: 0,
            flow,
        };
        if !behind_nat {
            dialog.aim(None);
        }
        Some(dialog)
    }

    /// RFC 3261 12.2.1.1 and 8.1.2: requests follow the route set or the target. A WebSocket
    /// peer is only where its connection is, a phone behind NAT only where it was heard from.
    /// While a TCP or TLS connection lives, requests go over it wherever this points.
    fn aim(&mut self, invited: Option<&str>) {
        if self.flow.transport.is_websocket() {
            return;
        }
        let first = self
            .route_set
            .first()
            .and_then(|route| NameAddr::parse(route));
        let next = first.map_or_else(|| self.remote_target.clone(), |route| route.uri);
        let default_port = self.flow.transport.default_port();
        let address = |text: &str| {
            let uri = Uri::parse(text).ok()?;
            let port = uri.port.unwrap_or(default_port);
            Some(SocketAddr::new(uri.address()?.ip(), port))
        };
        let redirected = invited
            .and_then(address)
            .is_some_and(|literal| literal != self.flow.remote);
        if let Some(next) = address(&next)
            && !redirected
            && (!is_private(next.ip()) || is_private(self.flow.remote.ip()))
        {
            self.flow.remote = next;
        }
    }

    /// A later Contact moves the target (RFC 3261 12.2.1.2, 12.2.2).
    pub(super) fn retarget(&mut self, contact: Option<String>) {
        if let Some(contact) = contact.filter(|contact| *contact != self.remote_target) {
            let before = self.remote_target.clone();
            self.remote_target = contact;
            self.aim(Some(&before));
        }
    }

    /// The next request, without Via and Contact.
    pub(super) fn request(&mut self, method: Method) -> Request {
        self.local_cseq = self.local_cseq.wrapping_add(1);
        self.build(method, self.local_cseq)
    }

    /// The ACK of a 2xx (RFC 3261 13.2.2.4).
    pub(super) fn ack(&self, cseq: u32) -> Request {
        self.build(Method::Ack, cseq)
    }

    fn build(&self, method: Method, cseq: u32) -> Request {
        let (uri, routes) = self.route();
        let mut request = Request::new(method, uri);
        request.headers.put("Max-Forwards", "70");
        for route in routes {
            request.headers.put("Route", route);
        }
        request
            .headers
            .put("From", self.local.with_tag(&self.local_tag).to_string());
        let to = if self.remote_tag.is_empty() {
            self.remote.clone()
        } else {
            self.remote.with_tag(&self.remote_tag)
        };
        request.headers.put("To", to.to_string());
        request.headers.put("Call-ID", &self.call_id);
        request
            .headers
            .put("CSeq", format!("{cseq} {}", request.method));
        request
    }

    /// Request-URI and Route: loose when the first hop says `lr`, else strict.
    fn route(&self) -> (String, Vec<String>) {
        let first = self
            .route_set
            .first()
            .and_then(|route| NameAddr::parse(route));
        let Some(first) = first else {
            return (self.remote_target.clone(), Vec::new());
        };
        let loose = Uri::parse(&first.uri).is_ok_and(|uri| uri.has_param("lr"));
        if loose {
            return (self.remote_target.clone(), self.route_set.clone());
        }
        let mut rest: Vec<String> = self.route_set.iter().skip(1).cloned().collect();
        rest.push(format!("<{}>", self.remote_target));
        (first.uri, rest)
    }

    /// The stored form.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = Lines::default();
        text.put("call-id", &self.call_id);
        text.put("local-tag", &self.local_tag);
        text.put("remote-tag", &self.remote_tag);
        text.put("local", &self.local.to_string());
        text.put("remote", &self.remote.to_string());
        text.put("remote-target", &self.remote_target);
        for route in &self.route_set {
            text.put("route", route);
        }
        text.put("local-cseq", &self.local_cseq.to_string());
        if let Some(cseq) = self.remote_cseq {
            text.put("remote-cseq", &cseq.to_string());
        }
        text.put("invite-cseq", &self.invite_cseq.to_string());
        text.put("flow", &flow_text(&self.flow));
        text.0
    }

    #[must_use]
    pub fn from_text(text: &str) -> Option<DialogIdentity> {
        Some(DialogIdentity {
            call_id: line(text, "call-id")?.to_owned(),
            local_tag: line(text, "local-tag")?.to_owned(),
            remote_tag: line(text, "remote-tag")?.to_owned(),
            local: NameAddr::parse(line(text, "local")?)?,
            remote: NameAddr::parse(line(text, "remote")?)?,
            remote_target: line(text, "remote-target")?.to_owned(),
            route_set: lines(text, "route").map(str::to_owned).collect(),
            local_cseq: line(text, "local-cseq")?.parse().ok()?,
            remote_cseq: line(text, "remote-cseq").and_then(|cseq| cseq.parse().ok()),
            invite_cseq: line(text, "invite-cseq")?.parse().ok()?,
            flow: parse_flow(line(text, "flow")?)?,
        })
    }
}

impl Orphan {
    #[must_use]
    pub fn call_id(&self) -> &str {
        match self {
            Orphan::Unanswered(plan) => &plan.call_id,
            Orphan::Answered(dialog) => &dialog.call_id,
        }
    }

    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Orphan::Unanswered(plan) => format!("orphan: unanswered\n{}", plan.to_text()),
            Orphan::Answered(dialog) => format!("orphan: answered\n{}", dialog.to_text()),
        }
    }

    #[must_use]
    pub fn from_text(text: &str) -> Option<Orphan> {
        match line(text, "orphan")? {
            "unanswered" => InvitePlan::from_text(text).map(Orphan::Unanswered),
            "answered" => DialogIdentity::from_text(text).map(Orphan::Answered),
            _ => None,
        }
    }
}

fn untagged(mut address: NameAddr) -> NameAddr {
    address
        .params
        .retain(|(name, _)| !name.eq_ignore_ascii_case("tag"));
    address
}

fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn put(&mut self, key: &str, value: &str) {
        let value = value.replace(['\r', '\n'], " ");
        self.0.push_str(&format!("{key}: {value}\n"));
    }
}

fn lines<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = text.lines().filter_map(|line| line.split_once(": "));
    pairs
        .filter(move |(name, _)| *name == key)
        .map(|(_, value)| value)
}

fn line<'a>(text: &'a str, key: &'a str) -> Option<&'a str> {
    lines(text, key).next()
}

fn flow_text(flow: &Flow) -> String {
    format!(
        "{} {} {} {}",
        flow.id,
        flow.transport.name(),
        flow.local,
        flow.remote
    )
}

fn parse_flow(text: &str) -> Option<Flow> {
    let mut words = text.split(' ');
    let id = words.next()?.parse().ok()?;
    let transport = Transport::parse(words.next()?)?;
    let mut address = || words.next()?.parse::<SocketAddr>().ok();
    let (local, remote) = (address()?, address()?);
    Some(Flow {
        id,
        transport,
        local,
        remote,
    })
}
