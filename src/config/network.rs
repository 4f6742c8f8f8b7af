//! `[http]`, `[media]`, `[state]`, `[store]`, `[recordings]`.

use super::written::{Section, Wrong};
use serde::{Serialize, Serializer};
use std::fs::DirBuilder;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

const WORKERS_MAX: u32 = 256;
/// A working day and an evening; a week at most.
const SESSION_HOURS: u32 = 16;
const SESSION_HOURS_MAX: u32 = 168;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HttpConfig {
    /// Plain HTTP: for this machine, or behind a proxy that speaks TLS. `None` is off.
    #[serde(serialize_with = "or_empty")]
    pub listen: Option<SocketAddr>,
    /// HTTPS. `None` is off.
    #[serde(serialize_with = "or_empty")]
    pub tls_listen: Option<SocketAddr>,
    /// PEM. Without it a self-signed one is made in the state folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Origins, besides our own, whose pages may open WebSockets: `https://crm.example.com`.
    pub origins: Vec<String>,
    pub session_hours: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MediaConfig {
    /// The address offered to trunks for RTP. `None`: the one of `[sip]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    #[serde(serialize_with = "as_range")]
    pub rtp_ports: RangeInclusive<u16>,
    /// Media threads; 0 is one a core.
    pub workers: u32,
}

/// Where the daemon keeps what it makes for itself: certificate, sign-ins, the key of `ctl`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StateConfig {
    pub folder: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StoreConfig {
    pub path: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecordingsConfig {
    pub folder: PathBuf,
}

impl HttpConfig {
    /// `digest`: the one of `[sip]`.
    pub(super) fn read(section: Section<'_>, digest: bool) -> HttpConfig {
        let listen = listener(
            &section,
            "listen",
            SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
        );
        let tls_listen = listener(
            &section,
            "tls_listen",
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8443)),
        );
        if listen.is_none() && tls_listen.is_none() {
            section.sheet.complain(
                section.span.clone(),
                "`listen` and `tls_listen` are both off: no agent could sign in",
                "give one of them an address",
            );
        }
        let mut listeners = listen.iter().chain(&tls_listen);
        if !digest && listeners.any(|listen| !listen.ip().is_loopback()) {
            section.sheet.complain(
                section.span.clone(),
                "`digest = false` in [sip]: anyone could call from here over WebSocket",
                "give listen a loopback address and tls_listen one or \"\", or leave digest on",
            );
        }
        // Port 0 is any free one, and never the same twice.
        if listen.is_some_and(|listen| listen.port() != 0) && listen == tls_listen {
            section.sheet.complain(
                section.span.clone(),
                "`listen` and `tls_listen` are the same address",
                "give each a port of its own",
            );
        }
        let certificate = section.file("certificate");
        let key = section.file("key");
        if certificate.is_some() != key.is_some() {
            let (given, lacking) = if key.is_some() {
                ("key", "certificate")
            } else {
                ("certificate", "key")
            };
            section.missing(
                lacking,
                &format!("`{given}` is given: name the matching {lacking} as well"),
            );
        }
        let origins = section.texts("origins").unwrap_or_default();
        let origins = origins
            .into_iter()
            .filter_map(|found| section.check(found.span, origin(&found.value)))
            .collect();
        let session_hours = section.count("session_hours", SESSION_HOURS, 1..=SESSION_HOURS_MAX);
        section.done();
        let path = |found: super::written::Found<PathBuf>| found.value;
        HttpConfig {
            listen,
            tls_listen,
            certificate: certificate.map(path),
            key: key.map(path),
            origins,
            session_hours,
        }
    }
}

impl MediaConfig {
    pub(super) fn read(section: Section<'_>) -> MediaConfig {
        let address = section.parsed("address", address);
        let rtp_ports = section
            .parsed("rtp_ports", port_range)
            .unwrap_or(10_000..=20_000);
        let workers = section.count("workers", 0, 0..=WORKERS_MAX);
        section.done();
        MediaConfig {
            address,
            rtp_ports,
            workers,
        }
    }
}

impl StateConfig {
    pub(super) fn read(section: Section<'_>) -> StateConfig {
        let folder = section.path("folder", "state");
        section.done();
        StateConfig { folder }
    }
}

impl StateConfig {
    /// Makes the folder where it is not there, for its owner only: it holds keys and customers.
    pub fn make_folder(&self) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
    }
}

impl StoreConfig {
    /// Without a path of its own the database lies in the state folder.
    pub(super) fn read(section: Section<'_>, state: &StateConfig) -> StoreConfig {
        let path = match section
            .text_found("path")
            .filter(|found| !found.value.is_empty())
        {
            Some(found) => section.sheet.base.join(found.value),
            None => state.folder.join("foredial.db"),
        };
        section.done();
        StoreConfig { path }
    }
}

impl RecordingsConfig {
    pub(super) fn read(section: Section<'_>) -> RecordingsConfig {
        let folder = section.path("folder", "recordings");
        section.done();
        RecordingsConfig { folder }
    }
}

/// An unwritten address is the default one, an empty one is off.
fn listener(section: &Section<'_>, key: &'static str, default: SocketAddr) -> Option<SocketAddr> {
    if section.has(key) {
        section.parsed(key, address_and_port)
    } else {
        section.parsed(key, address_and_port).or(Some(default))
    }
}

pub(super) fn address_and_port(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| {
        let example = match text.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => format!("127.0.0.1:{port}"),
            _ => "0.0.0.0:5060".to_owned(),
        };
        Wrong(
            format!("`{text}` is not an address with a port"),
            format!("write an IP address, a colon and a port, such as \"{example}\""),
        )
    })
}

pub(super) fn address(text: &str) -> Result<IpAddr, Wrong> {
    text.parse().map_err(|_| {
        Wrong(
            format!("`{text}` is not an IP address"),
            "write an IP address without a port, such as \"203.0.113.7\"".into(),
        )
    })
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>, Wrong> {
    let remedy = || "write the first and the last port, such as \"10000-20000\"".to_owned();
    let wrong = || Wrong(format!("`{text}` is not a range of ports"), remedy());
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let first: u16 = first.trim().parse().map_err(|_| wrong())?;
    let last: u16 = last.trim().parse().map_err(|_| wrong())?;
    if first < 1024 || last <= first {
        return Err(Wrong(
            format!("`{text}` holds no pair of ports above 1023"),
            remedy(),
        ));
    }
    Ok(first..=last)
}

fn origin(text: &str) -> Result<String, Wrong> {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '*', ' ', '@', '?']) => {
            Ok(text.to_ascii_lowercase())
        }
        _ => Err(Wrong(
            format!("`{text}` is not an origin"),
            "write the scheme, the host and, if unusual, the port: \"https://crm.example.com\""
                .into(),
        )),
    }
}

fn or_empty<S: Serializer>(address: &Option<SocketAddr>, serializer: S) -> Result<S::Ok, S::Error> {
    match address {
        Some(address) => serializer.collect_str(address),
        None => serializer.serialize_str(""),
    }
}

fn as_range<S: Serializer>(ports: &RangeInclusive<u16>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}-{}", ports.start(), ports.end()))
}
