//! The local admin API, for `foredial ctl`: a bearer key that lies in the state folder, readable
//! by its owner only.

use super::links::LINK_LIFE;
use super::session::SignedIn;
use super::sessions::{Digest256, digest, new_token, write_private};
use super::site::Site;
use super::{Listener, problem, utc_now};
use crate::engine::handle::Problem;
use crate::id::AgentId;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const KEY_FILE: &str = "admin.key";

/// What opens the admin API: only its digest is kept in memory.
#[derive(Clone)]
pub struct AdminKey {
    digest: Digest256,
}

impl AdminKey {
    #[must_use]
    pub fn new(token: &str) -> AdminKey {
        AdminKey {
            digest: digest(token),
        }
    }

    /// The key of a state folder, made with mode 0600 when there is none.
    pub fn in_folder(folder: &Path) -> io::Result<AdminKey> {
        let path = AdminKey::path(folder);
        match std::fs::read_to_string(&path) {
            Ok(text) if text.trim().len() >= 32 => Ok(AdminKey::new(text.trim())),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => {
                let token = new_token();
                write_private(&path, token.as_bytes())?;
                Ok(AdminKey::new(&token))
            }
        }
    }

    /// Where the key of a state folder lies.
    #[must_use]
    pub fn path(folder: &Path) -> PathBuf {
        folder.join(KEY_FILE)
    }

    /// Digests are compared, so the time tells nothing about the key.
    fn opens(&self, headers: &HeaderMap) -> bool {
        let bearer = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let token = bearer.and_then(|bearer| bearer.strip_prefix("Bearer "));
        token.is_some_and(|token| digest(token.trim()) == self.digest)
    }
}

/// Proof that a request carried the admin key.
pub(super) struct Admin;

impl FromRequestParts<Arc<Site>> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Admin, Problem> {
        if site.admin.opens(&parts.headers) {
            return Ok(Admin);
        }
        let status = match SignedIn::from_request_parts(parts, site).await {
            Ok(_) => StatusCode::FORBIDDEN,
            Err(_) => StatusCode::UNAUTHORIZED,
        };
        let detail = format!("This needs the key in the state folder's {KEY_FILE}.");
        Err(problem::new(status, "admin_key", "Not allowed", detail))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkBody {
    agent: String,
}

/// A one-time link, under the name we were reached by.
pub(super) async fn sign_in_link(
    _: Admin,
    State(site): State<Arc<Site>>,
    Extension(listener): Extension<Listener>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let body: LinkBody =
        serde_json::from_slice(&body).map_err(|error| problem::bad_body(&error))?;
    let agent = AgentId::new(&body.agent);
    if site.account(&agent).is_none() {
        return Err(problem::not_found("agent"));
    }
    let token = site.links.issue(&agent, utc_now());
    let scheme = if listener.secure { "https" } else { "http" };
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = host.map_or_else(|| listener.local.to_string(), str::to_owned);
    let url = format!("{scheme}://{host}/signin?token={token}");
    Ok(Json(
        json!({ "url": url, "expires_s": LINK_LIFE.as_secs() }),
    ))
}

pub(super) async fn snapshot(_: Admin, State(site): State<Arc<Site>>) -> Json<Value> {
    Json(site.handle.snapshot().await)
}

pub(super) async fn trunks(_: Admin, State(site): State<Arc<Site>>) -> Json<Value> {
    Json(site.handle.trunk_snapshot().await)
}

pub(super) async fn drain(_: Admin, State(site): State<Arc<Site>>) -> StatusCode {
    site.handle.drain().await;
    StatusCode::ACCEPTED
}
