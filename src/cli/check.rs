//! `foredial check` and `foredial config show`.

use super::Failure;
use crate::config;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Check {
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigVerb {
    /// The file with every default written out and secrets left out.
    Show {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

impl Check {
    pub(super) fn carry_out(self) -> Result<(), Failure> {
        let config = config::load(&self.config)?;
        println!(
            "{}: good ({} trunks, {} agents, {} campaigns; version {})",
            self.config.display(),
            config.trunks.len(),
            config.agents.len(),
            config.campaigns.len(),
            config.version()
        );
        Ok(())
    }
}

impl ConfigVerb {
    pub(super) fn carry_out(self) -> Result<(), Failure> {
        let ConfigVerb::Show { config: file } = self;
        let config = config::load(&file)?;
        let text = config::show(&config).map_err(|error| {
            Failure::plain(format!("the configuration cannot be written: {error}"))
        })?;
        print!("{text}");
        Ok(())
    }
}
