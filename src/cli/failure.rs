//! Why a command could not be carried out, said once, with the remedy.

use crate::config::ConfigErrors;
use std::fmt;

#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    /// `what` names the place; `remedy` says what to do.
    pub fn new(what: impl fmt::Display, remedy: impl fmt::Display) -> Failure {
        Failure(format!("{what}; {remedy}"))
    }

    /// An error that already says what to do.
    pub fn plain(what: impl fmt::Display) -> Failure {
        Failure(what.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Failure {
        Failure(format!("the configuration is wrong\n\n{errors}"))
    }
}

impl From<crate::store::StoreError> for Failure {
    fn from(error: crate::store::StoreError) -> Failure {
        Failure::plain(error)
    }
}
