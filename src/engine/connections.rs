//! TCP and TLS connections as the switch knows them (RFC 3261 §18, RFC 5923): one a peer and name,
//! used in both directions, opened again when something has to be sent.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use super::large::Large;
use super::switch::{Output, Switch};
use crate::net::{ACCEPTED_FIRST, OPENED_FIRST};
use crate::now::Now;
use crate::sip::{Broken, Flow, Transport};

/// Peers we have opened connections to that are remembered; the ids of others are given up.
const PEERS_MAX: usize = 10_000;

/// Where a connection of ours leads, and as whom the peer must prove itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Peer {
    transport: Transport,
    remote: SocketAddr,
    server_name: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Connections {
    /// Open or opening.
    live: HashSet<u64>,
    up: HashSet<u64>,
    /// The id a peer's connections always have, so that what was begun on one goes on over the next.
    ids: HashMap<Peer, u64>,
    peers: HashMap<u64, Peer>,
    opened: u64,
    /// Requests too large for UDP.
    pub large: Large,
}

impl Connections {
    fn id_of(&mut self, peer: Peer) -> u64 {
        if let Some(id) = self.ids.get(&peer) {
            return *id;
        }
        if self.ids.len() >= PEERS_MAX {
            let live = &self.live;
            self.ids.retain(|_, id| live.contains(id));
            self.peers.retain(|id, _| live.contains(id));
        }
        let id = OPENED_FIRST + self.opened;
        self.opened += 1;
        self.ids.insert(peer.clone(), id);
        self.peers.insert(id, peer);
        id
    }
}

impl Switch {
    /// The connection to a peer: the one that is open or opening, else one that is opened now.
    /// What is sent on it waits until it is up; `Input::SipClosed` says that it is not.
    /// `server_name` is whom a TLS peer must prove to be; its address when there is none.
    pub fn connection(
        &mut self,
        transport: Transport,
        remote: SocketAddr,
        server_name: Option<&str>,
    ) -> Flow {
        let id = self.connections.id_of(Peer {
            transport,
            remote,
            server_name: server_name.map(str::to_owned),
        });
        let flow = Flow {
            id,
            transport,
            local: self.config.ways.from(remote),
            remote,
        };
        self.live_way(flow)
    }

    /// The UDP socket to use toward a peer: the one on the address that packets to it leave from,
    /// else one of its address family.
    #[must_use]
    pub fn udp_flow(&self, remote: SocketAddr) -> Flow {
        self.config.ways.udp(remote, &self.config.trunk_flow)
    }

    /// A flow that something can be sent on: a connection that is gone is opened again.
    pub(super) fn live_way(&mut self, flow: Flow) -> Flow {
        if flow.transport.is_stream() && self.connections.live.insert(flow.id) {
            let peer = self.connections.peers.get(&flow.id);
            let (remote, server_name) = match peer {
                Some(peer) => (peer.remote, peer.server_name.clone()),
                None => (flow.remote, None),
            };
            let flow = Flow { remote, ..flow };
            self.emit(Output::SipConnect { flow, server_name });
        }
        flow
    }

    /// A peer has opened a connection, or one of ours is up.
    pub(super) fn connected(&mut self, flow: &Flow) {
        self.connections.live.insert(flow.id);
        self.connections.up.insert(flow.id);
        self.connections.large.up(flow.id);
    }

    pub(super) fn connection_closed(&mut self, now: Now, flow: u64) {
        self.connections.live.remove(&flow);
        self.connections.up.remove(&flow);
        for (flow, bytes) in self.connections.large.closed(now.instant, flow) {
            self.emit(Output::Sip { flow, bytes });
        }
        self.sip.handle_connection_closed(now, flow);
    }

    pub(super) fn broken(&mut self, now: Now, flow: &Flow, broken: &Broken) {
        self.sip.handle_broken(now, flow, broken);
    }

    /// Whether there is a TCP connection to this peer already.
    pub(super) fn is_up(&self, remote: SocketAddr) -> bool {
        let peer = Peer {
            transport: Transport::Tcp,
            remote,
            server_name: None,
        };
        let id = self.connections.ids.get(&peer);
        id.is_some_and(|id| self.connections.up.contains(id))
    }
}

/// Whether an id is that of a TCP or TLS connection.
pub(super) fn is_connection(flow: u64) -> bool {
    flow >= ACCEPTED_FIRST
}
