//! `foredial.toml`: exactly as written → checked → resolved, one struct per room.
//!
//! Every error of a file is reported at once, with line, column, caret and remedy. Units stand
//! last in names. `config/foredial.toml` in the repository shows every key with its default.

mod campaign;
mod complaint;
mod crm;
mod disposition;
mod network;
mod people;
mod show;
mod trunk;
mod written;

#[cfg(test)]
mod tests;

pub use campaign::{CampaignConfig, Field, FieldKind, SkipReason};
pub use complaint::ConfigErrors;
pub use crm::{CrmConfig, CrmField, CrmFieldKind, CrmSection};
pub use disposition::{Disposition, DispositionAction};
pub use network::{HttpConfig, MediaConfig, RecordingsConfig, SipConfig, StateConfig, StoreConfig};
pub use people::{AgentConfig, Language, PhoneConfig};
pub use show::show;
pub use trunk::{AddressRange, CodecConfig, DnsConfig, IdentityConfig, NumberFormat, TrunkConfig};

use crate::dialer::campaign::Rules;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt;
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

/// Something that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(text: &str) -> Secret {
        Secret(text.to_owned())
    }

    /// The secret itself, for the one place that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("…")
    }
}

/// Reads and checks `file`. Relative paths in it are relative to the working directory.
pub fn load(file: &Path) -> Result<Config, ConfigErrors> {
    let name = file.display().to_string();
    let text =
        std::fs::read_to_string(file).map_err(|error| ConfigErrors::unreadable(&name, &error))?;
    parse(&name, &text, &PathBuf::new())
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
        let http = HttpConfig::read(root.section("http"));
        let media = MediaConfig::read(root.section("media"));
        let state = StateConfig::read(root.section("state"));
        let store = StoreConfig::read(root.section("store"), &state);
        let recordings = RecordingsConfig::read(root.section("recordings"));
        let crm = CrmConfig::read(root.section("crm"));
        let dns = DnsConfig::read(root.section("dns"));
        let trunks = trunk::read_all(&root);
        let phones = people::read_phones(&root);
        let campaigns = campaign::read_all(&root, &trunks);
        let agents = people::read_agents(&root, &campaigns);
        root.done();
        Config {
            sip,
            http,
            media,
            state,
            store,
            recordings,
            crm,
            dns,
            trunks,
            phones,
            agents,
            campaigns,
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
