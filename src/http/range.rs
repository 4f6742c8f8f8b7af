//! Byte ranges (RFC 9110 section 14), one at a time: what an audio player asks for.

/// What part of `length` bytes a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// No range, several, or one we do not understand: RFC 9110 14.2 says to send it all.
    Whole,
    /// From `first` to `last`, both included, within the file.
    Part { first: u64, last: u64 },
    /// Nothing of it is in the file: 416.
    Nothing,
}

pub(super) fn wanted(header: Option<&str>, length: u64) -> Wanted {
    let Some(spec) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else {
        return Wanted::Whole;
    };
    let Some((first, last)) = spec.trim().split_once('-') else {
        return Wanted::Whole;
    };
    match (number(first), number(last)) {
        (Parsed::Absent, Parsed::Number(suffix)) => suffix_of(suffix, length),
        (Parsed::Number(first), Parsed::Number(last)) if last < first => Wanted::Whole,
        (Parsed::Number(first), _) if first >= length && !matches!(number(last), Parsed::Bad) => {
            Wanted::Nothing
        }
        (Parsed::Number(first), Parsed::Number(last)) => Wanted::Part {
            first,
            last: last.min(length - 1),
        },
        (Parsed::Number(first), Parsed::Absent) => Wanted::Part {
            first,
            last: length - 1,
        },
        _ => Wanted::Whole,
    }
}

fn suffix_of(suffix: u64, length: u64) -> Wanted {
    if suffix == 0 || length == 0 {
        return Wanted::Nothing;
    }
    Wanted::Part {
        first: length.saturating_sub(suffix),
        last: length - 1,
    }
}

enum Parsed {
    Absent,
    Number(u64),
    Bad,
}

fn number(text: &str) -> Parsed {
    let text = text.trim();
    if text.is_empty() {
        return Parsed::Absent;
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Parsed::Bad;
    }
    // Digits only: what does not fit lies beyond every file.
    Parsed::Number(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ranges_players_ask_for() {
        let part = |first, last| Wanted::Part { first, last };
        let cases = [
            (None, Wanted::Whole),
            (Some("bytes=0-"), part(0, 999)),
            (Some("bytes=0-1"), part(0, 1)),
            (Some("bytes=500-5000"), part(500, 999)),
            (Some("bytes=-100"), part(900, 999)),
            (Some("bytes=-5000"), part(0, 999)),
            (Some("bytes=999-"), part(999, 999)),
            (Some("bytes=1000-"), Wanted::Nothing),
            (Some("bytes=99999999999999999999999-"), Wanted::Nothing),
            (Some("bytes=-0"), Wanted::Nothing),
            (Some("bytes=5-2"), Wanted::Whole),
            (Some("bytes=0-1,5-6"), Wanted::Whole),
            (Some("bytes=-"), Wanted::Whole),
            (Some("bytes=a-b"), Wanted::Whole),
            (Some("lines=1-2"), Wanted::Whole),
        ];
        for (header, expected) in cases {
            assert_eq!(wanted(header, 1_000), expected, "{header:?}");
        }
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Nothing);
    }

    proptest! {
        #[test]
        fn a_part_always_lies_in_the_file(header in "bytes=[0-9]{0,21}-[0-9]{0,21}", length in 0u64..5_000) {
            if let Wanted::Part { first, last } = wanted(Some(&header), length) {
                prop_assert!(first <= last && last < length);
            }
        }
    }
}
