//! What only TCP and TLS connections do: lose their framing, and go while what was begun on them
//! goes on over the next one (RFC 3261 §18).

use crate::now::Now;
use crate::sip::event::Flow;
use crate::sip::frame::Broken;
use crate::sip::message::{Message, Method, Parsed, parse};
use crate::sip::stack::stamp_source;

use super::Endpoint;

impl Endpoint {
    /// A connection has lost its framing. What was being said is refused where it can be; the
    /// caller closes the connection after that.
    pub fn handle_broken(&mut self, now: Now, flow: &Flow, broken: &Broken) {
        let head = parse(&broken.head, &self.stack.config.limits);
        let request = match head {
            Parsed::Message(Message::Request(request)) if request.method != Method::Ack => request,
            Parsed::Refused { request, .. } => request,
            Parsed::Message(_) | Parsed::KeepAlive { .. } | Parsed::Garbage(_) => {
                self.counters.garbage += 1;
                return;
            }
        };
        self.counters.malformed += 1;
        let mut request = request;
        let back = stamp_source(&mut request, flow).unwrap_or(*flow);
        let mut response = self.stack.refusal(&request, broken.status);
        response.phrase = broken.phrase.to_owned();
        self.stack.send(back, response.to_bytes());
        self.settle(now);
    }

    /// A TCP or TLS connection is gone. Unlike that of a WebSocket its peer may be reached again,
    /// so calls stay; what waits for an answer, and who registered over it, does not.
    pub fn handle_connection_closed(&mut self, now: Now, flow_id: u64) {
        self.stack.tx.handle_unreachable(flow_id, None);
        self.settle(now);
        let changes = self.registrar.handle_flow_closed(flow_id);
        self.tell(changes);
        self.trusted.remove(&flow_id);
        self.settle(now);
    }

    /// A request of ours as it leaves over another flow than it was made for (RFC 3261 §18.1.1):
    /// with the same branch, under our name there.
    #[must_use]
    pub fn readdressed(&self, bytes: &[u8], over: &Flow) -> Option<Vec<u8>> {
        let Parsed::Message(Message::Request(mut request)) =
            parse(bytes, &self.stack.config.limits)
        else {
            return None;
        };
        let branch = request.headers.via()?.branch()?.to_owned();
        let via = self.stack.via(over, &branch);
        request.headers.replace_first_item("Via", &via);
        Some(request.to_bytes())
    }
}
