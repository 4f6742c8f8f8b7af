//! SIP messages as a ladder for terminals: a column an address, the switch second from the left,
//! a row a message with its time and the time since the one before.

use std::fmt::Write;

/// Characters between two lifelines.
const SPACING: usize = 30;
/// Characters before the first lifeline's middle.
const MARGIN: usize = 16;
const TIMES: usize = 22;

/// The switch's own column.
const OURS: usize = 1;

pub(super) struct Row<'a> {
    pub at_ms: u64,
    pub outbound: bool,
    pub transport: &'a str,
    pub local: &'a str,
    pub remote: &'a str,
    pub message: &'a str,
}

#[derive(Default)]
pub(super) struct Ladder {
    /// Headings; `OURS` is the switch. Empty before the first row.
    columns: Vec<String>,
    last_ms: Option<u64>,
}

impl Ladder {
    /// The row, after a heading when there is a new column.
    pub(super) fn row(&mut self, row: &Row<'_>) -> String {
        let mut out = String::new();
        let at = self.column(row, &mut out);
        let delta_ms = row.at_ms.saturating_sub(self.last_ms.unwrap_or(row.at_ms));
        self.last_ms = Some(row.at_ms);
        let (from, to) = match row.outbound {
            true => (OURS, at),
            false => (at, OURS),
        };
        let times = format!("{} {:>+8.3}", clock(row.at_ms), delta_ms as f64 / 1_000.0);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{times:<TIMES$}{}", self.arrow(from, to, &label(row)));
        out
    }

    fn column(&mut self, row: &Row<'_>, out: &mut String) -> usize {
        let known = |(at, name): (usize, &String)| (at != OURS && name == row.remote).then_some(at);
        if let Some(at) = self.columns.iter().enumerate().find_map(known) {
            return at;
        }
        if self.columns.is_empty() {
            self.columns = vec![row.remote.to_owned(), format!("foredial {}", row.local)];
            out.push_str(&self.heading());
            return 0;
        }
        self.columns.push(row.remote.to_owned());
        out.push_str(&self.heading());
        self.columns.len() - 1
    }

    fn heading(&self) -> String {
        let mut line = Line::blank(self.columns.len());
        for (at, name) in self.columns.iter().enumerate() {
            line.centred(at, &shortened(name, SPACING - 2));
        }
        format!("{:TIMES$}{}\n", "", line.text())
    }

    fn arrow(&self, from: usize, to: usize, label: &str) -> String {
        let mut line = Line::blank(self.columns.len());
        for at in 0..self.columns.len() {
            line.put(middle(at), '│');
        }
        let (left, right) = (middle(from.min(to)) + 1, middle(from.max(to)) - 1);
        for at in left..=right {
            line.put(at, '─');
        }
        match from < to {
            true => line.put(right, '►'),
            false => line.put(left, '◄'),
        }
        let label = format!(" {} ", shortened(label, SPACING - 6));
        let start = (left + right + 1 - label.chars().count()) / 2;
        label
            .chars()
            .enumerate()
            .for_each(|(at, c)| line.put(start + at, c));
        line.text()
    }
}

struct Line(Vec<char>);

impl Line {
    fn blank(columns: usize) -> Line {
        Line(vec![' '; middle(columns.saturating_sub(1)) + MARGIN])
    }

    fn put(&mut self, at: usize, c: char) {
        if let Some(place) = self.0.get_mut(at) {
            *place = c;
        }
    }

    fn centred(&mut self, column: usize, text: &str) {
        let start = middle(column).saturating_sub(text.chars().count() / 2);
        text.chars()
            .enumerate()
            .for_each(|(at, c)| self.put(start + at, c));
    }

    fn text(&self) -> String {
        let text: String = self.0.iter().collect();
        text.trim_end().to_owned()
    }
}

fn middle(column: usize) -> usize {
    MARGIN + column * SPACING
}

/// `INVITE (SDP)`, `200 OK INVITE (SDP)`, with the transport where it is not UDP.
fn label(row: &Row<'_>) -> String {
    let first = row.message.lines().next().unwrap_or_default();
    let header = |name: &str, compact: &str| {
        let value = |line: &str| {
            let (given, value) = line.split_once(':')?;
            let given = given.trim();
            (given.eq_ignore_ascii_case(name) || given.eq_ignore_ascii_case(compact))
                .then(|| value.trim().to_owned())
        };
        let mut head = row
            .message
            .lines()
            .skip(1)
            .take_while(|line| !line.is_empty());
        head.find_map(value)
    };
    let mut label = match first.strip_prefix("SIP/2.0 ") {
        Some(status) => {
            let cseq = header("CSeq", "").unwrap_or_default();
            let method = cseq.split_whitespace().nth(1).unwrap_or_default();
            format!("{status} {method}")
        }
        None => first.split(' ').next().unwrap_or_default().to_owned(),
    };
    let has_sdp = header("Content-Type", "c").is_some_and(|it| it.starts_with("application/sdp"));
    if has_sdp {
        label += " (SDP)";
    }
    if row.transport != "UDP" {
        label = format!("{label} {}", row.transport);
    }
    printable(label.trim_end(), false)
}

/// What a far end sends must not steer the terminal it is read on.
pub(super) fn printable(text: &str, lines: bool) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' if lines => c,
            c if c.is_control() => '·',
            c => c,
        })
        .collect()
}

fn shortened(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(chars_max - 1).collect();
    format!("{kept}…")
}

/// Time of day, UTC.
fn clock(at_ms: u64) -> String {
    let (seconds, ms) = (at_ms / 1_000 % 86_400, at_ms % 1_000);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{ms:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(
        at_ms: u64,
        outbound: bool,
        remote: &'static str,
        message: &'static str,
    ) -> Row<'static> {
        Row {
            at_ms,
            outbound,
            transport: if remote.ends_with("443") {
                "WSS"
            } else {
                "UDP"
            },
            local: "127.0.27.1:5060",
            remote,
            message,
        }
    }

    #[test]
    fn a_call_through_the_switch_reads_as_a_ladder() {
        let mut ladder = Ladder::default();
        let sdp = "INVITE sip:1@b SIP/2.0\r\nCSeq: 1 INVITE\r\nc: application/sdp\r\n\r\nv=0";
        let mut out = ladder.row(&row(1_000, false, "127.0.27.2:5070", sdp));
        out += &ladder.row(&row(1_004, true, "127.0.27.3:5080", sdp));
        let ok = "SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\n\r\n";
        out += &ladder.row(&row(2_504, false, "127.0.27.3:5080", ok));
        out += &ladder.row(&row(2_505, true, "127.0.27.2:5070", ok));
        let shown: Vec<&str> = out.lines().collect();
        assert_eq!(shown.len(), 6, "{out}");
        assert!(
            shown[0].contains("127.0.27.2:5070") && shown[0].contains("foredial 127.0.27.1:5060")
        );
        assert_eq!(
            shown[1],
            "00:00:01.000   +0.000                 │─────── INVITE (SDP) ───────►│"
        );
        assert!(shown[2].ends_with("127.0.27.3:5080"), "{out}");
        assert_eq!(
            shown[3],
            "00:00:01.004   +0.004                 │                             │─────── INVITE (SDP) ───────►│"
        );
        assert!(
            shown[4].ends_with("│◄────── 200 OK INVITE ───────│"),
            "{out}"
        );
        assert!(
            shown[5].contains("│◄────── 200 OK INVITE ───────│"),
            "{out}"
        );
    }

    #[test]
    fn a_far_column_is_reached_across_the_ones_between() {
        let mut ladder = Ladder::default();
        for remote in ["a:1", "b:2"] {
            ladder.row(&row(0, true, remote, "BYE sip:x SIP/2.0\r\n\r\n"));
        }
        let out = ladder.row(&row(0, false, "c:443", "BYE sip:x SIP/2.0\r\n\r\n"));
        let last = out.lines().last().unwrap();
        assert_eq!(last.matches('│').count(), 3, "the arrow crosses b: {last}");
        assert!(last.contains(" BYE WSS "), "{last}");
    }

    #[test]
    fn nothing_that_was_sent_steers_the_terminal() {
        let evil = "INVITE\u{1b}[2J sip:x SIP/2.0\r\n\r\n";
        let mut ladder = Ladder::default();
        let out = ladder.row(&row(0, false, "a:1", evil));
        assert!(!out.contains('\u{1b}'), "{out:?}");
        assert_eq!(printable("a\r\nb\u{7}", true), "a·\nb·");
    }
}
