//! The configuration in force as TOML, with every default written out and secrets left out.

use super::Config;

/// TOML that reads back to the same configuration, except for secrets, shown as `…`.
pub fn show(config: &Config) -> Result<String, toml::ser::Error> {
    toml::to_string_pretty(config)
}
