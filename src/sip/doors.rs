//! Our names in Via and Contact (RFC 3261 §18.1.1, §8.1.1.8): by transport and address family,
//! whatever socket or connection a message leaves through.

use std::net::SocketAddr;

use super::event::{Flow, Transport};

/// A socket that listens, and where peers are told it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Door {
    pub transport: Transport,
    pub local: SocketAddr,
    /// An unspecified address stands for the one the flow leaves from.
    pub advertised: SocketAddr,
}

/// Where a peer on this flow finds us. A connection we opened has a port of its own that nobody
/// listens on, so the listening one is told.
pub(super) fn told(doors: &[Door], flow: &Flow) -> Option<SocketAddr> {
    let local = canonical(flow.local);
    let suits =
        |door: &&Door| door.transport == flow.transport && door.local.is_ipv4() == local.is_ipv4();
    let near = |door: &Door| {
        let ours = canonical(door.local);
        (
            ours == local,
            ours.ip() == local.ip(),
            ours.ip().is_unspecified(),
        )
    };
    // The first of equals.
    let door = doors
        .iter()
        .filter(suits)
        .rev()
        .max_by_key(|door| near(door))?;
    let ip = match door.advertised.ip() {
        ip if ip.is_unspecified() => local.ip(),
        ip => ip,
    };
    Some(SocketAddr::new(ip, door.advertised.port()))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(transport: Transport, local: &str, advertised: &str) -> Door {
        Door {
            transport,
            local: local.parse().unwrap(),
            advertised: advertised.parse().unwrap(),
        }
    }

    fn from(transport: Transport, local: &str) -> Flow {
        Flow {
            id: 1,
            transport,
            local: local.parse().unwrap(),
            remote: local.parse().unwrap(),
        }
    }

    #[test]
    fn a_flow_is_told_by_its_own_transport_interface_and_family() {
        let doors = [
            door(Transport::Udp, "192.0.2.1:5060", "192.0.2.1:5060"),
            door(Transport::Udp, "198.51.100.1:5070", "203.0.113.9:5070"),
            door(Transport::Udp, "[::]:5060", "[::]:5060"),
            door(Transport::Tcp, "0.0.0.0:5060", "0.0.0.0:5060"),
            door(Transport::Tls, "0.0.0.0:5061", "203.0.113.9:5061"),
        ];
        let told =
            |transport, local| told(&doors, &from(transport, local)).map(|it| it.to_string());
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(told(Transport::Udp, "192.0.2.1:5060"), is("192.0.2.1:5060"));
        assert_eq!(
            told(Transport::Udp, "198.51.100.1:5070"),
            is("203.0.113.9:5070")
        );
        assert_eq!(
            told(Transport::Udp, "[2001:db8::1]:5060"),
            is("[2001:db8::1]:5060")
        );
        assert_eq!(
            told(Transport::Tcp, "192.0.2.1:40112"),
            is("192.0.2.1:5060")
        );
        assert_eq!(
            told(Transport::Tls, "192.0.2.1:40113"),
            is("203.0.113.9:5061")
        );
        assert_eq!(told(Transport::Tls, "[2001:db8::1]:40113"), None);
    }
}
