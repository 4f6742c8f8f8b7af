//! What the switch tells people about itself, beyond its one snapshot.

use serde_json::{Value, json};

use super::switch::Switch;
use crate::id::CallId;
use crate::now::Now;
use crate::sip::Counters;

impl Switch {
    /// Where phones are registered, for the admin only: users are names.
    pub fn registrations(&self, now: Now) -> Value {
        let row = |binding: crate::sip::Registered<'_>| {
            let left = binding.expires_at.saturating_duration_since(now.instant);
            json!({
                "aor": binding.aor,
                "contact": binding.contact,
                "remote": binding.flow.remote.to_string(),
                "transport": binding.flow.transport.name(),
                "expires_s": left.as_secs(),
            })
        };
        let mut rows: Vec<Value> = self.sip.registrations().map(row).collect();
        rows.sort_by_key(|row| row["aor"].as_str().map(str::to_owned));
        Value::Array(rows)
    }

    /// Whether this call is up.
    pub fn has_call(&self, call: CallId) -> bool {
        self.calls.get(&call).is_some_and(|call| !call.is_ended()) || self.through.has(call)
    }
}

/// What the network sent that came to nothing, by reason.
pub(super) fn refusals(counters: &Counters) -> Value {
    json!({
        "garbage": counters.garbage,
        "malformed": counters.malformed,
        "stray_response": counters.stray_responses,
        "stray_ack": counters.stray_acks,
        "unauthorised": counters.unauthorised,
        "auth_failed": counters.auth_failed,
        "lockouts": counters.lockouts,
        "locked_out": counters.locked_out,
        "scanners": counters.scanners,
        "overload": counters.overload,
    })
}
