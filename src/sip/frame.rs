//! Messages out of a byte stream, TCP or TLS (RFC 3261 §7.5, §18.3): the head ends with an empty
//! line, Content-Length says where the body does. Line ends between messages are keep-alives
//! (RFC 5626 §3.5.1). However the bytes are cut into reads, the same comes out.
//!
//! A message whose length cannot be told ends the stream: where the next one begins is not known.

use std::collections::VecDeque;

use super::message::Limits;

/// What the stream holds next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framed {
    /// One whole message. Whether it is well-formed is for the parser to say.
    Message(Vec<u8>),
    /// A double line end: the peer wants a single one back.
    Ping,
    Broken(Broken),
}

/// The end of a stream whose framing is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// As much of the message as there was, to address the refusal by.
    pub head: Vec<u8>,
    pub status: u16,
    pub phrase: &'static str,
}

#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    buffer: VecDeque<u8>,
    /// Octets of the buffer that hold no end of a head.
    searched: usize,
    broken: bool,
}

const LINE_END: &[u8] = b"\r\n";
const HEAD_END: &[u8] = b"\r\n\r\n";

impl Framer {
    #[must_use]
    pub fn new(limits: Limits) -> Framer {
        Framer {
            limits,
            buffer: VecDeque::new(),
            searched: 0,
            broken: false,
        }
    }

    /// Takes what was read. Nothing more is kept once the framing is lost.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.broken {
            self.buffer.extend(bytes);
        }
    }

    /// A message has begun and is not whole yet. Line ends alone begin none.
    #[must_use]
    pub fn is_within(&self) -> bool {
        !self.broken && self.buffer.iter().any(|b| !matches!(b, b'\r' | b'\n'))
    }

    /// Drain to `None` after every [`Framer::push`].
    pub fn poll(&mut self) -> Option<Framed> {
        if self.broken {
            return None;
        }
        loop {
            let bytes: &[u8] = self.buffer.make_contiguous();
            if bytes.starts_with(HEAD_END) {
                self.drop_front(HEAD_END.len());
                return Some(Framed::Ping);
            }
            // The rest of a keep-alive, or what RFC 3261 7.5 lets stand before a start line.
            match leading_line_end(bytes) {
                0 => break,
                lead => self.drop_front(lead),
            }
        }
        let bytes: &[u8] = self.buffer.make_contiguous();
        if HEAD_END.starts_with(bytes) {
            return None;
        }
        let from = self.searched.saturating_sub(HEAD_END.len() - 1);
        let Some(end) = find(&bytes[from..], HEAD_END).map(|at| from + at + HEAD_END.len()) else {
            self.searched = bytes.len();
            let long = bytes.len() > self.limits.message_bytes_max;
            return long.then(|| self.lost(Defect::Long));
        };
        let max = self.limits.message_bytes_max;
        if end > max {
            return Some(self.lost(Defect::Long));
        }
        let whole = match body_length(&bytes[..end]) {
            Ok(length) if length <= max - end => end + length,
            Ok(_) => return Some(self.lost(Defect::Long)),
            Err(defect) => return Some(self.lost(defect)),
        };
        if bytes.len() < whole {
            return None;
        }
        let message = bytes[..whole].to_vec();
        self.drop_front(whole);
        Some(Framed::Message(message))
    }

    fn drop_front(&mut self, count: usize) {
        self.buffer.drain(..count);
        self.searched = 0;
    }

    fn lost(&mut self, defect: Defect) -> Framed {
        self.broken = true;
        let bytes = std::mem::take(&mut self.buffer);
        let head: Vec<u8> = bytes
            .into_iter()
            .take(self.limits.message_bytes_max)
            .collect();
        let end = find(&head, HEAD_END).map_or(head.len(), |at| at + HEAD_END.len());
        let (status, phrase) = defect.answer();
        Framed::Broken(Broken {
            head: head[..end].to_vec(),
            status,
            phrase,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    NoLength,
    SeveralLengths,
    BadLength,
    Long,
}

impl Defect {
    fn answer(self) -> (u16, &'static str) {
        match self {
            Defect::NoLength => (400, "Missing Content-Length"),
            Defect::SeveralLengths => (400, "Several Content-Length"),
            Defect::BadLength => (400, "Bad Content-Length"),
            Defect::Long => (513, "Message Too Large"),
        }
    }
}

/// A line end in front of something else than its repetition.
fn leading_line_end(bytes: &[u8]) -> usize {
    let after_it = bytes
        .strip_prefix(LINE_END)
        .and_then(|rest| rest.first().map(|first| (rest, *first)));
    match after_it {
        Some((rest, b'\r')) if rest.len() == 1 || rest[1] == b'\n' => 0,
        Some(_) => LINE_END.len(),
        // A stray CR or LF; were it kept, no start line would ever be seen.
        None => match bytes {
            [b'\n', ..] => 1,
            [b'\r', second, ..] if *second != b'\n' => 1,
            _ => 0,
        },
    }
}

/// RFC 3261 20.14, 7.3.3: exactly one Content-Length, long or compact, of digits alone.
fn body_length(head: &[u8]) -> Result<usize, Defect> {
    let mut found = None;
    for field in fields(head) {
        let Some(colon) = field.iter().position(|b| *b == b':') else {
            continue;
        };
        let name = field[..colon].trim_ascii();
        if !name.eq_ignore_ascii_case(b"Content-Length") && !name.eq_ignore_ascii_case(b"l") {
            continue;
        }
        if found.is_some() {
            return Err(Defect::SeveralLengths);
        }
        found = Some(digits(field[colon + 1..].trim_ascii())?);
    }
    found.ok_or(Defect::NoLength)
}

fn digits(value: &[u8]) -> Result<usize, Defect> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Defect::BadLength);
    }
    let text = std::str::from_utf8(value).map_err(|_| Defect::BadLength)?;
    let length: u32 = text.parse().map_err(|_| Defect::BadLength)?;
    usize::try_from(length).map_err(|_| Defect::BadLength)
}

/// The header fields after the start line, each with its continuation lines.
fn fields(head: &[u8]) -> Vec<Vec<u8>> {
    let mut fields: Vec<Vec<u8>> = Vec::new();
    let mut rest = head;
    let mut first = true;
    while !rest.is_empty() {
        let end = find(rest, LINE_END).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + LINE_END.len()..).unwrap_or_default();
        match fields.last_mut() {
            _ if first => first = false,
            Some(field) if matches!(line.first(), Some(b' ' | b'\t')) => field.extend(line),
            _ => fields.push(line.to_vec()),
        }
    }
    fields
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: Limits = Limits {
        message_bytes_max: 300,
        header_count_max: 16,
    };

    fn all(bytes: &[u8]) -> Vec<Framed> {
        in_pieces(bytes, &[])
    }

    /// Cut at these offsets.
    fn in_pieces(bytes: &[u8], cuts: &[usize]) -> Vec<Framed> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let (mut framer, mut out, mut from) = (Framer::new(SMALL), Vec::new(), 0);
        for cut in cuts {
            framer.push(&bytes[from..cut]);
            from = cut;
            while let Some(framed) = framer.poll() {
                out.push(framed);
            }
        }
        out
    }

    fn message(body: &str) -> Vec<u8> {
        format!(
            "OPTIONS sip:a SIP/2.0\r\nCall-ID: 1\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    fn broken(bytes: &[u8]) -> (u16, &'static str) {
        match all(bytes).as_slice() {
            [Framed::Broken(broken)] => (broken.status, broken.phrase),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn two_messages_in_one_read_are_two_messages() {
        let (one, two) = (message("abc"), message(""));
        let both = [one.clone(), two.clone()].concat();
        assert_eq!(all(&both), [Framed::Message(one), Framed::Message(two)]);
    }

    #[test]
    fn a_double_line_end_is_a_ping_and_a_single_one_is_nothing() {
        assert_eq!(all(b"\r\n\r\n"), [Framed::Ping]);
        assert_eq!(all(b"\r\n"), []);
        let after = [b"\r\n".to_vec(), message("x")].concat();
        assert_eq!(all(&after), [Framed::Message(message("x"))]);
        let after = [b"\r\n\r\n".to_vec(), message("x")].concat();
        assert_eq!(all(&after), [Framed::Ping, Framed::Message(message("x"))]);
    }

    #[test]
    fn the_length_may_be_compact_spaced_and_folded() {
        for field in [
            "l:2",
            "L : 2",
            "Content-Length :\r\n 2",
            "CONTENT-LENGTH:\t02 ",
        ] {
            let text = format!("OPTIONS sip:a SIP/2.0\r\n{field}\r\n\r\nab");
            assert_eq!(
                all(text.as_bytes()),
                [Framed::Message(text.clone().into_bytes())],
                "{field}"
            );
        }
    }

    #[test]
    fn a_length_that_says_nothing_certain_ends_the_stream() {
        let with = |fields: &str| format!("INVITE sip:a SIP/2.0\r\n{fields}Via: x\r\n\r\nabcdef");
        let cases = [
            ("", 400, "Missing Content-Length"),
            ("Content-Length: -999\r\n", 400, "Bad Content-Length"),
            ("Content-Length: +1\r\n", 400, "Bad Content-Length"),
            ("Content-Length: \r\n", 400, "Bad Content-Length"),
            ("Content-Length: 4294967296\r\n", 400, "Bad Content-Length"),
            ("Content-Length: 4294967295\r\n", 513, "Message Too Large"),
            (
                "Content-Length: 5\r\nl: 13\r\n",
                400,
                "Several Content-Length",
            ),
            (
                "Content-Length: 5\r\nContent-Length: 5\r\n",
                400,
                "Several Content-Length",
            ),
        ];
        for (fields, status, phrase) in cases {
            assert_eq!(
                broken(with(fields).as_bytes()),
                (status, phrase),
                "{fields:?}"
            );
        }
    }

    #[test]
    fn the_refused_message_keeps_its_head_and_what_follows_is_not_read() {
        let text = b"INVITE sip:a SIP/2.0\r\nVia: x\r\n\r\nBYE sip:b SIP/2.0\r\nl: 0\r\n\r\n";
        let [Framed::Broken(broken)] = &all(text)[..] else {
            panic!("not one end");
        };
        assert_eq!(broken.head, b"INVITE sip:a SIP/2.0\r\nVia: x\r\n\r\n");
    }

    #[test]
    fn a_head_without_end_is_given_up_at_the_limit() {
        let endless = [b"INVITE sip:a SIP/2.0\r\nX: ".to_vec(), vec![b'a'; 400]].concat();
        assert_eq!(broken(&endless), (513, "Message Too Large"));
        let mut framer = Framer::new(SMALL);
        framer.push(&endless[..300]);
        assert_eq!(framer.poll(), None);
        assert!(framer.is_within());
    }

    #[test]
    fn half_a_message_is_within_and_keep_alives_are_not() {
        let mut framer = Framer::new(SMALL);
        framer.push(b"\r\n");
        assert_eq!((framer.poll(), framer.is_within()), (None, false));
        framer.push(b"OPT");
        assert_eq!((framer.poll(), framer.is_within()), (None, true));
        let whole = message("abc");
        framer.push(&whole[3..]);
        assert_eq!(framer.poll(), Some(Framed::Message(whole)));
        assert!(!framer.is_within());
    }

    fn part() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            6 => "[a-z\r\n]{0,40}".prop_map(|body| message(&body)),
            2 => Just(b"\r\n".to_vec()),
            2 => Just(b"\r\n\r\n".to_vec()),
            1 => Just(b"\r".to_vec()),
            1 => Just(b"\n".to_vec()),
            1 => "INVITE sip:a SIP/2.0\r\n[a-z:0-9\r\n]{0,60}\r\n\r\n".prop_map(String::into_bytes),
            1 => proptest::collection::vec(any::<u8>(), 0..400),
        ]
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_cut_the_same_comes_out(
            parts in proptest::collection::vec(part(), 0..8),
            cuts in proptest::collection::vec(any::<usize>(), 0..40),
        ) {
            let bytes = parts.concat();
            let whole = all(&bytes);
            prop_assert_eq!(&in_pieces(&bytes, &cuts), &whole);
            let every: Vec<usize> = (0..bytes.len()).collect();
            prop_assert_eq!(&in_pieces(&bytes, &every), &whole);
        }

        #[test]
        fn good_messages_all_arrive_whatever_stands_between(
            bodies in proptest::collection::vec("[a-z\r\n]{0,40}", 1..6),
            between in "(\r\n){0,3}",
        ) {
            let sent: Vec<Vec<u8>> = bodies.iter().map(|body| message(body)).collect();
            let bytes = sent.join(between.as_bytes());
            let mut got = all(&bytes);
            got.retain(|one| *one != Framed::Ping);
            let wanted: Vec<Framed> = sent.into_iter().map(Framed::Message).collect();
            prop_assert_eq!(got, wanted);
        }
    }
}
