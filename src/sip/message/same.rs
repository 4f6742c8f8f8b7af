//! When two SIP URIs are the same one (RFC 3261 §19.1.4, with the addresses of RFC 5954 §4.2).

use std::collections::BTreeMap;

use super::uri::{Uri, ip_of};

/// A parameter of these names in only one of the two makes them differ, whatever its value.
const MUST_BE_IN_BOTH: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

impl Uri {
    #[must_use]
    pub fn is_same(&self, other: &Uri) -> bool {
        self.secure == other.secure
            && same_escaped(self.user.as_deref(), other.user.as_deref())
            && same_escaped(self.password.as_deref(), other.password.as_deref())
            && same_host(&self.host, &other.host)
            && self.port == other.port
            && header_parts(self) == header_parts(other)
            && params_match(self, other)
            && params_match(other, self)
    }
}

fn same_escaped(one: Option<&str>, other: Option<&str>) -> bool {
    one.map(spelled) == other.map(spelled)
}

fn same_host(one: &str, other: &str) -> bool {
    match (ip_of(one), ip_of(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one.eq_ignore_ascii_case(other),
    }
}

/// A parameter in both must match; any other may stand alone. One that is written twice, which
/// it should not be, matches either way.
fn params_match(one: &Uri, other: &Uri) -> bool {
    one.params.iter().all(|(name, value)| {
        let is_twin = |key: &String| key.eq_ignore_ascii_case(name);
        let mut twins = other
            .params
            .iter()
            .filter(|(key, _)| is_twin(key))
            .peekable();
        if twins.peek().is_none() {
            return !MUST_BE_IN_BOTH
                .iter()
                .any(|must| must.eq_ignore_ascii_case(name));
        }
        twins.any(|(_, theirs)| folded(value.as_deref()) == folded(theirs.as_deref()))
    })
}

fn folded(value: Option<&str>) -> Vec<u8> {
    spelled(value.unwrap_or_default()).to_ascii_lowercase()
}

/// All of them must be there, in whatever order.
fn header_parts(uri: &Uri) -> BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
    let mut parts: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    let headers = uri.headers.as_deref().unwrap_or_default();
    for part in headers.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let list = parts.entry(folded(Some(name))).or_default();
        list.push(spelled(value));
    }
    for list in parts.values_mut() {
        list.sort();
    }
    parts
}

/// One spelling for equal texts: `%HH` is the character it stands for, but for the reserved
/// ones, whose escape means something else.
fn spelled(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let escape = (*byte == b'%').then(|| escaped(after)).flatten();
        match escape {
            Some(decoded) => {
                if b";/?:@&=+$,%".contains(&decoded) {
                    out.extend(format!("%{decoded:02X}").bytes());
                } else {
                    out.push(decoded);
                }
                rest = &after[2..];
            }
            None => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    out
}

fn escaped(after: &[u8]) -> Option<u8> {
    let [high, low, ..] = after else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::Uri;

    fn same(one: &str, other: &str) -> bool {
        let read = |text: &str| Uri::parse(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        let (one, other) = (read(one), read(other));
        assert_eq!(one.is_same(&other), other.is_same(&one), "both ways alike");
        one.is_same(&other)
    }

    /// Every pair that RFC 3261 19.1.4 lists.
    #[test]
    fn uris_that_are_the_same() {
        for (one, other) in [
            (
                "sip:%61lice@atlanta.com;transport=TCP",
                "sip:alice@AtLanTa.CoM;Transport=tcp",
            ),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
            (
                "sip:carol@chicago.com;newparam=5",
                "sip:carol@chicago.com;security=on",
            ),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            // RFC 5954 4.2: an address is compared as an address.
            ("sip:bob@[2001:db8::9:1]", "sip:bob@[2001:0DB8:0::9:01]"),
            (
                "sip:a@[2001:db8:::192.0.2.1]",
                "sip:a@[2001:db8::192.0.2.1]",
            ),
            ("SIP:a@h", "sip:a@h"),
            ("sip:a@h;x=%41b", "sip:a@h;X=aB"),
        ] {
            assert!(same(one, other), "{one} and {other}");
        }
    }

    #[test]
    fn uris_that_differ() {
        for (one, other) in [
            (
                "SIP:ALICE@AtLanTa.CoM;Transport=udp",
                "sip:alice@AtLanTa.CoM;Transport=UDP",
            ),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            (
                "sip:bob@biloxi.com",
                "sip:bob@biloxi.com:6000;transport=tcp",
            ),
            (
                "sip:carol@chicago.com",
                "sip:carol@chicago.com?Subject=next%20meeting",
            ),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            (
                "sip:carol@chicago.com;security=on",
                "sip:carol@chicago.com;security=off",
            ),
            ("sip:a@h", "sips:a@h"),
            ("sip:a:secret@h", "sip:a@h"),
            ("sip:a:secret@h", "sip:a:Secret@h"),
            ("sip:a@h", "sip:h"),
            ("sip:a@h;maddr=192.0.2.1", "sip:a@h"),
            ("sip:a@h;ttl=1", "sip:a@h"),
            ("sip:a@h;user=phone", "sip:a@h"),
            // Decoded once only, and never a reserved character.
            ("sip:%25%34%31@h", "sip:A@h"),
            ("sip:a%3Bb@h", "sip:a;b@h"),
            ("sip:%00@h", "sip:%00%00@h"),
            ("sip:a@h?x=1&x=2", "sip:a@h?x=1"),
        ] {
            assert!(!same(one, other), "{one} and {other}");
        }
    }
}
