//! Who may ask for what (trust: deny by default).

use crate::now::Now;
use crate::sip::auth::Verdict;
use crate::sip::event::Flow;
use crate::sip::message::{Method, Request, Response, Uri};

use super::Endpoint;

/// A peer known by its address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub may_register: bool,
}

impl Endpoint {
    /// The authenticated user of a request outside any dialog (`None`: a trunk known by its
    /// address), or the response that refuses it.
    pub(super) fn authorise(
        &mut self,
        now: Now,
        flow: &Flow,
        request: &Request,
    ) -> Result<Option<String>, Box<Response>> {
        if let Some(user) = self.trusted.get(&flow.id) {
            return Ok(Some(user.clone()));
        }
        if !self.stack.config.digest {
            return Ok(None);
        }
        let source = self.sources.get(&flow.remote.ip().to_canonical());
        let registers = request.method == Method::Register;
        if source.is_some_and(|source| !registers || source.may_register) {
            return Ok(None);
        }
        if !self.guard.has_accounts() {
            self.counters.unauthorised += 1;
            return Err(Box::new(self.stack.refusal(request, 403)));
        }
        let given = request.headers.texts("Authorization");
        let method = request.method.to_string();
        match self.guard.check(now.utc, &method, &request.uri, &given) {
            Verdict::Known(user) => Ok(Some(user)),
            Verdict::Challenge { stale } => {
                self.counters.unauthorised += 1;
                Err(Box::new(self.challenge(now, request, stale)))
            }
        }
    }

    fn challenge(&mut self, now: Now, request: &Request, stale: bool) -> Response {
        let from = request.headers.address("From");
        let user = from.and_then(|from| Uri::parse(&from.uri).ok()?.user_text());
        let salt = self.stack.token();
        let mut response = self.stack.refusal(request, 401);
        for value in self
            .guard
            .challenges(now.utc, user.as_deref(), &salt, stale)
        {
            response.headers.put("WWW-Authenticate", value);
        }
        response
    }
}
