//! Where a name's SIP servers are (RFC 3263 §4): NAPTR, then SRV, then addresses,
//! for the transport the trunk is spoken to by.
//! Nothing is cached here: whoever asks knows from the answer how long it holds.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};

use crate::sip::Transport;
use crate::trunk::{Answer, Place, Target};

/// One question to one name server.
const QUESTION_LIMIT: Duration = Duration::from_secs(2);
/// All questions of one look-up.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(10);
const SIP_PORT: u16 = 5060;
const SIPS_PORT: u16 = 5061;
/// Servers one name may stand for.
const TARGETS_MAX: usize = 32;

/// A resolver. Cheap to clone.
#[derive(Clone)]
pub struct Dns {
    resolver: Arc<TokioResolver>,
}

#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    #[error("no DNS to ask: {0}; name one in [dns] servers")]
    Setup(NetError),
    #[error("look-up failed: {0}")]
    Failed(NetError),
    #[error("no answer from DNS within {LOOK_UP_LIMIT:?}")]
    Timeout,
    #[error("the name has no address")]
    Nothing,
}

impl Dns {
    /// Asks `servers`, or those of the system when there are none. `with_v6`: whether servers
    /// with IPv6 addresses can be reached. On a tokio runtime.
    ///
    /// # Errors
    /// When the system's configuration cannot be read.
    pub fn new(servers: &[SocketAddr], with_v6: bool) -> Result<Dns, DnsError> {
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio().map_err(DnsError::Setup)?
        } else {
            let named = servers.iter().map(|server| name_server(*server));
            let config = ResolverConfig::from_parts(None, vec![], named.collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options: &mut ResolverOpts = builder.options_mut();
        options.cache_size = 0;
        options.timeout = QUESTION_LIMIT;
        options.ip_strategy = match with_v6 {
            true => LookupIpStrategy::Ipv4AndIpv6,
            false => LookupIpStrategy::Ipv4Only,
        };
        let resolver = Arc::new(builder.build().map_err(DnsError::Setup)?);
        Ok(Dns { resolver })
    }

    /// # Errors
    /// When nothing can be found out; a place that is an address is its own answer.
    pub async fn resolve(&self, place: &Place, transport: Transport) -> Result<Answer, DnsError> {
        let found = tokio::time::timeout(LOOK_UP_LIMIT, self.look_up(place, transport)).await;
        let mut answer = found.map_err(|_| DnsError::Timeout)??;
        answer.targets.truncate(TARGETS_MAX);
        if answer.targets.is_empty() {
            return Err(DnsError::Nothing);
        }
        Ok(answer)
    }

    async fn look_up(&self, place: &Place, transport: Transport) -> Result<Answer, DnsError> {
        let (host, port) = match place {
            Place::At(address) => return Ok(fixed(*address)),
            Place::Name { host, port } => (format!("{}.", host.trim_end_matches('.')), *port),
        };
        if let Some(port) = port {
            return self.addresses(&host, port, 0, 0).await;
        }
        let (services, prefix, port): (&[u8], _, _) = match transport {
            Transport::Tls => (b"SIPS+D2T", "_sips._tcp", SIPS_PORT),
            Transport::Tcp => (b"SIP+D2T", "_sip._tcp", SIP_PORT),
            Transport::Udp | Transport::Ws | Transport::Wss => (b"SIP+D2U", "_sip._udp", SIP_PORT),
        };
        // RFC 3263 4.1: no NAPTR that speaks of our transport is as good as none.
        let service = self.naptr(&host, services).await;
        let service = service.unwrap_or_else(|| format!("{prefix}.{host}"));
        match self.srv(&service).await? {
            Some(answer) => Ok(answer),
            None => self.addresses(&host, port, 0, 0).await,
        }
    }

    async fn naptr(&self, host: &str, services: &[u8]) -> Option<String> {
        let found = self.resolver.lookup(host, RecordType::NAPTR).await.ok()?;
        let records = found
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::NAPTR(naptr) => Some(naptr),
                _ => None,
            });
        let ours = records.filter(|naptr| {
            naptr.services.eq_ignore_ascii_case(services) && naptr.flags.eq_ignore_ascii_case(b"s")
        });
        let best = ours.min_by_key(|naptr| (naptr.order, naptr.preference))?;
        Some(best.replacement.to_ascii())
    }

    /// `None` when there is no SRV at all.
    async fn srv(&self, service: &str) -> Result<Option<Answer>, DnsError> {
        let found = match self.resolver.srv_lookup(service).await {
            Ok(found) => found,
            Err(error) if error.is_no_records_found() => return Ok(None),
            Err(error) => return Err(DnsError::Failed(error)),
        };
        let mut ttl = rest_of(found.valid_until());
        let (mut targets, mut failed) = (Vec::new(), None);
        for record in found.answers() {
            let RData::SRV(srv) = &record.data else {
                continue;
            };
            let host = srv.target.to_ascii();
            match self
                .addresses(&host, srv.port, srv.priority, srv.weight)
                .await
            {
                Ok(answer) => {
                    ttl = ttl.min(answer.ttl);
                    targets.extend(answer.targets);
                }
                // One broken host does not hide the others.
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if targets.is_empty() => Err(error),
            _ => Ok(Some(Answer { targets, ttl })),
        }
    }

    async fn addresses(
        &self,
        host: &str,
        port: u16,
        priority: u16,
        weight: u16,
    ) -> Result<Answer, DnsError> {
        let found = self.resolver.lookup_ip(host).await;
        let found = found.map_err(DnsError::Failed)?;
        let target = |ip: IpAddr| Target {
            address: SocketAddr::new(ip, port),
            priority,
            weight,
        };
        Ok(Answer {
            targets: found.iter().map(target).collect(),
            ttl: rest_of(found.valid_until()),
        })
    }
}

fn rest_of(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let at = |mut connection: ConnectionConfig| {
        connection.port = server.port();
        connection
    };
    let connections = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
    NameServerConfig::new(server.ip(), true, connections)
}

fn fixed(address: SocketAddr) -> Answer {
    let target = Target {
        address,
        priority: 0,
        weight: 0,
    };
    Answer {
        targets: vec![target],
        ttl: Duration::MAX,
    }
}
