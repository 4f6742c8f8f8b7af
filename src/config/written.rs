//! The TOML exactly as written, and how the rooms read it: every key is asked for by name, with
//! its default; whatever was not asked for is a mistake. Nothing stops at the first error.

use super::complaint::{Complaint, ComplaintKind};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// How alike a misspelt name must be for "did you mean".
const ALIKE_MIN: f64 = 0.8;

/// What all sections of one file share.
pub(super) struct Sheet {
    pub(super) complaints: RefCell<Vec<Complaint>>,
    /// Every key ever asked for, as `section.key`.
    pub(super) asked: RefCell<BTreeSet<String>>,
    /// What relative paths are relative to.
    pub(super) base: PathBuf,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// One table of the file, or the place where it would be.
pub(super) struct Section<'a> {
    pub(super) sheet: &'a Sheet,
    /// As written in brackets: `sip`, `[campaign]`, `campaign.hours`.
    path: String,
    table: Option<&'a DeTable<'a>>,
    pub(super) span: Range<usize>,
    taken: RefCell<Vec<&'static str>>,
}

/// What is wrong with a value, and what would be right.
pub(super) struct Wrong(pub(super) String, pub(super) String);

impl Sheet {
    pub(super) fn new(base: &Path) -> Sheet {
        Sheet {
            complaints: RefCell::default(),
            asked: RefCell::default(),
            base: base.to_owned(),
        }
    }

    pub(super) fn complain(
        &self,
        span: Range<usize>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.note(span, what.into(), remedy.into(), ComplaintKind::Wrong);
    }

    pub(super) fn syntax(&self, span: Range<usize>, message: &str) {
        let remedy = "correct the TOML here (https://toml.io/en/v1.1.0)".to_owned();
        // The parser's messages may span lines; ours are one.
        let what = format!(
            "not TOML: {}",
            message.split_whitespace().collect::<Vec<_>>().join(" ")
        );
        self.note(span, what, remedy, ComplaintKind::Syntax);
    }

    fn note(&self, span: Range<usize>, what: String, remedy: String, kind: ComplaintKind) {
        self.complaints.borrow_mut().push(Complaint {
            span,
            what,
            remedy,
            kind,
        });
    }
}

impl<'a> Section<'a> {
    pub(super) fn root(sheet: &'a Sheet, table: &'a DeTable<'a>) -> Section<'a> {
        Section {
            sheet,
            path: String::new(),
            table: Some(table),
            span: 0..0,
            taken: RefCell::default(),
        }
    }

    /// `[key]`, or an empty one when it is not written.
    pub(super) fn section(&self, key: &'static str) -> Section<'a> {
        let found = self.take(key).and_then(|(value, span)| match value {
            DeValue::Table(table) => Some((table, span)),
            other => {
                self.mistyped(key, other, span, "a table");
                None
            }
        });
        let (table, span) = found.map_or((None, self.span.clone()), |(table, span)| {
            (Some(table), span)
        });
        Section {
            sheet: self.sheet,
            path: self.path_of(key),
            table,
            span,
            taken: RefCell::default(),
        }
    }

    /// Every `[[key]]`.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'a>> {
        let Some((value, span)) = self.take(key) else {
            return Vec::new();
        };
        let DeValue::Array(array) = value else {
            self.mistyped(key, value, span, "a list of tables");
            return Vec::new();
        };
        let one = |value: &'a Spanned<DeValue<'a>>| match value.get_ref() {
            DeValue::Table(table) => Some(Section {
                sheet: self.sheet,
                path: self.path_of(key),
                table: Some(table),
                span: value.span(),
                taken: RefCell::default(),
            }),
            other => {
                self.mistyped(key, other, value.span(), "a table");
                None
            }
        };
        array.iter().filter_map(one).collect()
    }

    pub(super) fn is_written(&self) -> bool {
        self.table.is_some()
    }

    /// Whether `key` is written here, without taking it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    pub(super) fn text_found(&self, key: &'static str) -> Option<Found<String>> {
        let (value, span) = self.take(key)?;
        match value {
            DeValue::String(text) => Some(Found {
                value: text.to_string(),
                span,
            }),
            other => {
                self.mistyped(key, other, span, "text in quotes");
                None
            }
        }
    }

    pub(super) fn text(&self, key: &'static str, default: &str) -> String {
        self.text_found(key)
            .map_or_else(|| default.to_owned(), |found| found.value)
    }

    /// Text that must be there and not be empty.
    pub(super) fn required(&self, key: &'static str, remedy: &str) -> Found<String> {
        match self.text_found(key) {
            Some(found) if found.value.is_empty() => {
                self.sheet
                    .complain(found.span.clone(), format!("`{key}` is empty"), remedy);
                found
            }
            Some(found) => found,
            None if self.has(key) => Found {
                value: String::new(),
                span: self.span.clone(),
            },
            None => {
                self.missing(key, remedy);
                Found {
                    value: String::new(),
                    span: self.span.clone(),
                }
            }
        }
    }

    /// Text that must be written, and may be empty.
    fn either(&self, key: &'static str, remedy: &str) -> String {
        if !self.has(key) {
            self.missing(key, remedy);
        }
        self.text(key, "")
    }

    /// Text with a meaning; empty or unwritten is `None`.
    pub(super) fn parsed<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let found = self.text_found(key)?;
        if found.value.is_empty() {
            return None;
        }
        self.check(found.span, parse(&found.value))
    }

    pub(super) fn count(
        &self,
        key: &'static str,
        default: u32,
        allowed: RangeInclusive<u32>,
    ) -> u32 {
        let (low, high) = (i64::from(*allowed.start()), i64::from(*allowed.end()));
        let number = self.integer(key, low..=high);
        // In range, so it fits.
        number
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or(default)
    }

    pub(super) fn flag(&self, key: &'static str, default: bool) -> bool {
        match self.take(key) {
            Some((DeValue::Boolean(flag), _)) => *flag,
            Some((other, span)) => {
                self.mistyped(key, other, span, "true or false");
                default
            }
            None => default,
        }
    }

    /// A list of texts; `None` when it is not written.
    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<Found<String>>> {
        let (value, span) = self.take(key)?;
        let DeValue::Array(array) = value else {
            self.mistyped(
                key,
                value,
                span,
                "a list of texts, such as [\"one\", \"two\"]",
            );
            return Some(Vec::new());
        };
        let one = |value: &Spanned<DeValue<'a>>| match value.get_ref() {
            DeValue::String(text) => Some(Found {
                value: text.to_string(),
                span: value.span(),
            }),
            other => {
                self.mistyped(key, other, value.span(), "text in quotes");
                None
            }
        };
        Some(array.iter().filter_map(one).collect())
    }

    /// One text or a list of them; an empty text is none. `None` when it is not written.
    pub(super) fn text_or_texts(&self, key: &'static str) -> Option<Vec<Found<String>>> {
        let written = self.table.and_then(|table| table.get(key));
        if !matches!(written.map(Spanned::get_ref), Some(DeValue::String(_))) {
            return self.texts(key);
        }
        let found = self.text_found(key)?;
        Some(if found.value.is_empty() {
            Vec::new()
        } else {
            vec![found]
        })
    }

    /// A path, relative ones from the base folder.
    pub(super) fn path(&self, key: &'static str, default: &str) -> PathBuf {
        self.sheet.base.join(self.text(key, default))
    }

    /// A file that must exist when it is named.
    pub(super) fn file(&self, key: &'static str) -> Option<Found<PathBuf>> {
        let found = self
            .text_found(key)
            .filter(|found| !found.value.is_empty())?;
        let path = self.sheet.base.join(&found.value);
        if !path.is_file() {
            let what = format!("`{key}` names {}, which is not a file", path.display());
            self.sheet.complain(
                found.span.clone(),
                what,
                "put the file there or change the path",
            );
        }
        Some(Found {
            value: path,
            span: found.span,
        })
    }

    /// One text in two languages: `{ en = "…", zh = "…" }`, or one text for both.
    pub(super) fn label(&self, key: &'static str, default: &str) -> super::Label {
        match self.take(key) {
            Some((DeValue::String(text), _)) => super::Label::both(text),
            Some((DeValue::Table(table), span)) => {
                let inner = Section {
                    sheet: self.sheet,
                    path: self.path_of(key),
                    table: Some(table),
                    span,
                    taken: RefCell::default(),
                };
                let remedy = format!("write both: {key} = {{ en = \"…\", zh = \"…\" }}");
                let label = super::Label {
                    en: inner.either("en", &remedy),
                    zh: inner.either("zh", &remedy),
                };
                inner.done();
                label
            }
            Some((other, span)) => {
                self.mistyped(key, other, span, "text, or { en = \"…\", zh = \"…\" }");
                super::Label::both(default)
            }
            None => super::Label::both(default),
        }
    }

    /// Everything here has been asked for: what remains is unknown.
    pub(super) fn done(self) {
        let Some(table) = self.table else { return };
        let taken = self.taken.borrow();
        for key in table
            .keys()
            .filter(|key| !taken.iter().any(|known| *known == key.get_ref().as_ref()))
        {
            let place = if self.path.is_empty() {
                "at the top".to_owned()
            } else {
                format!("in [{}]", self.path)
            };
            let known = taken.iter().copied();
            let remedy = did_you_mean(key.get_ref(), known.clone())
                .unwrap_or_else(|| format!("known here: {}", known.collect::<Vec<_>>().join(", ")));
            self.sheet.complain(
                key.span(),
                format!("unknown key `{}` {place}", key.get_ref()),
                remedy,
            );
        }
    }

    /// Notes what is wrong with a value and goes on without it.
    pub(super) fn check<T>(&self, span: Range<usize>, outcome: Result<T, Wrong>) -> Option<T> {
        outcome
            .map_err(|Wrong(what, remedy)| self.sheet.complain(span, what, remedy))
            .ok()
    }

    pub(super) fn missing(&self, key: &str, remedy: &str) {
        let what = format!("`{key}` is missing in [{}]", self.path);
        self.sheet.note(
            self.span.clone(),
            what,
            remedy.to_owned(),
            ComplaintKind::Missing,
        );
    }

    fn integer(&self, key: &'static str, allowed: RangeInclusive<i64>) -> Option<i64> {
        let (value, span) = self.take(key)?;
        let DeValue::Integer(integer) = value else {
            self.mistyped(key, value, span, "a whole number");
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let fits = number.filter(|number| allowed.contains(number));
        if fits.is_none() {
            let what = format!("`{key}` is out of range");
            let remedy = format!(
                "give a number from {} to {}",
                allowed.start(),
                allowed.end()
            );
            self.sheet.complain(span, what, remedy);
        }
        fits
    }

    fn take(&self, key: &'static str) -> Option<(&'a DeValue<'a>, Range<usize>)> {
        self.taken.borrow_mut().push(key);
        self.sheet.asked.borrow_mut().insert(self.path_of(key));
        let value = self.table?.get(key)?;
        Some((value.get_ref(), value.span()))
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn mistyped(&self, key: &str, value: &DeValue<'_>, span: Range<usize>, wanted: &str) {
        let what = format!(
            "`{key}` is {} {}",
            article(value.type_str()),
            value.type_str()
        );
        self.sheet.complain(span, what, format!("write {wanted}"));
    }
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    }
}

/// "did you mean `x`?" when something known is alike.
pub(super) fn did_you_mean<'k>(
    given: &str,
    known: impl Iterator<Item = &'k str>,
) -> Option<String> {
    let alike = |known: &'k str| (strsim::jaro_winkler(given, known), known);
    let (score, best) = known
        .map(alike)
        .max_by(|one, other| one.0.total_cmp(&other.0))?;
    (score >= ALIKE_MIN).then(|| format!("did you mean `{best}`?"))
}
