//! `[trace]` and `[hep]`: SIP messages kept for `foredial ctl trace`, and mirrored to a capture
//! server.

use super::Secret;
use super::network::address_and_port;
use super::written::Section;
use serde::Serialize;
use std::net::SocketAddr;

/// 4 MiB are about 5,000 messages.
const MEMORY_KIB: u32 = 4_096;
const MEMORY_KIB_MAX: u32 = 1_048_576;
/// What Homer's own agents count from.
const CAPTURE_ID: u32 = 2_001;
const PASSWORD_BYTES_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraceConfig {
    /// The last messages are kept in this much memory; 0 keeps none.
    pub memory_kib: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HepConfig {
    /// UDP. `None`: nothing is mirrored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<SocketAddr>,
    /// Names this switch to the capture server.
    pub id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
}

impl TraceConfig {
    pub(super) fn read(section: Section<'_>) -> TraceConfig {
        let memory_kib = section.count("memory_kib", MEMORY_KIB, 0..=MEMORY_KIB_MAX);
        section.done();
        TraceConfig { memory_kib }
    }
}

impl HepConfig {
    pub(super) fn read(section: Section<'_>) -> HepConfig {
        let server = section.parsed("server", address_and_port);
        let id = section.count("id", CAPTURE_ID, 0..=u32::MAX);
        let password = section
            .text_found("password")
            .filter(|found| !found.value.is_empty());
        if let Some(found) = password
            .as_ref()
            .filter(|found| found.value.len() > PASSWORD_BYTES_MAX)
        {
            section.sheet.complain(
                found.span.clone(),
                "`password` is longer than a HEP packet can spare",
                format!("give one of at most {PASSWORD_BYTES_MAX} bytes"),
            );
        }
        section.done();
        HepConfig {
            server,
            id,
            password: password.map(|found| Secret::new(&found.value)),
        }
    }
}
