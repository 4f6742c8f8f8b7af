//! Signing in and out: `/api/v1/session` and the one-time link `/signin`.

use super::site::Site;
use super::{Listener, cookie, origin, password, problem, utc_now};
use crate::engine::handle::Problem;
use crate::id::AgentId;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Extension, FromRequestParts, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The agent a request comes from.
pub(super) struct SignedIn {
    pub(super) agent: AgentId,
    /// The cookie's value, for sockets that outlive the request and must notice a sign-out.
    pub(super) token: String,
}

impl FromRequestParts<Arc<Site>> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<SignedIn, Problem> {
        let Extension(listener) = Extension::<Listener>::from_request_parts(parts, site)
            .await
            .map_err(|_| problem::not_signed_in())?;
        let token = cookie::token(&parts.headers, listener).ok_or_else(problem::not_signed_in)?;
        let agent = site.agent_of(token).ok_or_else(problem::not_signed_in)?;
        Ok(SignedIn {
            agent,
            token: token.to_owned(),
        })
    }
}

impl Site {
    /// Whose token it is, if that agent is still configured.
    pub(super) fn agent_of(&self, token: &str) -> Option<AgentId> {
        self.sessions
            .agent(token, utc_now())
            .filter(|agent| self.account(agent).is_some())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    agent: String,
    password: String,
}

#[derive(Deserialize)]
pub(super) struct LinkQuery {
    #[serde(default)]
    token: String,
}

pub(super) async fn show(State(site): State<Arc<Site>>, signed_in: SignedIn) -> Response {
    let account = site.account(&signed_in.agent);
    let language = account.as_ref().map_or("en", |account| account.language);
    let name = account.map_or_else(|| signed_in.agent.to_string(), |account| account.name);
    let agent = json!({ "id": signed_in.agent.as_str(), "name": name, "language": language });
    axum::Json(json!({ "agent": agent })).into_response()
}

pub(super) async fn sign_in(
    State(site): State<Arc<Site>>,
    Extension(listener): Extension<Listener>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    origin::of_change(&site, &headers, listener)?;
    let credentials: Credentials =
        serde_json::from_slice(&body).map_err(|error| problem::bad_body(&error))?;
    let now = Instant::now();
    let free = site.guesses_by_address.take(&remote.ip().to_string(), now);
    let free = free.and_then(|()| site.guesses_by_agent.take(&credentials.agent, now));
    if let Err(wait) = free {
        return Ok(too_many_guesses(wait));
    }
    let agent = AgentId::new(&credentials.agent);
    let stored = site
        .account(&agent)
        .and_then(|account| account.password_hash);
    if !verify(&site, stored, credentials.password).await {
        // Neither the name nor the address's owner is a customer; fail2ban reads this line.
        tracing::warn!(target: "security", address = %remote.ip(), "sign-in refused");
        return Err(problem::new(
            StatusCode::UNAUTHORIZED,
            "wrong_password",
            "Not signed in",
            "The name or the password is wrong.",
        ));
    }
    let token = site.sessions.sign_in(&agent, utc_now());
    let cookie = cookie::set(&token, site.sessions.life(), listener);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// `GET /signin?token=…`: uses the link up and goes to the page.
pub(super) async fn sign_in_by_link(
    State(site): State<Arc<Site>>,
    Extension(listener): Extension<Listener>,
    Query(query): Query<LinkQuery>,
) -> Result<Response, Problem> {
    let agent = site
        .links
        .redeem(&query.token, utc_now())
        .filter(|agent| site.account(agent).is_some());
    let agent = agent.ok_or_else(|| {
        let detail =
            "Links work once and for ten minutes. Ask for a new one: foredial ctl sign-in <agent>.";
        problem::new(
            StatusCode::GONE,
            "link_used",
            "This link is no longer good",
            detail,
        )
    })?;
    let token = site.sessions.sign_in(&agent, utc_now());
    let cookie = cookie::set(&token, site.sessions.life(), listener);
    let no_store = (
        header::CACHE_CONTROL,
        axum::http::HeaderValue::from_static("no-store"),
    );
    Ok(([(header::SET_COOKIE, cookie), no_store], Redirect::to("/")).into_response())
}

pub(super) async fn sign_out(
    State(site): State<Arc<Site>>,
    Extension(listener): Extension<Listener>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    origin::of_change(&site, &headers, listener)?;
    if let Some(token) = cookie::token(&headers, listener) {
        site.sessions.sign_out(token);
    }
    Ok((
        StatusCode::NO_CONTENT,
        [(header::SET_COOKIE, cookie::clear(listener))],
    )
        .into_response())
}

/// Off the runtime's threads, and a few at a time.
async fn verify(site: &Site, stored: Option<String>, given: String) -> bool {
    if given.len() > password::PASSWORD_BYTES_MAX {
        return false;
    }
    let Ok(_permit) = site.verifications.acquire().await else {
        return false;
    };
    tokio::task::spawn_blocking(move || password::verify(stored.as_deref(), &given))
        .await
        .unwrap_or(false)
}

fn too_many_guesses(wait: Duration) -> Response {
    let wait_s = wait.as_secs() + 1;
    let detail = format!("Too many tries. Wait {wait_s} s, or ask for a sign-in link.");
    let problem = problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_tries",
        "Wait a moment",
        detail,
    );
    let mut response = problem.into_response();
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, wait_s.into());
    response
}
