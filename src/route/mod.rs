//! Where a call goes: the dial plan as a value. A call's number, source and time go in, a
//! destination and the reason for it come out.
//!
//! Rules are read from first to last and the first that matches decides. Emergency numbers stand
//! before all rules, and what no rule matches is refused: deny by default.

mod number;
mod plan;
mod rule;
mod source;
mod step;
mod window;

pub use number::{Match, Rewrite};
pub use plan::{Decision, Emergency, Outcome, Plan, Question, Routed};
pub use rule::{Rule, Why};
pub use source::{From, Source};
pub use step::{CALLED, Outward, Seated, Step, Tone, Waiting, Who};
pub use window::Window;

#[cfg(test)]
mod tests;
