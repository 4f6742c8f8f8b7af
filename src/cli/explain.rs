//! `foredial explain`: what the store knows of a lead, or of a campaign's leads, and where the
//! plan sends a call. Read-only, so it may be asked while the switch runs.

use super::Failure;
use super::import::utc_now;
use super::place::Place;
use super::route::Route;
use crate::id::LeadId;
use crate::store::Reader;
use clap::{Args, Subcommand};
use std::sync::Arc;

#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Everything about one lead: states, phones, reservations, attempts, outcomes.
    Lead { id: u64 },
    /// How many leads of a campaign stand where.
    Campaign { id: String },
    /// Where a call to a number would go, rule by rule. Exit code 1 when it would be refused.
    Route(Route),
}

impl Explain {
    pub(super) fn carry_out(self) -> Result<(), Failure> {
        let config = self.place.config()?;
        if let What::Route(route) = self.what {
            return route.carry_out(&config);
        }
        let reader = Reader::open(&config.store.path, Arc::new(config.rules()))?;
        let view = reader.view(utc_now());
        match self.what {
            What::Lead { id } => {
                let dump = view.dump(LeadId(id))?;
                let dump = dump.ok_or_else(|| Failure::plain(format!("there is no lead {id}")))?;
                println!("{dump:#}");
            }
            What::Campaign { id } => {
                let counts = view.state_counts()?;
                let counts: Vec<_> = counts
                    .iter()
                    .filter(|count| count.campaign.as_str() == id)
                    .collect();
                if counts.is_empty() {
                    let remedy = "import some: foredial import FILE --list LIST --campaign ID";
                    return Err(Failure::new(
                        format!("campaign `{id}` has no leads"),
                        remedy,
                    ));
                }
                for count in counts {
                    println!("{:>8}  {}", count.leads, count.state);
                }
            }
            // Answered above, without the store.
            What::Route(_) => {}
        }
        Ok(())
    }
}
