//! Ending what an earlier process left on the wire: it knew the INVITE before it was sent, so
//! it can be cancelled, or its dialog ended, by a process that never saw it.

use crate::now::Now;
use crate::sip::dialog::{DialogIdentity, InvitePlan, Orphan};
use crate::sip::event::{EndedBy, Reason, SessionId};
use crate::sip::stack::Stack;
use crate::sip::transaction::{Owner, TxId};

use super::invite::invite_request;
use super::{Calling, Cancel, Origin, Session, State};

/// A challenged INVITE, or one with too short a session interval, may have gone out this many
/// times more.
const ATTEMPTS_MAX: u32 = 4;
/// The dead process may have sent requests that were never stored; CSeq must only grow.
pub(super) const CSEQ_LEAP: u32 = 1_000;

impl Session {
    pub fn end_orphan(now: Now, stack: &mut Stack, id: SessionId, orphan: Orphan) -> Session {
        match orphan {
            Orphan::Unanswered(plan) => Session::cancel_orphan(now, stack, id, plan),
            Orphan::Answered(dialog) => Session::leave_orphan(now, stack, id, dialog),
        }
    }

    fn cancel_orphan(now: Now, stack: &mut Stack, id: SessionId, plan: InvitePlan) -> Session {
        let mut session = Session::new(id, &plan, Origin::Orphan);
        session.state = State::Calling(Calling {
            tx: TxId(0),
            request: invite_request(&plan),
            plan,
            attempt: 0,
            timers: stack.timers(),
            heard: true,
            answered_nonce: None,
            cancel: None,
            forks: Vec::new(),
            too_brief: 0,
        });
        session.resume_attempt(now, stack);
        session
    }

    /// Waits for the answers of one attempt's INVITE and cancels it.
    fn resume_attempt(&mut self, now: Now, stack: &mut Stack) {
        let id = self.id;
        let State::Calling(calling) = &mut self.state else {
            return;
        };
        let (branch, cseq) = calling.plan.attempt(calling.attempt);
        let mut request = calling.request.clone();
        request.headers.put("CSeq", format!("{cseq} INVITE"));
        stack.dress(&mut request, &calling.plan.flow, &branch);
        calling.tx = stack
            .tx
            .resume_invite(now, calling.plan.flow, request, Owner::Session(id));
        calling.cancel = Some(Cancel::Waiting { reason: None });
        self.cancel_if_heard(now, stack);
    }

    /// The peer knows no such INVITE: perhaps it had been challenged and sent again.
    pub(super) fn cancel_next_attempt(&mut self, now: Now, stack: &mut Stack) {
        let State::Calling(calling) = &mut self.state else {
            return;
        };
        // Its transaction stays: should it have been answered, the answer is still dismissed.
        if calling.attempt >= ATTEMPTS_MAX {
            return self.finish(now, stack, EndedBy::Local, Reason::default());
        }
        calling.attempt += 1;
        self.resume_attempt(now, stack);
    }

    fn leave_orphan(
        now: Now,
        stack: &mut Stack,
        id: SessionId,
        mut dialog: DialogIdentity,
    ) -> Session {
        dialog.local_cseq = dialog.local_cseq.saturating_add(CSEQ_LEAP);
        let mut session = Session::blank(
            id,
            dialog.call_id.clone(),
            dialog.local_tag.clone(),
            dialog.flow,
            Origin::Orphan,
        );
        session.state = State::Established;
        if dialog.invite_cseq > 0 {
            // Their 2xx may never have been acknowledged; once more does no harm.
            let ack = dialog.ack(dialog.invite_cseq);
            stack.ack(dialog.flow, ack, None);
        }
        session.dialog = Some(dialog);
        session.leave(now, stack, EndedBy::Local, None);
        session
    }
}
