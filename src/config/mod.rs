//! `foredial.toml`: exactly as written → checked → resolved, one struct per room.
//!
//! Every error of a file is reported at once, with line, column, caret and remedy. Units stand
//! last in names. `config/foredial.toml` in the repository shows every key with its default.

mod campaign;
mod changes;
mod complaint;
mod crm;
mod dialect;
mod disposition;
mod guard;
mod network;
mod people;
mod route;
mod secret;
mod secure;
mod seeing;
mod show;
mod sip;
mod trunk;
mod written;

#[cfg(test)]
mod tests;

pub use campaign::{CampaignConfig, Field, FieldKind, SkipReason};
pub use changes::{Change, Sign, changes};
pub use complaint::ConfigErrors;
pub use crm::{CrmConfig, CrmField, CrmFieldKind, CrmSection};
pub use dialect::{Dialect, ReliableConfig};
pub use disposition::{Disposition, DispositionAction};
pub use guard::{Access, FraudConfig, SecurityConfig};
pub use network::{HttpConfig, MediaConfig, RecordingsConfig, StateConfig, StoreConfig};
pub use people::{AgentConfig, DigestAlgorithm, Language, PhoneConfig, SeatConfig};
pub use route::{RouteAction, RouteConfig, RoutingConfig};
pub use secret::Secret;
pub use secure::{Secure, SrtpConfig, TransportConfig};
pub use seeing::{HepConfig, TraceConfig};
pub use show::{show, show_with_secrets};
pub use sip::SipConfig;
pub use trunk::{AddressRange, CodecConfig, DnsConfig, IdentityConfig, NumberFormat, TrunkConfig};

use crate::dialer::campaign::Rules;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use written::{Section, Sheet};

/// A whole file, checked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    pub sip: SipConfig,
    pub http: HttpConfig,
    pub media: MediaConfig,
    pub state: StateConfig,
    pub store: StoreConfig,
    pub recordings: RecordingsConfig,
    pub trace: TraceConfig,
    pub hep: HepConfig,
    pub security: SecurityConfig,
    pub fraud: FraudConfig,
    pub crm: Option<CrmConfig>,
    pub dns: DnsConfig,
    #[serde(rename = "trunk")]
    pub trunks: Vec<TrunkConfig>,
    #[serde(rename = "phone")]
    pub phones: Vec<PhoneConfig>,
    #[serde(rename = "agent")]
    pub agents: Vec<AgentConfig>,
    #[serde(rename = "campaign")]
    pub campaigns: Vec<CampaignConfig>,
    pub routing: RoutingConfig,
    #[serde(rename = "route")]
    pub routes: Vec<RouteConfig>,
}

/// One text in both of the pages' languages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Label {
    pub en: String,
    pub zh: String,
}

impl Label {
    #[must_use]
    pub fn both(text: &str) -> Label {
        Label {
            en: text.to_owned(),
            zh: text.to_owned(),
        }
    }
}

/// Reads and checks `file`. Relative paths in it are relative to the working directory.
pub fn load(file: &Path) -> Result<Config, ConfigErrors> {
    let name = file.display().to_string();
    let text =
        std::fs::read_to_string(file).map_err(|error| ConfigErrors::unreadable(&name, &error))?;
    parse(&name, &text, &PathBuf::new())
}

/// The state folder of `file`, whatever else is wrong in it: who steers a running switch must find
/// it while the file is being mended. `None` when the file or the folder's name cannot be read.
#[must_use]
pub fn state_folder(file: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(file).ok()?;
    let (table, _) = toml::de::DeTable::parse_recoverable(&text);
    let sheet = Sheet::new(Path::new(""));
    let root = Section::root(&sheet, table.get_ref());
    let state = StateConfig::read(root.section("state"));
    sheet
        .complaints
        .into_inner()
        .is_empty()
        .then_some(state.folder)
}

/// Checks `text`. `file` is for messages; relative paths in the text start at `base`.
pub fn parse(file: &str, text: &str, base: &Path) -> Result<Config, ConfigErrors> {
    read(file, text, base).map(|(config, _)| config)
}

/// The configuration and every key that can be written, as `section.key`.
fn read(file: &str, text: &str, base: &Path) -> Result<(Config, Vec<String>), ConfigErrors> {
    let (table, syntax) = toml::de::DeTable::parse_recoverable(text);
    let sheet = Sheet::new(base);
    for error in &syntax {
        sheet.syntax(error.span().unwrap_or(0..0), error.message());
    }
    let config = Config::read(Section::root(&sheet, table.get_ref()));
    let complaints = sheet.complaints.into_inner();
    if complaints.is_empty() {
        Ok((config, sheet.asked.into_inner().into_iter().collect()))
    } else {
        Err(ConfigErrors::new(file, text, complaints))
    }
}

impl Config {
    fn read(root: Section<'_>) -> Config {
        let sip = SipConfig::read(root.section("sip"));
        let http = HttpConfig::read(root.section("http"), sip.digest);
        let media = MediaConfig::read(root.section("media"));
        let state = StateConfig::read(root.section("state"));
        let store = StoreConfig::read(root.section("store"), &state);
        let recordings = RecordingsConfig::read(root.section("recordings"));
        let trace = TraceConfig::read(root.section("trace"));
        let hep = HepConfig::read(root.section("hep"));
        let security = SecurityConfig::read(root.section("security"));
        let fraud = FraudConfig::read(root.section("fraud"));
        let crm = CrmConfig::read(root.section("crm"));
        let dns = DnsConfig::read(root.section("dns"));
        let trunks = trunk::read_all(&root, &sip);
        let phones = people::read_phones(&root);
        let campaigns = campaign::read_all(&root, &trunks);
        let agents = people::read_agents(&root, &campaigns, &phones);
        let names = route::Names::of(&trunks, &phones, &agents, &campaigns);
        let routing = RoutingConfig::read(root.section("routing"), &names);
        let routes = route::read_all(&root, &names);
        root.done();
        Config {
            sip,
            http,
            media,
            state,
            store,
            recordings,
            trace,
            hep,
            security,
            fraud,
            crm,
            dns,
            trunks,
            phones,
            agents,
            campaigns,
            routing,
            routes,
        }
    }
}

impl Config {
    /// Every campaign's rules, as the dialer and the store work by them.
    #[must_use]
    pub fn rules(&self) -> Rules {
        let version = self.version();
        Rules::of(
            self.campaigns
                .iter()
                .map(|campaign| campaign.rules(&self.trunks, &version)),
        )
    }

    /// Where calls go that no agent has dialled.
    #[must_use]
    pub fn plan(&self) -> crate::route::Plan {
        route::plan(&self.routing, &self.routes, &self.trunks)
    }

    /// A name for what is configured: the same for the same settings, however they are written.
    #[must_use]
    pub fn version(&self) -> String {
        let text = show(self).unwrap_or_default();
        let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        digest[..6]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// Complains about the second of two tables with the same name.
fn unique(sheet: &Sheet, names: &mut Vec<String>, found: &written::Found<String>, noun: &str) {
    if found.value.is_empty() {
        return;
    }
    if names.contains(&found.value) {
        let what = format!("there is already {noun} `{}`", found.value);
        sheet.complain(found.span.clone(), what, "give it a name of its own");
    }
    names.push(found.value.clone());
}
