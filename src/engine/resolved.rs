//! What the engine is told at start: everything resolved, nothing left to look up.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::srtp::KeySource;
use super::ways::Ways;
use crate::agent::seat::Kind;
use crate::dialer;
use crate::id::{AgentId, CampaignId, TrunkId};
use crate::route::Plan;
use crate::sdp::Codec;
use crate::sip::guard::AddressBlock;
use crate::sip::{
    Algorithm, Credentials, EndpointConfig, Flow, InviteTimers, Reliability, Secret, Transport,
};
use crate::trunk::fraud::FraudRules;
use crate::trunk::{Block, Identity, NumberRule, Place, Redirects, Srtp, Terms};

/// A text in both of the pages' languages.
pub type Text = dialer::campaign::Label;

#[derive(Clone, Debug)]
pub struct EngineConfig {
    pub endpoint: EndpointConfig,
    /// The UDP socket that trunks are reached through.
    pub trunk_flow: Flow,
    /// Every UDP socket, and which of our addresses leads to whom.
    pub ways: Ways,
    /// The address written into SDP toward trunks.
    pub media_address: IpAddr,
    /// First and last RTP port; even ones are used, the next odd one is the leg's RTCP.
    pub rtp_ports: (u16, u16),
    pub recordings: PathBuf,
    pub trunks: BTreeMap<TrunkId, Trunk>,
    /// DNS servers; none is those of the system.
    pub resolvers: Vec<SocketAddr>,
    /// Where calls go that no agent has dialled.
    pub plan: Plan,
    /// Addresses whose calls are taken without a password.
    pub permit: Vec<AddressBlock>,
    /// Of SRTP.
    pub keys: KeySource,
    /// Desk phones that may register.
    pub phones: Vec<Phone>,
    pub agents: BTreeMap<AgentId, AgentProfile>,
    pub campaigns: BTreeMap<CampaignId, Arc<Campaign>>,
    /// What phones may do outside.
    pub fraud: FraudRules,
    /// Names this run of the process to pages.
    pub epoch: String,
    pub seed: u64,
    pub limits: Limits,
}

/// Named limits of the switch. Reaching one is an event, never a surprise.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A desk without any page this long is signed out, and its card goes back.
    pub desk_grace: Duration,
    /// A seat lost in a call may be taken again this long; the customer hears music.
    pub seat_grace: Duration,
    /// A seat lost while the customer's phone still rings: then the dial is given up.
    pub ringing_seat_grace: Duration,
    /// A READY agent without a card asks the store again at the latest after this.
    pub ask_again: Duration,
    /// How often leases are looked through for ones nobody answered or released.
    pub expire_every: Duration,
    /// A failed write of an outcome is tried again after this.
    pub write_again: Duration,
    /// Calls through us at once; the next is asked to come later.
    pub through_calls_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            desk_grace: Duration::from_secs(30),
            seat_grace: Duration::from_secs(20),
            ringing_seat_grace: Duration::from_secs(5),
            ask_again: Duration::from_secs(10),
            expire_every: Duration::from_secs(30),
            write_again: Duration::from_secs(1),
            through_calls_max: 10_000,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phone {
    pub user: String,
    pub secret: Secret,
    /// What it is challenged with, first choice first.
    pub order: Vec<Algorithm>,
    pub srtp: Srtp,
    /// Keys may be sent where anybody on the way can read them.
    pub srtp_over_plain: bool,
}

#[derive(Clone, Debug)]
pub struct Trunk {
    pub id: TrunkId,
    /// Servers, limits and what goes to the next server.
    pub terms: Terms,
    pub transport: Transport,
    /// Over TLS: the SIP domain its servers' certificates must be for, when it is not the one in
    /// `terms`.
    pub certificate_name: Option<String>,
    pub srtp: Srtp,
    /// Keys may be sent where anybody on the way can read them.
    pub srtp_over_plain: bool,
    /// Its word about its callers' identity is believed.
    pub verstat: bool,
    /// The host part of Request-URI, To and From.
    pub domain: String,
    pub number: NumberRule,
    pub identity: Identity,
    /// Offered and accepted, in this order; not empty.
    pub codecs: Vec<Codec>,
    pub credentials: Option<Credentials>,
    /// E.164; what is called on it where the carrier names only our account.
    pub own_number: String,
    pub redirects: Redirects,
    /// In INVITEs to it, where they are not the endpoint's own.
    pub session_expires_s: Option<u32>,
    pub reliability: Option<Reliability>,
    /// Besides its servers: where it may call us from.
    pub allow_from: Vec<Block>,
    /// May have calls transferred by REFER.
    pub allow_refer: bool,
    /// Silence on the last server a call has left, until it is given up.
    pub invite_timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct AgentProfile {
    pub id: AgentId,
    pub name: String,
    pub language: String,
    pub campaigns: Vec<CampaignId>,
    pub seat: Kind,
}

/// A campaign: its dialing rules, and what its cards look like.
#[derive(Clone, Debug)]
pub struct Campaign {
    pub id: CampaignId,
    /// Name, routes, limits, dispositions.
    pub rules: dialer::campaign::Campaign,
    pub script_title: Text,
    /// A minijinja template over the card's fields.
    pub script: String,
    pub fields: Vec<FieldLayout>,
    pub skip_reasons: Vec<Choice>,
    pub mask_numbers: bool,
    pub record: bool,
    /// Whether a CRM is asked for this campaign's cards.
    pub crm: bool,
}

#[derive(Clone, Debug)]
pub struct FieldLayout {
    pub key: String,
    pub label: Text,
    pub kind: String,
}

#[derive(Clone, Debug)]
pub struct Choice {
    pub key: String,
    pub label: Text,
}

impl EngineConfig {
    /// The dialing rules of all campaigns, as the store and the gate know them.
    pub fn rules(&self) -> dialer::campaign::Rules {
        dialer::campaign::Rules::of(self.campaigns.values().map(|it| it.rules.clone()))
    }
}

impl Phone {
    /// What it proves itself by.
    pub(super) fn proves(&self) -> (&Secret, &[Algorithm]) {
        (&self.secret, &self.order)
    }
}

impl Trunk {
    /// With everything but these as the configuration has it by default.
    pub fn new(id: TrunkId, places: Vec<Place>, domain: &str) -> Trunk {
        Trunk {
            id,
            terms: Terms {
                places,
                calls_max: 30,
                calls_per_s: None,
                options_every: None,
                down_after: 2,
                failover: Default::default(),
                register_s: None,
            },
            transport: Transport::Udp,
            certificate_name: None,
            srtp: Srtp::Off,
            srtp_over_plain: false,
            verstat: false,
            domain: domain.to_owned(),
            number: NumberRule::E164,
            identity: Identity::default(),
            codecs: vec![Codec::Pcma, Codec::Pcmu],
            credentials: None,
            own_number: String::new(),
            redirects: Redirects::Refuse,
            session_expires_s: None,
            reliability: None,
            allow_from: vec![],
            allow_refer: false,
            invite_timeout: Duration::from_secs(4),
        }
    }

    /// How an INVITE to it is sent; `answer` is the patience with silence.
    pub(super) fn timers(&self, answer: Option<Duration>) -> InviteTimers {
        InviteTimers {
            answer,
            session_expires_s: self.session_expires_s,
            reliability: self.reliability,
        }
    }

    /// What is called on this trunk for an E.164 number.
    pub fn request_uri(&self, e164: &str) -> String {
        format!("sip:{}@{}", self.number.write(e164), self.domain)
    }
}
