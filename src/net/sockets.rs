//! Every SIP socket of the process, bound: what the loop sends through and hears from.

use tokio::sync::mpsc;

use super::streams::{SipStreams, StreamFact};
use super::udp::{Datagram, SipUdp};
use super::unreachable::Unreachable;

pub struct SipSockets {
    /// In the order of `[sip] listen`; the place is the flow's id.
    pub udp: Vec<SipUdp>,
    pub datagrams: mpsc::Receiver<Datagram>,
    /// Peers the UDP sockets could not reach.
    pub unreachable: mpsc::Receiver<Unreachable>,
    pub streams: SipStreams,
    pub stream_facts: mpsc::Receiver<StreamFact>,
}

impl SipSockets {
    #[must_use]
    pub fn udp(&self, number: u64) -> Option<&SipUdp> {
        usize::try_from(number).ok().and_then(|at| self.udp.get(at))
    }
}
