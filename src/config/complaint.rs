//! What is wrong in a configuration file: where, what, and what to do about it.

use std::fmt;
use std::ops::Range;

/// One thing wrong. `span` is in bytes of the file's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    pub span: Range<usize>,
    pub what: String,
    pub remedy: String,
    pub kind: ComplaintKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComplaintKind {
    Syntax,
    /// Something that ought to be there. Not believed while the file has syntax errors.
    Missing,
    Wrong,
}

/// All that is wrong with one file, each with its line, caret and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    pub file: String,
    /// In the order of the file.
    pub rendered: Vec<String>,
}

impl ConfigErrors {
    /// Sorts `complaints` and renders them against `text`.
    pub(super) fn new(file: &str, text: &str, complaints: Vec<Complaint>) -> ConfigErrors {
        let mut complaints = believable(text, complaints);
        complaints.sort_by_key(|complaint| complaint.span.start);
        complaints.dedup();
        let rendered = complaints
            .iter()
            .map(|complaint| render(file, text, complaint))
            .collect();
        ConfigErrors {
            file: file.to_owned(),
            rendered,
        }
    }

    /// The file could not be read at all.
    pub(super) fn unreadable(file: &str, why: &std::io::Error) -> ConfigErrors {
        let remedy = match why.kind() {
            std::io::ErrorKind::NotFound => {
                "give the right path with --config, or start with `foredial demo`"
            }
            std::io::ErrorKind::PermissionDenied => "let this user read it",
            _ => "see that it is a readable UTF-8 file",
        };
        ConfigErrors {
            file: file.to_owned(),
            rendered: vec![format!("{file}: cannot be read: {why}\n   = {remedy}")],
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in &self.rendered {
            writeln!(f, "{one}\n")?;
        }
        let count = self.rendered.len();
        write!(
            f,
            "{}: {count} {}",
            self.file,
            if count == 1 { "error" } else { "errors" }
        )
    }
}

impl std::error::Error for ConfigErrors {}

/// How a complaint begins that something named is not in the file. With a broken line about, it
/// may well be there.
const REFERENCE: &str = "there is no ";

/// A broken line makes others look wrong. With syntax errors about, each broken line is told once;
/// nothing is said to be missing or not to be there, and what else is wrong is believed only when
/// no broken line stands between it and the header of its table.
fn believable(text: &str, complaints: Vec<Complaint>) -> Vec<Complaint> {
    let line = |complaint: &Complaint| Place::of(text, complaint.span.start).line;
    let broken: Vec<usize> = complaints
        .iter()
        .filter(|complaint| complaint.kind == ComplaintKind::Syntax)
        .map(line)
        .collect();
    if broken.is_empty() {
        return complaints;
    }
    let lines: Vec<&str> = text.lines().collect();
    let header = |below: usize| {
        let above = lines.iter().take(below);
        let is_header = |line: &str| line.trim_start().starts_with('[');
        above
            .rev()
            .position(|line| is_header(line))
            .map_or(1, |up| below - up)
    };
    let mut told = Vec::new();
    let mut keep = |complaint: &Complaint| {
        let here = line(complaint);
        match complaint.kind {
            ComplaintKind::Syntax => {
                let first = !told.contains(&here);
                told.push(here);
                first
            }
            ComplaintKind::Missing => false,
            ComplaintKind::Wrong => {
                !complaint.what.starts_with(REFERENCE)
                    && !broken.iter().any(|it| (header(here)..=here).contains(it))
            }
        }
    };
    let mut complaints = complaints;
    complaints.sort_by_key(|complaint| complaint.span.start);
    complaints.retain(|complaint| keep(complaint));
    complaints
}

fn render(file: &str, text: &str, complaint: &Complaint) -> String {
    let place = Place::of(text, complaint.span.start);
    let gutter = place.line.to_string();
    let blank = " ".repeat(gutter.len());
    let mut out = format!(
        "{file}:{}:{}: {}\n",
        place.line, place.column, complaint.what
    );
    let shown = without_secrets(place.text);
    if shown == place.text {
        let before = &place.text[..place.offset];
        let marked = &place.text[place.offset..];
        let length = complaint.span.len().min(marked.len());
        let length = (length..=marked.len())
            .find(|end| marked.is_char_boundary(*end))
            .unwrap_or(marked.len());
        let carets: usize = marked[..length]
            .chars()
            .map(|c| if is_wide(c) { 2 } else { 1 })
            .sum();
        let pad: String = before.chars().map(same_width_blank).collect();
        out += &format!(
            " {gutter} | {}\n {blank} | {pad}{}\n",
            place.text,
            "^".repeat(carets.max(1))
        );
    } else {
        out += &format!(" {gutter} | {shown}\n");
    }
    out + &format!(" {blank} = {}", complaint.remedy)
}

/// A line and what stands where in it. Lines and columns count from 1, columns in characters.
struct Place<'a> {
    line: usize,
    column: usize,
    text: &'a str,
    /// Byte offset in `text`.
    offset: usize,
}

impl Place<'_> {
    fn of(text: &str, at: usize) -> Place<'_> {
        let at = (0..=at.min(text.len()))
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[at..]
            .find('\n')
            .map_or(text.len(), |newline| at + newline);
        Place {
            line: text[..start].matches('\n').count() + 1,
            column: text[start..at].chars().count() + 1,
            text: text[start..end].trim_end_matches('\r'),
            offset: (at - start).min(text[start..end].trim_end_matches('\r').len()),
        }
    }
}

/// Errors end up in logs and chats: what follows the `=` of a secret is not repeated.
fn without_secrets(line: &str) -> String {
    let small = line.to_ascii_lowercase();
    let secret = ["password", "token", "secret"]
        .iter()
        .any(|word| small.contains(word));
    match line.split_once('=') {
        Some((key, _)) if secret => format!("{key}= …"),
        _ => line.to_owned(),
    }
}

fn same_width_blank(c: char) -> char {
    match c {
        '\t' => '\t',
        c if is_wide(c) => '\u{3000}',
        _ => ' ',
    }
}

/// Takes two columns in a terminal: good enough for carets under Chinese text.
fn is_wide(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{20000}'..='\u{3fffd}')
}
