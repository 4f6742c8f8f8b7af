//! INFO in both directions: digits in the two old dialects, nothing else yet (RFC 6086 packages
//! are refused).

use crate::now::Now;
use crate::sip::event::{InfoDigit, SipEvent};
use crate::sip::message::{Body, Method, Request};
use crate::sip::stack::{Stack, put_body};
use crate::sip::transaction::TxId;

use super::beside::Purpose;
use super::{Session, State};

const RELAY: &str = "application/dtmf-relay";
const PLAIN: &str = "application/dtmf";
/// What a digit without a duration lasts.
const DURATION_MS: u32 = 160;
const DURATION_MS_MAX: u32 = 10_000;

impl Session {
    pub(super) fn on_info(&mut self, now: Now, stack: &mut Stack, tx: TxId, request: &Request) {
        let body = request.typed_body();
        let content_type = request.headers.text("Content-Type").unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if request.headers.count("Info-Package") > 0 {
            let mut response = stack.response(request, 469, Some(&self.local_tag));
            response.phrase = "Bad Info Package".to_owned();
            stack.tx.respond(now, tx, &response);
            return;
        }
        let known = [RELAY, PLAIN]
            .iter()
            .any(|one| one.eq_ignore_ascii_case(media_type));
        let Some(body) = body else {
            // RFC 6086 4.2.2: an INFO without a package and a body asks whether we live.
            return self.answer(now, stack, tx, request, 200);
        };
        if !known {
            let mut response = stack.response(request, 415, Some(&self.local_tag));
            response.headers.put("Accept", format!("{RELAY}, {PLAIN}"));
            stack.tx.respond(now, tx, &response);
            return;
        }
        self.answer(now, stack, tx, request, 200);
        let digit = digit_of(media_type, &body.bytes);
        stack.event(SipEvent::Info {
            session: self.id,
            content_type: body.content_type,
            body: body.bytes,
            digit,
        });
    }

    pub fn info(&mut self, now: Now, stack: &mut Stack, body: &Body) {
        if !matches!(self.state, State::Established) {
            return;
        }
        let Some(dialog) = &mut self.dialog else {
            return;
        };
        let mut request = dialog.request(Method::Info);
        put_body(&mut request.headers, &mut request.body, Some(body));
        let flow = dialog.flow;
        self.send_beside(now, stack, flow, request, Purpose::Info);
    }
}

/// A digit as `application/dtmf-relay` writes it.
pub(in crate::sip) fn relay_body(digit: char, duration_ms: u32) -> Body {
    Body {
        content_type: RELAY.to_owned(),
        bytes: format!("Signal={digit}\r\nDuration={duration_ms}\r\n").into_bytes(),
    }
}

fn digit_of(media_type: &str, bytes: &[u8]) -> Option<InfoDigit> {
    let text = std::str::from_utf8(bytes).ok()?;
    if media_type.eq_ignore_ascii_case(PLAIN) {
        let digit = digit(text.trim())?;
        return Some(InfoDigit {
            digit,
            duration_ms: DURATION_MS,
        });
    }
    let value = |key: &str| {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            let named = name.trim().eq_ignore_ascii_case(key);
            named.then(|| value.trim().to_owned())
        })
    };
    let duration_ms = value("Duration").and_then(|ms| ms.parse().ok());
    Some(InfoDigit {
        digit: digit(&value("Signal")?)?,
        duration_ms: duration_ms.unwrap_or(DURATION_MS).min(DURATION_MS_MAX),
    })
}

/// The digit itself, or its RFC 4733 event number: 10 is star, 11 is hash, 16 a flash.
fn digit(text: &str) -> Option<char> {
    let numbered = match text {
        "10" => Some('*'),
        "11" => Some('#'),
        "12" => Some('A'),
        "13" => Some('B'),
        "14" => Some('C'),
        "15" => Some('D'),
        "16" => Some('!'),
        _ => None,
    };
    let mut letters = text.chars();
    let single = letters.next().filter(|_| letters.next().is_none());
    let single = single.map(|letter| letter.to_ascii_uppercase());
    numbered.or(single.filter(|c| c.is_ascii_digit() || "ABCD*#!".contains(*c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_in_both_dialects() {
        let cases = [
            (RELAY, "Signal=5\r\nDuration=200\r\n", Some(('5', 200))),
            (RELAY, "signal = *\nduration = x\n", Some(('*', 160))),
            (
                RELAY,
                "Signal=11\r\nDuration=99999999\r\n",
                Some(('#', 10_000)),
            ),
            (RELAY, "Duration=200\r\n", None),
            (RELAY, "Signal=55\r\n", None),
            (PLAIN, "7\r\n", Some(('7', 160))),
            (PLAIN, "d", Some(('D', 160))),
            (PLAIN, "hello", None),
        ];
        for (kind, text, expected) in cases {
            let read = digit_of(kind, text.as_bytes()).map(|d| (d.digit, d.duration_ms));
            assert_eq!(read, expected, "{text:?}");
        }
        assert_eq!(digit_of(PLAIN, &[0xff]), None);
        let ours = relay_body('#', 120);
        assert_eq!(
            digit_of(RELAY, &ours.bytes).map(|d| (d.digit, d.duration_ms)),
            Some(('#', 120))
        );
    }
}
