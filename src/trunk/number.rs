//! How a carrier writes numbers, and E.164 back from that.

/// The fewest and most digits of an E.164 number with its country code.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NumberRule {
    /// `+8613800138000`
    #[default]
    E164,
    /// Its own country as dialled there (`013800138000`), others with the international prefix.
    National {
        country_code: String,
        national_prefix: String,
        international_prefix: String,
    },
    /// All with the international prefix for the `+`: `008613800138000`. An empty one drops the `+`.
    Prefix { international_prefix: String },
}

impl NumberRule {
    /// `e164` (with its `+`) as the carrier wants it.
    #[must_use]
    pub fn write(&self, e164: &str) -> String {
        let digits = e164.strip_prefix('+').unwrap_or(e164);
        match self {
            NumberRule::E164 => format!("+{digits}"),
            NumberRule::Prefix {
                international_prefix,
            } => format!("{international_prefix}{digits}"),
            NumberRule::National {
                country_code,
                national_prefix,
                international_prefix,
            } => match digits.strip_prefix(country_code.as_str()) {
                Some(national) => format!("{national_prefix}{national}"),
                None => format!("{international_prefix}{digits}"),
            },
        }
    }

    /// E.164 with its `+` from what the carrier wrote; `None` when it is no number in its form.
    #[must_use]
    pub fn read(&self, written: &str) -> Option<String> {
        if let Some(digits) = written.strip_prefix('+') {
            return e164(digits);
        }
        match self {
            NumberRule::E164 => e164(written),
            NumberRule::Prefix {
                international_prefix,
            } => e164(written.strip_prefix(international_prefix.as_str())?),
            NumberRule::National {
                country_code,
                national_prefix,
                international_prefix,
            } => {
                if let Some(abroad) = stripped(written, international_prefix) {
                    return e164(abroad);
                }
                // Many carriers leave the trunk prefix out.
                let national = stripped(written, national_prefix).unwrap_or(written);
                e164(&format!("{country_code}{national}"))
            }
        }
    }
}

/// An empty prefix tells nothing, so it is none.
fn stripped<'a>(written: &'a str, prefix: &str) -> Option<&'a str> {
    written.strip_prefix(prefix).filter(|_| !prefix.is_empty())
}

fn e164(digits: &str) -> Option<String> {
    let good = DIGITS.contains(&digits.len())
        && !digits.starts_with('0')
        && digits.bytes().all(|digit| digit.is_ascii_digit());
    good.then(|| format!("+{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn china() -> NumberRule {
        NumberRule::National {
            country_code: "86".to_owned(),
            national_prefix: "0".to_owned(),
            international_prefix: "00".to_owned(),
        }
    }

    fn prefix(international_prefix: &str) -> NumberRule {
        NumberRule::Prefix {
            international_prefix: international_prefix.to_owned(),
        }
    }

    #[test]
    fn what_a_rule_writes_it_reads_back() {
        for rule in [NumberRule::E164, china(), prefix("00"), prefix("")] {
            for number in ["+8613800138000", "+861066666666", "+12125550100"] {
                let written = rule.write(number);
                assert_eq!(rule.read(&written).as_deref(), Some(number), "{written}");
            }
        }
    }

    #[test]
    fn a_national_number_comes_with_or_without_its_prefix() {
        let rule = china();
        assert_eq!(rule.write("+861066666666"), "01066666666");
        assert_eq!(rule.read("01066666666").as_deref(), Some("+861066666666"));
        assert_eq!(rule.read("13800138000").as_deref(), Some("+8613800138000"));
        assert_eq!(rule.read("0012125550100").as_deref(), Some("+12125550100"));
        assert_eq!(rule.read("+12125550100").as_deref(), Some("+12125550100"));
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in [
            "",
            "anonymous",
            "+",
            "110",
            "+86138x0138000",
            "1234567890123456",
        ] {
            assert_eq!(NumberRule::E164.read(text), None, "{text}");
        }
        assert_eq!(prefix("00").read("13800138000"), None, "not in its form");
    }
}
