//! `foredial check`, `foredial config show` and `foredial config diff`.

use super::Failure;
use crate::config::{self, Config};
use clap::{Args, Subcommand};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct Check {
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigVerb {
    /// The file with every default written out, and secrets left out.
    Show {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// What is in force, defaults and all. It is always shown so.
        #[arg(long)]
        effective: bool,
        /// Leave secrets out. They always are, without --no-redact.
        #[arg(long, conflicts_with = "no_redact")]
        redact: bool,
        /// Show secrets as well; on a terminal only.
        #[arg(long)]
        no_redact: bool,
    },
    /// What differs from one file to another, in force, not in words.
    Diff { old: PathBuf, new: PathBuf },
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
        match self {
            ConfigVerb::Show {
                config, no_redact, ..
            } => show(&config, no_redact),
            ConfigVerb::Diff { old, new } => diff(&old, &new),
        }
    }
}

fn show(file: &Path, secrets: bool) -> Result<(), Failure> {
    if secrets && !std::io::stdout().is_terminal() {
        return Err(Failure::new(
            "secrets are shown on a terminal only",
            "leave --no-redact out, or look at the file itself",
        ));
    }
    let config = config::load(file)?;
    let written = match secrets {
        true => config::show_with_secrets(&config),
        false => config::show(&config),
    };
    let text = written
        .map_err(|error| Failure::plain(format!("the configuration cannot be written: {error}")))?;
    print!("{text}");
    Ok(())
}

/// Both files must be right: half a file has no effect to compare.
fn diff(old: &Path, new: &Path) -> Result<(), Failure> {
    let (old, new): (Config, Config) = (config::load(old)?, config::load(new)?);
    let changes = config::changes(&old, &new);
    for change in &changes {
        let restart = match change.needs_restart {
            true => "  (after a restart)",
            false => "",
        };
        println!("{change}{restart}");
    }
    if changes.is_empty() {
        println!("no difference");
    }
    Ok(())
}
