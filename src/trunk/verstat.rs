//! What a carrier says of its caller's number: the `verstat` parameter (3GPP TS 24.229 §7.2A.20,
//! ATIS-1000074), and whether the call was signed at all (RFC 8224). We check no signature here.

use crate::sip::{Headers, NameAddr};

/// The carrier's finding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verstat {
    /// The number is the caller's.
    Passed,
    /// It may be anybody's.
    Failed,
    /// The carrier has looked, and there was nothing to check.
    NoValidation,
    /// It says nothing, or is not believed.
    #[default]
    Unknown,
}

impl Verstat {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Verstat::Passed => "passed",
            Verstat::Failed => "failed",
            Verstat::NoValidation => "no_validation",
            Verstat::Unknown => "unknown",
        }
    }

    /// The value of the parameter; levels of attestation may follow (`TN-Validation-Passed-A`).
    fn parse(value: &str) -> Option<Verstat> {
        let is = |known: &str| {
            value
                .get(..known.len())
                .is_some_and(|x| x.eq_ignore_ascii_case(known))
                && value[known.len()..].trim_start_matches('-').len() <= 1
        };
        if is("TN-Validation-Passed") {
            Some(Verstat::Passed)
        } else if is("TN-Validation-Failed") {
            Some(Verstat::Failed)
        } else if is("No-TN-Validation") {
            Some(Verstat::NoValidation)
        } else {
            None
        }
    }
}

/// Of an INVITE: P-Asserted-Identity before From, when the carrier is believed.
#[must_use]
pub fn verstat(headers: &Headers, believed: bool) -> Verstat {
    if !believed {
        return Verstat::Unknown;
    }
    let asserted = headers.items("P-Asserted-Identity").into_iter();
    let mut addresses = asserted
        .filter_map(|value| NameAddr::parse(&value))
        .chain(headers.address("From"));
    addresses
        .find_map(|address| in_uri(&address.uri))
        .unwrap_or_default()
}

/// Whether a signature came with it, good or bad.
#[must_use]
pub fn signed(headers: &Headers) -> bool {
    headers.text("Identity").is_some()
}

/// A parameter of the telephone number, in a tel: URI or in the user part of a sip: one, or of the
/// URI.
fn in_uri(uri: &str) -> Option<Verstat> {
    uri.split([';', '@', '?']).skip(1).find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.eq_ignore_ascii_case("verstat")
            .then(|| Verstat::parse(value))
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: &[(&str, &str)], believed: bool) -> Verstat {
        let mut headers = Headers::default();
        for (name, value) in lines {
            headers.push(name, value).expect("a clean header");
        }
        verstat(&headers, believed)
    }

    #[test]
    fn the_finding_is_read_wherever_a_carrier_writes_it() {
        for (value, expected) in [
            (
                "<tel:+14155550100;verstat=TN-Validation-Passed>",
                Verstat::Passed,
            ),
            (
                "<sip:+14155550100;VERSTAT=tn-validation-failed@c.example;user=phone>",
                Verstat::Failed,
            ),
            (
                "<sip:+14155550100@c.example;user=phone;verstat=No-TN-Validation>",
                Verstat::NoValidation,
            ),
            (
                "<sip:+14155550100;verstat=TN-Validation-Passed-A@c.example>",
                Verstat::Passed,
            ),
            (
                "<sip:+14155550100;verstat=TN-Validation-Passed-Perhaps@c.example>",
                Verstat::Unknown,
            ),
            (
                "<sip:+14155550100;verstat=maybe@c.example>",
                Verstat::Unknown,
            ),
            (
                "\"verstat=TN-Validation-Passed\" <sip:+14155550100@c.example>",
                Verstat::Unknown,
            ),
            ("<sip:+14155550100@c.example>", Verstat::Unknown),
        ] {
            assert_eq!(
                found(&[("P-Asserted-Identity", value)], true),
                expected,
                "{value}"
            );
            assert_eq!(
                found(&[("From", &format!("{value};tag=1"))], true),
                expected,
                "{value}"
            );
            assert_eq!(
                found(&[("From", value)], false),
                Verstat::Unknown,
                "{value}"
            );
        }
    }

    #[test]
    fn what_is_asserted_counts_more_than_from() {
        let from = (
            "From",
            "<sip:+1;verstat=TN-Validation-Passed@c.example>;tag=1",
        );
        let asserted = (
            "P-Asserted-Identity",
            "<tel:+1;verstat=TN-Validation-Failed>",
        );
        assert_eq!(found(&[from, asserted], true), Verstat::Failed);
    }
}
