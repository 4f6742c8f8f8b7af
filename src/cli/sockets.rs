//! Binding every SIP socket of `[sip]`: a taken port is told with its key before anything starts.

use std::io;
use std::net::SocketAddr;

use tokio::sync::mpsc;

use super::Failure;
use crate::config::{Config, SipConfig};
use crate::http;
use crate::net::streams::Listening;
use crate::net::tls::{Identity, ServerTls, Toward, Verify};
use crate::net::udp::SipUdp;
use crate::net::{Home, SipSockets, SipStreams, bind, unreachable};
use crate::sip::{Door, Transport};

/// Datagrams, and facts of connections, that may wait for the loop.
const WAITING_MAX: usize = 4_096;

/// The bound sockets, and what peers are told of each.
pub struct SipBound {
    pub sockets: SipSockets,
    /// Where the UDP sockets are read.
    pub home: Home,
    pub doors: Vec<Door>,
    /// To be swapped when their files change.
    pub tls: (Option<ServerTls>, Toward),
}

impl SipBound {
    /// On a tokio runtime.
    pub(super) fn bind(config: &Config) -> Result<SipBound, Failure> {
        let sip = &config.sip;
        let home = Home::new().map_err(|error| Failure::plain(format!("SIP sockets: {error}")))?;
        let inside = home.enter();
        let (udp, datagrams) = bind_udp(sip)?;
        let unreachable = watched(&udp);
        drop(inside);
        let mut doors: Vec<Door> = udp
            .iter()
            .map(|socket| door(sip, Transport::Udp, socket.local_addr()))
            .collect();
        let mut listening = Vec::new();
        for wanted in &sip.tcp_listen {
            let listener =
                bind_tcp(*wanted, &udp).map_err(|error| taken("tcp_listen", *wanted, &error))?;
            doors.push(heard_at(sip, Transport::Tcp, *wanted, &listener));
            listening.push(Listening {
                listener,
                tls: None,
            });
        }
        let tls = server_tls(config)?;
        for wanted in &sip.tls_listen {
            let listener =
                bind::tcp(*wanted).map_err(|error| taken("tls_listen", *wanted, &error))?;
            doors.push(heard_at(sip, Transport::Tls, *wanted, &listener));
            let tls = tls.clone();
            listening.push(Listening { listener, tls });
        }
        let toward = toward(sip)?;
        let (streams, stream_facts) =
            SipStreams::start(listening, toward.clone(), sip.stream_limits(), WAITING_MAX)
                .map_err(|error| Failure::plain(format!("SIP connections: {error}")))?;
        let sockets = SipSockets {
            unreachable,
            udp,
            datagrams,
            streams,
            stream_facts,
        };
        Ok(SipBound {
            sockets,
            home,
            doors,
            tls: (tls, toward),
        })
    }

    /// The first of `[sip] listen`.
    pub(super) fn first(&self) -> Option<SocketAddr> {
        self.sockets.udp.first().map(SipUdp::local_addr)
    }
}

type BoundUdp = (Vec<SipUdp>, mpsc::Receiver<crate::net::udp::Datagram>);

fn bind_udp(sip: &SipConfig) -> Result<BoundUdp, Failure> {
    let (sender, datagrams) = mpsc::channel(WAITING_MAX);
    let bound: Result<Vec<SipUdp>, Failure> = (0..)
        .zip(&sip.listen)
        .map(|(number, wanted)| {
            SipUdp::join(*wanted, number, sender.clone())
                .map_err(|error| taken("listen", *wanted, &error))
        })
        .collect();
    Ok((bound?, datagrams))
}

/// Without it a server that is gone is one that keeps silent.
fn watched(udp: &[SipUdp]) -> mpsc::Receiver<unreachable::Unreachable> {
    let (sender, found) = mpsc::channel(unreachable::WAITING_MAX);
    for socket in udp {
        if let Err(error) = socket.watch_errors(sender.clone()) {
            tracing::warn!(%error, "ICMP errors are not told: servers that are gone are waited for");
        }
    }
    found
}

/// Any free port for TCP is best that of UDP on the same address, as peers expect.
fn bind_tcp(wanted: SocketAddr, udp: &[SipUdp]) -> io::Result<std::net::TcpListener> {
    let beside = udp
        .iter()
        .map(SipUdp::local_addr)
        .find(|local| wanted.port() == 0 && local.ip() == wanted.ip());
    match beside.map(bind::tcp) {
        Some(Ok(listener)) => Ok(listener),
        Some(Err(_)) | None => bind::tcp(wanted),
    }
}

fn heard_at(
    sip: &SipConfig,
    transport: Transport,
    wanted: SocketAddr,
    listener: &std::net::TcpListener,
) -> Door {
    door(sip, transport, listener.local_addr().unwrap_or(wanted))
}

fn door(sip: &SipConfig, transport: Transport, local: SocketAddr) -> Door {
    let ip = sip.advertised_beside(local.ip()).unwrap_or(local.ip());
    Door {
        transport,
        local,
        advertised: SocketAddr::new(ip, local.port()),
    }
}

/// The certificate of `[sip]`, else that of `[http]`, which is made when there is none.
pub(super) fn server_tls(config: &Config) -> Result<Option<ServerTls>, Failure> {
    let sip = &config.sip;
    if sip.tls_listen.is_empty() {
        return Ok(None);
    }
    let identity = server_identity(config)?;
    let loaded = ServerTls::load(&identity, &sip.clients()).map_err(|error| tls(&error))?;
    Ok(Some(loaded))
}

pub(super) fn server_identity(config: &Config) -> Result<Identity, Failure> {
    if let Some(identity) = config.sip.identity() {
        return Ok(identity);
    }
    let (certificate, key) = http::certificate_files(config).map_err(|error| tls(&error))?;
    Ok(Identity { certificate, key })
}

pub(super) fn toward(sip: &SipConfig) -> Result<Toward, Failure> {
    let judged = sip.judged();
    if judged == Verify::Off {
        tracing::warn!(
            "[sip] verify = \"off\": TLS servers are believed without proof; \
             name their authorities in ca and remove it"
        );
    }
    Toward::load(&judged, sip.identity().as_ref()).map_err(|error| tls(&error))
}

fn tls(error: &io::Error) -> Failure {
    Failure::new(
        format!("[sip] TLS: {error}"),
        "name PEM files that belong together in certificate, key, client_ca and ca",
    )
}

fn taken(key: &str, address: SocketAddr, error: &io::Error) -> Failure {
    let (transport, off) = match key {
        "listen" => ("UDP", ""),
        "tcp_listen" => ("TCP", ", \"\" for none"),
        _ => ("TLS", ", \"\" for none"),
    };
    let what = format!("[sip] {key} = \"{address}\" ({transport})");
    match error.kind() {
        io::ErrorKind::AddrInUse => Failure::new(
            format!("{what}: the port is taken"),
            format!("stop what uses it or change {key}{off}"),
        ),
        io::ErrorKind::AddrNotAvailable => Failure::new(
            format!("{what}: this machine has no such address"),
            format!("change {key}; 0.0.0.0 and [::] stand for all addresses"),
        ),
        io::ErrorKind::PermissionDenied => Failure::new(
            format!("{what}: this user may not listen there"),
            format!("change {key} to a port above 1023"),
        ),
        _ => Failure::new(format!("{what}: {error}"), format!("change {key}{off}")),
    }
}
