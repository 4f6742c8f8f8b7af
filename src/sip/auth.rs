//! Digest authentication (RFC 7616, RFC 8760; RFC 3261 §22): answering challenges as a caller,
//! and challenging with stateless nonces as a server.

use std::collections::HashMap;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest, Sha256};

use super::message::{Uri, split_commas};
use crate::now::UtcMs;

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
    fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Md5 => "MD5",
        }
    }

    fn parse(text: Option<&str>) -> Option<Algorithm> {
        match text {
            None => Some(Algorithm::Md5),
            Some(text) if text.eq_ignore_ascii_case("MD5") => Some(Algorithm::Md5),
            Some(text) if text.eq_ignore_ascii_case("SHA-256") => Some(Algorithm::Sha256),
            Some(_) => None,
        }
    }

    fn hash(self, text: &str) -> String {
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
    fn ha1(&self, algorithm: Algorithm, user: &str, realm: &str) -> Option<String> {
        match (self, algorithm) {
            (Secret::Password(password), _) => {
                Some(algorithm.hash(&format!("{user}:{realm}:{password}")))
            }
            (Secret::Ha1 { md5, .. }, Algorithm::Md5) => md5.clone(),
            (Secret::Ha1 { sha256, .. }, Algorithm::Sha256) => sha256.clone(),
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

struct Parts<'a> {
    nonce: &'a str,
    /// nc and cnonce.
    qop: Option<(&'a str, &'a str)>,
}

impl Parts<'_> {
    fn response(&self, algorithm: Algorithm, ha1: &str, method: &str, uri: &str) -> String {
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
struct Fields(Vec<(String, String)>);

impl Fields {
    fn parse(value: &str) -> Option<Fields> {
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

    fn text(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }
}

/// How long a nonce may be answered; after that the answer is `stale`.
const NONCE_LIFE: Duration = Duration::from_secs(300);
/// Nonces whose counts are remembered at once.
const NONCES_REMEMBERED_MAX: usize = 10_000;

#[derive(Clone, Debug)]
struct Account {
    secret: Secret,
    order: Vec<Algorithm>,
}

/// The server side: accounts, nonces and their counts.
pub(super) struct Guard {
    realm: String,
    key: [u8; 32],
    accounts: HashMap<String, Account>,
    counts: HashMap<String, (u32, UtcMs)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Known(String),
    Challenge { stale: bool },
}

impl Guard {
    pub fn new(realm: String, key: [u8; 32]) -> Guard {
        Guard {
            realm,
            key,
            accounts: HashMap::new(),
            counts: HashMap::new(),
        }
    }

    pub fn set_account(&mut self, user: String, secret: Secret, order: Vec<Algorithm>) {
        self.accounts.insert(user, Account { secret, order });
    }

    pub fn remove_account(&mut self, user: &str) {
        self.accounts.remove(user);
    }

    pub fn has_accounts(&self) -> bool {
        !self.accounts.is_empty()
    }

    /// WWW-Authenticate values in the order the account prefers; an unknown user gets the same.
    pub fn challenges(
        &self,
        now: UtcMs,
        user: Option<&str>,
        salt: &str,
        stale: bool,
    ) -> Vec<String> {
        let nonce = self.nonce(now, salt);
        let usual = [Algorithm::Sha256, Algorithm::Md5];
        let account = user.and_then(|user| self.accounts.get(user));
        let order = account.map_or(usual.as_slice(), |account| account.order.as_slice());
        let stale = if stale { ", stale=true" } else { "" };
        let realm = quote(&self.realm);
        let value = |algorithm: &Algorithm| {
            let name = algorithm.name();
            format!(
                "Digest realm={realm}, nonce=\"{nonce}\", algorithm={name}, qop=\"auth\"{stale}"
            )
        };
        order.iter().map(value).collect()
    }

    fn nonce(&self, now: UtcMs, salt: &str) -> String {
        let stamp = format!("{:x}.{salt}", now.0);
        format!("{stamp}.{}", self.seal(&stamp))
    }

    fn seal(&self, stamp: &str) -> String {
        mac(&self.key, &["nonce", stamp, &self.realm])[..32].to_owned()
    }

    /// When this nonce was ours, its age.
    fn nonce_age_ms(&self, now: UtcMs, nonce: &str) -> Option<u64> {
        let (stamp, seal) = nonce.rsplit_once('.')?;
        if !same(seal, &self.seal(stamp)) {
            return None;
        }
        let (time, _) = stamp.split_once('.')?;
        Some(now.ms_since(UtcMs(i64::from_str_radix(time, 16).ok()?)))
    }

    pub fn check(&mut self, now: UtcMs, method: &str, uri: &str, values: &[String]) -> Verdict {
        let ours = values.iter().filter_map(|value| Fields::parse(value));
        let mut ours = ours.filter(|fields| fields.text("realm") == Some(self.realm.as_str()));
        let Some(fields) = ours.next() else {
            return Verdict::Challenge { stale: false };
        };
        self.judge(now, method, uri, &fields)
            .unwrap_or(Verdict::Challenge { stale: false })
    }

    fn judge(&mut self, now: UtcMs, method: &str, uri: &str, fields: &Fields) -> Option<Verdict> {
        let algorithm = Algorithm::parse(fields.text("algorithm"))?;
        let (user, nonce) = (fields.text("username")?, fields.text("nonce")?);
        let age_ms = self.nonce_age_ms(now, nonce)?;
        let named = fields.text("uri")?;
        if named != uri && !same_uri(named, uri) {
            return None;
        }
        // An unknown user costs the same work as a known one.
        let nobody = Account {
            secret: Secret::Password(String::new()),
            order: Vec::new(),
        };
        let account = self.accounts.get(user);
        let secret = &account.unwrap_or(&nobody).secret;
        let ha1 = secret.ha1(algorithm, user, &self.realm)?;
        let (nc, cnonce) = (fields.text("nc")?, fields.text("cnonce")?);
        if fields.text("qop")? != "auth" {
            return None;
        }
        let parts = Parts {
            nonce,
            qop: Some((nc, cnonce)),
        };
        let expected = parts.response(algorithm, &ha1, method, named);
        let right = same(&expected, fields.text("response")?);
        let allowed = account.is_some_and(|account| account.order.contains(&algorithm));
        if !right || !allowed {
            return None;
        }
        let count = u32::from_str_radix(nc, 16).ok()?;
        let fresh = age_ms <= NONCE_LIFE.as_millis() as u64 && self.count(now, nonce, count);
        Some(if fresh {
            Verdict::Known(user.to_owned())
        } else {
            Verdict::Challenge { stale: true }
        })
    }

    /// RFC 7616 3.4.5: a count is used once. False for a replay.
    fn count(&mut self, now: UtcMs, nonce: &str, count: u32) -> bool {
        if self.counts.len() >= NONCES_REMEMBERED_MAX {
            let life_ms = NONCE_LIFE.as_millis() as u64;
            self.counts
                .retain(|_, (_, seen)| now.ms_since(*seen) <= life_ms);
        }
        if self.counts.len() >= NONCES_REMEMBERED_MAX && !self.counts.contains_key(nonce) {
            return false;
        }
        let (last, _) = self.counts.entry(nonce.to_owned()).or_insert((0, now));
        let newer = count > *last;
        *last = count.max(*last);
        newer
    }
}

fn same_uri(a: &str, b: &str) -> bool {
    matches!((Uri::parse(a), Uri::parse(b)), (Ok(a), Ok(b)) if a.is_same(&b))
}

/// Equality that takes as long whatever differs.
fn same(a: &str, b: &str) -> bool {
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
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn quote(text: &str) -> String {
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

    const NOW: UtcMs = UtcMs(1_700_000_000_000);

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

    fn guard() -> Guard {
        let mut guard = Guard::new("house".into(), [7; 32]);
        let order = vec![Algorithm::Sha256, Algorithm::Md5];
        guard.set_account("ann".into(), Secret::Password("secret".into()), order);
        guard
    }

    fn who(password: &str) -> Credentials {
        Credentials {
            username: "ann".into(),
            password: password.into(),
            realm: None,
        }
    }

    fn answer(guard: &Guard, password: &str, order: usize) -> String {
        let challenges = guard.challenges(NOW, Some("ann"), "salt", false);
        let challenge = Challenge::choose(&challenges[order..], &who(password)).unwrap();
        challenge.answer(&who(password), "INVITE", "sip:b@house", "cn")
    }

    #[test]
    fn our_own_answers_pass_with_both_algorithms_and_only_once() {
        for order in [0, 1] {
            let mut guard = guard();
            let values = [answer(&guard, "secret", order)];
            let mut check = |now| guard.check(now, "INVITE", "sip:b@house", &values);
            assert_eq!(check(NOW), Verdict::Known("ann".into()));
            assert_eq!(check(NOW), Verdict::Challenge { stale: true }, "a replay");
        }
    }

    #[test]
    fn wrong_secret_method_uri_user_or_nonce_is_challenged_again() {
        let mut guard = guard();
        let good = answer(&guard, "secret", 0);
        let refused = Verdict::Challenge { stale: false };
        let wrong = [answer(&guard, "guess", 0)];
        assert_eq!(guard.check(NOW, "INVITE", "sip:b@house", &wrong), refused);
        assert_eq!(
            guard.check(NOW, "REGISTER", "sip:b@house", std::slice::from_ref(&good)),
            refused
        );
        assert_eq!(
            guard.check(NOW, "INVITE", "sip:evil@house", std::slice::from_ref(&good)),
            refused
        );
        let other = good.replace("username=\"ann\"", "username=\"bob\"");
        assert_eq!(guard.check(NOW, "INVITE", "sip:b@house", &[other]), refused);
        let forged = good.replace("nonce=\"1", "nonce=\"2");
        assert_ne!(forged, good);
        assert_eq!(
            guard.check(NOW, "INVITE", "sip:b@house", &[forged]),
            refused
        );
        assert_eq!(guard.check(NOW, "INVITE", "sip:b@house", &[]), refused);
    }

    #[test]
    fn an_old_nonce_is_stale() {
        let mut guard = guard();
        let values = [answer(&guard, "secret", 0)];
        let later = NOW.plus(NONCE_LIFE + Duration::from_secs(1));
        let verdict = guard.check(later, "INVITE", "sip:b@house", &values);
        assert_eq!(verdict, Verdict::Challenge { stale: true });
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
