//! What the agent does with a third party: `swap`, `complete`, `drop`.

use crate::call::transfer::Outcome;
use crate::engine::handle::Problem;
use crate::engine::switch::Switch;
use crate::id::AgentId;
use crate::now::Now;

impl Switch {
    /// The other one is heard; the first one hears music.
    pub(in crate::engine) fn swap(&mut self, now: Now, agent: &AgentId) -> Result<(), Problem> {
        let call = self.live_call_mut(agent)?;
        let id = call.id;
        let third = call.third.as_mut().ok_or_else(nobody)?;
        let swapped = third.talk.swap();
        swapped.map_err(|refused| {
            let detail = format!("The transfer is {}.", refused.state);
            Problem::new(409, "wrong_state", "Not possible now", detail)
        })?;
        self.hear(now, id);
        Ok(())
    }

    /// Customer and third party are joined: at once, or when the third party answers.
    pub(in crate::engine) fn complete(&mut self, now: Now, agent: &AgentId) -> Result<(), Problem> {
        let call = self.live_call_mut(agent)?;
        let id = call.id;
        let third = call.third.as_mut().ok_or_else(nobody)?;
        match third.talk.complete() {
            true => self.join(now, id),
            false => self.hear(now, id),
        }
        Ok(())
    }

    /// The third party is let go; the agent and the customer hear each other again.
    pub(in crate::engine) fn drop_third(
        &mut self,
        now: Now,
        agent: &AgentId,
    ) -> Result<(), Problem> {
        let call = self.live_call_mut(agent)?;
        let id = call.id;
        call.third.as_ref().ok_or_else(nobody)?;
        self.third_over(now, id, Outcome::Dropped);
        Ok(())
    }
}

pub(in crate::engine) fn nobody() -> Problem {
    Problem::new(
        409,
        "no_third_party",
        "There is no third party",
        "It has hung up, or was not reached.",
    )
}
