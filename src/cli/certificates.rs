//! The certificates of a running switch: read again with every reload, all of them before any is
//! taken over, so that a file with a mistake leaves everything as it was. Connections that are up
//! keep the one they were made with.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::sockets::{server_identity, server_tls, toward};
use crate::config::Config;
use crate::http::{self, Fresh, Https};
use crate::net::tls::{self, ServerTls, Toward};

const DAY_S: i64 = 86_400;
/// A certificate with less is warned of at the start and at each reload.
const WARN_DAYS: f64 = 14.0;

/// What serves, and may be swapped.
pub(super) struct Certificates {
    server: Option<ServerTls>,
    toward: Toward,
    https: Option<Https>,
    /// Of whose listeners, and until when it holds.
    ends: Mutex<Vec<(&'static str, i64)>>,
}

/// The files as they are now.
pub(super) struct Read {
    server: Option<ServerTls>,
    toward: Toward,
    https: Option<Fresh>,
    ends: Vec<(&'static str, i64)>,
}

impl Certificates {
    pub fn new(server: Option<ServerTls>, toward: Toward, https: Option<Https>) -> Certificates {
        Certificates {
            server,
            toward,
            https,
            ends: Mutex::default(),
        }
    }

    /// `Err` names the file and what is wrong with it.
    pub fn read(&self, config: &Config) -> Result<Read, String> {
        let said = |failure: super::Failure| failure.to_string();
        let mut ends = Vec::new();
        let server = match &self.server {
            Some(_) => server_tls(config).map_err(said)?,
            None => None,
        };
        if server.is_some() {
            let identity = server_identity(config).map_err(said)?;
            ends.push(("sip", end_of(&identity.certificate)?));
        }
        let https = match &self.https {
            Some(_) => {
                let wrong = |error| format!("[http] certificate: {error}; give PEM files");
                let fresh = Fresh::read(config).map_err(wrong)?;
                let (certificate, _): (PathBuf, PathBuf) =
                    http::certificate_files(config).map_err(wrong)?;
                ends.push(("http", end_of(&certificate)?));
                Some(fresh)
            }
            None => None,
        };
        Ok(Read {
            server,
            toward: toward(&config.sip).map_err(said)?,
            https,
            ends,
        })
    }

    /// New connections see these.
    pub fn swap(&self, read: Read) {
        if let (Some(held), Some(server)) = (&self.server, &read.server) {
            held.swap(server);
        }
        self.toward.swap(&read.toward);
        if let (Some(held), Some(https)) = (&self.https, read.https) {
            held.swap(https);
        }
        self.note(read.ends);
    }

    fn note(&self, ends: Vec<(&'static str, i64)>) {
        let mut held = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        *held = ends;
        drop(held);
        for (listener, days) in self.days_left() {
            if days < WARN_DAYS {
                tracing::warn!(listener, days, "a certificate is about to expire");
            }
        }
    }

    /// Until each expires; below 0 it has.
    pub fn days_left(&self) -> Vec<(&'static str, f64)> {
        let now = jiff::Timestamp::now().as_second();
        let held = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let days = |end: i64| (end - now) as f64 / DAY_S as f64;
        held.iter().map(|(of, end)| (*of, days(*end))).collect()
    }
}

fn end_of(file: &Path) -> Result<i64, String> {
    tls::not_after_s(file).map_err(|error| error.to_string())
}
