//! Which installation a command is about: a configuration file, or a folder the demo runs in.

use super::Failure;
use crate::config::{self, Config};
use clap::Args;
use std::path::{Path, PathBuf};

const DEMO: &str = include_str!("../../config/demo.toml");

#[derive(Debug, Args)]
pub(super) struct Place {
    /// The configuration file. Without one, the demo's.
    #[arg(long, value_name = "FILE", conflicts_with = "dir", global = true)]
    config: Option<PathBuf>,
    /// The folder the demo keeps its state and recordings in.
    #[arg(long, value_name = "DIR", default_value = ".", global = true)]
    dir: PathBuf,
}

impl Place {
    pub(super) fn config(&self) -> Result<Config, Failure> {
        match &self.config {
            Some(file) => Ok(config::load(file)?),
            None => demo(&self.dir),
        }
    }

    /// Where a running switch left its address and key. A file with mistakes elsewhere will do.
    pub(super) fn state_folder(&self) -> Result<PathBuf, Failure> {
        let file = self.config.as_deref();
        match file.and_then(config::state_folder) {
            Some(folder) => Ok(folder),
            None => Ok(self.config()?.state.folder),
        }
    }
}

/// The demo's configuration, in a folder.
pub(super) fn demo(dir: &Path) -> Result<Config, Failure> {
    Ok(config::parse("config/demo.toml", DEMO, dir)?)
}
