//! Registering at the carriers that want it, and the calls that come to what was registered: our
//! Contact there has a user of its own for each trunk (RFC 3261 §10.2, RFC 6140 §3 for why the
//! number called stands in To or P-Called-Party-ID then).

use std::net::SocketAddr;

use super::resolved::Trunk;
use super::switch::Switch;
use crate::id::TrunkId;
use crate::now::Now;
use crate::sip::register::{Due, RegisterAnswer, Standing};
use crate::sip::{Headers, NameAddr, RegisterId, RegisterPlan, Target};

/// Before a trunk's name, as the user of its Contact.
const CONTACT: &str = "trunk-";

impl Trunk {
    /// The user of our Contact where this trunk is registered.
    fn contact_user(&self) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let name = self.id.as_str().chars();
        let name: String = name.map(|c| if plain(c) { c } else { '-' }).collect();
        format!("{CONTACT}{name}")
    }

    /// What is registered: the account's address.
    fn aor(&self) -> Option<String> {
        let account = self.credentials.as_ref()?;
        let user = self.identity.from_user.as_ref();
        let user = user.unwrap_or(&account.username);
        Some(format!("sip:{user}@{}", self.domain))
    }

    /// Whether a registration made with these terms is of use with those.
    fn is_same_account(&self, other: &Trunk) -> bool {
        self.terms.register_s.is_some() == other.terms.register_s.is_some()
            && self.terms.places == other.terms.places
            && self.domain == other.domain
            && self.credentials == other.credentials
            && self.identity.from_user == other.identity.from_user
    }
}

impl Switch {
    pub(super) fn register_at(&mut self, now: Now, id: &TrunkId, due: Due) {
        let flow = self.udp_flow(due.server);
        let Some(trunk) = self.config.trunks.get(id) else {
            return;
        };
        let Some(aor) = trunk.aor() else { return };
        let plan = RegisterPlan {
            contact_user: trunk.contact_user(),
            request_uri: format!("sip:{}", trunk.domain),
            aor,
            expires_s: due.expires_s,
            credentials: trunk.credentials.clone(),
        };
        let register = self.sip.register_at(now, plan, &flow);
        self.trunks
            .registers
            .insert(register, (id.clone(), due.server));
    }

    pub(super) fn register_answered(
        &mut self,
        now: Now,
        register: RegisterId,
        answer: RegisterAnswer,
    ) {
        let Some((id, server)) = self.trunks.registers.remove(&register) else {
            return;
        };
        let carrier = self.trunks.carriers.get_mut(&id);
        let standing = carrier.and_then(|it| it.registered(now.instant, server, answer));
        self.registration_turned(&id, server, standing);
        if !matches!(answer, RegisterAnswer::Granted { .. }) {
            tracing::warn!(trunk = %id, %server, ?answer, "a registrar did not take us");
        }
        self.follow_carriers(now);
    }

    /// What is due by itself.
    pub(super) fn registrations_timeout(&mut self, now: Now) {
        for id in self.trunks.carriers.keys().cloned().collect::<Vec<_>>() {
            let carrier = self.trunks.carriers.get_mut(&id);
            let standing = carrier.and_then(|it| it.registration_timeout(now.instant));
            if standing == Some(Standing::Lost) {
                tracing::warn!(trunk = %id, "the registration has ended without a refresh");
            }
        }
    }

    fn registration_turned(&self, trunk: &TrunkId, server: SocketAddr, it: Option<Standing>) {
        match it {
            Some(Standing::Registered) => tracing::info!(%trunk, %server, "trunk is registered"),
            Some(Standing::Lost) => tracing::warn!(%trunk, "trunk is not registered any more"),
            None => {}
        }
    }

    /// Before other terms are taken over: accounts that are given up or become others are told so
    /// with the terms they were made with.
    pub(super) fn leave_registrars(&mut self, now: Now, stays: impl Fn(&Trunk) -> bool) {
        let gone = self.config.trunks.values().filter(|trunk| !stays(trunk));
        for id in gone.map(|trunk| trunk.id.clone()).collect::<Vec<_>>() {
            if let Some(carrier) = self.trunks.carriers.get_mut(&id) {
                carrier.leave();
            }
        }
        self.follow_carriers(now);
    }

    /// The trunk whose Contact was called, when the call comes from where that trunk's calls do.
    pub(super) fn trunk_by_contact(&self, remote: SocketAddr, called: &str) -> Option<&TrunkId> {
        if !called.starts_with(CONTACT) {
            return None;
        }
        let ip = remote.ip().to_canonical();
        let trunk = self
            .config
            .trunks
            .values()
            .find(|trunk| trunk.terms.register_s.is_some() && trunk.contact_user() == called)?;
        let carrier = self.trunks.carriers.get(&trunk.id)?;
        let mut servers = carrier.addresses();
        let known = servers.any(|server| server.ip().to_canonical() == ip)
            || trunk.allow_from.iter().any(|block| block.contains(ip));
        known.then_some(&trunk.id)
    }

    /// Which number was called when the request line has our Contact: what the carrier says beside
    /// it, else the trunk's own number.
    pub(super) fn number_behind_contact(&self, trunk: &TrunkId, headers: &Headers) -> String {
        let Some(trunk) = self.config.trunks.get(trunk) else {
            return String::new();
        };
        let account = trunk.credentials.as_ref().map(|it| it.username.clone());
        let from_user = trunk.identity.from_user.clone();
        let user = |address: NameAddr| Target::parse(&address.uri).ok()?.user_text();
        let named = ["P-Called-Party-ID", "To"].into_iter().find_map(|name| {
            let user = headers.address(name).and_then(user)?;
            let number = user.split(';').next().unwrap_or_default().to_owned();
            let own = number == trunk.contact_user()
                || Some(&number) == account.as_ref()
                || Some(&number) == from_user.as_ref();
            (!own && !number.is_empty()).then_some(number)
        });
        named.unwrap_or_else(|| trunk.own_number.clone())
    }
}

/// Which registrations a reload leaves as they are.
pub(super) fn stays(old: &Trunk, new: Option<&Trunk>) -> bool {
    new.is_some_and(|new| old.is_same_account(new))
}
