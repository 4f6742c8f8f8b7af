//! From the checked configuration to a running engine: the one place where every room's own
//! configuration is filled in.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Failure;
use super::archive::StoreArchive;
use super::run::{Running, Works};
use crate::config::{AddressRange, AgentConfig, CampaignConfig, Config, FieldKind, TrunkConfig};
use crate::connector::crm::CrmClient;
use crate::engine::driver::{CrmQuestion, FetchCrm, UDP_FLOW};
use crate::engine::handle::Handle;
use crate::engine::resolved::{
    AgentProfile, Campaign, Choice, EngineConfig, FieldLayout, Limits, Text, Trunk,
};
use crate::engine::start::Start;
use crate::id::{AgentId, CampaignId, TrunkId};
use crate::media::music::read_wav;
use crate::net::udp::{Datagram, SipUdp};
use crate::sip::{Credentials, EndpointConfig, Flow, Transport};
use crate::trunk::Terms;

/// The daemon's own way of starting.
pub struct Daemon;

impl Works for Daemon {
    async fn start(
        &self,
        config: Arc<Config>,
        udp: SipUdp,
        datagrams: mpsc::Receiver<Datagram>,
    ) -> Result<Running, Failure> {
        let sip_ip = advertised(&config, udp.local_addr().ip());
        let media_ip = config.media.address.unwrap_or(sip_ip);
        let start = Start {
            config: resolved(&config, &udp, sip_ip, media_ip),
            database: config.store.path.clone(),
            media_ip,
            advertised: media_ip,
            workers: config.media.workers as usize,
            music: music(&config)?,
            country: "CN".to_owned(),
            udp,
            datagrams,
            fetch_crm: crm(&config)?,
        };
        let recordings = start.config.recordings.clone();
        let rules = Arc::new(start.config.rules());
        let masked = config
            .campaigns
            .iter()
            .filter(|campaign| campaign.mask_numbers);
        let masked = masked
            .map(|campaign| CampaignId::new(&campaign.id))
            .collect();
        let started = start
            .start()
            .await
            .map_err(|error| Failure::plain(error.to_string()))?;
        let archive = StoreArchive::new(started.store(), rules, recordings, masked);
        Ok(Running {
            handle: started.handle(),
            archive: Arc::new(archive),
            join: Box::new(move || started.join()),
        })
    }
}

/// The address the far ends are told. A wildcard stands for the address the kernel would use.
fn advertised(config: &Config, bound: IpAddr) -> IpAddr {
    let wildcard = bound.is_unspecified();
    config
        .sip
        .advertised
        .unwrap_or_else(|| if wildcard { outward() } else { bound })
}

/// Connecting a UDP socket sends nothing; it only asks the routing table.
fn outward() -> IpAddr {
    let asked = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    asked.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

/// Where an agent works: in the campaigns she names, or in all of them when she names none.
fn campaigns_of(agent: &AgentConfig, config: &Config) -> Vec<CampaignId> {
    let every = config.campaigns.iter().map(|campaign| &campaign.id);
    let named = agent.campaigns.iter();
    match agent.campaigns.is_empty() {
        true => every.map(|id| CampaignId::new(id)).collect(),
        false => named.map(|id| CampaignId::new(id)).collect(),
    }
}

fn resolved(config: &Config, udp: &SipUdp, sip_ip: IpAddr, media_ip: IpAddr) -> EngineConfig {
    let local = udp.local_addr();
    let sip = SocketAddr::new(sip_ip, local.port());
    let agents = config.agents.iter().map(|agent| {
        let id = AgentId::new(&agent.id);
        let campaigns = campaigns_of(agent, config);
        let language = agent.language.as_str().to_owned();
        (
            id.clone(),
            AgentProfile {
                id,
                name: agent.name.clone(),
                language,
                campaigns,
            },
        )
    });
    let version = config.version();
    let campaigns = config.campaigns.iter().map(|campaign| {
        let id = CampaignId::new(&campaign.id);
        let rules = campaign.rules(&config.trunks, &version);
        (
            id.clone(),
            Arc::new(shown(id, campaign, rules, config.crm.is_some())),
        )
    });
    EngineConfig {
        endpoint: EndpointConfig::new(sip, "foredial.invalid"),
        trunk_flow: Flow {
            id: UDP_FLOW,
            transport: Transport::Udp,
            local,
            remote: local,
        },
        media_address: media_ip,
        rtp_ports: (
            *config.media.rtp_ports.start(),
            *config.media.rtp_ports.end(),
        ),
        recordings: config.recordings.folder.clone(),
        trunks: trunks(&config.trunks),
        resolvers: config.dns.servers.clone(),
        phones: config
            .phones
            .iter()
            .map(|phone| (phone.user.clone(), phone.password.reveal().to_owned()))
            .collect(),
        agents: agents.collect(),
        campaigns: campaigns.collect(),
        epoch: uuid::Uuid::now_v7().to_string(),
        seed: rand::random(),
        limits: Limits::default(),
    }
}

fn trunks(trunks: &[TrunkConfig]) -> BTreeMap<TrunkId, Trunk> {
    let resolved = trunks.iter().map(|trunk| {
        let id = TrunkId::new(&trunk.name);
        let every = Duration::from_secs(trunk.options_every_s.into());
        let credentials = trunk.username.as_ref().zip(trunk.password.as_ref());
        let resolved = Trunk {
            id: id.clone(),
            terms: Terms {
                places: trunk.servers.clone(),
                calls_max: trunk.max_calls as usize,
                calls_per_s: Some(trunk.calls_per_s).filter(|rate| *rate > 0),
                options_every: Some(every).filter(|every| !every.is_zero()),
                down_after: u8::try_from(trunk.down_after).unwrap_or(u8::MAX),
                failover: trunk.failover(),
            },
            domain: trunk.domain.clone(),
            number: trunk.number_format.rule(),
            identity: trunk.identity(),
            codecs: trunk.codecs(),
            credentials: credentials.map(|(username, password)| Credentials {
                username: username.clone(),
                password: password.reveal().to_owned(),
                realm: None,
            }),
            allow_from: trunk.allow_from.iter().map(AddressRange::block).collect(),
            invite_timeout: Duration::from_secs(trunk.silence_s.into()),
        };
        (id, resolved)
    });
    resolved.collect()
}

fn shown(
    id: CampaignId,
    campaign: &CampaignConfig,
    rules: crate::dialer::campaign::Campaign,
    crm: bool,
) -> Campaign {
    let text = |label: &crate::config::Label| Text::new(&label.en, &label.zh);
    Campaign {
        id,
        rules,
        script_title: text(&campaign.script_title),
        script: campaign.script.clone(),
        fields: campaign
            .fields
            .iter()
            .map(|field| FieldLayout {
                key: field.key.clone(),
                label: text(&field.label),
                kind: field_kind(field.kind).to_owned(),
            })
            .collect(),
        skip_reasons: campaign
            .skip_reasons
            .iter()
            .map(|reason| Choice {
                key: reason.key.clone(),
                label: text(&reason.label),
            })
            .collect(),
        mask_numbers: campaign.mask_numbers,
        record: campaign.record,
        crm,
    }
}

fn field_kind(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Text => "text",
        FieldKind::Money => "money",
        FieldKind::Date => "date",
        FieldKind::Phone => "phone",
    }
}

/// The first campaign's hold music; the built-in one when none is named.
fn music(config: &Config) -> Result<Option<Vec<i16>>, Failure> {
    let Some(path) = config
        .campaigns
        .iter()
        .find_map(|campaign| campaign.hold_music.clone())
    else {
        return Ok(None);
    };
    let wrong = |path: &PathBuf, why: String| {
        let what = format!("hold_music = \"{}\": {why}", path.display());
        Failure::new(what, "give a WAV file of 8 kHz, 16 bit, one channel")
    };
    let file = std::fs::File::open(&path).map_err(|error| wrong(&path, error.to_string()))?;
    read_wav(file)
        .map(Some)
        .map_err(|error| wrong(&path, error.to_string()))
}

/// Fetches run beside the loop, on the runtime this is called on.
fn crm(config: &Config) -> Result<FetchCrm, Failure> {
    let Some(asked) = &config.crm else {
        return Ok(Arc::new(|_: Handle, _: CrmQuestion| {}));
    };
    let client = CrmClient::new(asked.asking())
        .map_err(|error| Failure::new(format!("[crm] url: {error}"), "correct the address"))?;
    let runtime = tokio::runtime::Handle::current();
    Ok(Arc::new(move |handle: Handle, question: CrmQuestion| {
        let client = client.clone();
        runtime.spawn(async move {
            let CrmQuestion {
                agent,
                token,
                external_id,
                phone,
            } = question;
            let answer = client.fetch(&external_id, &phone).await;
            let result = match answer {
                Ok(found) => serde_json::to_value(found.sections).map_err(|e| e.to_string()),
                Err(error) => Err(error.to_string()),
            };
            handle.crm(agent, token, result).await;
        });
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_who_names_no_campaign_works_in_all_of_them() {
        let text = "[[trunk]]\nname = \"t\"\nservers = [\"192.0.2.1:5060\"]\ncaller_id = \"+861066666666\"\n\
            [[agent]]\nid = \"ana\"\n[[agent]]\nid = \"li\"\ncampaigns = [\"b\"]\n\
            [[campaign]]\nid = \"a\"\ntrunks = [\"t\"]\n[[campaign]]\nid = \"b\"\ntrunks = [\"t\"]\n";
        let config = crate::config::parse("foredial.toml", text, std::path::Path::new("."))
            .expect("a good configuration");
        let named = |at: usize| campaigns_of(&config.agents[at], &config);
        assert_eq!(named(0), ["a", "b"].map(CampaignId::new));
        assert_eq!(named(1), ["b"].map(CampaignId::new));
    }
}
