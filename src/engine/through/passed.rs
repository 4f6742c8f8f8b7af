//! What of a message goes on to the other side. A back-to-back user agent makes its own messages;
//! only what is on this list survives, and only toward whom it is meant.

use crate::route::Source;
use crate::sip::{Headers, NameAddr, Party, Reason};

/// Passed on as they are, every field of the name.
const PASSED: [&str; 8] = [
    "Identity",
    "Diversion",
    "History-Info",
    "Subject",
    "Priority",
    "Privacy",
    "User-to-User",
    "Accept-Language",
];
/// RFC 3325: believed from those we trust, shown to those we trust.
const ASSERTED: &str = "P-Asserted-Identity";
const MAX_FORWARDS: &str = "Max-Forwards";
/// RFC 3261 8.1.1.6, for an INVITE that names none.
const HOPS: u32 = 70;

/// Who a call goes to, as far as what he may see of the caller is concerned (RFC 3324).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// A carrier or a configured peer.
    Trusted,
    /// A phone.
    Untrusted,
}

/// What of the caller's INVITE may go on.
pub(super) fn passed(headers: &Headers, source: &Source) -> Vec<(String, String)> {
    let believed = matches!(source, Source::Trunk(_) | Source::Address(_));
    let is_passed = |name: &str| {
        let extension = name.get(..2).is_some_and(|x| x.eq_ignore_ascii_case("X-"));
        let asserted = believed && name.eq_ignore_ascii_case(ASSERTED);
        extension || asserted || PASSED.iter().any(|one| one.eq_ignore_ascii_case(name))
    };
    headers
        .iter()
        .filter(|header| is_passed(header.name()))
        .map(|header| (header.name().to_owned(), header.text()))
        .collect()
}

/// The headers of one outgoing INVITE.
pub(super) fn outgoing(
    headers: &[(String, String)],
    hops: u32,
    trust: Trust,
) -> Vec<(String, String)> {
    let shown = |name: &str| trust == Trust::Trusted || !name.eq_ignore_ascii_case(ASSERTED);
    let mut out: Vec<(String, String)> = headers
        .iter()
        .filter(|(name, _)| shown(name))
        .cloned()
        .collect();
    out.push((MAX_FORWARDS.to_owned(), hops.to_string()));
    out
}

/// How far the call may still go: one less than it came with (RFC 7332). The endpoint has
/// answered those that came with none left.
pub(super) fn hops(headers: &Headers) -> u32 {
    let came = headers
        .text(MAX_FORWARDS)
        .and_then(|text| text.trim().parse::<u32>().ok());
    came.map_or(HOPS, |came| came.min(255)).saturating_sub(1)
}

/// The caller as a From of ours; hidden from a phone when he asks for it (RFC 3323 §4.1).
pub(super) fn from(
    party: &Party,
    headers: &[(String, String)],
    host: &str,
    trust: Trust,
) -> NameAddr {
    let hidden = headers.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("Privacy") && value.to_ascii_lowercase().contains("id")
    });
    if hidden && trust == Trust::Untrusted {
        return NameAddr::new(Some("Anonymous"), "sip:anonymous@anonymous.invalid");
    }
    let uri = match party.user.as_str() {
        "" => format!("sip:{host}"),
        user => format!("sip:{}@{host}", escaped(user)),
    };
    NameAddr::new(party.display.as_deref(), &uri)
}

/// A user part that cannot be anything else (RFC 3261 25.1 `unreserved`).
pub(super) fn escaped(user: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-_.!~*'()".contains(&byte);
    let mut out = String::with_capacity(user.len());
    for byte in user.bytes() {
        match plain(byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A Reason header's value (RFC 3326), if there is anything to tell.
pub(super) fn reason_value(reason: &Reason) -> Option<String> {
    let text = reason.text.as_ref().map(|text| {
        let plain: String = text
            .chars()
            .filter(|c| !c.is_control() && !matches!(c, '"' | '\\'))
            .collect();
        format!(";text=\"{plain}\"")
    });
    let mut text = text.unwrap_or_default();
    let causes = [("Q.850", reason.q850), ("SIP", reason.sip)];
    let told: Vec<String> = causes
        .into_iter()
        .filter_map(|(protocol, cause)| Some((protocol, cause?)))
        .map(|(protocol, cause)| format!("{protocol};cause={cause}{}", std::mem::take(&mut text)))
        .collect();
    match (told.is_empty(), text.is_empty()) {
        (false, _) => Some(told.join(", ")),
        (true, false) => Some(format!("SIP{text}")),
        (true, true) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TrunkId;

    fn headers() -> Headers {
        let mut headers = Headers::default();
        for (name, value) in [
            ("Identity", "abc;info=<https://c.example/c.pem>"),
            ("X-Order", "7"),
            ("P-Asserted-Identity", "<sip:+86138@carrier.example>"),
            ("Subject", "hello"),
            ("Route", "<sip:evil@192.0.2.9;lr>"),
            ("Authorization", "Digest"),
            ("Privacy", "id"),
            ("Max-Forwards", "10"),
        ] {
            headers.push(name, value).expect("a good header");
        }
        headers
    }

    fn names(list: &[(String, String)]) -> Vec<&str> {
        list.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn only_what_is_listed_goes_on() {
        let from_trunk = passed(&headers(), &Source::Trunk(TrunkId::new("a")));
        let expected = [
            "Identity",
            "X-Order",
            "P-Asserted-Identity",
            "Subject",
            "Privacy",
        ];
        assert_eq!(names(&from_trunk), expected);
        let from_phone = passed(&headers(), &Source::Phone("101".to_owned()));
        assert!(
            !names(&from_phone).contains(&"P-Asserted-Identity"),
            "a phone asserts nothing"
        );
    }

    #[test]
    fn an_asserted_identity_is_shown_to_the_trusted_only() {
        let list = passed(&headers(), &Source::Trunk(TrunkId::new("a")));
        assert!(names(&outgoing(&list, 9, Trust::Trusted)).contains(&"P-Asserted-Identity"));
        assert!(!names(&outgoing(&list, 9, Trust::Untrusted)).contains(&"P-Asserted-Identity"));
        let party = Party {
            display: Some("Li".to_owned()),
            user: "+86138".to_owned(),
            ..Party::default()
        };
        let seen = from(&party, &list, "192.0.2.1", Trust::Untrusted);
        assert_eq!(seen.uri, "sip:anonymous@anonymous.invalid");
        let seen = from(&party, &list, "192.0.2.1", Trust::Trusted);
        assert_eq!(seen.uri, "sip:+86138@192.0.2.1");
    }

    #[test]
    fn every_hop_counts() {
        assert_eq!(hops(&headers()), 9);
        assert_eq!(hops(&Headers::default()), 69);
    }

    #[test]
    fn a_user_part_cannot_become_a_host() {
        assert_eq!(escaped("1@192.0.2.9;x>#"), "1%40192.0.2.9%3Bx%3E%23");
        assert_eq!(escaped("+86-138"), "+86-138");
    }

    #[test]
    fn a_reason_goes_on_with_cause_and_text() {
        let reason = |q850, text: Option<&str>| Reason {
            q850,
            sip: None,
            text: text.map(str::to_owned),
        };
        assert_eq!(reason_value(&reason(None, None)), None);
        let busy = reason_value(&reason(Some(17), Some("Bu\"sy\r\n")));
        assert_eq!(busy.as_deref(), Some("Q.850;cause=17;text=\"Busy\""));
        let text = reason_value(&reason(None, Some("bye")));
        assert_eq!(text.as_deref(), Some("SIP;text=\"bye\""));
        let both = Reason {
            sip: Some(487),
            ..reason(Some(16), Some("bye"))
        };
        let both = reason_value(&both);
        assert_eq!(
            both.as_deref(),
            Some("Q.850;cause=16;text=\"bye\", SIP;cause=487")
        );
    }
}
