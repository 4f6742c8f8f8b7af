//! REGISTER (RFC 3261 §10.3): the registrar's answer on the wire.

use crate::now::Now;
use crate::sip::dialog::InvitePlan;
use crate::sip::event::Flow;
use crate::sip::guard::SecurityEvent;
use crate::sip::message::{NameAddr, Request, Response, Uri};
use crate::sip::registrar::{Outcome, Reach, SavedBinding};
use crate::sip::transaction::Owner;

use super::Endpoint;

/// Extensions a REGISTER may require (RFC 3327, RFC 5626, RFC 5627).
pub(super) const EXTENSIONS: [&str; 3] = ["path", "outbound", "gruu"];
/// RFC 5626 §9: how long a flow may be silent, in seconds.
const FLOW_TIMER_S: u32 = 120;
/// Seconds a phone is asked to stay away when the registrar is full.
const FULL_RETRY_AFTER_S: u32 = 60;

impl Endpoint {
    /// Where an address of record (`user@host`, or only `user`) can be reached now, best first.
    /// `user@host;gr=…` is one device.
    #[must_use]
    pub fn contacts(&self, aor: &str) -> Vec<Reach> {
        let aor = aor.strip_prefix("sip:").unwrap_or(aor);
        let uri = if aor.contains('@') {
            format!("sip:{aor}")
        } else {
            let domain = self.stack.config.domain.as_deref();
            format!("sip:{aor}@{}", domain.unwrap_or("localhost"))
        };
        Uri::parse(&uri).map_or_else(|_| Vec::new(), |uri| self.registrar.reach(&uri))
    }

    /// Plans an INVITE to a phone, through the proxies it registered through.
    pub fn plan_phone(&mut self, way: &Reach, from: NameAddr, to: NameAddr) -> InvitePlan {
        let plan = self.plan_invite(&way.request_uri, from, to, &way.flow);
        InvitePlan {
            route: way.route.clone(),
            ..plan
        }
    }

    /// Every binding that a restart should not lose; see [`Endpoint::restore_bindings`].
    #[must_use]
    pub fn saved_bindings(&self, now: Now) -> Vec<SavedBinding> {
        self.registrar.saved(now)
    }

    /// The same of one user; none when his phones are reachable nowhere, or by connections only.
    #[must_use]
    pub fn saved_bindings_of(&self, now: Now, user: &str) -> Vec<SavedBinding> {
        self.registrar.saved_of(now, user)
    }

    /// A user's phones are reachable nowhere from now on.
    pub fn forget_bindings(&mut self, user: &str) {
        let changes = self.registrar.remove(user);
        self.tell(changes);
    }

    /// Takes up the bindings of an earlier process; how many still stand.
    pub fn restore_bindings(&mut self, now: Now, saved: Vec<SavedBinding>) -> usize {
        self.registrar.restore(now, saved)
    }

    pub(super) fn on_register(
        &mut self,
        now: Now,
        flow: &Flow,
        back: Flow,
        request: &Request,
        user: Option<&str>,
    ) {
        let Some(tx) = self.stack.tx.accept(back, request, Owner::Nobody) else {
            return;
        };
        let response = self.register(now, flow, request, user);
        self.stack.tx.respond(now, tx, &response);
    }

    fn register(
        &mut self,
        now: Now,
        flow: &Flow,
        request: &Request,
        user: Option<&str>,
    ) -> Response {
        let to = request
            .headers
            .address("To")
            .and_then(|to| Uri::parse(&to.uri).ok());
        let Some(to) = to else {
            return self.stack.refusal(request, 400);
        };
        // Step 4: everyone registers only himself.
        if user.is_some() && to.user_text().as_deref() != user {
            self.counters.unauthorised += 1;
            self.say(flow, SecurityEvent::Theft, user, "registers_another");
            return self.stack.refusal(request, 403);
        }
        match self.registrar.register(now.instant, &to, request, *flow) {
            Outcome::Refused(status, phrase) => {
                let mut response = self.stack.refusal(request, status);
                response.phrase = phrase.to_owned();
                if status == 503 {
                    self.counters.overload += 1;
                    response
                        .headers
                        .put("Retry-After", FULL_RETRY_AFTER_S.to_string());
                }
                response
            }
            Outcome::TooBrief { min_expires_s } => {
                let mut response = self.stack.refusal(request, 423);
                response
                    .headers
                    .put("Min-Expires", min_expires_s.to_string());
                response
            }
            Outcome::Bound {
                contacts,
                changes,
                outbound,
            } => {
                let mut response = self.stack.refusal(request, 200);
                for contact in contacts {
                    response.headers.put("Contact", contact);
                }
                // RFC 3327 5.3: the phone shall see which way it is reached.
                response.headers.copy(&request.headers, "Path");
                response.headers.put("Supported", EXTENSIONS.join(", "));
                if outbound {
                    response.headers.put("Require", "outbound");
                    response.headers.put("Flow-Timer", FLOW_TIMER_S.to_string());
                }
                self.tell(changes);
                response
            }
        }
    }
}
