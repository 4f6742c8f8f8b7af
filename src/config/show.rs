//! The configuration in force as TOML, with every default written out and secrets left out.

use super::Config;
use super::secret::in_the_clear;

/// TOML that reads back to the same configuration, except for secrets, shown as `…`.
pub fn show(config: &Config) -> Result<String, toml::ser::Error> {
    toml::to_string_pretty(config)
}

/// The same with its secrets: for a person on a terminal, never for a log.
pub fn show_with_secrets(config: &Config) -> Result<String, toml::ser::Error> {
    in_the_clear(|| toml::to_string_pretty(config))
}
