//! `foredial run`: everything up in order, then waiting for a signal.
//!
//! Ports are bound first, so that a taken one is told before anything starts. SIGTERM drains: no
//! new work, calls go on to their end; a second one, or Ctrl-C, ends them now. SIGHUP reads the
//! file anew. systemd is told of all three (`Type=notify-reload`).

use super::certificates::Certificates;
use super::reload::{Reloader, Resolve};
use super::{Failure, SipBound, control, log};
use crate::config::{self, Config};
use crate::engine::handle::Handle;
use crate::http::{Archive, Server, Serving, Site, Steer, serve};
use clap::Args;
use sd_notify::NotifyState;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long a drain waits for calls to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(3_600);
const DRAIN_LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(super) struct Run {
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Starts the rooms below the command line: store, media workers, the loop.
pub trait Works: Send + Sync + 'static {
    /// Called on a tokio runtime, on which the SIP sockets live.
    fn start(
        &self,
        config: Arc<Config>,
        sip: SipBound,
    ) -> impl Future<Output = Result<Running, Failure>> + Send;
}

/// A started switch.
pub struct Running {
    pub handle: Handle,
    pub archive: Arc<dyn Archive>,
    pub resolve: Resolve,
    /// Waits, on a thread where that is fine, until the loop has ended and the store has written
    /// everything; called after [`Handle::shutdown`].
    pub join: Box<dyn FnOnce() + Send>,
}

impl Run {
    pub(super) fn carry_out(self, works: impl Works) -> Result<(), Failure> {
        let config = config::load(&self.config)?;
        log::start();
        runtime()?.block_on(async {
            let bound = Bound::bind(&config).await?;
            let up = Up::start(works, Arc::new(config), Some(self.config), bound).await?;
            tracing::info!(page = %up.url, sip = %up.sip, "running");
            up.until_told().await
        })
    }
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.map_err(|error| Failure::plain(format!("no threads to run on: {error}")))
}

/// Every port of the control plane, bound.
pub(super) struct Bound {
    server: Server,
    sip: SipBound,
}

impl Bound {
    pub(super) async fn bind(config: &Config) -> Result<Bound, Failure> {
        config.state.make_folder().map_err(|error| {
            let what = format!(
                "[state] folder = \"{}\" cannot be made: {error}",
                config.state.folder.display()
            );
            Failure::new(what, "choose a folder this user may write to")
        })?;
        let server = Server::bind(config).map_err(Failure::plain)?;
        let sip = SipBound::bind(config)?;
        Ok(Bound { server, sip })
    }
}

/// The switch, running and being served.
pub(super) struct Up {
    pub(super) sip: SocketAddr,
    /// The page's address for people on this machine.
    pub(super) url: String,
    pub(super) site: Arc<Site>,
    serving: Serving,
    handle: Handle,
    reloader: Arc<Reloader>,
    join: Box<dyn FnOnce() + Send>,
    hang_ups: Option<Signal>,
    terminations: Signal,
    interrupts: Signal,
    _address: control::Address,
}

impl Up {
    pub(super) async fn start(
        works: impl Works,
        config: Arc<Config>,
        file: Option<PathBuf>,
        bound: Bound,
    ) -> Result<Up, Failure> {
        let no_socket = || Failure::new("[sip] listen is empty", "name an address for UDP");
        let sip = bound.sip.first().ok_or_else(no_socket)?;
        let no_signals = |error| Failure::plain(format!("signals cannot be waited for: {error}"));
        let terminations = signal(SignalKind::terminate()).map_err(no_signals)?;
        let interrupts = signal(SignalKind::interrupt()).map_err(no_signals)?;
        // Without a file to read again, a closed terminal ends the process as it always does.
        let hang_ups = file.as_ref().map(|_| signal(SignalKind::hangup()));
        let hang_ups = hang_ups.transpose().map_err(no_signals)?;
        let (server, toward) = bound.sip.tls.clone();
        let certificates = Certificates::new(server, toward, bound.server.https());
        let read = certificates.read(&config).map_err(Failure::plain)?;
        certificates.swap(read);
        let running = works.start(Arc::clone(&config), bound.sip).await?;
        let folder = &config.state.folder;
        let in_state = |error: io::Error| {
            let what = format!("[state] folder = \"{}\": {error}", folder.display());
            Failure::new(what, "let this user read and write there")
        };
        let site =
            Site::configured(&config, running.handle.clone(), running.archive).map_err(in_state)?;
        let site = Arc::new(site);
        let reloader = Arc::new(Reloader {
            file,
            handle: running.handle.clone(),
            site: Arc::downgrade(&site),
            resolve: running.resolve,
            certificates,
            in_force: tokio::sync::Mutex::new(Arc::clone(&config)),
        });
        site.steer_by(Arc::clone(&reloader) as Arc<dyn Steer>);
        let url = control::url(&bound.server);
        let address = control::Address::leave(folder, &url).map_err(in_state)?;
        let serving = serve(bound.server, Arc::clone(&site)).map_err(in_state)?;
        Ok(Up {
            sip,
            url,
            site,
            serving,
            handle: running.handle,
            reloader,
            join: running.join,
            hang_ups,
            terminations,
            interrupts,
            _address: address,
        })
    }

    /// Serves until a signal, then ends in order.
    pub(super) async fn until_told(mut self) -> Result<(), Failure> {
        tell_systemd(&[NotifyState::Ready]);
        let drains = loop {
            tokio::select! {
                _ = self.terminations.recv() => break true,
                _ = self.interrupts.recv() => break false,
                () = hung_up(&mut self.hang_ups) => reload(&self.reloader).await,
            }
        };
        tell_systemd(&[NotifyState::Stopping]);
        if drains {
            tracing::info!("draining: no new work, calls go on; once more to end them now");
            self.handle.drain().await;
            tokio::select! {
                () = no_calls(&self.handle) => {}
                () = tokio::time::sleep(DRAIN_LIMIT) => {}
                _ = self.terminations.recv() => {}
                _ = self.interrupts.recv() => {}
            }
        }
        tracing::info!("stopping");
        self.handle.shutdown().await;
        self.serving.stop().await;
        let join = self.join;
        tokio::task::spawn_blocking(join)
            .await
            .map_err(|_| Failure::plain("the switch did not end cleanly"))
    }
}

/// Until the switch has no call left, or is gone.
async fn no_calls(handle: &Handle) {
    loop {
        let snapshot = handle.snapshot().await;
        let none = |calls: &serde_json::Value| calls.as_array().is_none_or(Vec::is_empty);
        if none(&snapshot["calls"]) && none(&snapshot["through"]["calls"]) {
            return;
        }
        tokio::time::sleep(DRAIN_LOOK).await;
    }
}

/// A SIGHUP; never, when none is waited for.
async fn hung_up(hang_ups: &mut Option<Signal>) {
    match hang_ups {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// What came of it goes to the log, as nobody else is there to be told.
async fn reload(reloader: &Reloader) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell_systemd(&[NotifyState::Reloading, now]),
        Err(_) => tell_systemd(&[NotifyState::Reloading]),
    }
    match reloader.reload().await {
        Ok(reloaded) => {
            for change in reloaded.applied {
                tracing::info!(change = without_values(&change), "taken over");
            }
            for change in reloaded.after_restart {
                tracing::warn!(change = without_values(&change), "needs a restart");
            }
        }
        Err(errors) => tracing::error!("nothing was changed\n\n{errors}"),
    }
    tell_systemd(&[NotifyState::Ready]);
}

/// `~ trunk a: max_calls`: values may be numbers and names, which no log shows.
fn without_values(change: &str) -> &str {
    let key = change.find(": ").map(|colon| colon + 2);
    let end = key.and_then(|key| Some(key + change[key..].find(' ')?));
    &change[..end.unwrap_or(change.len())]
}

/// Without `NOTIFY_SOCKET` there is nobody to tell.
fn tell_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd could not be told");
    }
}
