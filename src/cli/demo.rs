//! `foredial demo`: the whole thing in one process on the loopback: switch, dialer, a carrier and
//! a CRM. Takes other ports when the usual ones are taken, and says which.

use super::run::{Bound, Up, Works, runtime};
use super::{Failure, import, log, place};
use crate::config::Config;
use crate::demo::carrier::{Carrier, CarrierConfig};
use crate::demo::crm::Crm;
use crate::id::AgentId;
use crate::leads::csv::Settings;
use crate::leads::phone::Region;
use clap::Args;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

const LEADS: &[u8] = include_bytes!("../../config/demo/leads.csv");
const LIST: &str = "demo";

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Where state and recordings are kept.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// The switch's SIP address (UDP); another free port when the usual one is taken.
    #[arg(long, value_name = "ADDR")]
    sip: Option<SocketAddr>,
    /// The page's address; another free port when the usual one is taken.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
}

impl Demo {
    pub(super) fn carry_out(self, works: impl Works) -> Result<(), Failure> {
        log::start();
        let mut config = place::demo(&self.dir)?;
        let usual = config.sip.listen.first().copied();
        let usual = usual.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        config.sip.listen = vec![self.sip.unwrap_or_else(|| free_udp(usual))];
        // Its carrier speaks UDP.
        config.sip.tcp_listen = Vec::new();
        config.http.listen = self.http.or_else(|| config.http.listen.map(free_tcp));
        config.http.tls_listen = config.http.tls_listen.map(free_tcp);
        runtime()?.block_on(async {
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let no_port = |what: &str| {
                let what = what.to_owned();
                move |error: std::io::Error| {
                    Failure::plain(format!("the demo's {what} has no port: {error}"))
                }
            };
            let carrier = Carrier::start(CarrierConfig {
                bind: any,
                ..CarrierConfig::default()
            })
            .await
            .map_err(no_port("carrier"))?;
            let crm = Crm::start(any).await.map_err(no_port("CRM"))?;
            let config = Arc::new(joined(config, carrier.local_addr(), &crm));
            let bound = Bound::bind(&config).await?;
            let leads = first_leads(&config)?;
            let up = Up::start(works, Arc::clone(&config), None, bound).await?;
            print!(
                "{}",
                self.welcome(&config, &up, carrier.local_addr(), leads)
            );
            up.until_told().await
        })
    }

    fn welcome(&self, config: &Config, up: &Up, carrier: SocketAddr, leads: u64) -> String {
        let mut text = format!(
            "Foredial demo: {}\n\nSign in (each link works once, for ten minutes):\n",
            up.url
        );
        for agent in &config.agents {
            let token = up
                .site
                .links
                .issue(&AgentId::new(&agent.id), import::utc_now());
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {:<12} {}/signin?token={token}", agent.name, up.url);
        }
        let _ = write!(
            text,
            "\nSIP {}, carrier {carrier}; {leads} new leads. More links: foredial ctl --dir {} sign-in {}\n\
         Stop with Ctrl-C.\n",
            up.sip,
            self.dir.display(),
            config
                .agents
                .first()
                .map_or("AGENT", |agent| agent.id.as_str()),
        );
        text
    }
}

/// The configuration with the carrier and the CRM that really run.
fn joined(mut config: Config, carrier: SocketAddr, crm: &Crm) -> Config {
    for trunk in &mut config.trunks {
        trunk.servers = vec![crate::trunk::Place::At(carrier)];
        trunk.domain = carrier.to_string();
    }
    if let Some(asked) = &mut config.crm {
        asked.url = crm.url_template();
    }
    config
}

/// The demo's leads; those of an earlier run are there already.
fn first_leads(config: &Config) -> Result<u64, Failure> {
    // CN is a country.
    let region = Region::parse("CN").ok_or_else(|| Failure::plain("no numbering plan of China"))?;
    let settings = Settings {
        region,
        language: "zh".to_owned(),
    };
    let campaign = config
        .campaigns
        .first()
        .map_or("demo", |campaign| campaign.id.as_str());
    let outcome = import::import(
        config,
        LEADS,
        &settings,
        LIST,
        campaign,
        "leads.csv".to_owned(),
    )?;
    Ok(outcome.leads)
}

/// The address, or one like it with a free port.
fn free_udp(wanted: SocketAddr) -> SocketAddr {
    match UdpSocket::bind(wanted) {
        Ok(_) => wanted,
        Err(_) => SocketAddr::new(wanted.ip(), 0),
    }
}

fn free_tcp(wanted: SocketAddr) -> SocketAddr {
    match TcpListener::bind(wanted) {
        Ok(_) => wanted,
        Err(_) => SocketAddr::new(wanted.ip(), 0),
    }
}
