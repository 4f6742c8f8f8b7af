//! What all requests share.

use super::admin::AdminKey;
use super::archive::Archive;
use super::links::Links;
use super::rate::Rates;
use super::sessions::{JsonFile, Sessions};
use super::utc_now;
use crate::config::Config;
use crate::engine::handle::Handle;
use crate::id::AgentId;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;
use tokio::sync::Semaphore;

/// A guess every so often, after this many at once.
const GUESSES_PER_ADDRESS: (f64, Duration) = (10.0, Duration::from_secs(6));
const GUESSES_PER_AGENT: (f64, Duration) = (5.0, Duration::from_secs(12));
/// One verification takes about 20 MiB and 50 ms.
const VERIFICATIONS_MAX: usize = 2;

pub struct Site {
    pub(super) handle: Handle,
    pub(super) archive: Arc<dyn Archive>,
    pub(super) accounts: HashMap<AgentId, Account>,
    pub(super) sessions: Sessions,
    pub links: Links,
    pub(super) admin: AdminKey,
    pub(super) origins: Vec<String>,
    /// SIP over WebSocket without a sign-in: `[sip] digest = false`, on loopback only.
    pub(super) open_sip: bool,
    pub(super) guesses_by_address: Rates,
    pub(super) guesses_by_agent: Rates,
    pub(super) verifications: Semaphore,
    pub(super) heartbeat: Heartbeat,
    pub(super) next_tab: AtomicU64,
    pub(super) sockets: AtomicUsize,
}

/// Who may sign in, and how.
#[derive(Clone, Debug)]
pub struct Account {
    pub name: String,
    pub language: &'static str,
    /// argon2, PHC form.
    pub password_hash: Option<String>,
}

/// How WebSockets are kept and given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heartbeat {
    pub(super) ping_every: Duration,
    pub(super) dead_after: Duration,
}

impl Heartbeat {
    pub(super) const USUAL: Heartbeat = Heartbeat {
        ping_every: Duration::from_secs(5),
        dead_after: Duration::from_secs(15),
    };
}

/// What a site is made of.
pub struct SiteParts {
    pub handle: Handle,
    pub archive: Arc<dyn Archive>,
    pub accounts: HashMap<AgentId, Account>,
    pub sessions: Sessions,
    pub admin: AdminKey,
    pub origins: Vec<String>,
    pub open_sip: bool,
}

impl Site {
    #[must_use]
    pub fn new(parts: SiteParts) -> Site {
        Site {
            handle: parts.handle,
            archive: parts.archive,
            accounts: parts.accounts,
            sessions: parts.sessions,
            links: Links::default(),
            admin: parts.admin,
            origins: parts.origins,
            open_sip: parts.open_sip,
            guesses_by_address: Rates::new(GUESSES_PER_ADDRESS.0, GUESSES_PER_ADDRESS.1),
            guesses_by_agent: Rates::new(GUESSES_PER_AGENT.0, GUESSES_PER_AGENT.1),
            verifications: Semaphore::new(VERIFICATIONS_MAX),
            heartbeat: Heartbeat::USUAL,
            next_tab: AtomicU64::new(1),
            sockets: AtomicUsize::new(0),
        }
    }

    /// A site as configured. Sign-ins and the admin key live in the state folder, which is made
    /// when it is not there.
    pub fn configured(
        config: &Config,
        handle: Handle,
        archive: Arc<dyn Archive>,
    ) -> io::Result<Site> {
        let folder = &config.state.folder;
        config.state.make_folder()?;
        let account = |agent: &crate::config::AgentConfig| {
            let account = Account {
                name: agent.name.clone(),
                language: agent.language.as_str(),
                password_hash: agent
                    .password_hash
                    .as_ref()
                    .map(|hash| hash.reveal().to_owned()),
            };
            (AgentId::new(&agent.id), account)
        };
        let life = Duration::from_secs(u64::from(config.http.session_hours) * 3_600);
        let store = JsonFile::new(folder.join("sessions.json"));
        Ok(Site::new(SiteParts {
            handle,
            archive,
            accounts: config.agents.iter().map(account).collect(),
            sessions: Sessions::open(Box::new(store), life, utc_now())?,
            admin: AdminKey::in_folder(folder)?,
            origins: config.http.origins.clone(),
            open_sip: !config.sip.digest,
        }))
    }
}
