//! The command line, a command per file.
//!
//! An error is one clear line on stderr that names the place and the remedy, and exit code 1; a
//! wrong configuration shows all its errors. Output for people goes to stdout, logs to stderr.

mod archive;
mod certificates;
mod check;
mod control;
mod ctl;
mod demo;
mod explain;
mod export;
mod failure;
mod guard;
mod hash_password;
mod import;
mod ladder;
mod log;
mod pcap;
mod place;
mod reload;
mod route;
mod run;
mod sockets;
mod trace;
mod works;

pub use failure::Failure;
pub use reload::Resolve;
pub use run::{Running, Works};
pub use sockets::SipBound;
pub use works::Daemon;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A SIP softswitch with an embedded preview dialer.
#[derive(Debug, Parser)]
#[command(name = "foredial", version, arg_required_else_help = true)]
struct Line {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the switch by a configuration file.
    Run(run::Run),
    /// Run a complete demonstration: switch, dialer, a carrier, a CRM, 200 leads.
    Demo(demo::Demo),
    /// Check a configuration file: every error at once.
    Check(check::Check),
    /// Show the configuration in force.
    #[command(subcommand)]
    Config(check::ConfigVerb),
    /// Import leads from a CSV file.
    Import(import::Import),
    /// Export a campaign's leads with their last results as CSV.
    Export(export::Export),
    /// Say why something is, or is not, being dialed.
    Explain(explain::Explain),
    /// Ask and steer a running switch.
    Ctl(ctl::Ctl),
    /// Turn a password, read from stdin, into a `password_hash`.
    HashPassword,
}

/// Everything `foredial` does. `works` starts the rooms below.
pub fn main<W: Works>(works: W) -> ExitCode {
    let line = Line::parse();
    let done = match line.verb {
        Verb::Run(run) => run.carry_out(works),
        Verb::Demo(demo) => demo.carry_out(works),
        Verb::Check(check) => check.carry_out(),
        Verb::Config(config) => config.carry_out(),
        Verb::Import(import) => import.carry_out(),
        Verb::Export(export) => export.carry_out(),
        Verb::Explain(explain) => explain.carry_out(),
        Verb::Ctl(ctl) => ctl.carry_out(),
        Verb::HashPassword => hash_password::carry_out(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("foredial: {failure}");
            ExitCode::FAILURE
        }
    }
}
