//! Reading the configuration file anew while the switch runs, on SIGHUP or `foredial ctl reload`.
//! A file with a mistake changes nothing. What can be taken over is, all at once; what cannot is
//! named. Agents who left keep their sign-in until their call is over.

use super::certificates::Certificates;
use super::log;
use crate::config::{self, Access, Config, HttpConfig, SecurityConfig, SipConfig};
use crate::engine::handle::Handle;
use crate::engine::resolved::EngineConfig;
use crate::http::{Reloaded, Reloading, Site, Steer};
use crate::id::AgentId;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Mutex;

/// How often agents who left are looked after.
const LEAVING_LOOK: Duration = Duration::from_secs(1);

/// From a checked file to what the engine takes over; pages' lists go by it from then on.
pub type Resolve = Arc<dyn Fn(&Config) -> EngineConfig + Send + Sync>;

pub(super) struct Reloader {
    /// `None`: not started from a file.
    pub file: Option<PathBuf>,
    pub handle: Handle,
    pub site: Weak<Site>,
    pub resolve: Resolve,
    pub certificates: Certificates,
    /// What is in force. Held while a reload is under way: one at a time.
    pub in_force: Mutex<Arc<Config>>,
}

impl Reloader {
    async fn read_anew(&self) -> Result<Reloaded, String> {
        let Some(file) = &self.file else {
            return Err("this switch was not started from a file; start it with `foredial run --config FILE`".to_owned());
        };
        let mut in_force = self.in_force.lock().await;
        let new = config::load(file).map_err(|errors| errors.to_string())?;
        let changes = config::changes(&in_force, &new);
        let told = |restart: bool| -> Vec<String> {
            let chosen = changes.iter().filter(|it| it.needs_restart == restart);
            chosen.map(ToString::to_string).collect()
        };
        let (applied, after_restart) = (told(false), told(true));
        let merged = merged(&in_force, &new);
        // The files may be others under the same names.
        let certificates = self.certificates.read(&merged)?;
        self.certificates.swap(certificates);
        if !applied.is_empty() {
            let leaving = self.handle.reload((self.resolve)(&new)).await;
            let leaving = leaving.ok_or("the switch is stopping")?;
            if let Some(site) = self.site.upgrade() {
                site.reload_accounts(&new, &leaving);
            }
            if !leaving.is_empty() {
                tokio::spawn(see_off(self.handle.clone(), self.site.clone(), leaving));
            }
        }
        // What needs a restart is told again at the next reload: it is still not in force.
        *in_force = Arc::new(merged);
        tracing::info!(
            applied = applied.len(),
            after_restart = after_restart.len(),
            "configuration read anew"
        );
        Ok(Reloaded {
            applied,
            after_restart,
        })
    }
}

/// The configuration in force, with what a running switch takes over of a new one.
fn merged(in_force: &Config, new: &Config) -> Config {
    let (sip, http) = (new.sip.clone(), new.http.clone());
    Config {
        sip: SipConfig {
            certificate: sip.certificate,
            key: sip.key,
            client_ca: sip.client_ca,
            client_required: sip.client_required,
            ca: sip.ca,
            verify: sip.verify,
            access: Access {
                realm: in_force.sip.access.realm.clone(),
                ..sip.access
            },
            ..in_force.sip.clone()
        },
        http: HttpConfig {
            certificate: http.certificate,
            key: http.key,
            ..in_force.http.clone()
        },
        trunks: new.trunks.clone(),
        phones: new.phones.clone(),
        agents: new.agents.clone(),
        campaigns: new.campaigns.clone(),
        routes: new.routes.clone(),
        routing: new.routing.clone(),
        fraud: new.fraud.clone(),
        security: SecurityConfig {
            log: in_force.security.log.clone(),
            ..new.security.clone()
        },
        ..in_force.clone()
    }
}

impl Steer for Reloader {
    fn reload(&self) -> Reloading<'_> {
        Box::pin(self.read_anew())
    }

    fn certificates(&self) -> Vec<(&'static str, f64)> {
        self.certificates.days_left()
    }

    fn log_level(&self, wanted: &str) -> Result<String, String> {
        log::change(wanted)
    }
}

/// Takes the sign-in from agents who left as soon as their calls are over.
async fn see_off(handle: Handle, site: Weak<Site>, mut leaving: Vec<AgentId>) {
    while !leaving.is_empty() {
        tokio::time::sleep(LEAVING_LOOK).await;
        let snapshot = handle.snapshot().await;
        let Some(site) = site.upgrade() else { return };
        let desk = |agent: &AgentId| {
            let mut desks = snapshot["agents"].as_array().into_iter().flatten();
            desks.find(|desk| desk["id"] == agent.as_str())
        };
        leaving.retain(|agent| match desk(agent) {
            // Configured again meanwhile: not ours any more.
            Some(desk) => desk["leaving"] == true,
            None => {
                site.close_account(agent);
                false
            }
        });
    }
}
