//! A new configuration while calls are up. Trunks, phones, agents, campaigns, routes, permitted
//! callers, domains and the limits of defence and fraud are taken over;
//! a call keeps the trunk and the campaign it was begun with until its end. Addresses, ports,
//! folders and seeds stay as they were at the start: those need a restart.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::desk::Desk;
use super::resolved::{EngineConfig, Phone};
use super::switch::Switch;
use super::writes::Write;
use crate::agent::state::State;
use crate::id::AgentId;
use crate::now::Now;
use crate::store;

impl Switch {
    pub(super) fn reload(&mut self, now: Now, new: EngineConfig) {
        self.reload_trunks(now, &new.trunks);
        let gone = self.reload_phones(&new);
        self.reload_agents(now, &new);
        let rules = Arc::new(new.rules());
        self.config.trunks = new.trunks;
        self.config.phones = new.phones;
        for user in gone {
            self.phone_left_file(&user);
        }
        self.config.plan = new.plan;
        self.sip.permit_blocks(new.permit.clone());
        self.config.permit = new.permit;
        self.sip.reconfigure(&new.endpoint);
        self.fraud.set_rules(new.fraud.clone());
        self.config.fraud = new.fraud;
        self.config.agents = new.agents;
        self.config.campaigns = new.campaigns;
        self.trust_in_gate();
        // The dialer's rules are the store's: it must have them, however busy it is.
        let command = store::Command::Configure { rules };
        let write = Write::Outcome {
            command: Box::new(command.clone()),
        };
        self.write(write, command);
    }

    /// Agents who are configured no more and still have a card or a call.
    pub fn leaving(&self) -> impl Iterator<Item = &AgentId> {
        let configured = |agent: &&AgentId| !self.config.agents.contains_key(agent);
        self.desks.keys().filter(configured)
    }

    /// Desks of agents who have left are cleared away, once nothing is on them.
    pub(super) fn clear_left_desks(&mut self, now: Now) {
        if self.desks.len() == self.config.agents.len() {
            return;
        }
        let free = |agent: &&AgentId| {
            self.desks.get(agent).is_some_and(|desk| {
                desk.card.is_none()
                    && desk.call.is_none()
                    && *desk.agent.state() == State::LoggedOut
            })
        };
        let gone: Vec<AgentId> = self.leaving().filter(free).cloned().collect();
        for agent in gone {
            self.give_seat_back(now, &agent);
            self.desks.remove(&agent);
        }
    }

    /// A phone whose password is the same keeps its registration and its nonces.
    /// Answers with those the file has no more.
    fn reload_phones(&mut self, new: &EngineConfig) -> Vec<String> {
        let users = |config: &EngineConfig| -> BTreeSet<String> {
            config
                .phones
                .iter()
                .map(|phone| phone.user.clone())
                .collect()
        };
        let (before, after) = (users(&self.config), users(new));
        let gone: Vec<String> = before.difference(&after).cloned().collect();
        for user in &gone {
            self.sip.remove_phone(user);
        }
        let known = |phone: &Phone| {
            let mut before = self.config.phones.iter();
            before.any(|it| it.user == phone.user && it.proves() == phone.proves())
        };
        let changed = new.phones.iter().filter(|phone| !known(phone));
        for phone in changed.collect::<Vec<_>>() {
            {
                let Phone {
                    user,
                    secret,
                    order,
                    ..
                } = phone.clone();
                self.sip.set_phone(user, secret, order);
            }
        }
        gone
    }

    fn reload_agents(&mut self, now: Now, new: &EngineConfig) {
        for (id, profile) in &new.agents {
            match self.desk(id) {
                Some(desk) => desk.profile = profile.clone(),
                None => {
                    let desk = Desk::new(profile.clone(), now);
                    self.desks.insert(id.clone(), desk);
                }
            }
        }
        let gone: Vec<AgentId> = self
            .desks
            .keys()
            .filter(|id| !new.agents.contains_key(id))
            .cloned()
            .collect();
        for agent in gone {
            // A card she only looks at goes back; a call and its wrap-up come to their end first.
            self.deserted(now, &agent);
        }
    }
}
