//! The Replaces header (RFC 3891 §6): which dialog a new call is to take the place of.

use std::fmt;

use super::message::NameAddr;

/// Tags are told from the side that is asked to replace: `to_tag` is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaces {
    pub call_id: String,
    pub to_tag: String,
    pub from_tag: String,
    /// Only while the dialog has not been answered.
    pub early_only: bool,
}

impl Replaces {
    /// Reads a header value. `None` unless there is exactly one tag of each kind.
    #[must_use]
    pub fn parse(value: &str) -> Option<Replaces> {
        let (call_id, params) = value.split_once(';')?;
        let call_id = call_id.trim();
        if call_id.is_empty() || call_id.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return None;
        }
        // The parameter syntax is that of an address, so one is put in front.
        let params = NameAddr::parse(&format!("<sip:replaces>;{params}"))?.params;
        let named = |wanted: &str| {
            let mut found = params
                .iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            let value = found.next()?.1.clone()?;
            found.next().is_none().then_some(value)
        };
        Some(Replaces {
            call_id: call_id.to_owned(),
            to_tag: named("to-tag")?,
            from_tag: named("from-tag")?,
            early_only: params
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case("early-only")),
        })
    }

    /// The Replaces that a Refer-To URI carries among its headers (RFC 3515 2.1).
    pub(super) fn of_uri_headers(headers: &str) -> Option<Replaces> {
        headers.split('&').find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let named = name.eq_ignore_ascii_case("Replaces");
            named.then(|| Replaces::parse(&unescaped(value)))?
        })
    }

    /// A URI that asks for this replacement when it is called.
    pub(super) fn within(&self, uri: &str) -> String {
        let joint = if uri.contains('?') { '&' } else { '?' };
        let mut text = format!("{uri}{joint}Replaces=");
        for byte in self.to_string().bytes() {
            // RFC 3261 25.1 hvalue: unreserved stands for itself.
            if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
                text.push(char::from(byte));
            } else {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
        text
    }
}

impl fmt::Display for Replaces {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Replaces {
            call_id,
            to_tag,
            from_tag,
            early_only,
        } = self;
        write!(out, "{call_id};to-tag={to_tag};from-tag={from_tag}")?;
        if *early_only {
            out.write_str(";early-only")?;
        }
        Ok(())
    }
}

fn unescaped(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let hex = |at: usize| after.get(at).and_then(|b| char::from(*b).to_digit(16));
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaces_survives_a_refer_to_uri() {
        let replaces = Replaces {
            call_id: "12@[::1];x=y".replace(';', "-"),
            to_tag: "a".into(),
            from_tag: "b".into(),
            early_only: true,
        };
        let uri = replaces.within("sip:bob@127.0.0.1");
        assert!(!uri[4..].contains([';', '[']), "{uri}");
        let (_, headers) = uri.split_once('?').expect("headers");
        assert_eq!(Replaces::of_uri_headers(headers), Some(replaces));
    }

    #[test]
    fn a_replaces_without_both_tags_is_none() {
        for text in ["x", "x;to-tag=a", "x;from-tag=b", ";to-tag=a;from-tag=b"] {
            assert_eq!(Replaces::parse(text), None, "{text}");
        }
        assert_eq!(Replaces::parse("x;to-tag=a;to-tag=c;from-tag=b"), None);
        assert!(Replaces::parse("x;from-tag=b;to-tag=a").is_some());
    }
}
