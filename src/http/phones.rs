//! Desk phones, for the admin: which there are, and adding and removing those that are kept in the
//! store. A password is made here, told once and kept nowhere.

use super::admin::Admin;
use super::problem;
use super::site::Site;
use crate::engine::handle::Problem;
use crate::engine::kept_phones::PhoneChange;
use crate::sip::Secret;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use rand::RngExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

const USER_CHARS_MAX: usize = 64;
/// 24 of 32 signs are 120 bits. Those that look alike are left out: a person types this.
const PASSWORD_CHARS: usize = 24;
const SIGNS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PhoneBody {
    user: String,
    /// For a phone that stops at a challenge it does not know.
    #[serde(default)]
    md5_only: bool,
}

pub(super) async fn list(_: Admin, State(site): State<Arc<Site>>) -> Json<Value> {
    Json(site.handle.phones().await)
}

pub(super) async fn add(
    _: Admin,
    State(site): State<Arc<Site>>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let body: PhoneBody =
        serde_json::from_slice(&body).map_err(|error| problem::bad_body(&error))?;
    let (user, password) = (checked(body.user)?, password());
    let change = PhoneChange::Add {
        user: user.clone(),
        secret: Secret::Password(password.clone()),
        md5_only: body.md5_only,
    };
    site.handle.change_phone(change).await?;
    let told = json!({ "user": user, "password": password });
    Ok((StatusCode::CREATED, Json(told)))
}

pub(super) async fn remove(
    _: Admin,
    State(site): State<Arc<Site>>,
    Path(user): Path<String>,
) -> Result<StatusCode, Problem> {
    let change = PhoneChange::Remove {
        user: checked(user)?,
    };
    site.handle.change_phone(change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What needs no escaping in a SIP URI, in a digest or in a path.
fn checked(user: String) -> Result<String, Problem> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    if !user.is_empty() && user.len() <= USER_CHARS_MAX && user.chars().all(plain) {
        return Ok(user);
    }
    Err(problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "bad_user",
        "Not a phone's name",
        format!("Use 1 to {USER_CHARS_MAX} letters, digits and - _ . + only."),
    ))
}

fn password() -> String {
    let mut random = rand::rng();
    let sign = |_| char::from(SIGNS[random.random_range(0..SIGNS.len())]);
    (0..PASSWORD_CHARS).map(sign).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_and_never_alike() {
        let (one, other) = (password(), password());
        assert_eq!(one.len(), PASSWORD_CHARS);
        assert_ne!(one, other);
    }

    #[test]
    fn a_name_that_needs_escaping_is_refused() {
        for user in ["104", "li.wei", "+86-1_0"] {
            assert_eq!(checked(user.to_owned()).ok().as_deref(), Some(user));
        }
        let long = "x".repeat(USER_CHARS_MAX + 1);
        for user in ["", "a b", "a@b", "a;b", "\u{e9}", "\"", &long] {
            assert!(checked(user.to_owned()).is_err(), "{user}");
        }
    }
}
