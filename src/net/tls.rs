//! TLS 1.2 and 1.3 for SIP (RFC 3261 §26.3.1, RFC 5922): our certificate toward those who connect,
//! theirs where one is asked for, and the check of a server's name before anything is said to it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::certificate::Certificate;
use super::judge::Judge;

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Whether those who connect must show a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Nobody is asked.
    Unasked,
    /// One that is shown must be signed by these authorities.
    Asked { ca: PathBuf },
    /// Nobody gets in without one.
    Required { ca: PathBuf },
}

/// How a server's certificate is judged when we connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Signed by one of these authorities, for the name we call it by.
    By { ca: PathBuf },
    /// No authority is configured: no TLS connection can be opened.
    Nobody,
    /// Whoever answers is believed.
    Off,
}

/// The side that is connected to. Clones are one: what is swapped in one is in all.
#[derive(Clone)]
pub struct ServerTls(Arc<RwLock<TlsAcceptor>>);

/// The side that connects. Clones are one.
#[derive(Clone)]
pub struct Toward(Arc<RwLock<Option<Arc<Client>>>>);

struct Client {
    config: ClientConfig,
    /// `None`: whoever answers is believed.
    roots: Option<Arc<RootCertStore>>,
}

impl ServerTls {
    /// Errors name the file.
    pub fn load(identity: &Identity, clients: &Clients) -> io::Result<ServerTls> {
        let builder = ServerConfig::builder_with_provider(ring())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = match clients {
            Clients::Unasked => builder.with_no_client_auth(),
            Clients::Asked { ca } | Clients::Required { ca } => {
                let roots = Arc::new(roots(ca)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, ring());
                let verifier = match clients {
                    Clients::Required { .. } => verifier,
                    _ => verifier.allow_unauthenticated(),
                };
                let verifier = verifier.build().map_err(|error| wrong(ca, &error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let (chain, key) = identity.read()?;
        let config = builder
            .with_single_cert(chain, key)
            .map_err(|error| wrong(&identity.certificate, &error))?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(ServerTls(Arc::new(RwLock::new(acceptor))))
    }

    /// Who connects from now on meets the other's certificate and judge.
    pub fn swap(&self, other: &ServerTls) {
        let new = held(&other.0);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
        let acceptor = held(&self.0);
        acceptor.accept(stream).await
    }
}

impl Toward {
    /// `identity` is shown to servers that ask for one. Errors name the file.
    pub fn load(verify: &Verify, identity: Option<&Identity>) -> io::Result<Toward> {
        let builder = ClientConfig::builder_with_provider(ring())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let roots = match verify {
            Verify::Nobody => return Ok(Toward(Arc::default())),
            Verify::By { ca } => Some(Arc::new(roots(ca)?)),
            Verify::Off => None,
        };
        // Each connection brings its own judge, who knows whom we call.
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(Judge::believing(ring()));
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = identity.read()?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| wrong(&identity.certificate, &error))?
            }
        };
        let client = Some(Arc::new(Client { config, roots }));
        Ok(Toward(Arc::new(RwLock::new(client))))
    }

    /// Connections opened from now on go by the other's authorities and show its certificate.
    pub fn swap(&self, other: &Toward) {
        let new = held(&other.0);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    /// The certificate must be for the SIP domain `name`, or for the address when there is none.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
        name: Option<&str>,
    ) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let Some(client) = held(&self.0) else {
            let what = "no authority to judge certificates by; name one in [sip] ca";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        };
        let address = remote.ip().to_canonical();
        let wanted = name.map_or_else(|| address.to_string(), str::to_owned);
        // What cannot be asked for by SNI, such as a wildcard, can still be what is shown.
        let asked = ServerName::try_from(wanted.clone());
        let asked = asked.unwrap_or(ServerName::IpAddress(address.into()));
        let mut config = client.config.clone();
        if let Some(roots) = client.roots.clone() {
            let judge = Judge::of(wanted, roots, ring());
            config.dangerous().set_certificate_verifier(judge);
        }
        TlsConnector::from(Arc::new(config))
            .connect(asked, stream)
            .await
    }
}

impl Identity {
    fn read(&self) -> io::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|e| wrong(&self.key, &e))?;
        Ok((certificates(&self.certificate)?, key))
    }
}

/// Nothing in here can panic between two changes.
fn held<T: Clone>(lock: &RwLock<T>) -> T {
    lock.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Until when the first certificate of a file holds, in seconds since 1970 UTC. Errors name the
/// file.
pub fn not_after_s(file: &Path) -> io::Result<i64> {
    let chain = certificates(file)?;
    let first = chain.first().and_then(|der| Certificate::read(der));
    let unreadable = || wrong(file, &"a certificate that cannot be read");
    Ok(first.ok_or_else(unreadable)?.not_after_s)
}

fn roots(file: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| wrong(file, &error))?;
    }
    Ok(roots)
}

fn certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_file_iter(file).map_err(|error| wrong(file, &error))?;
    let chain: Result<Vec<_>, _> = chain.collect();
    let chain = chain.map_err(|error| wrong(file, &error))?;
    if chain.is_empty() {
        return Err(wrong(file, &"holds no certificate"));
    }
    Ok(chain)
}

fn wrong(file: &Path, why: &dyn std::fmt::Display) -> io::Error {
    let what = format!("{}: {why}", file.display());
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn ring() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
