//! The daemon's web side: pages, the desk and SIP WebSockets, the REST resources, recordings,
//! health, metrics and the local admin API. A resource per file.
//!
//! Everything that changes goes through [`crate::engine::handle::Handle`]; what is only read from
//! the store comes through an [`Archive`] given in.

mod admin;
mod archive;
#[cfg(feature = "pages")]
mod assets;
mod command;
mod cookie;
mod desk;
mod exposition;
mod headers;
mod health;
mod links;
mod metrics;
mod origin;
mod password;
mod phones;
mod problem;
mod range;
mod rate;
mod recording;
mod serve;
mod session;
mod sessions;
mod sip;
mod site;
mod socket;
mod steer;
mod tls;
mod trace;
mod trace_filter;

#[cfg(test)]
mod tests;

pub use admin::AdminKey;
pub use archive::{Archive, Page};
pub use links::Links;
pub use password::hash as hash_password;
pub use serve::{BindFailure, Server, Serving, serve};
pub use sessions::{JsonFile, SessionRow, SessionStore, Sessions};
pub use site::{Account, Site, SiteParts};
pub use steer::{Reloaded, Reloading, Steer};
pub use tls::{Fresh, Https, certificate_files, install_crypto_once};

use crate::now::UtcMs;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post, put};
use std::net::SocketAddr;
use std::sync::Arc;

/// Requests of the page are small; notes are the longest.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Which of our listeners a request came in by.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    pub local: SocketAddr,
    /// HTTPS: cookies are `__Host-` and Secure.
    pub secure: bool,
}

/// All routes, as seen on one listener.
pub fn router(site: Arc<Site>, listener: Listener) -> Router {
    let router = Router::new()
        .route("/signin", get(session::sign_in_by_link))
        .route(
            "/api/v1/session",
            get(session::show)
                .post(session::sign_in)
                .delete(session::sign_out),
        )
        .route("/api/v1/agent/commands", post(command::post))
        .route("/api/v1/desk", get(desk::open))
        .route("/sip", get(sip::open))
        .route("/api/v1/calls", get(archive::calls))
        .route("/api/v1/leads", get(archive::leads))
        .route("/api/v1/recordings/{call}", get(recording::get))
        .route("/api/v1/admin/sign-in-links", post(admin::sign_in_link))
        .route("/api/v1/admin/snapshot", get(admin::snapshot))
        .route("/api/v1/admin/trunks", get(admin::trunks))
        .route("/api/v1/admin/drain", post(admin::drain))
        .route("/api/v1/admin/reload", post(steer::reload))
        .route("/api/v1/admin/log-level", put(steer::log_level))
        .route("/api/v1/admin/registrations", get(steer::registrations))
        .route("/api/v1/admin/phones", get(phones::list).post(phones::add))
        .route("/api/v1/admin/phones/{user}", delete(phones::remove))
        .route(
            "/api/v1/admin/calls/{id}",
            get(steer::call).delete(steer::hang_up),
        )
        .route("/api/v1/trace", get(trace::show))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::show))
        .route(
            "/api/{*rest}",
            axum::routing::any(problem::no_such_resource),
        );
    #[cfg(feature = "pages")]
    let router = router.merge(assets::router());
    router
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(axum::middleware::from_fn(headers::secure))
        .layer(axum::Extension(listener))
        .with_state(site)
}

/// The top floor's clock reading, for sign-ins and rate limits.
fn utc_now() -> UtcMs {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    UtcMs(0).plus(since)
}
