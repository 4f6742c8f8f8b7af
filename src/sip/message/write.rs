//! The serialiser: bytes in, bytes out, and Content-Length always ours.

use super::address::unbroken_ascii;
use super::{Headers, Request, Response};

impl Request {
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let start = format!("{} {} SIP/2.0\r\n", self.method, unbroken_ascii(&self.uri));
        write(&start, &self.headers, &self.body)
    }
}

impl Response {
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // The phrase may have come from a caller; it must not end the line early.
        let phrase: String = self.phrase.chars().filter(|c| !c.is_control()).collect();
        let start = format!("SIP/2.0 {} {phrase}\r\n", self.status);
        write(&start, &self.headers, &self.body)
    }
}

fn write(start: &str, headers: &Headers, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(start.len() + body.len() + 512);
    out.extend_from_slice(start.as_bytes());
    for header in headers
        .iter()
        .filter(|h| !h.name().eq_ignore_ascii_case("Content-Length"))
    {
        out.extend_from_slice(header.name().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(header.value());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    out.extend_from_slice(body);
    out
}
