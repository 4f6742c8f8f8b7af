//! The driver's ends of TCP and TLS connections: who can be written to, and what each fact of a
//! connection means to the switch. Facts of an earlier connection of the same flow are dropped.

use std::collections::HashMap;

use tokio::sync::mpsc;

use super::switch::Input;
use crate::net::{StreamFact, What};
use crate::sip::Flow;

#[derive(Debug, Default)]
pub(super) struct Streams {
    open: HashMap<u64, Stream>,
}

#[derive(Debug)]
struct Stream {
    flow: Flow,
    life: u64,
    outgoing: mpsc::Sender<Vec<u8>>,
}

/// What a fact means to the switch, and whether the connection is to be closed after that.
pub(super) struct Taken {
    pub input: Input,
    pub ends: bool,
}

impl Streams {
    pub fn opened(&mut self, flow: Flow, (life, outgoing): (u64, mpsc::Sender<Vec<u8>>)) {
        let stream = Stream {
            flow,
            life,
            outgoing,
        };
        self.open.insert(flow.id, stream);
    }

    pub fn take(&mut self, fact: StreamFact) -> Option<Taken> {
        let StreamFact { flow, life, what } = fact;
        let goes_on = |input| Some(Taken { input, ends: false });
        if let What::Accepted { outgoing } = what {
            self.opened(flow, (life, outgoing));
            return goes_on(Input::SipConnected { flow });
        }
        // The flow as the switch named it.
        let stream = self.open.get(&flow.id).filter(|it| it.life == life)?;
        let flow = stream.flow;
        match what {
            What::Accepted { .. } => None,
            What::Up => goes_on(Input::SipConnected { flow }),
            What::Received(bytes) => goes_on(Input::Sip { flow, bytes }),
            What::Broken(broken) => Some(Taken {
                input: Input::SipBroken { flow, broken },
                ends: true,
            }),
            What::Closed => {
                self.open.remove(&flow.id);
                goes_on(Input::SipClosed { flow: flow.id })
            }
        }
    }

    /// False when the peer's queue is full or its connection gone.
    pub fn send(&self, flow: u64, bytes: Vec<u8>) -> bool {
        let stream = self.open.get(&flow);
        stream.is_some_and(|stream| stream.outgoing.try_send(bytes).is_ok())
    }

    /// Lets go of a connection of this life, which closes it once all is written. False when
    /// another one has taken its flow meanwhile.
    pub fn end(&mut self, flow: u64, life: u64) -> bool {
        match self.open.get(&flow) {
            Some(stream) if stream.life != life => false,
            Some(_) => {
                self.open.remove(&flow);
                true
            }
            None => true,
        }
    }

    pub fn drop_flow(&mut self, flow: u64) {
        self.open.remove(&flow);
    }
}
