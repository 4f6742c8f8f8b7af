//! What a request or an address can name: a SIP URI, a telephone number (RFC 3966), a name such as
//! `urn:service:sos` (RFC 5031), or a scheme that is not ours.

use super::address::Param;
use super::uri::{URI_BYTES_MAX, Uri, UriError, escapes_are_whole, uri_params, valid_scheme};

#[derive(Clone, Debug)]
pub enum Target {
    Sip(Uri),
    Tel(Tel),
    /// Everything after `urn:`, in lower case: services are compared so (RFC 5031 4.4).
    Urn(String),
}

/// A `tel:` URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tel {
    /// Digits, `*`, `#`, letters of a local number, and a leading `+` when it is global; visual
    /// separators are gone.
    pub number: String,
    pub params: Vec<Param>,
}

impl Target {
    /// Reads a URI of any scheme.
    ///
    /// # Errors
    /// [`UriError::Scheme`] for a scheme that cannot be called, [`UriError::Malformed`] for what
    /// is no URI.
    pub fn parse(text: &str) -> Result<Target, UriError> {
        let (scheme, rest) = text.split_once(':').ok_or(UriError::Malformed)?;
        let graphic = rest
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"<>\"".contains(&b));
        if !graphic || !valid_scheme(scheme) || text.len() > URI_BYTES_MAX {
            return Err(UriError::Malformed);
        }
        match scheme.to_ascii_lowercase().as_str() {
            "sip" | "sips" => Uri::parse(text).map(Target::Sip),
            "tel" => tel(rest).map(Target::Tel).ok_or(UriError::Malformed),
            "urn"
                if rest
                    .split_once(':')
                    .is_some_and(|(id, name)| !id.is_empty() && !name.is_empty()) =>
            {
                Ok(Target::Urn(rest.to_ascii_lowercase()))
            }
            "urn" => Err(UriError::Malformed),
            _ => Err(UriError::Scheme),
        }
    }

    /// Whom it names, as a dial plan sees it: the user part with `%HH` decoded once, the number
    /// without separators, or the whole name.
    #[must_use]
    pub fn user_text(&self) -> Option<String> {
        match self {
            Target::Sip(uri) => uri.user_text(),
            Target::Tel(tel) => Some(tel.number.clone()),
            Target::Urn(name) => Some(format!("urn:{name}")),
        }
    }

    #[must_use]
    pub fn sip(&self) -> Option<&Uri> {
        match self {
            Target::Sip(uri) => Some(uri),
            Target::Tel(_) | Target::Urn(_) => None,
        }
    }
}

/// RFC 3966 3: a global number is digits after `+`; a local one has a context.
fn tel(rest: &str) -> Option<Tel> {
    let (written, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
    if !escapes_are_whole(params) {
        return None;
    }
    let params = uri_params(params)?;
    let (plus, digits) = match written.strip_prefix('+') {
        Some(digits) => ("+", digits),
        None => ("", written),
    };
    let number: String = digits.chars().filter(|c| !"-.()".contains(*c)).collect();
    let allowed = |c: char| match plus {
        "+" => c.is_ascii_digit(),
        _ => c.is_ascii_hexdigit() || "*#".contains(c),
    };
    if number.is_empty() || !number.chars().all(allowed) {
        return None;
    }
    Some(Tel {
        number: format!("{plus}{number}"),
        params,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> Option<String> {
        Target::parse(text)
            .unwrap_or_else(|e| panic!("{text}: {e:?}"))
            .user_text()
    }

    #[test]
    fn numbers_and_services_are_read_beside_sip() {
        assert_eq!(user("tel:+1-201-555-0123").as_deref(), Some("+12015550123"));
        assert_eq!(
            user("TEL:7042;phone-context=example.com").as_deref(),
            Some("7042")
        );
        assert_eq!(user("tel:*72#;phone-context=+1").as_deref(), Some("*72#"));
        assert_eq!(user("urn:service:SOS").as_deref(), Some("urn:service:sos"));
        assert_eq!(user("sip:%2B1;a=b@h").as_deref(), Some("+1;a=b"));
    }

    #[test]
    fn other_schemes_are_told_from_nonsense() {
        let error = |text: &str| Target::parse(text).unwrap_err();
        assert_eq!(error("soap.beep://192.0.2.103:3002"), UriError::Scheme);
        assert_eq!(
            error("nobodyKnowsThisScheme:totallyopaquecontent"),
            UriError::Scheme
        );
        for bad in [
            "tel:", "tel:+", "tel:+abc", "tel:+1 2", "urn:", "urn:x", "no colon", "1:x",
        ] {
            assert_eq!(error(bad), UriError::Malformed, "{bad}");
        }
    }
}
