//! From the checked configuration to a running engine: the one place where every room's own
//! configuration is filled in.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::archive::{Shown, StoreArchive};
use super::guard;
use super::reload::Resolve;
use super::run::{Running, Works};
use super::{Failure, SipBound};
use crate::config::{AddressRange, AgentConfig, CampaignConfig, Config, FieldKind, TrunkConfig};
use crate::connector::crm::CrmClient;
use crate::engine::driver::{CrmQuestion, FetchCrm, UDP_FLOW};
use crate::engine::handle::Handle;
use crate::engine::resolved::{
    AgentProfile, Campaign, Choice, EngineConfig, FieldLayout, Limits, Text, Trunk,
};
use crate::engine::srtp::KeySource;
use crate::engine::start::Start;
use crate::engine::tap::Tap;
use crate::engine::ways::Ways;
use crate::id::{AgentId, CampaignId, TrunkId};
use crate::media::music::read_wav;
use crate::net::hep::{HepIdentity, HepSender};
use crate::net::source::{self, Sources};
use crate::net::udp::SipUdp;
use crate::sip::{Credentials, Door, EndpointConfig, Flow, Reliability, Transport};
use crate::trunk::Terms;

/// The daemon's own way of starting.
pub struct Daemon;

impl Works for Daemon {
    async fn start(&self, config: Arc<Config>, sip: SipBound) -> Result<Running, Failure> {
        let no_socket = || Failure::new("[sip] listen is empty", "name an address for UDP");
        let first = sip.first().ok_or_else(no_socket)?;
        let flood = guard::open(&config)?;
        for socket in &sip.sockets.udp {
            socket.guard(Arc::clone(&flood));
        }
        sip.sockets.streams.guard(Arc::clone(&flood));
        let sip_ip = advertised(&config, first.ip());
        let media_ip = config.media.address.unwrap_or(sip_ip);
        let ground = Ground {
            doors: sip.doors.clone(),
            ways: ways(&sip),
            local: first,
            media_ip,
        };
        let resolve = move |config: &Config| resolved(config, &ground);
        let start = Start {
            config: resolve(&config),
            database: config.store.path.clone(),
            media_ip: own(media_ip, first.ip()),
            advertised: media_ip,
            workers: config.media.workers as usize,
            music: music(&config)?,
            country: "CN".to_owned(),
            sip: sip.sockets,
            home: sip.home,
            fetch_crm: crm(&config)?,
            tap: tap(&config)?,
        };
        let recordings = start.config.recordings.clone();
        let first = shown_by(&config, &start.config);
        let started = start
            .start()
            .await
            .map_err(|error| Failure::plain(error.to_string()))?;
        let archive = Arc::new(StoreArchive::new(started.store(), recordings, first));
        let listed = Arc::clone(&archive);
        let resolve: Resolve = Arc::new(move |config: &Config| {
            let new = resolve(config);
            guard::reload(config, &flood);
            listed.reload(shown_by(config, &new));
            new
        });
        Ok(Running {
            handle: started.handle(),
            archive,
            resolve,
            join: Box::new(move || started.join()),
        })
    }
}

/// By which campaigns pages' lists are shown.
fn shown_by(config: &Config, engine: &EngineConfig) -> Shown {
    let campaigns = config.campaigns.iter();
    let masked = campaigns.filter(|campaign| campaign.mask_numbers);
    Shown {
        rules: Arc::new(engine.rules()),
        masked: masked.map(|it| CampaignId::new(&it.id)).collect(),
    }
}

/// The address far ends send voice to. A wildcard stands for the address the kernel would use.
fn advertised(config: &Config, bound: IpAddr) -> IpAddr {
    let wildcard = bound.is_unspecified();
    config
        .sip
        .advertised_beside(bound)
        .unwrap_or_else(|| if wildcard { outward() } else { bound })
}

/// Where voice sockets bind: the address far ends are told, unless it is a NAT's.
fn own(told: IpAddr, bound: IpAddr) -> IpAddr {
    if UdpSocket::bind((told, 0)).is_ok() {
        told
    } else if bound.is_unspecified() {
        outward()
    } else {
        bound
    }
}

/// Toward the rest of the world: 192.0.2.1 stands for it, and nothing is sent there.
fn outward() -> IpAddr {
    let world = Ipv4Addr::new(192, 0, 2, 1).into();
    source::ask(world).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// Every UDP socket, and the routing table behind them.
fn ways(sip: &SipBound) -> Ways {
    let sources = Sources::default();
    let bound = sip.sockets.udp.iter().map(SipUdp::local_addr);
    Ways::new(bound.collect(), move |peer| sources.toward(peer))
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

/// What was bound at the start and stays while the file is read anew.
struct Ground {
    doors: Vec<Door>,
    ways: Ways,
    local: SocketAddr,
    media_ip: IpAddr,
}

fn resolved(config: &Config, ground: &Ground) -> EngineConfig {
    let local = ground.local;
    let mut endpoint = EndpointConfig::new(local, "foredial.invalid");
    endpoint.doors.clone_from(&ground.doors);
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
                seat: agent.seat.kind(),
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
    endpoint.digest = config.sip.digest;
    endpoint.recreate_dialogs = config.sip.recreate_dialogs;
    endpoint.session_expires_s = config.sip.dialect.session_expires_s;
    endpoint.min_se_s = config.sip.min_se_s;
    endpoint.reliability = config.sip.dialect.reliability();
    endpoint.reliable_provisionals = endpoint.reliability == Reliability::Required;
    if !endpoint.digest {
        tracing::warn!("[sip] digest = false: anyone on this machine may register and call");
    }
    EngineConfig {
        endpoint: guard::endpoint(config, endpoint),
        trunk_flow: Flow {
            id: UDP_FLOW,
            transport: Transport::Udp,
            local,
            remote: local,
        },
        ways: ground.ways.clone(),
        media_address: ground.media_ip,
        rtp_ports: (
            *config.media.rtp_ports.start(),
            *config.media.rtp_ports.end(),
        ),
        recordings: config.recordings.folder.clone(),
        trunks: trunks(&config.trunks),
        resolvers: config.dns.servers.clone(),
        plan: config.plan(),
        permit: config.routing.permit.clone(),
        phones: config.phones.iter().map(guard::phone).collect(),
        keys: KeySource::default(),
        agents: agents.collect(),
        campaigns: campaigns.collect(),
        fraud: guard::fraud(config),
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
                register_s: trunk.register.then_some(trunk.register_expires_s),
            },
            transport: trunk.secure.transport.sip(),
            certificate_name: Some(trunk.secure.certificate_name.clone())
                .filter(|name| !name.is_empty()),
            srtp: trunk.secure.srtp.policy(),
            srtp_over_plain: trunk.secure.srtp_over_plain,
            verstat: trunk.secure.verstat,
            domain: trunk.domain.clone(),
            number: trunk.number_format.rule(),
            identity: trunk.identity(),
            codecs: trunk.codecs(),
            credentials: credentials.map(|(username, password)| Credentials {
                username: username.clone(),
                password: password.reveal().to_owned(),
                realm: None,
            }),
            own_number: trunk.caller_id.clone(),
            redirects: trunk.redirects(),
            session_expires_s: Some(trunk.dialect.session_expires_s),
            reliability: Some(trunk.dialect.reliability()),
            allow_from: trunk.allow_from.iter().map(AddressRange::block).collect(),
            allow_refer: trunk.allow_refer,
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

fn tap(config: &Config) -> Result<Tap, Failure> {
    let hep = config.hep.server.map(|server| {
        let password = config.hep.password.as_ref();
        let identity = HepIdentity {
            id: config.hep.id,
            password: password.map_or("", |password| password.reveal()).to_owned(),
        };
        HepSender::open(server, identity).map_err(|error| {
            let what = format!("[hep] server = \"{server}\": {error}");
            Failure::new(what, "give an address this machine has a route to")
        })
    });
    let ring_bytes = config.trace.memory_kib as usize * 1_024;
    Ok(Tap::new(ring_bytes, hep.transpose()?))
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
