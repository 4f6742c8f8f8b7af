//! Digest as a server (RFC 7616, RFC 8760; RFC 3261 §22): who may prove what, and the judgement
//! of an answer. A user nobody knows costs the same work and gets the same challenge as one who
//! is known; only the security log tells them apart.

use std::collections::HashMap;

use super::auth::{Algorithm, Fields, Parts, Secret, mac, quote, same};
use super::message::Uri;
use super::nonce::Nonces;
use crate::now::UtcMs;

/// What an account without an order of its own is asked for (RFC 8760 §2.4: strongest first).
const USUAL_ORDER: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Md5];

/// `H(user:realm:password)` both ways; a way that was not given holds what nobody can answer.
#[derive(Clone)]
struct Account {
    sha256: String,
    md5: String,
    order: Vec<Algorithm>,
}

/// Accounts by user.
pub(super) struct Accounts {
    realm: String,
    key: [u8; 32],
    of: HashMap<String, Account>,
    /// Stands in for everyone unknown.
    nobody: Account,
    /// The orders in use and how many accounts have each.
    orders: Vec<(Vec<Algorithm>, u64)>,
    nonces: Nonces,
}

/// What an Authorization proves.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Known(String),
    /// Nothing for our realm was given.
    Unanswered,
    /// Right, but for a nonce that is old, used up, or of an earlier run: ask once more.
    Stale(String),
    Wrong {
        user: Option<String>,
        reason: &'static str,
    },
}

impl Accounts {
    pub fn new(realm: String, key: [u8; 32]) -> Accounts {
        Accounts {
            nobody: Account {
                sha256: mac(&key, &["nobody", "sha256"]),
                md5: mac(&key, &["nobody", "md5"])[..32].to_owned(),
                order: USUAL_ORDER.to_vec(),
            },
            nonces: Nonces::new(&realm, key),
            realm,
            key,
            of: HashMap::new(),
            orders: Vec::new(),
        }
    }

    /// `order`: the challenges this user is sent, first choice first; one that the secret cannot
    /// serve is left out.
    pub fn set(&mut self, user: String, secret: &Secret, order: &[Algorithm]) {
        self.remove(&user);
        let ha1 = |algorithm| secret.ha1(algorithm, &user, &self.realm);
        let order: Vec<Algorithm> = order
            .iter()
            .copied()
            .filter(|algorithm| ha1(*algorithm).is_some())
            .collect();
        let account = Account {
            sha256: ha1(Algorithm::Sha256).unwrap_or_else(|| self.nobody.sha256.clone()),
            md5: ha1(Algorithm::Md5).unwrap_or_else(|| self.nobody.md5.clone()),
            order,
        };
        match self
            .orders
            .iter_mut()
            .find(|(order, _)| *order == account.order)
        {
            Some((_, count)) => *count += 1,
            None => self.orders.push((account.order.clone(), 1)),
        }
        self.of.insert(user, account);
    }

    pub fn remove(&mut self, user: &str) {
        let Some(account) = self.of.remove(user) else {
            return;
        };
        for (_, count) in self.orders.iter_mut().filter(|it| it.0 == account.order) {
            *count -= 1;
        }
        self.orders.retain(|(_, count)| *count > 0);
    }

    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// WWW-Authenticate values in the order the account prefers. `source`: where answers to them
    /// may come from.
    pub fn challenges(
        &self,
        now: UtcMs,
        user: Option<&str>,
        source: &str,
        salt: &str,
        stale: bool,
    ) -> Vec<String> {
        let nonce = self.nonces.make(now, source, salt);
        let stale = if stale { ", stale=true" } else { "" };
        let realm = quote(&self.realm);
        let value = |algorithm: &Algorithm| {
            let name = algorithm.name();
            format!(
                "Digest realm={realm}, nonce=\"{nonce}\", algorithm={name}, qop=\"auth\"{stale}"
            )
        };
        self.order(user).iter().map(value).collect()
    }

    /// An unknown user prefers what some account does, always the same, as often as accounts do:
    /// the order tells nobody who exists.
    fn order(&self, user: Option<&str>) -> &[Algorithm] {
        if let Some(account) = user.and_then(|user| self.of.get(user)) {
            return &account.order;
        }
        let total: u64 = self.orders.iter().map(|(_, count)| count).sum();
        let draw = mac(&self.key, &["order", user.unwrap_or_default()]);
        let draw = u64::from_str_radix(&draw[..15], 16).unwrap_or(0);
        let mut left = draw % total.max(1);
        for (order, count) in &self.orders {
            if left < *count {
                return order;
            }
            left -= count;
        }
        &self.nobody.order
    }

    /// Judges the Authorization values of a request that came from `source`.
    pub fn check(
        &mut self,
        now: UtcMs,
        method: &str,
        uri: &str,
        source: &str,
        values: &[String],
    ) -> Verdict {
        let mut ours = values.iter().filter_map(|value| Fields::parse(value));
        let ours = ours.find(|fields| fields.text("realm") == Some(self.realm.as_str()));
        let Some(fields) = ours else {
            return Verdict::Unanswered;
        };
        self.judge(now, method, uri, source, &fields)
            .unwrap_or(Verdict::Wrong {
                user: fields.text("username").map(str::to_owned),
                reason: "malformed",
            })
    }

    fn judge(
        &mut self,
        now: UtcMs,
        method: &str,
        uri: &str,
        source: &str,
        fields: &Fields,
    ) -> Option<Verdict> {
        let algorithm = Algorithm::parse(fields.text("algorithm"))?;
        let (user, nonce) = (fields.text("username")?, fields.text("nonce")?);
        let (named, given) = (fields.text("uri")?, fields.text("response")?);
        let qop = match fields.text("qop") {
            Some(qop) if qop.eq_ignore_ascii_case("auth") => {
                Some((fields.text("nc")?, fields.text("cnonce")?))
            }
            // RFC 3261 22.4: an old client counts nothing, so its nonce is good for one request.
            None => None,
            Some(_) => return None,
        };
        let count = match qop {
            Some((nc, _)) => u32::from_str_radix(nc, 16).ok()?,
            None => 1,
        };
        let account = self.of.get(user);
        let judged = account.unwrap_or(&self.nobody);
        let ha1 = match algorithm {
            Algorithm::Sha256 => &judged.sha256,
            Algorithm::Md5 => &judged.md5,
        };
        let expected = Parts { nonce, qop }.response(algorithm, ha1, method, named);
        let right = same(&expected, given) & judged.order.contains(&algorithm) & account.is_some();
        if !right || !is_for(named, uri) {
            let reason = match (account.is_some(), right) {
                (true, true) => "other_uri",
                (true, false) => "wrong_password",
                (false, _) => "unknown_user",
            };
            let user = Some(user.to_owned());
            return Some(Verdict::Wrong { user, reason });
        }
        let fresh = self.nonces.spend(now, source, nonce, count);
        Some(if fresh {
            Verdict::Known(user.to_owned())
        } else {
            Verdict::Stale(user.to_owned())
        })
    }
}

/// The digest's URI names the same user and host as the request line. Ports and parameters
/// differ between clients that are in the right (a `;transport=` more, a port less), and one that
/// names no user at all is as good: the nonce is bound to the source and its count to one use.
fn is_for(named: &str, uri: &str) -> bool {
    if named == uri {
        return true;
    }
    match (Uri::parse(named), Uri::parse(uri)) {
        (Ok(named), Ok(uri)) => {
            let same_user = named.user.is_none() || named.user_text() == uri.user_text();
            same_user && named.host.eq_ignore_ascii_case(&uri.host)
        }
        _ => false,
    }
}

#[cfg(test)]
#[path = "accounts_tests.rs"]
mod tests;
