//! One rule of the plan: which calls it is about and what is done with them.

use super::number::{Match, Rewrite};
use super::plan::Question;
use super::source::From;
use super::step::Step;
use super::window::Window;

#[derive(Clone, Debug)]
pub struct Rule {
    /// Unique; people and logs name it by this.
    pub name: String,
    pub number: Match,
    /// Empty: from anywhere that may call at all.
    pub from: Vec<From>,
    /// `None`: always.
    pub window: Option<Window>,
    pub rewrite: Rewrite,
    /// In this order; not empty.
    pub steps: Vec<Step>,
    /// How long each step may ring, in milliseconds.
    pub ring_ms: u64,
    pub record: bool,
}

/// What a rule says of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Matches,
    AnotherNumber,
    AnotherSource,
    AnotherTime,
}

impl Rule {
    pub fn judge(&self, question: &Question) -> Why {
        if !self.number.matches(&question.number) {
            return Why::AnotherNumber;
        }
        let covers = |from: &From| from.covers(&question.source);
        if !self.from.is_empty() && !self.from.iter().any(covers) {
            return Why::AnotherSource;
        }
        match &self.window {
            Some(window) if !window.is_open(question.at) => Why::AnotherTime,
            _ => Why::Matches,
        }
    }

    /// The judgement in words.
    pub fn explain(&self, question: &Question, why: Why) -> String {
        match why {
            Why::Matches => "matches".to_owned(),
            Why::AnotherNumber => {
                format!("does not match: it holds when the number {}", self.number)
            }
            Why::AnotherSource => {
                let from: Vec<String> = self.from.iter().map(ToString::to_string).collect();
                let (from, source) = (from.join(", "), &question.source);
                format!("does not match: it is for calls from {from}, not from {source}")
            }
            Why::AnotherTime => match &self.window {
                Some(window) => {
                    let moment = window.moment(question.at);
                    format!("does not match: it holds {window}, and there it is {moment}")
                }
                None => "does not match: it holds at another time".to_owned(),
            },
        }
    }
}
