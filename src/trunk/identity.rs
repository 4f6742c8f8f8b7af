//! Who calls: what we say of ourselves toward a carrier (RFC 3323, RFC 3325), what of another
//! leg's identity may pass to it, and what we believe of its own calls.

use crate::sip::{Headers, NameAddr, Uri};

/// Where the caller ID goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// In From alone.
    #[default]
    From,
    /// In From and P-Asserted-Identity.
    Pai,
    /// Withheld: an anonymous From and `Privacy: id`.
    None,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub show: Show,
    /// RFC 3325's trust domain: it may be told whom it must not show, and is believed.
    pub trusted: bool,
    /// The user of From, for carriers that want the account there.
    pub from_user: Option<String>,
}

/// The caller's part of an INVITE of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub from: NameAddr,
    pub headers: Vec<(String, String)>,
}

/// The caller of an INVITE of theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The user part, as the carrier wrote it; empty when there is none.
    pub user: String,
    pub display: Option<String>,
    /// Not to be shown to people beyond what the law asks for.
    pub withheld: bool,
}

impl Identity {
    /// `number` as the carrier wants it written; `domain`: the host part of its addresses.
    #[must_use]
    pub fn outgoing(&self, number: &str, domain: &str) -> Outgoing {
        let asserted = || {
            let value = format!("<sip:{number}@{domain}>");
            ("P-Asserted-Identity".to_owned(), value)
        };
        let user = self.from_user.as_deref().unwrap_or(number);
        let open = NameAddr::new(None, &format!("sip:{user}@{domain}"));
        match self.show {
            Show::From => Outgoing {
                from: open,
                headers: vec![],
            },
            Show::Pai => Outgoing {
                from: open,
                headers: vec![asserted()],
            },
            Show::None => {
                let mut headers = vec![("Privacy".to_owned(), "id".to_owned())];
                // RFC 3325 7: the number itself goes to a trusted carrier only.
                headers.extend(self.trusted.then(asserted));
                Outgoing {
                    // RFC 3323 4.1.1.3.
                    from: NameAddr::new(Some("Anonymous"), "sip:anonymous@anonymous.invalid"),
                    headers,
                }
            }
        }
    }
}

impl Identity {
    /// The headers of a call that passes on to this carrier. What tells of persons goes to a
    /// trusted one only; where we assert or withhold a number of our own, `own`, that stands in
    /// place of the caller's.
    #[must_use]
    pub fn told(
        &self,
        passed: Vec<(String, String)>,
        own: Vec<(String, String)>,
    ) -> Vec<(String, String)> {
        let personal = |name: &str| PERSONAL.iter().any(|it| it.eq_ignore_ascii_case(name));
        let ours = |name: &str| own.iter().any(|(it, _)| it.eq_ignore_ascii_case(name));
        let stays = |(name, _): &(String, String)| !ours(name) && (self.trusted || !personal(name));
        let mut told: Vec<_> = passed.into_iter().filter(stays).collect();
        told.extend(own);
        told
    }
}

/// Headers that tell of persons; they leave the house toward trusted carriers only.
const PERSONAL: [&str; 5] = [
    "P-Asserted-Identity",
    "P-Preferred-Identity",
    "Diversion",
    "History-Info",
    "Remote-Party-ID",
];

/// What of another leg's headers goes on to a carrier: Identity untouched (RFC 8224), Privacy,
/// Diversion (RFC 5806) and asserted identities by trust.
#[must_use]
pub fn pass_on(headers: &Headers, trusted: bool) -> Vec<(String, String)> {
    let personal = |name: &str| PERSONAL.iter().any(|it| it.eq_ignore_ascii_case(name));
    let open = |name: &str| {
        ["Identity", "Privacy"]
            .iter()
            .any(|it| it.eq_ignore_ascii_case(name))
    };
    headers
        .iter()
        .filter(|header| open(header.name()) || (trusted && personal(header.name())))
        .map(|header| (header.name().to_owned(), header.text()))
        .collect()
}

/// Who calls, by a carrier's INVITE: the asserted identity when the carrier is believed, else From.
#[must_use]
pub fn caller(headers: &Headers, trusted: bool) -> Caller {
    let from = headers.address("From").unwrap_or_default();
    let asserted = headers
        .items("P-Asserted-Identity")
        .into_iter()
        .filter(|_| trusted)
        .find_map(|value| NameAddr::parse(&value));
    let private = headers.items("Privacy").iter().any(|value| {
        value
            .split(';')
            .any(|it| matches!(it.trim(), "id" | "user" | "header"))
    });
    let anonymous = |address: &NameAddr| address.uri.ends_with("@anonymous.invalid");
    let withheld = private || anonymous(&from);
    let address = asserted.unwrap_or(from);
    let user = Uri::parse(&address.uri)
        .ok()
        .and_then(|uri| uri.user_text())
        .filter(|_| !anonymous(&address));
    Caller {
        user: user.unwrap_or_default(),
        display: address.display.filter(|_| !withheld),
        withheld,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in list {
            headers.push(name, value).expect("a clean header");
        }
        headers
    }

    fn identity(show: Show, trusted: bool) -> Outgoing {
        let identity = Identity {
            show,
            trusted,
            from_user: None,
        };
        identity.outgoing("+861066666666", "carrier.example")
    }

    #[test]
    fn the_number_stands_where_the_trunk_wants_it() {
        let from = identity(Show::From, false);
        assert_eq!(from.from.uri, "sip:+861066666666@carrier.example");
        assert!(from.headers.is_empty());
        let pai = identity(Show::Pai, false);
        assert_eq!(pai.from, from.from);
        let value = "<sip:+861066666666@carrier.example>";
        assert_eq!(
            pai.headers,
            [("P-Asserted-Identity".to_owned(), value.to_owned())]
        );
    }

    #[test]
    fn a_withheld_number_reaches_trusted_carriers_only() {
        let stranger = identity(Show::None, false);
        assert!(!format!("{stranger:?}").contains("1066666666"));
        assert_eq!(stranger.headers[0], ("Privacy".to_owned(), "id".to_owned()));
        let friend = identity(Show::None, true);
        assert!(friend.from.uri.contains("anonymous.invalid"));
        assert_eq!(friend.headers.len(), 2);
    }

    #[test]
    fn the_account_may_stand_in_from_beside_the_asserted_number() {
        let identity = Identity {
            show: Show::Pai,
            trusted: false,
            from_user: Some("acct7".to_owned()),
        };
        let sent = identity.outgoing("+861066666666", "carrier.example");
        assert_eq!(sent.from.uri, "sip:acct7@carrier.example");
        assert!(sent.headers[0].1.contains("+861066666666"));
    }

    #[test]
    fn diversion_and_asserted_identity_pass_by_trust_and_identity_always() {
        let all = headers(&[
            ("Diversion", "<sip:+861011111111@a>;reason=no-answer"),
            ("P-Asserted-Identity", "<sip:+861022222222@a>"),
            ("Identity", "eyJ.sig;info=<https://c.example>"),
            ("Privacy", "id"),
            ("X-Own", "1"),
        ]);
        let names = |trusted| -> Vec<String> {
            pass_on(&all, trusted).into_iter().map(|it| it.0).collect()
        };
        assert_eq!(names(false), ["Identity", "Privacy"]);
        assert_eq!(
            names(true),
            ["Diversion", "P-Asserted-Identity", "Identity", "Privacy"]
        );
    }

    #[test]
    fn a_call_that_passes_on_tells_of_persons_by_trust_and_of_us_by_policy() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let passed = || {
            vec![
                header("Diversion", "<sip:+861011111111@a>"),
                header("History-Info", "<sip:+861011111111@a>;index=1"),
                header("P-Asserted-Identity", "<sip:+861022222222@a>"),
                header("Privacy", "none"),
                header("X-Order", "7"),
            ]
        };
        let told = |show, trusted| {
            let identity = Identity {
                show,
                trusted,
                from_user: None,
            };
            let own = identity.outgoing("+861066666666", "c.example").headers;
            let told = identity.told(passed(), own);
            told.iter()
                .map(|(name, value)| format!("{name}: {value}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(Show::From, false), ["Privacy: none", "X-Order: 7"]);
        assert_eq!(told(Show::From, true).len(), 5, "all of it");
        let asserted = told(Show::Pai, true);
        let of_ours = "P-Asserted-Identity: <sip:+861066666666@c.example>";
        assert_eq!(
            asserted
                .iter()
                .filter(|it| it.starts_with("P-A"))
                .collect::<Vec<_>>(),
            [of_ours]
        );
        let withheld = told(Show::None, false);
        assert_eq!(withheld, ["X-Order: 7", "Privacy: id"]);
    }

    #[test]
    fn a_carrier_is_believed_only_when_trusted() {
        let call = headers(&[
            (
                "From",
                "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1",
            ),
            (
                "P-Asserted-Identity",
                "\"Wang\" <sip:+8613800138000@carrier.example>",
            ),
            ("Privacy", "id"),
        ]);
        let believed = caller(&call, true);
        assert_eq!(believed.user, "+8613800138000");
        assert!(believed.withheld);
        assert_eq!(believed.display, None, "withheld from people");
        assert_eq!(caller(&call, false).user, "");
        let plain = headers(&[("From", "\"Li\" <sip:013800138000@c>;tag=1")]);
        let plain = caller(&plain, false);
        assert_eq!(
            (plain.user.as_str(), plain.withheld),
            ("013800138000", false)
        );
        assert_eq!(plain.display.as_deref(), Some("Li"));
    }
}
