//! The session cookie. On HTTPS it is `__Host-` (this host only, Secure, path `/`); plain HTTP,
//! which is for this machine, cannot have that and uses its own name.

use super::Listener;
use axum::http::{HeaderMap, HeaderValue, header};
use std::time::Duration;

const SECURE_NAME: &str = "__Host-foredial";
const PLAIN_NAME: &str = "foredial";

fn name(listener: Listener) -> &'static str {
    if listener.secure {
        SECURE_NAME
    } else {
        PLAIN_NAME
    }
}

/// The token the browser sent.
pub(super) fn token(headers: &HeaderMap, listener: Listener) -> Option<&str> {
    let wanted = name(listener);
    let pairs = headers
        .get_all(header::COOKIE)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    pairs.flat_map(|value| value.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == wanted).then_some(value)
    })
}

/// Lax, so that a link from a chat window still signs in; other sites' requests are caught by
/// their Origin.
pub(super) fn set(token: &str, life: Duration, listener: Listener) -> HeaderValue {
    write(token, life.as_secs(), listener)
}

pub(super) fn clear(listener: Listener) -> HeaderValue {
    write("", 0, listener)
}

fn write(token: &str, max_age_s: u64, listener: Listener) -> HeaderValue {
    let secure = if listener.secure { "; Secure" } else { "" };
    let name = name(listener);
    let text =
        format!("{name}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age_s}{secure}");
    // Tokens are hex and the rest is ours.
    HeaderValue::try_from(text).expect("ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(secure: bool) -> Listener {
        Listener {
            local: "127.0.0.1:1".parse().unwrap(),
            secure,
        }
    }

    #[test]
    fn https_has_a_host_cookie_and_http_its_own() {
        let set_secure = set("ab", Duration::from_secs(60), listener(true));
        assert_eq!(
            set_secure,
            "__Host-foredial=ab; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure"
        );
        assert_eq!(
            clear(listener(false)),
            "foredial=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"
        );
    }

    #[test]
    fn the_token_is_found_among_other_cookies() {
        let mut headers = HeaderMap::new();
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("xforedial=1; foredial=plain"),
        );
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("__Host-foredial=secure"),
        );
        assert_eq!(token(&headers, listener(false)), Some("plain"));
        assert_eq!(token(&headers, listener(true)), Some("secure"));
        assert_eq!(token(&HeaderMap::new(), listener(true)), None);
    }
}
