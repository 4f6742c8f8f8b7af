//! By what a trunk's server is spoken to: UDP, or one reused TCP or TLS connection a server
//! (RFC 5923), over which the server must prove to be the domain we call (RFC 5922 §7.3).

use std::net::{IpAddr, SocketAddr};

use super::resolved::Trunk;
use super::switch::Switch;
use crate::id::TrunkId;
use crate::sip::{Flow, Transport};

impl Switch {
    pub(super) fn trunk_transport(&self, id: &TrunkId) -> Transport {
        let trunk = self.config.trunks.get(id);
        trunk.map_or(Transport::Udp, |trunk| trunk.transport)
    }

    /// The flow to one of a trunk's servers: its UDP socket, or the connection that is open or is
    /// opened now. One that cannot be opened ends what waits for it, and that goes elsewhere.
    pub(super) fn trunk_flow(&mut self, id: &TrunkId, server: SocketAddr) -> Flow {
        match self.trunk_transport(id) {
            Transport::Tls => {
                let name = self.certificate_name(id, server);
                self.connection(Transport::Tls, server, name.as_deref())
            }
            Transport::Tcp => self.connection(Transport::Tcp, server, None),
            Transport::Udp | Transport::Ws | Transport::Wss => self.udp_flow(server),
        }
    }

    /// Whom a server's certificate must be for: the name configured for it, else the one that led
    /// to its address, else the trunk's domain; its address when there is no name.
    pub(super) fn certificate_name(&self, id: &TrunkId, server: SocketAddr) -> Option<String> {
        let trunk = self.config.trunks.get(id)?;
        let carrier = self.trunks.carriers.get(id);
        let found = || carrier?.name_of(server).map(str::to_owned);
        trunk
            .certificate_name
            .clone()
            .or_else(found)
            .or_else(|| domain_name(trunk))
    }
}

/// The domain without a port, when it is a name.
fn domain_name(trunk: &Trunk) -> Option<String> {
    let domain = trunk.domain.as_str();
    if domain.parse::<SocketAddr>().is_ok() {
        return None;
    }
    let host = match domain.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => domain,
    };
    let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    (!is_address && !host.is_empty()).then(|| host.to_owned())
}
