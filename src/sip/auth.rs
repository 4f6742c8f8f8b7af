//! Digest authentication (RFC 7616, RFC 8760; RFC 3261 §22): the arithmetic of both sides, and
//! answering challenges as a caller. [`super::accounts`] is the server.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest, Sha256};

use super::message::split_commas;

/// What we answer a trunk's challenge with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: String,
    /// When given, no other realm is answered.
    pub realm: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Credentials(..)")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Sha256,
    Md5,
}

impl Algorithm {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Md5 => "MD5",
        }
    }

    pub(super) fn parse(text: Option<&str>) -> Option<Algorithm> {
        match text {
            None => Some(Algorithm::Md5),
            Some(text) if text.eq_ignore_ascii_case("MD5") => Some(Algorithm::Md5),
            Some(text) if text.eq_ignore_ascii_case("SHA-256") => Some(Algorithm::Sha256),
            Some(_) => None,
        }
    }

    pub(super) fn hash(self, text: &str) -> String {
        match self {
            Algorithm::Sha256 => hex(&Sha256::digest(text.as_bytes())),
            Algorithm::Md5 => hex(&Md5::digest(text.as_bytes())),
        }
    }
}

/// What a phone proves it knows.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    Password(String),
    /// `H(user:realm:password)` in hexadecimal, one an algorithm.
    Ha1 {
        md5: Option<String>,
        sha256: Option<String>,
    },
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secret(..)")
    }
}

impl Secret {
    /// `H(user:realm:password)` in hexadecimal, as far as it is known.
    #[must_use]
    pub fn ha1(&self, algorithm: Algorithm, user: &str, realm: &str) -> Option<String> {
        match (self, algorithm) {
            (Secret::Password(password), _) => {
                Some(algorithm.hash(&format!("{user}:{realm}:{password}")))
            }
            (Secret::Ha1 { md5, .. }, Algorithm::Md5) => {
                md5.as_deref().map(str::to_ascii_lowercase)
            }
            (Secret::Ha1 { sha256, .. }, Algorithm::Sha256) => {
                sha256.as_deref().map(str::to_ascii_lowercase)
            }
        }
    }
}

/// A challenge we can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    pub realm: String,
    pub nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    qop_auth: bool,
    pub stale: bool,
}

impl Challenge {
    /// RFC 8760 2.4: the topmost challenge whose algorithm we know.
    pub fn choose(values: &[String], credentials: &Credentials) -> Option<Challenge> {
        let mut known = values.iter().filter_map(|value| Challenge::parse(value));
        known.find(|c| {
            credentials
                .realm
                .as_ref()
                .is_none_or(|realm| *realm == c.realm)
        })
    }

    fn parse(value: &str) -> Option<Challenge> {
        let fields = Fields::parse(value)?;
        let qop = fields.text("qop");
        let qop_auth = match qop {
            Some(list) => {
                let auth = list
                    .split(',')
                    .any(|one| one.trim().eq_ignore_ascii_case("auth"));
                // auth-int alone is not spoken here.
                if !auth {
                    return None;
                }
                true
            }
            None => false,
        };
        Some(Challenge {
            realm: fields.text("realm")?.to_owned(),
            nonce: fields.text("nonce")?.to_owned(),
            opaque: fields.text("opaque").map(str::to_owned),
            algorithm: Algorithm::parse(fields.text("algorithm"))?,
            qop_auth,
            stale: fields
                .text("stale")
                .is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        })
    }

    /// The value of Authorization or Proxy-Authorization.
    pub fn answer(&self, who: &Credentials, method: &str, uri: &str, cnonce: &str) -> String {
        let user = &who.username;
        let ha1 = self
            .algorithm
            .hash(&format!("{user}:{}:{}", self.realm, who.password));
        let nc = "00000001";
        let parts = Parts {
            nonce: &self.nonce,
            qop: self.qop_auth.then_some((nc, cnonce)),
        };
        let response = parts.response(self.algorithm, &ha1, method, uri);
        let mut value = format!(
            "Digest username={}, realm={}, nonce={}, uri=\"{uri}\", response=\"{response}\", algorithm={}",
            quote(user),
            quote(&self.realm),
            quote(&self.nonce),
            self.algorithm.name(),
        );
        if self.qop_auth {
            value.push_str(&format!(", qop=auth, nc={nc}, cnonce=\"{cnonce}\""));
        }
        if let Some(opaque) = &self.opaque {
            value.push_str(&format!(", opaque={}", quote(opaque)));
        }
        value
    }
}

pub(super) struct Parts<'a> {
    pub nonce: &'a str,
    /// nc and cnonce.
    pub qop: Option<(&'a str, &'a str)>,
}

impl Parts<'_> {
    pub fn response(&self, algorithm: Algorithm, ha1: &str, method: &str, uri: &str) -> String {
        let ha2 = algorithm.hash(&format!("{method}:{uri}"));
        let nonce = self.nonce;
        match self.qop {
            Some((nc, cnonce)) => {
                algorithm.hash(&format!("{ha1}:{nonce}:{nc}:{cnonce}:auth:{ha2}"))
            }
            None => algorithm.hash(&format!("{ha1}:{nonce}:{ha2}")),
        }
    }
}

/// `key=value` pairs after the word Digest.
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub fn parse(value: &str) -> Option<Fields> {
        let (scheme, rest) = value.trim().split_once([' ', '\t'])?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let pairs = split_commas(rest).into_iter().filter_map(|part| {
            let (key, value) = part.split_once('=')?;
            Some((key.trim().to_ascii_lowercase(), unquote(value.trim())))
        });
        Some(Fields(pairs.collect()))
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }
}

/// Equality that takes as long whatever differs.
pub(super) fn same(a: &str, b: &str) -> bool {
    let differences = a
        .bytes()
        .zip(b.bytes())
        .fold(0, |sum, (x, y)| sum | (x ^ y));
    a.len() == b.len() && differences == 0
}

/// HMAC-SHA256 over parts that cannot run into each other, in hexadecimal.
pub(super) fn mac(key: &[u8; 32], parts: &[&str]) -> String {
    // RFC 2104: a short key is padded with zeros to the block.
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    hex(&mac.finalize().into_bytes())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half & 15)]);
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.extend([digit(byte >> 4), digit(*byte)]);
    }
    text
}

pub(super) fn quote(text: &str) -> String {
    super::message::quote(text)
}

fn unquote(text: &str) -> String {
    let inner = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let Some(inner) = inner else {
        return text.to_owned();
    };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616 3.9.1.
    #[test]
    fn the_rfcs_own_example_comes_out() {
        let parts = Parts {
            nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            qop: Some(("00000001", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")),
        };
        let secret = Secret::Password("Circle of Life".into());
        let answer = |algorithm: Algorithm| {
            let ha1 = secret
                .ha1(algorithm, "Mufasa", "http-auth@example.org")
                .unwrap();
            parts.response(algorithm, &ha1, "GET", "/dir/index.html")
        };
        assert_eq!(answer(Algorithm::Md5), "8ca523f5e9506fed4657c9700eebdbec");
        let sha256 = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";
        assert_eq!(answer(Algorithm::Sha256), sha256);
    }

    fn who(password: &str) -> Credentials {
        Credentials {
            username: "ann".into(),
            password: password.into(),
            realm: None,
        }
    }

    #[test]
    fn a_realm_of_ones_own_is_kept_from_others() {
        let challenge = ["Digest realm=\"elsewhere\", nonce=\"n\"".to_owned()];
        let bound = Credentials {
            realm: Some("house".into()),
            ..who("secret")
        };
        assert_eq!(Challenge::choose(&challenge, &bound), None);
        assert!(Challenge::choose(&challenge, &who("secret")).is_some());
        let unknown = ["Digest realm=\"h\", nonce=\"n\", algorithm=SHA-512-256".to_owned()];
        assert_eq!(Challenge::choose(&unknown, &who("secret")), None);
    }
}
