//! Whose pages may act with the agent's cookie (RFC 6454): our own, and those configured.

use super::Listener;
use super::site::Site;
use crate::engine::handle::Problem;
use axum::http::{HeaderMap, header};

/// A WebSocket says its origin, or it is not opened: a browser always does.
pub(super) fn of_socket(
    site: &Site,
    headers: &HeaderMap,
    listener: Listener,
) -> Result<(), Problem> {
    match headers.get(header::ORIGIN) {
        Some(origin) if is_allowed(site, origin.as_bytes(), headers, listener) => Ok(()),
        _ => Err(refused()),
    }
}

/// A change by REST may come without an origin (no browser), but not with a foreign one.
pub(super) fn of_change(
    site: &Site,
    headers: &HeaderMap,
    listener: Listener,
) -> Result<(), Problem> {
    match headers.get(header::ORIGIN) {
        Some(origin) if !is_allowed(site, origin.as_bytes(), headers, listener) => Err(refused()),
        _ => Ok(()),
    }
}

fn is_allowed(site: &Site, origin: &[u8], headers: &HeaderMap, listener: Listener) -> bool {
    let Ok(origin) = std::str::from_utf8(origin).map(str::to_ascii_lowercase) else {
        return false;
    };
    let scheme = if listener.secure { "https" } else { "http" };
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    // A page under another name never has our cookie, so the name it used to reach us is its own.
    host.is_some_and(|host| origin == format!("{scheme}://{}", host.to_ascii_lowercase()))
        || site.origins.contains(&origin)
}

fn refused() -> Problem {
    Problem {
        status: 403,
        rule: "origin",
        title: "Foreign origin".into(),
        detail: "This page may not act here. If it should, add its origin to `origins` in [http]."
            .into(),
    }
}
