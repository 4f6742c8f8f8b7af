//! What all requests share.

use super::admin::AdminKey;
use super::archive::Archive;
use super::links::Links;
use super::rate::Rates;
use super::sessions::{JsonFile, Sessions};
use super::steer::Steer;
use super::utc_now;
use crate::config::Config;
use crate::engine::handle::Handle;
use crate::id::AgentId;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
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
    /// Changed by a reload only; each look is short.
    accounts: RwLock<HashMap<AgentId, Account>>,
    /// Given in once the whole switch is up.
    pub(super) steer: OnceLock<Arc<dyn Steer>>,
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
            accounts: RwLock::new(parts.accounts),
            steer: OnceLock::new(),
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
        let life = Duration::from_secs(u64::from(config.http.session_hours) * 3_600);
        let store = JsonFile::new(folder.join("sessions.json"));
        Ok(Site::new(SiteParts {
            handle,
            archive,
            accounts: accounts(config),
            sessions: Sessions::open(Box::new(store), life, utc_now())?,
            admin: AdminKey::in_folder(folder)?,
            origins: config.http.origins.clone(),
            open_sip: !config.sip.digest,
        }))
    }

    /// Lets the admin API reload and change the log. Only the first one given in stays.
    pub fn steer_by(&self, steer: Arc<dyn Steer>) {
        let _ = self.steer.set(steer);
    }

    /// The account of an agent who may sign in.
    pub(super) fn account(&self, agent: &AgentId) -> Option<Account> {
        let accounts = self.accounts.read();
        let accounts = accounts.unwrap_or_else(PoisonError::into_inner);
        accounts.get(agent).cloned()
    }

    /// The agents of a new configuration; those `leaving` keep theirs for now.
    pub fn reload_accounts(&self, config: &Config, leaving: &[AgentId]) {
        let mut new = accounts(config);
        let mut present = self
            .accounts
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for agent in leaving {
            if let Some(account) = present.remove(agent) {
                new.entry(agent.clone()).or_insert(account);
            }
        }
        *present = new;
    }

    /// Nobody signs in by this name any more.
    pub fn close_account(&self, agent: &AgentId) {
        let accounts = self.accounts.write();
        accounts
            .unwrap_or_else(PoisonError::into_inner)
            .remove(agent);
    }
}

fn accounts(config: &Config) -> HashMap<AgentId, Account> {
    let account = |agent: &crate::config::AgentConfig| {
        let hash = agent.password_hash.as_ref();
        let account = Account {
            name: agent.name.clone(),
            language: agent.language.as_str(),
            password_hash: hash.map(|hash| hash.reveal().to_owned()),
        };
        (AgentId::new(&agent.id), account)
    };
    config.agents.iter().map(account).collect()
}
