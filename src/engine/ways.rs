//! Our own sides of flows: which socket and address a message to a peer leaves from, with several
//! interfaces and both address families.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::sip::{Flow, Transport};

/// Which of our addresses packets to a peer leave from. Asks the routing table, or a test.
type Source = Arc<dyn Fn(IpAddr) -> Option<IpAddr> + Send + Sync>;

#[derive(Clone, Default)]
pub struct Ways {
    /// Bound UDP sockets; the place is the flow's id.
    udp: Vec<SocketAddr>,
    source: Option<Source>,
}

impl Ways {
    #[must_use]
    pub fn new(
        udp: Vec<SocketAddr>,
        source: impl Fn(IpAddr) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> Ways {
        Ways {
            udp,
            source: Some(Arc::new(source)),
        }
    }

    /// Whether there is a socket for IPv6.
    pub(super) fn reach_v6(&self) -> bool {
        self.udp.iter().any(SocketAddr::is_ipv6)
    }

    /// Whether this flow's socket is still the same one.
    pub(super) fn has(&self, flow: &Flow) -> bool {
        let socket = usize::try_from(flow.id)
            .ok()
            .and_then(|at| self.udp.get(at));
        socket.is_some_and(|bound| {
            let same_host = bound.ip() == flow.local.ip()
                || (bound.ip().is_unspecified() && bound.is_ipv4() == flow.local.is_ipv4());
            same_host && bound.port() == flow.local.port()
        })
    }

    /// The address a connection to this peer leaves from; its port is the kernel's choice.
    pub(super) fn from(&self, remote: SocketAddr) -> SocketAddr {
        let any = if remote.is_ipv4() {
            IpAddr::from([0_u8; 4])
        } else {
            IpAddr::from([0_u8; 16])
        };
        SocketAddr::new(self.source(remote.ip()).unwrap_or(any), 0)
    }

    /// The socket for this peer, or `otherwise` when none is of its family.
    pub(super) fn udp(&self, remote: SocketAddr, otherwise: &Flow) -> Flow {
        let source = self.source(remote.ip());
        let suits = |at: &&(usize, SocketAddr)| at.1.is_ipv4() == remote.is_ipv4();
        let near = |local: &SocketAddr| (Some(local.ip()) == source, local.ip().is_unspecified());
        let sockets: Vec<(usize, SocketAddr)> = self.udp.iter().copied().enumerate().collect();
        // The first of equals.
        let best = sockets
            .iter()
            .rev()
            .filter(suits)
            .max_by_key(|(_, local)| near(local));
        let Some((id, local)) = best else {
            return Flow {
                remote,
                ..*otherwise
            };
        };
        Flow {
            id: *id as u64,
            transport: Transport::Udp,
            local: specific(*local, source),
            remote,
        }
    }

    /// The flow of a datagram that came to a socket.
    pub(super) fn heard(&self, socket: u64, bound: SocketAddr, remote: SocketAddr) -> Flow {
        let source = if bound.ip().is_unspecified() {
            self.source(remote.ip())
        } else {
            None
        };
        Flow {
            id: socket,
            transport: Transport::Udp,
            local: specific(bound, source),
            remote,
        }
    }

    fn source(&self, peer: IpAddr) -> Option<IpAddr> {
        self.source.as_ref().and_then(|source| source(peer))
    }
}

/// A wildcard stands for the address packets leave from.
fn specific(local: SocketAddr, source: Option<IpAddr>) -> SocketAddr {
    match source {
        Some(source) if local.ip().is_unspecified() => SocketAddr::new(source, local.port()),
        _ => local,
    }
}

impl fmt::Debug for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ways").field("udp", &self.udp).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn other() -> Flow {
        Flow {
            id: 0,
            transport: Transport::Udp,
            local: address("192.0.2.1:5060"),
            remote: address("192.0.2.1:5060"),
        }
    }

    fn told(ways: &Ways, remote: &str) -> (u64, String) {
        let flow = ways.udp(address(remote), &other());
        (flow.id, flow.local.to_string())
    }

    #[test]
    fn each_peer_is_spoken_to_from_the_interface_that_leads_there() {
        let listens = ["192.0.2.1:5060", "10.0.0.1:5080", "[::]:5060"];
        let ways = Ways::new(listens.map(address).to_vec(), |peer| {
            Some(match peer {
                IpAddr::V4(v4) if v4.is_private() => "10.0.0.1".parse().unwrap(),
                IpAddr::V4(_) => "192.0.2.1".parse().unwrap(),
                IpAddr::V6(_) => "2001:db8::1".parse().unwrap(),
            })
        });
        assert_eq!(told(&ways, "10.0.0.9:5060"), (1, listens[1].to_owned()));
        assert_eq!(told(&ways, "198.51.100.9:5060"), (0, listens[0].to_owned()));
        let six = "[2001:db8::1]:5060".to_owned();
        assert_eq!(told(&ways, "[2001:db8::9]:5060"), (2, six));
        assert_eq!(ways.from(address("10.0.0.9:5060")), address("10.0.0.1:0"));
    }

    #[test]
    fn without_a_socket_of_the_family_the_first_one_is_taken() {
        let ways = Ways::new(vec![address("192.0.2.1:5060")], |_| None);
        assert_eq!(told(&ways, "[2001:db8::9]:5060").0, 0);
        assert_eq!(told(&Ways::default(), "192.0.2.9:5060").0, 0);
    }
}
