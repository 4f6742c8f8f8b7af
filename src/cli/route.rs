//! `foredial explain route`: the plan's judgement of one call, rule by rule.

use super::Failure;
use super::import::utc_now;
use crate::config::Config;
use crate::now::UtcMs;
use crate::route::{Outcome, Question, Source};
use clap::Args;
use jiff::Timestamp;

#[derive(Debug, Args)]
pub(super) struct Route {
    /// As it is dialled.
    number: String,
    /// Who calls: trunk:NAME, phone:USER, agent:ID or address:IP.
    #[arg(long, value_name = "SOURCE", default_value = "phone:101")]
    from: String,
    /// When, such as 2026-11-22T10:00+08:00. Now when absent.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

impl Route {
    pub(super) fn carry_out(self, config: &Config) -> Result<(), Failure> {
        let question = Question {
            source: source(&self.from)?,
            at: moment(self.at.as_deref())?,
            number: self.number,
        };
        let plan = config.plan();
        let decision = plan.route(&question);
        for line in plan.explain(&question, &decision) {
            println!("{line}");
        }
        match decision.outcome {
            Outcome::Routed(_) => Ok(()),
            Outcome::Refused { status, .. } => Err(Failure::new(
                format!("the call would be refused with {status}"),
                "see [[route]] in the configuration",
            )),
        }
    }
}

fn source(text: &str) -> Result<Source, Failure> {
    text.parse().map_err(|()| {
        Failure::new(
            format!("--from {text}: not a source of calls"),
            "write trunk:NAME, phone:USER, agent:ID or address:IP",
        )
    })
}

fn moment(text: Option<&str>) -> Result<UtcMs, Failure> {
    let Some(text) = text else {
        return Ok(utc_now());
    };
    let at: Timestamp = text.parse().map_err(|error| {
        Failure::new(
            format!("--at {text}: {error}"),
            "write a time with its offset, such as 2026-11-22T10:00+08:00",
        )
    })?;
    Ok(UtcMs(at.as_millisecond()))
}
