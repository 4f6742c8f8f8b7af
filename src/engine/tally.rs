//! SIP messages counted by method and by status class, for `/metrics`. Retransmissions count:
//! this is what was on the wire. What others may invent (unknown methods) shares one series.

use serde_json::{Value, json};

use super::tap::Way;

/// Every method that is counted by its name; all others are `other`.
const METHODS: [&str; 14] = [
    "ACK",
    "BYE",
    "CANCEL",
    "INFO",
    "INVITE",
    "MESSAGE",
    "NOTIFY",
    "OPTIONS",
    "PRACK",
    "PUBLISH",
    "REFER",
    "REGISTER",
    "SUBSCRIBE",
    "UPDATE",
];
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "6xx"];
const OTHER: usize = METHODS.len();

#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    incoming: Side,
    outgoing: Side,
}

#[derive(Clone, Debug, Default)]
struct Side {
    requests: [u64; OTHER + 1],
    responses: [u64; CLASSES.len()],
    /// Neither a request line nor a status line.
    unreadable: u64,
}

impl Tally {
    pub fn count(&mut self, way: Way, bytes: &[u8]) {
        let side = match way {
            Way::In => &mut self.incoming,
            Way::Out => &mut self.outgoing,
        };
        side.count(bytes);
    }

    /// `{"in": {"requests": {"INVITE": 1, …}, "responses": {"2xx": 1, …}, "unreadable": 0}, "out": …}`
    pub fn snapshot(&self) -> Value {
        json!({ "in": self.incoming.snapshot(), "out": self.outgoing.snapshot() })
    }
}

impl Side {
    fn count(&mut self, bytes: &[u8]) {
        if let Some(status) = bytes.strip_prefix(b"SIP/2.0 ") {
            let class = status.first().and_then(|digit| digit.checked_sub(b'1'));
            match class.and_then(|class| self.responses.get_mut(usize::from(class))) {
                Some(count) => *count += 1,
                None => self.unreadable += 1,
            }
            return;
        }
        let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next();
        let mut words = line.unwrap_or_default().split(|byte| *byte == b' ');
        let method = words.next().unwrap_or_default();
        if words.next_back() != Some(b"SIP/2.0") {
            self.unreadable += 1;
            return;
        }
        let at = METHODS.iter().position(|known| known.as_bytes() == method);
        self.requests[at.unwrap_or(OTHER)] += 1;
    }

    fn snapshot(&self) -> Value {
        let names = METHODS.iter().copied().chain(["other"]);
        let requests: serde_json::Map<String, Value> = names
            .zip(self.requests)
            .map(|(name, count)| (name.to_owned(), count.into()))
            .collect();
        let responses: serde_json::Map<String, Value> = CLASSES
            .iter()
            .zip(self.responses)
            .map(|(name, count)| ((*name).to_owned(), count.into()))
            .collect();
        json!({ "requests": requests, "responses": responses, "unreadable": self.unreadable })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_by_way_method_and_class_and_inventions_share_a_place() {
        let mut tally = Tally::default();
        for message in [
            "INVITE sip:a@b SIP/2.0\r\n",
            "INVITE sip:a@b SIP/2.0\r\n",
            "XYZZY sip:a@b SIP/2.0\r\n",
            "SIP/2.0 200 OK\r\n",
            "SIP/2.0 999 What\r\n",
            "\u{0}\u{1}",
        ] {
            tally.count(Way::In, message.as_bytes());
        }
        tally.count(Way::Out, b"SIP/2.0 486 Busy Here\r\n");
        let seen = tally.snapshot();
        assert_eq!(seen["in"]["requests"]["INVITE"], 2);
        assert_eq!(seen["in"]["requests"]["other"], 1);
        assert_eq!(seen["in"]["responses"]["2xx"], 1);
        assert_eq!(seen["in"]["unreadable"], 2);
        assert_eq!(seen["out"]["responses"]["4xx"], 1);
        assert_eq!(seen["out"]["requests"]["INVITE"], 0);
    }
}
