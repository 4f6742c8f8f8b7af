//! What the engine is told at start: everything resolved, nothing left to look up.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::dialer::campaign::Rules;
use crate::id::{AgentId, CampaignId, TrunkId};
use crate::sip::{EndpointConfig, Flow};

/// A text in both of the pages' languages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    pub en: String,
    pub zh: String,
}

impl Text {
    pub fn new(en: &str, zh: &str) -> Text {
        Text { en: en.to_owned(), zh: zh.to_owned() }
    }
}

#[derive(Clone, Debug)]
pub struct EngineConfig {
    pub endpoint: EndpointConfig,
    /// The UDP socket that trunks are reached through.
    pub trunk_flow: Flow,
    /// The address written into SDP toward trunks.
    pub media_address: std::net::IpAddr,
    /// First and last RTP port; even ones are used, the next odd one is the leg's RTCP.
    pub rtp_ports: (u16, u16),
    pub recordings: PathBuf,
    pub trunks: BTreeMap<TrunkId, Trunk>,
    pub agents: BTreeMap<AgentId, AgentProfile>,
    pub campaigns: BTreeMap<CampaignId, Arc<Campaign>>,
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
    /// How often a READY agent without a card asks the store again.
    pub ask_again: Duration,
    /// A failed write of an outcome is tried again after this.
    pub write_again: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            desk_grace: Duration::from_secs(30),
            seat_grace: Duration::from_secs(20),
            ringing_seat_grace: Duration::from_secs(5),
            ask_again: Duration::from_secs(2),
            write_again: Duration::from_secs(1),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Trunk {
    pub id: TrunkId,
    pub peer: SocketAddr,
    /// The host part of Request-URI, To and From.
    pub domain: String,
    pub caller_id: String,
    /// Digits put before the E.164 number without its plus sign; `None` sends `+…`.
    pub prefix: Option<String>,
    pub credentials: Option<(String, String)>,
    /// Timer B for this trunk: a silent one must not cost the agent half a minute.
    pub invite_timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct AgentProfile {
    pub id: AgentId,
    pub name: String,
    pub language: String,
    pub campaigns: Vec<CampaignId>,
}

#[derive(Clone, Debug)]
pub struct Campaign {
    pub id: CampaignId,
    pub name: Text,
    pub rules: Arc<Rules>,
    /// Trunks in the order they are tried.
    pub trunks: Vec<TrunkId>,
    pub caller_id: Option<String>,
    pub script_title: String,
    /// A minijinja template over the card's fields.
    pub script: String,
    pub fields: Vec<FieldLayout>,
    pub skip_reasons: Vec<Choice>,
    pub dispositions: Vec<DispositionChoice>,
    pub preview_limit: Duration,
    pub wrap_up_answered: Duration,
    pub wrap_up_unanswered: Duration,
    pub ring_limit: Duration,
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

#[derive(Clone, Debug)]
pub struct DispositionChoice {
    pub key: String,
    pub label: Text,
    /// The action's stable name, as pages know it.
    pub action: String,
    pub notes_min: usize,
    pub needs_callback_time: bool,
}
