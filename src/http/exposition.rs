//! Prometheus' text exposition format 0.0.4: HELP, TYPE, then the samples of one family together.

use std::fmt::Write;

const PREFIX: &str = "foredial_";

/// Labels and a value.
pub(super) type Sample<'a> = (Vec<(&'a str, &'a str)>, f64);

#[derive(Default)]
pub(super) struct Page {
    out: String,
}

impl Page {
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "gauge", help, &[(Vec::new(), value)]);
    }

    /// Nothing when there is no such figure.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: Option<f64>) {
        let samples: Vec<Sample<'_>> = value.map(|it| (Vec::new(), it)).into_iter().collect();
        self.family(name, "counter", help, &samples);
    }

    /// A family without samples is left out.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str, samples: &[Sample<'_>]) {
        if samples.is_empty() {
            return;
        }
        let name = format!("{PREFIX}{}", plain(name));
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(self.out, "{name}{} {value}", braces(labels));
        }
    }

    pub(super) fn text(self) -> String {
        self.out
    }
}

fn braces(labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let one = |(name, value): &(&str, &str)| format!("{}=\"{}\"", plain(name), escaped(value));
    let all: Vec<String> = labels.iter().map(one).collect();
    format!("{{{}}}", all.join(","))
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn plain(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

/// What a strict reader of the format would complain about.
#[cfg(test)]
pub(super) fn mistakes(text: &str) -> Vec<String> {
    use std::collections::BTreeSet;
    let mut found = Vec::new();
    let (mut families, mut series) = (BTreeSet::new(), BTreeSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if !text.ends_with('\n') {
        found.push("the last line does not end".to_owned());
    }
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, help] => {
                if !families.insert(name.to_owned()) {
                    found.push(format!("{name} comes twice"));
                }
                if help.trim().is_empty() {
                    found.push(format!("{name} is not explained"));
                }
                family = name.to_owned();
            }
            ["#", "TYPE", name, told] => {
                if name != family {
                    found.push(format!("{name} has a type and no help"));
                }
                if (told == "counter") != name.ends_with("_total") {
                    found.push(format!("{name} is a {told}"));
                }
                kind = told.to_owned();
            }
            _ => {
                let (left, value) = line.rsplit_once(' ').unwrap_or((line, ""));
                let name = left.split('{').next().unwrap_or_default();
                if name != family || !is_name(name) {
                    found.push(format!("{line}: not of its family"));
                }
                if value.parse::<f64>().is_err() || (kind == "counter" && value.starts_with('-')) {
                    found.push(format!("{line}: no value"));
                }
                if !series.insert(left.to_owned()) {
                    found.push(format!("{left} comes twice"));
                }
                let units = ["_ms", "_s", "_sec", "_kib"];
                if units.iter().any(|unit| name.ends_with(unit)) {
                    found.push(format!("{name} has a unit of its own"));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_page_is_told_by_what_is_bad_in_it() {
        let bad = "# HELP foredial_a x\n# TYPE foredial_a counter\nforedial_a 1\nforedial_a 1\n\
            # HELP foredial_a x\n# TYPE foredial_b_ms gauge\nforedial_c abc";
        let told = mistakes(bad).join("; ");
        for part in [
            "does not end",
            "foredial_a is a counter",
            "foredial_a comes twice",
            "has a type and no help",
            "not of its family",
            "no value",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    #[test]
    fn text_in_labels_cannot_break_a_line() {
        let mut page = Page::default();
        page.family("x", "gauge", "a\nb", &[(vec![("l", "a\"\\\nb")], 1.0)]);
        let text = page.text();
        assert_eq!(
            text.lines().last(),
            Some("foredial_x{l=\"a\\\"\\\\\\nb\"} 1")
        );
        assert_eq!(mistakes(&text), Vec::<String>::new());
    }
}
