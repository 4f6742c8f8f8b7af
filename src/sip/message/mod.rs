//! SIP messages as values (RFC 3261 §7, §25): framing, unfolding, compact names, limits and a
//! byte-safe serialiser. Bodies are opaque bytes. The only place that names rsip, whose parser
//! alone is not conformant; here it only says which methods exist.

mod address;
mod headers;
mod method;
mod multipart;
mod parse;
mod same;
mod status;
mod target;
#[cfg(test)]
mod tests;
mod uri;
mod via;
mod write;

pub(super) use address::quote;
pub use address::{NameAddr, Param};
pub(super) use headers::split_commas;
pub use headers::{Header, Headers, RefusedHeader};
pub use method::{ALLOW, Method};
pub(super) use multipart::media_type;
pub use multipart::{Part, parts};
pub use parse::{Limits, Parsed, parse};
pub use status::phrase;
pub use target::{Target, Tel};
pub use uri::{URI_BYTES_MAX, Uri, UriError};
pub use via::Via;

/// A body with the type its sender declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    pub content_type: String,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    pub uri: String,
    pub headers: Headers,
    pub body: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub phrase: String,
    pub headers: Headers,
    pub body: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Request(Request),
    Response(Response),
}

impl Request {
    #[must_use]
    pub fn new(method: Method, uri: impl Into<String>) -> Request {
        Request {
            method,
            uri: uri.into(),
            headers: Headers::default(),
            body: Vec::new(),
        }
    }

    /// The body, when there is one: of a multipart one the session description, if it holds
    /// one (RFC 5621 3). `body` has it as it came.
    #[must_use]
    pub fn typed_body(&self) -> Option<Body> {
        typed_body(&self.headers, &self.body)
    }
}

impl Response {
    /// RFC 3261 8.2.6.2: what a response takes over from its request. `to_tag` is added to a
    /// To that has none.
    #[must_use]
    pub fn to(request: &Request, status: u16, to_tag: Option<&str>) -> Response {
        let mut headers = Headers::default();
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            headers.copy(&request.headers, name);
        }
        if status == 100 {
            headers.copy(&request.headers, "Timestamp");
        }
        if let Some(tag) = to_tag
            && request.headers.count("To") > 0
            && request.headers.tag("To").is_none()
        {
            headers.append_to_first("To", format!(";tag={tag}").as_bytes());
        }
        Response {
            status,
            phrase: phrase(status).to_owned(),
            headers,
            body: Vec::new(),
        }
    }

    #[must_use]
    pub fn typed_body(&self) -> Option<Body> {
        typed_body(&self.headers, &self.body)
    }
}

fn typed_body(headers: &Headers, bytes: &[u8]) -> Option<Body> {
    if bytes.is_empty() {
        return None;
    }
    let content_type = headers.text("Content-Type").unwrap_or_default();
    let bytes = bytes.to_vec();
    Some(multipart::description(Body {
        content_type,
        bytes,
    }))
}
