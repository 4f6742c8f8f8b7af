//! `foredial run`: everything up in order, then waiting for a signal.
//!
//! Ports are bound first, so that a taken one is told before anything starts. SIGTERM drains: no
//! new work, calls go on to their end; a second one, or Ctrl-C, ends them now.

use super::{Failure, SipBound, control, log};
use crate::config::{self, Config};
use crate::engine::handle::Handle;
use crate::http::{Archive, Server, Serving, Site, serve};
use clap::Args;
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
            let up = Up::start(works, Arc::new(config), bound).await?;
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
    join: Box<dyn FnOnce() + Send>,
    terminations: Signal,
    interrupts: Signal,
    _address: control::Address,
}

impl Up {
    pub(super) async fn start(
        works: impl Works,
        config: Arc<Config>,
        bound: Bound,
    ) -> Result<Up, Failure> {
        let no_socket = || Failure::new("[sip] listen is empty", "name an address for UDP");
        let sip = bound.sip.first().ok_or_else(no_socket)?;
        let no_signals = |error| Failure::plain(format!("signals cannot be waited for: {error}"));
        let terminations = signal(SignalKind::terminate()).map_err(no_signals)?;
        let interrupts = signal(SignalKind::interrupt()).map_err(no_signals)?;
        let running = works.start(Arc::clone(&config), bound.sip).await?;
        let folder = &config.state.folder;
        let in_state = |error: io::Error| {
            let what = format!("[state] folder = \"{}\": {error}", folder.display());
            Failure::new(what, "let this user read and write there")
        };
        let site =
            Site::configured(&config, running.handle.clone(), running.archive).map_err(in_state)?;
        let site = Arc::new(site);
        let url = control::url(&bound.server);
        let address = control::Address::leave(folder, &url).map_err(in_state)?;
        let serving = serve(bound.server, Arc::clone(&site)).map_err(in_state)?;
        Ok(Up {
            sip,
            url,
            site,
            serving,
            handle: running.handle,
            join: running.join,
            terminations,
            interrupts,
            _address: address,
        })
    }

    /// Serves until a signal, then ends in order.
    pub(super) async fn until_told(mut self) -> Result<(), Failure> {
        let drains = tokio::select! {
            _ = self.terminations.recv() => true,
            _ = self.interrupts.recv() => false,
        };
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
