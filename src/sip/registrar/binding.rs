//! One contact of an address of record, kept small.

use std::time::Instant;

use super::super::event::Flow;
use super::super::message::{NameAddr, Uri, quote};
use super::Change;
use super::wish::{Asked, Wish};

/// Requests go where the phone was heard from unless `direct`, whatever address the contact names.
#[derive(Clone, Debug)]
pub(super) struct Binding {
    /// The Contact as it is shown: URI and parameters without what is ours.
    pub contact: Box<str>,
    /// Where the REGISTER came from.
    pub flow: Flow,
    pub expires_at: Instant,
    pub call_id: Box<str>,
    pub cseq: u32,
    pub q_permille: u16,
    /// The contact's own port stands: no NAT in between, and the phone listens elsewhere than it
    /// sends from.
    pub direct: bool,
    pub path: Box<[Box<str>]>,
    pub instance: Option<Box<str>>,
    pub reg_id: Option<u32>,
}

impl Binding {
    pub fn new(wish: &Wish, asked: &Asked, flow: Flow, expires_at: Instant) -> Binding {
        let same_host =
            wish.uri.host_ip().map(|ip| ip.to_canonical()) == Some(flow.remote.ip().to_canonical());
        Binding {
            contact: wish.contact.to_string().into(),
            flow,
            expires_at,
            call_id: asked.call_id.as_str().into(),
            cseq: asked.cseq,
            q_permille: wish.q_permille,
            direct: same_host && !asked.rport && asked.path.is_empty() && wish.reg_id.is_none(),
            path: asked.path.iter().map(|hop| hop.as_str().into()).collect(),
            instance: wish.instance.as_deref().map(Into::into),
            reg_id: wish.reg_id,
        }
    }

    pub fn uri(&self) -> String {
        NameAddr::parse(&self.contact)
            .map(|contact| contact.uri)
            .unwrap_or_default()
    }

    /// The same flow of the same device (RFC 5626 §6), or equal URIs where no flow is numbered.
    pub fn is_same(&self, wish: &Wish) -> bool {
        if self.reg_id.is_some() && wish.reg_id.is_some() {
            return self.reg_id == wish.reg_id
                && self.instance.as_deref() == wish.instance.as_deref();
        }
        Uri::parse(&self.uri()).is_ok_and(|uri| uri.is_same(&wish.uri))
    }

    pub fn gone(&self, aor: &str) -> Change {
        Change::Gone {
            aor: aor.to_owned(),
            contact: self.uri(),
        }
    }

    /// The Contact value of a 200. `gruu`: the address of record, for phones that know GRUU.
    pub fn shown(&self, now: Instant, gruu: Option<&Uri>) -> String {
        let left_s = self.expires_at.saturating_duration_since(now).as_secs();
        let gruu = gruu
            .zip(self.instance.as_deref())
            .map(|(aor, instance)| pub_gruu(aor, instance))
            .map(|gruu| format!(";pub-gruu={}", quote(&gruu)));
        let gruu = gruu.unwrap_or_default();
        format!("{}{gruu};expires={left_s}", self.contact)
    }
}

/// RFC 5627 §5.4: the address of record with the device's name in `gr`.
fn pub_gruu(aor: &Uri, instance: &str) -> String {
    let scheme = if aor.secure { "sips" } else { "sip" };
    format!("{scheme}:{};gr={}", aor.aor(), escaped(bare(instance)))
}

/// An instance without its angle brackets.
pub(super) fn bare(instance: &str) -> &str {
    instance
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'))
        .unwrap_or(instance)
}

/// As the value of a URI parameter (RFC 3261 §25.1 `paramchar`).
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()[]/:&+$".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
