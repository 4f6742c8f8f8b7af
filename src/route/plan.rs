//! The plan as a whole: a question goes in, a decision that can be explained comes out.

use crate::now::UtcMs;

use super::rule::{Rule, Why};
use super::source::Source;
use super::step::{Outward, Step};

/// A call that wants a way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// As it was dialled.
    pub number: String,
    pub source: Source,
    pub at: UtcMs,
}

#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub emergency: Emergency,
    pub rules: Vec<Rule>,
}

/// Numbers that come before every rule and pass every limit, and the trunks that take them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emergency {
    pub numbers: Vec<String>,
    pub trunks: Vec<Outward>,
}

/// What becomes of a call, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub outcome: Outcome,
    /// One a rule, in their order; empty for an emergency call, which asks no rule.
    pub judged: Vec<Why>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Routed(Routed),
    /// Refused at once, by a rule or because there is none.
    Refused {
        status: u16,
        rule: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    pub rule: String,
    /// Rewritten.
    pub number: String,
    pub steps: Vec<Step>,
    pub ring_ms: u64,
    pub record: bool,
    pub emergency: bool,
}

/// What a call without a rule is told (RFC 3261 21.4.5).
const NO_RULE: u16 = 404;
/// An emergency call rings as long as a transaction may.
const EMERGENCY_RING_MS: u64 = 180_000;
const EMERGENCY: &str = "emergency";

impl Plan {
    pub fn route(&self, question: &Question) -> Decision {
        if self.is_emergency(question) {
            let routed = Routed {
                rule: EMERGENCY.to_owned(),
                number: question.number.clone(),
                steps: vec![Step::Trunks(self.emergency.trunks.clone())],
                ring_ms: EMERGENCY_RING_MS,
                record: false,
                emergency: true,
            };
            return Decision {
                outcome: Outcome::Routed(routed),
                judged: Vec::new(),
            };
        }
        let judged: Vec<Why> = self.rules.iter().map(|rule| rule.judge(question)).collect();
        let first = judged.iter().position(|why| *why == Why::Matches);
        let outcome = match first.and_then(|at| self.rules.get(at)) {
            Some(rule) => decide(rule, question),
            None => Outcome::Refused {
                status: NO_RULE,
                rule: None,
            },
        };
        Decision { outcome, judged }
    }

    /// A carrier never sends us its emergency calls; whoever else may call at all may call for help.
    pub fn is_emergency(&self, question: &Question) -> bool {
        let from_trunk = matches!(question.source, Source::Trunk(_));
        !from_trunk && self.emergency.numbers.contains(&question.number)
    }

    /// A decision in words, a line a rule and the result last.
    pub fn explain(&self, question: &Question, decision: &Decision) -> Vec<String> {
        let mut lines = vec![self.explain_emergency(question)];
        let mut decided = false;
        for (rule, why) in self.rules.iter().zip(&decision.judged) {
            let said = match (why, decided) {
                (Why::Matches, true) => "would match, but an earlier rule has decided".to_owned(),
                _ => rule.explain(question, *why),
            };
            decided |= *why == Why::Matches;
            lines.push(format!("{}: {said}", rule.name));
        }
        lines.push(match &decision.outcome {
            Outcome::Refused {
                status,
                rule: Some(rule),
            } => format!("=> refused with {status} by {rule}"),
            Outcome::Refused { status, rule: None } => {
                format!("=> refused with {status}: no rule matches")
            }
            Outcome::Routed(routed) => explain_routed(routed),
        });
        lines
    }

    fn explain_emergency(&self, question: &Question) -> String {
        let known = self.emergency.numbers.contains(&question.number);
        let said = match (known, self.is_emergency(question)) {
            (_, true) => "matches, before every rule and limit",
            (true, false) => "does not match: calls from a trunk are never emergency calls",
            (false, false) => "does not match: not an emergency number",
        };
        format!("{EMERGENCY}: {said}")
    }
}

fn decide(rule: &Rule, question: &Question) -> Outcome {
    if let [Step::Refuse(status), ..] = rule.steps.as_slice() {
        return Outcome::Refused {
            status: *status,
            rule: Some(rule.name.clone()),
        };
    }
    Outcome::Routed(Routed {
        rule: rule.name.clone(),
        number: rule.number.rewrite(&question.number, &rule.rewrite),
        steps: rule.steps.clone(),
        ring_ms: rule.ring_ms,
        record: rule.record,
        emergency: false,
    })
}

fn explain_routed(routed: &Routed) -> String {
    let steps: Vec<String> = routed.steps.iter().map(ToString::to_string).collect();
    let recorded = if routed.record { ", recorded" } else { "" };
    let (rule, number, steps) = (&routed.rule, &routed.number, steps.join("; then "));
    let ring_s = routed.ring_ms / 1_000;
    format!("=> {rule}: {number} to {steps} ({ring_s} s each{recorded})")
}
