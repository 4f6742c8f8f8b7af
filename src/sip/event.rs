//! What goes into and comes out of the endpoint: flows, events, and what must survive a restart.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::guard::SecurityNote;
use super::message::{Body, Headers, NameAddr, Target};
use super::replaces::Replaces;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    Ws,
    Wss,
}

impl Transport {
    #[must_use]
    pub fn is_reliable(self) -> bool {
        !matches!(self, Transport::Udp)
    }

    /// A stream of bytes, whose messages need their Content-Length.
    #[must_use]
    pub fn is_stream(self) -> bool {
        matches!(self, Transport::Tcp | Transport::Tls)
    }

    /// A peer that can be reached only over the connection it opened.
    #[must_use]
    pub fn is_websocket(self) -> bool {
        matches!(self, Transport::Ws | Transport::Wss)
    }

    /// The port meant when none is named (RFC 3261 §19.1.2).
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp => 5060,
            Transport::Tls => 5061,
            Transport::Ws => 80,
            Transport::Wss => 443,
        }
    }

    /// The name in Via.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Transport> {
        use Transport::{Tcp, Tls, Udp, Ws, Wss};
        [Udp, Tcp, Tls, Ws, Wss]
            .into_iter()
            .find(|t| t.name() == text)
    }
}

/// A way to a peer. Over UDP one id a local socket, else one id a connection. Once a TCP or TLS
/// connection is gone, `remote` is where the next one would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    pub id: u64,
    pub transport: Transport,
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PingId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "s{}", self.0)
    }
}

/// Who a call is from or to.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Party {
    pub display: Option<String>,
    pub uri: String,
    /// The user part, unescaped; empty when the URI has none.
    pub user: String,
    pub host: String,
}

impl Party {
    pub(super) fn of(address: &NameAddr) -> Party {
        let target = Target::parse(&address.uri).ok();
        let uri = target.as_ref().and_then(Target::sip).cloned();
        Party {
            display: address.display.clone(),
            uri: address.uri.clone(),
            user: target.and_then(|one| one.user_text()).unwrap_or_default(),
            host: uri.map(|uri| uri.host).unwrap_or_default(),
        }
    }
}

/// Per-call departures from the configured timers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InviteTimers {
    /// Timer B: how long to wait for any answer.
    pub answer: Option<Duration>,
    /// RFC 4028: the interval asked for, in seconds; 0 asks for none.
    pub session_expires_s: Option<u32>,
    pub reliability: Option<Reliability>,
}

/// How we stand to reliable provisional responses (RFC 3262) in INVITEs of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reliability {
    /// Not spoken of.
    Off,
    #[default]
    Supported,
    /// Nobody rings otherwise.
    Required,
}

/// Why a peer refused or left: RFC 3326.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Reason {
    pub q850: Option<u16>,
    /// A status of SIP.
    pub sip: Option<u16>,
    pub text: Option<String>,
}

/// Where a 3xx points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectContact {
    pub uri: String,
    pub display: Option<String>,
    /// Thousandths; 1000 when not given.
    pub q: u16,
}

/// A digit that came as INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InfoDigit {
    /// 0 to 9, A to D, star, hash, or `!` for a flash.
    pub digit: char,
    pub duration_ms: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    Remote,
    Local,
    /// No ACK, no answer to a re-INVITE, or nothing at all for too long.
    Timeout,
    /// The connection the session lived on closed.
    FlowClosed,
}

/// One ordered stream: what to send and what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // Drained at once, never stored in bulk.
pub enum Output {
    Send { flow: Flow, bytes: Vec<u8> },
    Event(SipEvent),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SipEvent {
    Incoming {
        session: SessionId,
        flow: Flow,
        /// Authenticated, by digest or by the flow.
        user: Option<String>,
        request_uri: String,
        from: Party,
        to: Party,
        call_id: String,
        headers: Headers,
        body: Option<Body>,
        /// The session of ours this call is to take the place of (RFC 3891). Whoever accepts
        /// the call hangs the other one up.
        replaces: Option<SessionId>,
    },
    /// One a fork and status; `to_tag` tells the forks apart.
    Provisional {
        session: SessionId,
        status: u16,
        phrase: String,
        to_tag: Option<String>,
        body: Option<Body>,
    },
    /// A reliable 18x carries the offer we had not made (RFC 3262 5); [`super::Endpoint::prack`]
    /// answers it. The `Provisional` comes first.
    EarlyOffer {
        session: SessionId,
        to_tag: String,
        body: Body,
    },
    /// The answer, in a PRACK, to the offer in our reliable 18x.
    EarlyAnswer {
        session: SessionId,
        body: Body,
    },
    /// A 3xx, best contact first. `Failed` follows at once: whoever does not want to go there
    /// need not look at this.
    Redirected {
        session: SessionId,
        status: u16,
        contacts: Vec<RedirectContact>,
    },
    /// A 2xx. Its ACK waits for [`super::Endpoint::acknowledge`].
    Answered {
        session: SessionId,
        dialog: super::DialogIdentity,
        body: Option<Body>,
    },
    /// An outgoing call came to nothing.
    Failed {
        session: SessionId,
        status: u16,
        phrase: String,
        reason: Reason,
        retry_after_s: Option<u32>,
        /// Ours: 408 for silence, 503 for an unreachable peer.
        local: bool,
    },
    /// Our 200 was acknowledged; the body is the answer when our 200 carried the offer.
    Confirmed {
        session: SessionId,
        body: Option<Body>,
    },
    /// An offer of theirs inside the session, by re-INVITE, UPDATE or PRACK;
    /// [`super::Endpoint::answer_reoffer`] answers each alike.
    Reoffer {
        session: SessionId,
        body: Option<Body>,
    },
    /// A re-INVITE that only kept the session alive (RFC 4028) was answered with this body,
    /// which should say nothing new.
    Refreshed {
        session: SessionId,
        body: Option<Body>,
    },
    /// The answer to our re-INVITE or UPDATE. With status 2xx and an offerless re-INVITE the ACK waits for
    /// [`super::Endpoint::acknowledge`].
    ReofferAnswered {
        session: SessionId,
        status: u16,
        body: Option<Body>,
    },
    /// RFC 6086 and the older use for digits; answered already.
    Info {
        session: SessionId,
        content_type: String,
        body: Vec<u8>,
        digit: Option<InfoDigit>,
    },
    /// The peer asks us to call someone (RFC 3515); [`super::Endpoint::answer_refer`] answers.
    Refer {
        session: SessionId,
        /// Without the headers it may have carried.
        refer_to: String,
        /// From the Refer-To: the dialog the new call is to take the place of.
        replaces: Option<Replaces>,
        /// That dialog, when it is one of ours: an attended transfer within this house.
        replaces_session: Option<SessionId>,
        /// RFC 3892, as it stands.
        referred_by: Option<String>,
        /// They want to hear how it goes (RFC 4488).
        subscribed: bool,
    },
    /// What the peer says to our REFER: 202 or a refusal.
    ReferAnswered {
        session: SessionId,
        status: u16,
    },
    /// How the call we asked for goes. `over`: nothing more will be told.
    ReferProgress {
        session: SessionId,
        status: u16,
        phrase: String,
        over: bool,
    },
    Ended {
        session: SessionId,
        by: EndedBy,
        reason: Reason,
    },
    Registered {
        aor: String,
        contact: String,
        expires_s: u32,
        flow: Flow,
    },
    Unregistered {
        aor: String,
        contact: String,
    },
    Pong {
        ping: PingId,
        ok: bool,
        status: u16,
    },
    /// What became of [`super::Endpoint::register_at`].
    RegisterAnswered {
        register: super::RegisterId,
        answer: super::register::RegisterAnswer,
    },
    OrphanEnded {
        call_id: String,
    },
    /// For the security log.
    Security(SecurityNote),
}
