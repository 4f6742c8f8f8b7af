//! From `[sip]`, `[security]`, `[fraud]` and `[[phone]]` to the guards of the house.

use std::sync::Arc;
use std::time::Duration;

use super::Failure;
use crate::config::{Config, DigestAlgorithm, PhoneConfig};
use crate::engine::resolved::Phone;
use crate::engine::security;
use crate::net::flood::Flood;
use crate::sip::guard::{AccessList, Gate, LockoutRules, Rate};
use crate::sip::{Algorithm, EndpointConfig, Secret};
use crate::trunk::fraud::{Caps, FraudRules};

/// Failures of one user, from wherever they came, for each of one address.
const USER_FAILURES: u32 = 3;

/// The gate in front of the SIP sockets. The engine tells it whom to trust.
fn gate(config: &Config) -> Gate {
    let (access, strangers, trunks) = rules(config);
    Gate::new(access, Vec::new(), strangers, trunks)
}

/// Who may speak, and how much: for strangers, and for trunks and permitted callers.
fn rules(config: &Config) -> (AccessList, Rate, Rate) {
    let access = AccessList {
        allow: config.sip.access.allow.clone(),
        deny: config.sip.access.deny.clone(),
    };
    (
        access,
        Rate::per_s(config.security.messages_per_s),
        Rate::per_s(config.security.trunk_messages_per_s),
    )
}

/// The file was read anew.
pub(super) fn reload(config: &Config, flood: &Flood) {
    let (access, strangers, trunks) = rules(config);
    flood.set_rules(access, strangers, trunks);
}

/// The gate for the sockets, and the security log's file if there is one.
pub(super) fn open(config: &Config) -> Result<Arc<Flood>, Failure> {
    if let Some(path) = &config.security.log {
        security::log_to(path).map_err(|error| {
            let what = format!("[security] log = \"{}\": {error}", path.display());
            Failure::new(what, "name a file this user may write to")
        })?;
    }
    Ok(Arc::new(Flood::new(gate(config), security::log)))
}

/// What the endpoint is told of all this.
pub(super) fn endpoint(config: &Config, endpoint: EndpointConfig) -> EndpointConfig {
    let (access, security) = (&config.sip.access, &config.security);
    let lockout = LockoutRules {
        failures_max: security.failures_max,
        failures_of_user_max: security.failures_max.saturating_mul(USER_FAILURES),
        first: Duration::from_secs(security.lock_s.into()),
        longest: Duration::from_secs(security.lock_s_max.into()),
        ..endpoint.lockout
    };
    EndpointConfig {
        realm: access.realm.clone(),
        domain: Some(access.domain.clone()).filter(|domain| !domain.is_empty()),
        domains: access.domains.clone(),
        drop_scanners: access.drop_scanners,
        lockout,
        ..endpoint
    }
}

pub(super) fn phone(phone: &PhoneConfig) -> Phone {
    let text = |secret: &crate::config::Secret| secret.reveal().to_owned();
    let secret = if phone.password.is_empty() {
        Secret::Ha1 {
            md5: phone.ha1_md5.as_ref().map(text),
            sha256: phone.ha1_sha256.as_ref().map(text),
        }
    } else {
        Secret::Password(text(&phone.password))
    };
    let order = phone.algorithms.iter().map(|algorithm| match algorithm {
        DigestAlgorithm::Sha256 => Algorithm::Sha256,
        DigestAlgorithm::Md5 => Algorithm::Md5,
    });
    Phone {
        user: phone.user.clone(),
        secret,
        order: order.collect(),
        srtp: phone.srtp.policy(),
        srtp_over_plain: phone.srtp_over_plain,
    }
}

/// The caps on calls outside.
pub(super) fn fraud(config: &Config) -> FraudRules {
    let fraud = &config.fraud;
    FraudRules {
        each: Caps {
            calls_at_once: fraud.calls_at_once,
            calls_a_minute: fraud.calls_a_minute,
            minutes_a_day: fraud.minutes_a_day,
        },
        all: Caps {
            calls_at_once: fraud.calls_at_once_in_all,
            calls_a_minute: fraud.calls_a_minute_in_all,
            minutes_a_day: fraud.minutes_a_day_in_all,
        },
        longest_call_s: fraud.longest_call_minutes.saturating_mul(60),
        allowed: fraud.allowed.clone(),
        denied: fraud.denied.clone(),
    }
}
