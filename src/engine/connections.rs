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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::engine::resolved::{EngineConfig, Limits};
    use crate::engine::switch::Input;
    use crate::engine::ways::Ways;
    use crate::now::UtcMs;
    use crate::sip::{Body, Door, EndpointConfig, InviteTimers, NameAddr, SessionId};

    const PEER: &str = "192.0.2.9:5060";

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn now() -> Now {
        Now {
            instant: Instant::now(),
            utc: UtcMs(0),
        }
    }

    fn switch() -> Switch {
        let local = address("192.0.2.1:5060");
        let mut endpoint = EndpointConfig::new(local, "foredial.invalid");
        endpoint.doors = [Transport::Udp, Transport::Tcp, Transport::Tls]
            .map(|transport| Door {
                transport,
                local,
                advertised: local,
            })
            .to_vec();
        let udp = Flow {
            id: 0,
            transport: Transport::Udp,
            local,
            remote: local,
        };
        let config = EngineConfig {
            endpoint,
            trunk_flow: udp,
            ways: Ways::new(vec![local], move |_| Some(local.ip())),
            media_address: local.ip(),
            rtp_ports: (10_000, 10_010),
            recordings: "recordings".into(),
            trunks: BTreeMap::new(),
            resolvers: Vec::new(),
            plan: Default::default(),
            permit: Vec::new(),
            fraud: Default::default(),
            phones: Vec::new(),
            keys: Default::default(),
            agents: BTreeMap::new(),
            campaigns: BTreeMap::new(),
            epoch: "test".to_owned(),
            seed: 1,
            limits: Limits::default(),
        };
        Switch::new(now(), config, 1)
    }

    /// What goes out, a line each: where to, by what, and the first line and top Via of a message.
    fn said(switch: &mut Switch) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(output) = switch.poll_output() {
            said.push(match output {
                Output::SipConnect { flow, server_name } => {
                    let name = server_name.unwrap_or_default();
                    format!("connect {} {} {name}", flow.transport.name(), flow.remote)
                }
                Output::Sip { flow, bytes } => {
                    let text = String::from_utf8(bytes).unwrap();
                    let verb = text.split(' ').next().unwrap();
                    let via = text.lines().find(|line| line.starts_with("Via: "));
                    let via = via.and_then(|via| via.split([' ', ';']).nth(1)).unwrap();
                    format!("{} {} {verb} {via}", flow.transport.name(), flow.remote)
                }
                _ => continue,
            });
        }
        said
    }

    /// An INVITE of about this many octets, as the sip room sends it.
    fn invite(switch: &mut Switch, flow: &Flow, octets: usize) -> SessionId {
        let to = "sip:far@192.0.2.9";
        let name = NameAddr::new(None, to);
        let plan = switch.sip.plan_invite(to, name.clone(), name, flow);
        let body = Body {
            content_type: "application/sdp".to_owned(),
            bytes: vec![b'x'; octets],
        };
        let timers = InviteTimers::default();
        let session = switch
            .sip
            .invite(now(), plan, vec![], Some(body), None, timers);
        switch.settle(now());
        session
    }

    fn answer(invite: &[u8], status: &str, contact: &str) -> Vec<u8> {
        let text = String::from_utf8_lossy(invite);
        let wanted = ["Via", "From", "To", "Call-ID", "CSeq"];
        let kept = text.lines().filter(|line| {
            let name = line.split(':').next().unwrap_or_default();
            wanted.contains(&name)
        });
        let kept: Vec<String> = kept
            .map(|line| match line.strip_prefix("To: ") {
                Some(to) => format!("To: {to};tag=far"),
                None => line.to_owned(),
            })
            .collect();
        let kept = kept.join("\r\n");
        format!("SIP/2.0 {status}\r\n{kept}\r\nContact: <{contact}>\r\nContent-Length: 0\r\n\r\n")
            .into_bytes()
    }

    fn sent(switch: &mut Switch) -> (Flow, Vec<u8>) {
        loop {
            if let Output::Sip { flow, bytes } = switch.poll_output().expect("a message") {
                return (flow, bytes);
            }
        }
    }

    #[test]
    fn a_peer_has_one_connection_that_is_opened_again_under_the_same_id() {
        let mut switch = switch();
        let one = switch.connection(Transport::Tls, address(PEER), Some("sip.example.com"));
        let two = switch.connection(Transport::Tls, address(PEER), Some("sip.example.com"));
        assert_eq!(one, two);
        let connect = format!("connect TLS {PEER} sip.example.com");
        assert_eq!(said(&mut switch), [connect.as_str()]);
        let other = switch.connection(Transport::Tls, address(PEER), Some("else.example.com"));
        assert_ne!(one.id, other.id, "another name is another peer");
        said(&mut switch);
        switch.handle(now(), Input::SipClosed { flow: one.id });
        assert_eq!(
            said(&mut switch),
            Vec::<String>::new(),
            "nothing to say, nothing to open"
        );
        let again = switch.connection(Transport::Tls, address(PEER), Some("sip.example.com"));
        assert_eq!(one.id, again.id);
        assert_eq!(said(&mut switch), [connect]);
    }

    #[test]
    fn an_answer_whose_connection_is_gone_goes_where_via_says() {
        let mut switch = switch();
        let flow = Flow {
            id: ACCEPTED_FIRST,
            transport: Transport::Tcp,
            local: address("192.0.2.1:5060"),
            remote: address("192.0.2.9:40112"),
        };
        let options =
            b"OPTIONS sip:us SIP/2.0\r\nVia: SIP/2.0/TCP far.example.com:5070;branch=z9hG4bK1\r\n\
            From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\
            Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n";
        switch.handle(now(), Input::SipConnected { flow });
        let ask = |switch: &mut Switch| {
            let bytes = options.to_vec();
            switch.handle(now(), Input::Sip { flow, bytes });
            said(switch)
        };
        assert_eq!(ask(&mut switch).len(), 1, "over the connection it came on");
        // It came, and then the connection went.
        switch.connections.live.remove(&flow.id);
        let said = ask(&mut switch);
        assert_eq!(said[0], "connect TCP 192.0.2.9:5070 ");
        assert!(
            said[1].starts_with("TCP 192.0.2.9:5070 SIP/2.0"),
            "{said:?}"
        );
    }

    #[test]
    fn a_large_request_leaves_udp_and_comes_back_when_tcp_is_refused() {
        let mut switch = switch();
        let udp = switch.udp_flow(address(PEER));
        invite(&mut switch, &udp, 100);
        let small = format!("UDP {PEER} INVITE SIP/2.0/UDP");
        assert_eq!(said(&mut switch), [small.as_str()]);
        invite(&mut switch, &udp, 1_300);
        let over = format!("TCP {PEER} INVITE SIP/2.0/TCP");
        assert_eq!(said(&mut switch), [format!("connect TCP {PEER} "), over]);
        let flow = OPENED_FIRST;
        switch.handle(now(), Input::SipClosed { flow });
        assert_eq!(said(&mut switch), [small.as_str()]);
        invite(&mut switch, &udp, 1_300);
        assert_eq!(
            said(&mut switch),
            [small.as_str()],
            "it is not tried at once again"
        );
    }

    #[test]
    fn a_large_request_over_tcp_is_not_repeated_and_its_answer_is_acknowledged_there() {
        let mut switch = switch();
        let udp = switch.udp_flow(address(PEER));
        invite(&mut switch, &udp, 1_300);
        let (flow, bytes) = sent(&mut switch);
        assert_eq!(flow.transport, Transport::Tcp);
        switch.handle(now(), Input::SipConnected { flow });
        let later = now().plus(Duration::from_secs(3));
        switch.handle_timeout(later);
        assert_eq!(
            said(&mut switch),
            Vec::<String>::new(),
            "TCP does not lose it"
        );
        let bytes = answer(&bytes, "486 Busy Here", "sip:far@192.0.2.9");
        switch.handle(later, Input::Sip { flow, bytes });
        assert_eq!(said(&mut switch), [format!("TCP {PEER} ACK SIP/2.0/TCP")]);
    }

    #[test]
    fn a_peer_that_names_tcp_in_its_contact_gets_the_rest_of_the_call_over_it() {
        let mut switch = switch();
        let udp = switch.udp_flow(address(PEER));
        let session = invite(&mut switch, &udp, 100);
        let (flow, bytes) = sent(&mut switch);
        assert_eq!(flow.transport, Transport::Udp);
        let bytes = answer(&bytes, "200 OK", "sip:far@192.0.2.9:5060;transport=tcp");
        switch.handle(now(), Input::Sip { flow, bytes });
        switch.sip.acknowledge(now(), session, None);
        switch.sip.hang_up(now(), session, None);
        switch.settle(now());
        let over = |verb: &str| format!("TCP {PEER} {verb} SIP/2.0/TCP");
        let connect = format!("connect TCP {PEER} ");
        assert_eq!(said(&mut switch), [connect, over("ACK"), over("BYE")]);
    }

    #[test]
    fn a_repetition_does_not_wait_for_tcp_and_a_peer_fixed_to_udp_never_gets_it() {
        let mut switch = switch();
        let udp = switch.udp_flow(address(PEER));
        invite(&mut switch, &udp, 1_300);
        said(&mut switch);
        switch.handle_timeout(now().plus(Duration::from_millis(600)));
        assert_eq!(
            said(&mut switch),
            [format!("UDP {PEER} INVITE SIP/2.0/UDP")]
        );
        let fixed = address("192.0.2.10:5060");
        switch.keep_to_udp(fixed);
        let udp = switch.udp_flow(fixed);
        invite(&mut switch, &udp, 1_300);
        assert_eq!(
            said(&mut switch),
            [format!("UDP {fixed} INVITE SIP/2.0/UDP")]
        );
    }

    #[test]
    fn a_call_outlives_its_connection_and_is_ended_over_the_next() {
        let mut switch = switch();
        let flow = switch.connection(Transport::Tcp, address(PEER), None);
        let session = invite(&mut switch, &flow, 100);
        let (_, bytes) = sent(&mut switch);
        switch.handle(now(), Input::SipConnected { flow });
        let bytes = answer(&bytes, "200 OK", "sip:far@192.0.2.9:5060;transport=tcp");
        switch.handle(now(), Input::Sip { flow, bytes });
        switch.sip.acknowledge(now(), session, None);
        switch.settle(now());
        assert_eq!(said(&mut switch), [format!("TCP {PEER} ACK SIP/2.0/TCP")]);
        switch.handle(now(), Input::SipClosed { flow: flow.id });
        assert_eq!(switch.sip.snapshot().sessions, 1, "the call goes on");
        switch.sip.hang_up(now(), session, None);
        switch.settle(now());
        let bye = format!("TCP {PEER} BYE SIP/2.0/TCP");
        assert_eq!(said(&mut switch), [format!("connect TCP {PEER} "), bye]);
    }
}
