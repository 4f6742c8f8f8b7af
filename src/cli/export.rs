//! `foredial export`: a campaign's leads with their last results.

use super::Failure;
use super::place::Place;
use crate::id::CampaignId;
use crate::leads::export;
use crate::now::UtcMs;
use crate::store::Reader;
use clap::Args;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    place: Place,
    #[arg(long, value_name = "ID")]
    campaign: String,
    /// Where to write; stdout when absent.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Export {
    pub(super) fn carry_out(self) -> Result<(), Failure> {
        let config = self.place.config()?;
        if config
            .campaigns
            .iter()
            .all(|known| known.id != self.campaign)
        {
            let known: Vec<&str> = config
                .campaigns
                .iter()
                .map(|known| known.id.as_str())
                .collect();
            let what = format!("there is no campaign `{}`", self.campaign);
            return Err(Failure::new(
                what,
                format!("choose one of: {}", known.join(", ")),
            ));
        }
        let reader = Reader::open(&config.store.path, Arc::new(config.rules()))?;
        // An export asks for no rule that depends on the time.
        let rows = reader
            .view(UtcMs(0))
            .export(&CampaignId::new(&self.campaign))?;
        let bytes = export::write(&rows)
            .map_err(|error| Failure::plain(format!("the CSV cannot be made: {error}")))?;
        let written = match &self.output {
            Some(file) => std::fs::write(file, bytes),
            None => std::io::stdout().lock().write_all(&bytes),
        };
        let target = self
            .output
            .map_or("stdout".to_owned(), |file| file.display().to_string());
        written.map_err(|error| Failure::plain(format!("{target} cannot be written: {error}")))
    }
}
