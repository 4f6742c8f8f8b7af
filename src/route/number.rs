//! Numbers as they were dialled: which ones a rule is about, and how they are rewritten.

use std::fmt;

use regex::Regex;

/// Which numbers a rule is about.
#[derive(Clone, Debug)]
pub enum Match {
    Any,
    /// One of these, character for character.
    Exact(Vec<String>),
    Prefix(String),
    /// Anchored at both ends by whoever wrote it.
    Regex(Regex),
}

/// What is done to a number before it is passed on: a regex's replacement, or else so many
/// characters off the front and then these before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    pub strip_chars: usize,
    pub prepend: String,
    /// `$1` is the regex's first group.
    pub replacement: Option<String>,
}

impl Match {
    pub fn matches(&self, number: &str) -> bool {
        match self {
            Match::Any => true,
            Match::Exact(numbers) => numbers.iter().any(|one| one == number),
            Match::Prefix(prefix) => number.starts_with(prefix.as_str()),
            Match::Regex(regex) => regex.is_match(number),
        }
    }

    /// The number as it is passed on.
    pub fn rewrite(&self, number: &str, how: &Rewrite) -> String {
        if let (Match::Regex(regex), Some(replacement)) = (self, &how.replacement) {
            return regex.replace(number, replacement.as_str()).into_owned();
        }
        let kept = number.chars().skip(how.strip_chars);
        how.prepend.chars().chain(kept).collect()
    }
}

/// As the end of "the number …".
impl fmt::Display for Match {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Match::Any => out.write_str("may be any"),
            Match::Exact(numbers) => write!(out, "is {}", numbers.join(" or ")),
            Match::Prefix(prefix) => write!(out, "begins with {prefix}"),
            Match::Regex(regex) => write!(out, "matches {regex}"),
        }
    }
}
