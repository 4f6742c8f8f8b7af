//! Binding the listeners and serving them until told to stop.

use super::site::Site;
use super::tls::{Fresh, Https};
use super::{Listener, router};
use crate::config::Config;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::RustlsAcceptor;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Open requests get this long when the server stops.
const GRACE: Duration = Duration::from_secs(2);

/// Listeners that are bound but not yet served: a taken port shows before anything starts.
pub struct Server {
    plain: Option<TcpListener>,
    secure: Option<(TcpListener, Https)>,
}

/// Which key of the configuration failed, and why.
#[derive(Debug)]
pub struct BindFailure {
    /// `listen` or `tls_listen` of `[http]`, or `certificate`.
    pub key: &'static str,
    pub address: Option<SocketAddr>,
    pub error: io::Error,
}

/// Listeners being served.
pub struct Serving {
    pub http: Option<SocketAddr>,
    pub https: Option<SocketAddr>,
    stops: Vec<axum_server::Handle<SocketAddr>>,
    tasks: Vec<JoinHandle<io::Result<()>>>,
}

impl Server {
    /// Binds what `[http]` asks for.
    pub fn bind(config: &Config) -> Result<Server, BindFailure> {
        let plain = config
            .http
            .listen
            .map(|address| bind("listen", address))
            .transpose()?;
        let secure = match config.http.tls_listen {
            Some(address) => {
                let listener = bind("tls_listen", address)?;
                let failed = |error| BindFailure {
                    key: "certificate",
                    address: None,
                    error,
                };
                let fresh = Fresh::read(config).map_err(failed)?;
                Some((listener, Https::new(fresh)))
            }
            None => None,
        };
        Ok(Server { plain, secure })
    }

    /// Where plain HTTP is bound.
    #[must_use]
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.plain
            .as_ref()
            .and_then(|listener| listener.local_addr().ok())
    }

    /// The certificate of HTTPS, to be swapped.
    #[must_use]
    pub fn https(&self) -> Option<Https> {
        self.secure.as_ref().map(|(_, https)| https.clone())
    }

    /// Where HTTPS is bound.
    #[must_use]
    pub fn https_addr(&self) -> Option<SocketAddr> {
        self.secure
            .as_ref()
            .and_then(|(listener, _)| listener.local_addr().ok())
    }
}

/// Serves `site` on bound listeners, on the running tokio runtime.
pub fn serve(server: Server, site: Arc<Site>) -> io::Result<Serving> {
    let (http, https) = (server.http_addr(), server.https_addr());
    let mut serving = Serving {
        http,
        https,
        stops: Vec::new(),
        tasks: Vec::new(),
    };
    if let (Some(listener), Some(local)) = (server.plain, http) {
        let stop = axum_server::Handle::new();
        let service = router(
            Arc::clone(&site),
            Listener {
                local,
                secure: false,
            },
        );
        let server = axum_server::from_tcp(listener)?
            .acceptor(NoDelayAcceptor::new())
            .handle(stop.clone());
        serving.tasks.push(tokio::spawn(
            server.serve(service.into_make_service_with_connect_info::<SocketAddr>()),
        ));
        serving.stops.push(stop);
    }
    if let (Some((listener, tls)), Some(local)) = (server.secure, https) {
        let stop = axum_server::Handle::new();
        let service = router(
            site,
            Listener {
                local,
                secure: true,
            },
        );
        let acceptor = RustlsAcceptor::new(tls.served()).acceptor(NoDelayAcceptor::new());
        let server = axum_server::from_tcp(listener)?
            .acceptor(acceptor)
            .handle(stop.clone());
        serving.tasks.push(tokio::spawn(
            server.serve(service.into_make_service_with_connect_info::<SocketAddr>()),
        ));
        serving.stops.push(stop);
    }
    Ok(serving)
}

impl Serving {
    /// Stops accepting, lets open requests end, then cuts the rest.
    pub async fn stop(self) {
        for stop in &self.stops {
            stop.graceful_shutdown(Some(GRACE));
        }
        for task in self.tasks {
            // A listener that failed has already stopped.
            let _ = task.await;
        }
    }
}

fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, BindFailure> {
    let bound = TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    bound.map_err(|error| BindFailure {
        key,
        address: Some(address),
        error,
    })
}

impl fmt::Display for BindFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BindFailure {
            key,
            address,
            error,
        } = self;
        match address {
            Some(address) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "[http] {key} = \"{address}\": the port is taken; stop what uses it or change {key}"
                )
            }
            Some(address) if error.kind() == io::ErrorKind::PermissionDenied => {
                write!(
                    f,
                    "[http] {key} = \"{address}\": not allowed; take a port above 1023 or give the right to bind it"
                )
            }
            Some(address) => {
                write!(
                    f,
                    "[http] {key} = \"{address}\": {error}; give an address of this machine"
                )
            }
            None => write!(
                f,
                "[http] {key}: {error}; give PEM files, or leave certificate and key out for a self-signed one"
            ),
        }
    }
}

impl std::error::Error for BindFailure {}
