//! A carrier that wants a registration (RFC 3261 §10): one is kept up at its servers, and without
//! it the carrier is down.

use std::net::SocketAddr;
use std::time::Instant;

use rand::RngExt as _;

use super::{Ask, Carrier};
use crate::sip::register::{RegisterAnswer, Registration, Standing};

impl Carrier {
    /// A registration where the terms ask for one that is not there yet, and none where they do not.
    pub(super) fn enrol(&mut self, now: Instant) {
        let stands = self.registration.as_ref().is_some_and(|it| !it.has_left());
        match self.terms.register_s {
            Some(wanted_s) if !stands => {
                let seed = self.random.random();
                self.registration = Some(Registration::new(now, wanted_s, seed));
            }
            Some(_) => {}
            None => self.leave(),
        }
    }

    /// The registration is removed: the account is another's from now on, or nobody's.
    pub fn leave(&mut self) {
        if let Some(registration) = &mut self.registration {
            registration.leave();
            while let Some(due) = registration.poll_output() {
                self.out.push_back(Ask::Register(due));
            }
        }
    }

    /// What a registrar said to our REGISTER.
    pub fn registered(
        &mut self,
        now: Instant,
        server: SocketAddr,
        answer: RegisterAnswer,
    ) -> Option<Standing> {
        let registration = self.registration.as_mut()?;
        let standing = registration.answered(now, server, answer);
        while let Some(due) = registration.poll_output() {
            self.out.push_back(Ask::Register(due));
        }
        standing
    }

    /// Whether it knows us; always where it knows us by our address.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.terms.register_s.is_none()
            || self
                .registration
                .as_ref()
                .is_some_and(Registration::is_registered)
    }

    #[must_use]
    pub fn registration(&self) -> Option<&Registration> {
        self.registration
            .as_ref()
            .filter(|_| self.terms.register_s.is_some())
    }

    /// The part of [`Carrier::handle_timeout`] that is the registration's.
    pub fn registration_timeout(&mut self, now: Instant) -> Option<Standing> {
        let mut registration = self.registration.take()?;
        let standing = registration.handle_timeout(now);
        if registration.is_due(now) {
            let servers = self.order_anyway().into_iter();
            registration.begin(now, servers.map(|(server, _)| server).collect());
        }
        while let Some(due) = registration.poll_output() {
            self.out.push_back(Ask::Register(due));
        }
        self.registration = Some(registration);
        standing
    }
}
