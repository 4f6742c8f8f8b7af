//! Errors as RFC 9457 problems, with a stable `rule` for programs.

use crate::engine::handle::Problem;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

pub(super) const CONTENT_TYPE: &str = "application/problem+json";

/// The members of a problem.
pub(super) fn body(problem: &Problem) -> Value {
    json!({
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "rule": problem.rule,
    })
}

pub(super) fn new(
    status: StatusCode,
    rule: &'static str,
    title: &str,
    detail: impl Into<String>,
) -> Problem {
    Problem {
        status: status.as_u16(),
        rule,
        title: title.to_owned(),
        detail: detail.into(),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (
            status,
            [(header::CONTENT_TYPE, CONTENT_TYPE)],
            body(&self).to_string(),
        )
            .into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

pub(super) fn not_signed_in() -> Problem {
    new(
        StatusCode::UNAUTHORIZED,
        "not_signed_in",
        "Not signed in",
        "Sign in first.",
    )
}

pub(super) fn not_found(what: &str) -> Problem {
    new(
        StatusCode::NOT_FOUND,
        "not_found",
        "Not found",
        format!("There is no such {what}."),
    )
}

pub(super) fn bad_body(error: &serde_json::Error) -> Problem {
    // serde's message names the field and never repeats more than one value; values are dropped.
    let detail = format!(
        "The body cannot be read: {} at column {}.",
        category(error),
        error.column()
    );
    new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "bad_body",
        "Unreadable body",
        detail,
    )
}

fn category(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Data => "a field is missing, unknown or of the wrong type",
        _ => "it is not JSON",
    }
}

pub(super) async fn no_such_resource() -> Problem {
    not_found("resource")
}
