//! What the endpoint is told once, and what it counts.

use std::net::SocketAddr;

use crate::sip::doors::Door;
use crate::sip::event::Reliability;
use crate::sip::guard::LockoutRules;
use crate::sip::message::Limits;
use crate::sip::registrar::RegistrarLimits;
use crate::sip::timer::Timers;
use crate::sip::transaction::Counts;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointConfig {
    /// User-Agent and Server.
    pub user_agent: String,
    /// Of the digest; every phone's HA1 is bound to it.
    pub realm: String,
    /// The host of addresses of record, besides our addresses. `None`: any host is ours.
    pub domain: Option<String>,
    /// Further hosts that are ours; `*.example.com` is every host below example.com. With any of
    /// them, calls and OPTIONS for other names hear 404 (RFC 3261 §8.2.2.1).
    pub domains: Vec<String>,
    pub lockout: LockoutRules,
    /// Requests of known scanners get no answer.
    pub drop_scanners: bool,
    /// Via and Contact over UDP; an unspecified address stands for the socket's own.
    pub udp_advertised: SocketAddr,
    /// What listens, and what peers are told of it; it goes before `udp_advertised`.
    pub doors: Vec<Door>,
    /// Via and Contact over WebSocket, such as `foredial.invalid` (RFC 7118 §5).
    pub ws_host: String,
    pub timers: Timers,
    pub limits: Limits,
    pub registrar: RegistrarLimits,
    pub transactions_max: usize,
    pub sessions_max: usize,
    /// RFC 3261 12.2.2 leaves it to us whether an INVITE inside a dialog we do not know makes
    /// that dialog anew (true) or is answered 481 (false). Peers of a restarted process should
    /// hear 481.
    pub recreate_dialogs: bool,
    /// Whether requests from strangers are challenged. Without it everyone may call and register.
    pub digest: bool,
    /// RFC 4028: how long a session lives without a refresh, in seconds. 0: we ask for none.
    pub session_expires_s: u32,
    /// The shortest session interval we agree to, in seconds; RFC 4028 5 allows no less than 90.
    pub min_se_s: u32,
    /// Send 18x reliably to everyone who supports it, not only to those who require it.
    pub reliable_provisionals: bool,
    /// The same in INVITEs of ours.
    pub reliability: Reliability,
    /// Media types an INVITE may carry; anything else is 415.
    pub accept: Vec<String>,
}

impl EndpointConfig {
    /// The defaults around the two addresses.
    #[must_use]
    pub fn new(udp_advertised: SocketAddr, ws_host: &str) -> EndpointConfig {
        EndpointConfig {
            user_agent: concat!("Foredial/", env!("CARGO_PKG_VERSION")).to_owned(),
            realm: "foredial".to_owned(),
            domain: None,
            domains: Vec::new(),
            lockout: LockoutRules::default(),
            drop_scanners: true,
            udp_advertised,
            doors: Vec::new(),
            ws_host: ws_host.to_owned(),
            timers: Timers::default(),
            limits: Limits::default(),
            registrar: RegistrarLimits::default(),
            transactions_max: 100_000,
            sessions_max: 20_000,
            recreate_dialogs: false,
            digest: true,
            session_expires_s: 1_800,
            min_se_s: 90,
            reliable_provisionals: false,
            reliability: Reliability::default(),
            accept: vec!["application/sdp".to_owned()],
        }
    }
}

/// What the network sent that came to nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub garbage: u64,
    /// Malformed requests answered 400 or 505.
    pub malformed: u64,
    pub stray_responses: u64,
    pub stray_acks: u64,
    /// INVITE or REGISTER challenged or forbidden.
    pub unauthorised: u64,
    /// Wrong answers to challenges.
    pub auth_failed: u64,
    /// Locks put on an address or a user.
    pub lockouts: u64,
    /// Messages dropped unread because their address is locked out.
    pub locked_out: u64,
    /// Requests of known scanners, dropped.
    pub scanners: u64,
    /// Refused because a limit was reached.
    pub overload: u64,
    /// Outgoing headers that would have broken a message or were not the caller's to give.
    pub headers_refused: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub transactions: Counts,
    pub sessions: usize,
    pub dialogs: usize,
    pub bindings: usize,
    pub trusted_flows: usize,
    pub pings: usize,
    /// Acknowledgements kept for repeated answers.
    pub acks: usize,
    pub counters: Counters,
}

impl Snapshot {
    /// Nothing is going on: no transaction, session or ping is left.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.transactions == Counts::default()
            && self.sessions + self.dialogs + self.pings + self.acks == 0
    }
}
