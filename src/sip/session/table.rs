//! All sessions: by id, by dialog, by deadline.

use std::collections::HashMap;

use crate::now::Now;
use crate::sip::event::{Flow, SessionId};
use crate::sip::message::{Request, Response};
use crate::sip::replaces::Replaces;
use crate::sip::stack::{Ack, Stack};
use crate::sip::timer::{Deadline, Deadlines};
use crate::sip::transaction::{Failure, TxId};

use super::Session;
use super::cancel::cancel_late;
use super::invite::dismiss_answer;
use crate::sip::dialog::DialogIdentity;

pub(in crate::sip) struct Sessions {
    table: HashMap<SessionId, Session>,
    /// By Call-ID and local tag.
    dialogs: HashMap<(String, String), SessionId>,
    deadlines: Deadlines<SessionId>,
    next: u64,
}

impl Sessions {
    pub fn new() -> Sessions {
        Sessions {
            table: HashMap::new(),
            dialogs: HashMap::new(),
            deadlines: Deadlines::new(),
            next: 0,
        }
    }

    pub fn next_id(&mut self) -> SessionId {
        self.next += 1;
        SessionId(self.next)
    }

    pub fn insert(&mut self, session: Session) {
        let id = session.id;
        let key = (session.call_id.clone(), session.local_tag.clone());
        self.dialogs.insert(key, id);
        self.table.insert(id, session);
        self.settle(id);
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn dialog_count(&self) -> usize {
        self.table
            .values()
            .filter(|session| session.has_dialog())
            .count()
    }

    /// Lets a session do something, then notes its new deadline or its end.
    pub fn with(&mut self, id: SessionId, act: impl FnOnce(&mut Session)) -> bool {
        let Some(session) = self.table.get_mut(&id) else {
            return false;
        };
        act(session);
        self.settle(id);
        true
    }

    fn settle(&mut self, id: SessionId) {
        let Some(session) = self.table.get(&id) else {
            return;
        };
        if !session.is_over() {
            return self.deadlines.set(id, session.deadline());
        }
        self.deadlines.set(id, None);
        if let Some(session) = self.table.remove(&id) {
            self.dialogs.remove(&(session.call_id, session.local_tag));
        }
    }

    /// The session a request inside a dialog belongs to (RFC 3261 12.2.2).
    pub fn find(&self, request: &Request) -> Option<SessionId> {
        let (call_id, to_tag) = (request.headers.call_id()?, request.headers.tag("To")?);
        let id = self.dialogs.get(&(call_id, to_tag)).copied()?;
        let from_tag = request.headers.tag("From").unwrap_or_default();
        self.table
            .get(&id)
            .filter(|session| session.is_with(&from_tag))
            .map(|_| id)
    }

    /// The session a Replaces names (RFC 3891 3), or the status that refuses it.
    pub fn find_replaced(&self, replaces: &Replaces) -> Result<SessionId, u16> {
        let key = (replaces.call_id.clone(), replaces.to_tag.clone());
        let id = self.dialogs.get(&key).ok_or(481u16)?;
        let session = self.table.get(id).ok_or(481u16)?;
        // RFC 3891 6.1: 0 stands for no tag.
        let zero = replaces.from_tag == "0" && session.is_with("");
        if !zero && !session.is_with(&replaces.from_tag) {
            return Err(481);
        }
        session.may_be_replaced(replaces)
    }

    /// The session that a REFER, received by this one and not yet answered, wants replaced.
    pub fn referred_replacement(&self, id: SessionId) -> Option<SessionId> {
        let replaces = self.table.get(&id)?.asked_replaces()?;
        self.find_replaced(replaces).ok()
    }

    pub fn replaces_of(&self, id: SessionId) -> Option<Replaces> {
        self.table.get(&id)?.replaces()
    }

    pub fn dialog_of(&self, id: SessionId) -> Option<DialogIdentity> {
        self.table.get(&id)?.identity()
    }

    pub fn local_tag(&self, id: SessionId) -> Option<String> {
        self.table.get(&id).map(|session| session.local_tag.clone())
    }

    pub fn on_response(
        &mut self,
        now: Now,
        stack: &mut Stack,
        id: Option<SessionId>,
        tx: TxId,
        flow: Flow,
        response: &Response,
    ) {
        let invite = response
            .headers
            .cseq()
            .is_some_and(|(_, method)| method == "INVITE");
        if invite && (200..300).contains(&response.status) {
            let tag = response.headers.tag("To").unwrap_or_default();
            match stack.acks.of(tx, &tag) {
                Some(Ack::Withheld) => return,
                Some(Ack::Sent { flow, bytes }) => {
                    let (flow, bytes) = (*flow, bytes.clone());
                    return stack.send(flow, bytes);
                }
                None => {}
            }
            if let Some(id) = id {
                self.with(id, |session| session.on_response(now, stack, tx, response));
            }
            if stack.acks.of(tx, &tag).is_none() {
                dismiss_answer(now, stack, tx, flow, response);
            }
            return;
        }
        let known = id.is_some_and(|id| {
            self.with(id, |session| session.on_response(now, stack, tx, response))
        });
        if !known && invite && response.status < 200 {
            cancel_late(now, stack, tx, flow);
        }
    }

    pub fn on_failure(
        &mut self,
        now: Now,
        stack: &mut Stack,
        id: SessionId,
        tx: TxId,
        why: Failure,
    ) {
        self.with(id, |session| session.on_failure(now, stack, tx, why));
    }

    pub fn on_flow_closed(&mut self, now: Now, stack: &mut Stack, flow_id: u64) {
        let on_flow = self
            .table
            .values()
            .filter(|session| session.flow_id() == flow_id);
        let mut ids: Vec<SessionId> = on_flow.map(|session| session.id).collect();
        ids.sort_unstable();
        for id in ids {
            self.with(id, |session| session.on_flow_closed(now, stack));
        }
    }

    pub fn handle_timeout(&mut self, now: Now, stack: &mut Stack) {
        while let Some(id) = self.deadlines.due(now.instant) {
            if !self.with(id, |session| session.handle_timeout(now, stack)) {
                self.deadlines.set(id, None);
            }
        }
    }

    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.deadlines.first()
    }
}
