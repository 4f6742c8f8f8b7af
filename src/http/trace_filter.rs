//! Which SIP messages a trace shows. A number chooses whole calls: once a message names it, every
//! message of the same Call-ID is shown.

use crate::engine::tap::Heard;
use crate::net::hep::call_id;
use std::collections::HashSet;
use std::net::IpAddr;

/// Calls a trace by number follows; more than anyone reads.
const CALLS_MAX: usize = 10_000;
/// Numbers are alike from their ends when this many digits agree: +8613800138000, 013800138000.
const DIGITS_ALIKE_MIN: usize = 7;
/// Headers that name who calls and who is called, with their compact forms.
const NAMING: [&[u8]; 6] = [
    b"from",
    b"f",
    b"to",
    b"t",
    b"p-asserted-identity",
    b"diversion",
];

pub(super) struct Filter {
    calls: Option<HashSet<Vec<u8>>>,
    number: Option<String>,
    address: Option<IpAddr>,
}

impl Filter {
    pub(super) fn new(
        calls: Option<Vec<String>>,
        number: Option<&str>,
        address: Option<IpAddr>,
    ) -> Filter {
        let of_number = number.map(|_| HashSet::new());
        let calls = calls.map(|calls| calls.into_iter().map(String::into_bytes).collect());
        Filter {
            calls: calls.or(of_number),
            number: number.map(plain),
            address: address.map(|address| address.to_canonical()),
        }
    }

    /// Looks through what has passed, so that a call's first messages are shown even when only a
    /// later one names the number.
    pub(super) fn learn(&mut self, past: &[Heard]) {
        past.iter().for_each(|heard| self.learn_from(heard));
    }

    pub(super) fn wants(&mut self, heard: &Heard) -> bool {
        self.learn_from(heard);
        let ends = [heard.remote.ip(), heard.local.ip()];
        let address = self
            .address
            .is_none_or(|wanted| ends.iter().any(|end| end.to_canonical() == wanted));
        address
            && self.calls.as_ref().is_none_or(|calls| {
                call_id(&heard.bytes).is_some_and(|call_id| calls.contains(call_id))
            })
    }

    fn learn_from(&mut self, heard: &Heard) {
        let (Some(number), Some(calls)) = (&self.number, &mut self.calls) else {
            return;
        };
        if let Some(call_id) = call_id(&heard.bytes)
            && calls.len() < CALLS_MAX
            && !calls.contains(call_id)
            && numbers(&heard.bytes).iter().any(|it| alike(it, number))
        {
            calls.insert(call_id.to_vec());
        }
    }
}

/// User parts of the request line and of the headers that name people.
fn numbers(message: &[u8]) -> Vec<String> {
    let mut lines = message
        .split(|byte| *byte == b'\n')
        .map(|line| line.trim_ascii_end())
        .take_while(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let mut found: Vec<String> = match first.starts_with(b"SIP/2.0 ") {
        true => Vec::new(),
        false => user_part(first).into_iter().collect(),
    };
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = line[..colon].trim_ascii();
        if NAMING
            .iter()
            .any(|naming| name.eq_ignore_ascii_case(naming))
        {
            found.extend(user_part(&line[colon + 1..]));
        }
    }
    found
}

/// What stands between `sip:` or `tel:` and `@`, `;` or `>`.
fn user_part(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let start = ["sip:", "sips:", "tel:"]
        .iter()
        .find_map(|scheme| Some(text.find(scheme)? + scheme.len()))?;
    let user = text[start..].split(['@', ';', '>', ' ']).next()?;
    Some(plain(user))
}

/// Without what people and carriers write differently.
fn plain(number: &str) -> String {
    let kept: String = number
        .chars()
        .filter(|c| !matches!(c, '+' | '-' | ' ' | '(' | ')' | '.'))
        .collect();
    let stripped = kept.trim_start_matches('0');
    match stripped.is_empty() {
        true => kept,
        false => stripped.to_owned(),
    }
}

fn alike(one: &str, other: &str) -> bool {
    let (short, long) = match one.len() <= other.len() {
        true => (one, other),
        false => (other, one),
    };
    short == long || (short.len() >= DIGITS_ALIKE_MIN && long.ends_with(short))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tap::Way;
    use crate::now::UtcMs;
    use crate::sip::Transport;
    use axum::body::Bytes;

    fn heard(remote: &str, text: &str) -> Heard {
        Heard {
            number: 1,
            at: UtcMs(0),
            way: Way::In,
            transport: Transport::Udp,
            local: "127.0.27.1:5060".parse().unwrap(),
            remote: remote.parse().unwrap(),
            bytes: Bytes::copy_from_slice(text.as_bytes()),
        }
    }

    fn invite(to: &str, call_id: &str) -> Heard {
        let text = format!(
            "INVITE sip:{to}@t SIP/2.0\r\nFrom: <sip:+861066666666@h>;tag=1\r\nTo: <sip:{to}@t>\r\nCall-ID: {call_id}\r\n\r\n"
        );
        heard("127.0.27.2:5060", &text)
    }

    #[test]
    fn a_number_is_found_as_any_trunk_writes_it_and_brings_its_whole_call() {
        let answer = heard("127.0.27.2:5060", "SIP/2.0 200 OK\r\nCall-ID: a\r\n\r\n");
        for written in ["013800138000", "+8613800138000", "008613800138000"] {
            let mut filter = Filter::new(None, Some("+86 138 0013 8000"), None);
            assert!(!filter.wants(&answer), "nothing has named it yet");
            assert!(filter.wants(&invite(written, "a")), "{written}");
            assert!(filter.wants(&answer));
            assert!(!filter.wants(&invite("+8613800138001", "b")));
        }
        let mut short = Filter::new(None, Some("101"), None);
        assert!(
            !short.wants(&invite("2101", "c")),
            "an extension is not a suffix"
        );
        assert!(short.wants(&invite("101", "d")));
    }

    #[test]
    fn what_has_passed_teaches_which_calls_are_meant() {
        let early = heard("127.0.27.2:5060", "OPTIONS sip:x@t SIP/2.0\r\ni: a\r\n\r\n");
        let mut filter = Filter::new(None, Some("13800138000"), None);
        filter.learn(&[early.clone(), invite("+8613800138000", "a")]);
        assert!(filter.wants(&early));
    }

    #[test]
    fn addresses_and_calls_choose_together() {
        let calls = Some(vec!["a".to_owned()]);
        let address = "127.0.27.2".parse().ok();
        let mut filter = Filter::new(calls, None, address);
        assert!(filter.wants(&invite("1", "a")));
        assert!(!filter.wants(&invite("1", "b")));
        let elsewhere = heard(
            "127.0.27.3:5060",
            "OPTIONS sip:x SIP/2.0\r\nCall-ID: a\r\n\r\n",
        );
        assert!(!filter.wants(&elsewhere));
    }
}
