//! `foredial import`: a CSV file of leads into a list of a campaign.

use super::Failure;
use super::place::Place;
use crate::config::Config;
use crate::id::{CampaignId, ListId};
use crate::leads::csv::{self, Settings};
use crate::leads::phone::Region;
use crate::leads::row::{Complaint, Weight};
use crate::now::UtcMs;
use crate::store::{Command, Db, Fact, Place as StorePlace};
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;

/// Complaints shown; a file with more has one cause.
const COMPLAINTS_SHOWN_MAX: usize = 50;

#[derive(Debug, Args)]
pub(super) struct Import {
    file: PathBuf,
    /// The list the leads belong to.
    #[arg(long, value_name = "LIST")]
    list: String,
    /// The campaign; may be left out when only one has the list.
    #[arg(long, value_name = "ID")]
    campaign: Option<String>,
    /// The country of numbers that name none.
    #[arg(long, value_name = "ISO", default_value = "CN")]
    region: String,
    /// The language of rows that name none.
    #[arg(long, default_value = "")]
    language: String,
    #[command(flatten)]
    place: Place,
}

/// What became of a file.
pub(super) struct Outcome {
    pub(super) leads: u64,
    pub(super) contacts: u64,
    pub(super) duplicates: u64,
    pub(super) complaints: Vec<Complaint>,
}

impl Import {
    pub(super) fn carry_out(self) -> Result<(), Failure> {
        let config = self.place.config()?;
        let campaign = campaign(&config, &self.list, self.campaign.as_deref())?;
        let bytes = std::fs::read(&self.file).map_err(|error| {
            Failure::new(
                format!("{} cannot be read: {error}", self.file.display()),
                "give the path of a CSV file",
            )
        })?;
        let region = Region::parse(&self.region).ok_or_else(|| {
            Failure::new(
                format!("`{}` is not a country", self.region),
                "give two letters, such as --region CN",
            )
        })?;
        let settings = Settings {
            region,
            language: self.language.clone(),
        };
        let source = self
            .file
            .file_name()
            .map_or(String::new(), |name| name.to_string_lossy().into_owned());
        let outcome = import(&config, &bytes, &settings, &self.list, &campaign, source)?;
        let rejected = outcome
            .complaints
            .iter()
            .filter(|one| one.weight == Weight::Rejected)
            .count();
        for complaint in outcome.complaints.iter().take(COMPLAINTS_SHOWN_MAX) {
            eprintln!("{}: {complaint}", self.file.display());
        }
        let more = outcome
            .complaints
            .len()
            .saturating_sub(COMPLAINTS_SHOWN_MAX);
        if more > 0 {
            eprintln!("{}: and {more} more", self.file.display());
        }
        println!(
            "{} leads of {} contacts imported into list `{}` of campaign `{campaign}`; {} duplicates, {rejected} rejected",
            outcome.leads, outcome.contacts, self.list, outcome.duplicates
        );
        if outcome.leads == 0 && outcome.duplicates == 0 {
            return Err(Failure::new(
                "nothing was imported",
                "mend what stands above and import again",
            ));
        }
        Ok(())
    }
}

/// Reads `bytes` and writes the leads in one transaction. The switch must not run on the same
/// database: the store says so.
pub(super) fn import(
    config: &Config,
    bytes: &[u8],
    settings: &Settings,
    list: &str,
    campaign: &str,
    source: String,
) -> Result<Outcome, Failure> {
    let read = csv::read(bytes, settings);
    let mut db = open(config)?;
    let command = Command::Import {
        list: ListId::new(list),
        campaign: CampaignId::new(campaign),
        rows: read.rows,
        source,
    };
    match db.apply(utc_now(), &command)? {
        Fact::Imported {
            leads,
            contacts,
            duplicates,
        } => Ok(Outcome {
            leads,
            contacts,
            duplicates,
            complaints: read.complaints,
        }),
        other => Err(Failure::plain(format!(
            "the store answered an import with {other:?}"
        ))),
    }
}

/// The database of `config`, with the campaigns' rules.
fn open(config: &Config) -> Result<Db, Failure> {
    config.state.make_folder().map_err(|error| {
        Failure::new(
            format!(
                "the folder {} cannot be made: {error}",
                config.state.folder.display()
            ),
            "choose another one",
        )
    })?;
    if let Some(folder) = config.store.path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| {
            Failure::new(
                format!("the folder {} cannot be made: {error}", folder.display()),
                "choose another one",
            )
        })?;
    }
    let mut db = Db::open(&StorePlace::File(config.store.path.clone()))?;
    db.apply(
        utc_now(),
        &Command::Configure {
            rules: Arc::new(config.rules()),
        },
    )?;
    Ok(db)
}

/// The campaign named, or the only one that has the list.
fn campaign(config: &Config, list: &str, named: Option<&str>) -> Result<String, Failure> {
    let ids = || {
        config
            .campaigns
            .iter()
            .map(|known| known.id.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    if let Some(named) = named {
        let known = config.campaigns.iter().any(|known| known.id == named);
        let unknown = || {
            Failure::new(
                format!("there is no campaign `{named}`"),
                format!("choose one of: {}", ids()),
            )
        };
        return known.then(|| named.to_owned()).ok_or_else(unknown);
    }
    let having: Vec<_> = config
        .campaigns
        .iter()
        .filter(|known| known.lists.iter().any(|one| one == list))
        .collect();
    match having[..] {
        [one] => Ok(one.id.clone()),
        [] => Err(Failure::new(
            format!("no campaign has the list `{list}`"),
            format!(
                "add it to `lists` of a [[campaign]], or name one with --campaign: {}",
                ids()
            ),
        )),
        _ => Err(Failure::new(
            format!("several campaigns have the list `{list}`"),
            "name one with --campaign",
        )),
    }
}

pub(super) fn utc_now() -> UtcMs {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    UtcMs(0).plus(since)
}
