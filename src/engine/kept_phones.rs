//! Phones added while the switch runs (RFC 3261 §22, RFC 8760): kept in the store by their digests,
//! never by a password. A phone of the configuration file goes before one kept under its name.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::handle::Problem;
use super::resolved::Phone;
use super::switch::{ReplyId, Switch};
use super::writes::{Write, refused};
use crate::now::Now;
use crate::sip::{Algorithm, Secret};
use crate::store;
use crate::store::phone::StoredPhone;

/// What an admin asks for.
#[derive(Clone, Debug)]
pub enum PhoneChange {
    Add {
        user: String,
        secret: Secret,
        /// Challenged with MD5 alone.
        md5_only: bool,
    },
    Remove {
        user: String,
    },
}

/// What the store is asked to do about a phone, and who waits for it.
pub(super) enum PhoneWrite {
    Add { phone: StoredPhone, reply: ReplyId },
    Remove { user: String, reply: ReplyId },
}

impl PhoneWrite {
    pub fn reply(&self) -> ReplyId {
        match self {
            PhoneWrite::Add { reply, .. } | PhoneWrite::Remove { reply, .. } => *reply,
        }
    }
}

/// By user.
pub(super) type KeptPhones = BTreeMap<String, StoredPhone>;

impl Switch {
    /// At start: the phones an earlier run has kept.
    pub fn restore_phones(&mut self, phones: Vec<StoredPhone>) {
        for phone in phones {
            self.kept_phones.insert(phone.user.clone(), phone.clone());
            self.put_in_force(&phone);
        }
    }

    /// Unless the file has a phone of this name, or the realm is another: then nobody could prove
    /// anything with these digests.
    fn put_in_force(&mut self, phone: &StoredPhone) {
        if self.is_in_file(&phone.user) {
            return;
        }
        if phone.realm != self.config.endpoint.realm {
            tracing::warn!("a kept phone has another realm than [sip] realm: remove and add it");
            return;
        }
        let secret = Secret::Ha1 {
            md5: Some(phone.ha1_md5.clone()),
            sha256: Some(phone.ha1_sha256.clone()),
        };
        let order = match phone.is_md5_only {
            true => vec![Algorithm::Md5],
            false => vec![Algorithm::Sha256, Algorithm::Md5],
        };
        self.sip.set_phone(phone.user.clone(), secret, order);
    }

    /// The file has this phone no more: one that was kept under its name is in force again.
    pub(super) fn phone_left_file(&mut self, user: &str) {
        match self.kept_phones.get(user).cloned() {
            Some(phone) => self.put_in_force(&phone),
            None => self.sip.forget_bindings(user),
        }
    }

    fn is_in_file(&self, user: &str) -> bool {
        self.config.phones.iter().any(|phone| phone.user == user)
    }

    pub(super) fn change_phone(&mut self, change: PhoneChange, reply: ReplyId) {
        let (PhoneChange::Add { user, .. } | PhoneChange::Remove { user }) = &change;
        if self.is_in_file(user) {
            let detail = format!(
                "The phone {user} stands in the configuration file; change it there and reload."
            );
            let problem = Problem::new(409, "phone_in_file", "Not changed", detail);
            return self.reply(reply, Err(problem));
        }
        let (write, command) = match change {
            PhoneChange::Add {
                user,
                secret,
                md5_only,
            } => {
                let realm = self.config.endpoint.realm.clone();
                let ha1 = |algorithm| secret.ha1(algorithm, &user, &realm).unwrap_or_default();
                let phone = StoredPhone {
                    ha1_sha256: ha1(Algorithm::Sha256),
                    ha1_md5: ha1(Algorithm::Md5),
                    is_md5_only: md5_only,
                    // The store's clock says when.
                    added_at: crate::now::UtcMs(0),
                    user,
                    realm,
                };
                let command = store::Command::AddPhone {
                    phone: phone.clone(),
                };
                (PhoneWrite::Add { phone, reply }, command)
            }
            PhoneChange::Remove { user } => {
                let command = store::Command::RemovePhone { user: user.clone() };
                (PhoneWrite::Remove { user, reply }, command)
            }
        };
        self.write(Write::Phone(Box::new(write)), command);
    }

    pub(super) fn phone_written(&mut self, now: Now, write: PhoneWrite, fact: store::Fact) {
        let reply = write.reply();
        if let store::Fact::Refused { rule, detail } = fact {
            return self.reply(reply, Err(refused(rule, detail)));
        }
        match write {
            PhoneWrite::Add { phone, .. } => {
                let phone = StoredPhone {
                    added_at: now.utc,
                    ..phone
                };
                self.put_in_force(&phone);
                self.kept_phones.insert(phone.user.clone(), phone);
            }
            PhoneWrite::Remove { user, .. } => {
                self.kept_phones.remove(&user);
                if !self.is_in_file(&user) {
                    self.sip.remove_phone(&user);
                    self.sip.forget_bindings(&user);
                }
            }
        }
        self.reply(reply, Ok(()));
    }

    /// Every phone that may register: where it is written, how it is challenged, and at how many
    /// places it can be reached.
    pub fn phones(&self, now: Now) -> Value {
        let mut places: BTreeMap<String, u64> = BTreeMap::new();
        for binding in self.sip.registrations() {
            let user = binding.aor.rsplit_once('@').map_or("", |(user, _)| user);
            *places.entry(user.to_owned()).or_default() += 1;
        }
        let count = |user: &str| places.get(user).copied().unwrap_or(0);
        let in_file = self.config.phones.iter().map(|phone: &Phone| {
            json!({
                "user": phone.user,
                "from": "file",
                "digest": names(&phone.order),
                "registered": count(&phone.user),
            })
        });
        let kept = self.kept_phones.values().map(|phone| {
            let state = match () {
                () if self.is_in_file(&phone.user) => "hidden by the file's",
                () if phone.realm != self.config.endpoint.realm => "of another realm",
                () => "store",
            };
            let order: &[Algorithm] = match phone.is_md5_only {
                true => &[Algorithm::Md5],
                false => &[Algorithm::Sha256, Algorithm::Md5],
            };
            json!({
                "user": phone.user,
                "from": state,
                "digest": names(order),
                "registered": count(&phone.user),
                "added_s_ago": now.utc.ms_since(phone.added_at) / 1_000,
            })
        });
        in_file.chain(kept).collect()
    }
}

fn names(order: &[Algorithm]) -> String {
    let names: Vec<&str> = order.iter().map(|algorithm| algorithm.name()).collect();
    names.join(", ")
}
