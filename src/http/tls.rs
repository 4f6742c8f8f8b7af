//! HTTPS: the configured certificate, or a self-signed one made on the first run.

use super::sessions::write_private;
use crate::config::Config;
use axum_server::tls_rustls::RustlsConfig;
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CERTIFICATE_FILE: &str = "certificate.pem";
const KEY_FILE: &str = "certificate.key";
/// Of the certificate we make. Browsers refuse self-signed ones until told otherwise, whatever
/// the dates; a short life would only ask the agents again.
const VALID_YEARS: i16 = 10;

/// Makes ring the one cryptography of this process. May be called often.
pub fn install_crypto_once() {
    // An error means that somebody was first, and there is only ring to install.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The certificate of the HTTPS listener, which may be swapped while it serves. Clones are one.
#[derive(Clone)]
pub struct Https(RustlsConfig);

/// The files as they are now, read and found good.
pub struct Fresh(Arc<ServerConfig>);

impl Fresh {
    /// Errors name the file.
    pub fn read(config: &Config) -> io::Result<Fresh> {
        configuration(config).map(Fresh)
    }
}

impl Https {
    pub(super) fn new(fresh: Fresh) -> Https {
        Https(RustlsConfig::from_config(fresh.0))
    }

    /// Who connects from now on meets this one.
    pub fn swap(&self, fresh: Fresh) {
        self.0.reload_from_config(fresh.0);
    }

    pub(super) fn served(&self) -> RustlsConfig {
        self.0.clone()
    }
}

/// The TLS configuration of the HTTPS listener. Errors name the file.
fn configuration(config: &Config) -> io::Result<Arc<ServerConfig>> {
    install_crypto_once();
    let (certificate, key) = certificate_files(config)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&certificate)
        .map_err(|error| unreadable(&certificate, &error))?
        .collect();
    let chain = chain.map_err(|error| unreadable(&certificate, &error))?;
    let private = PrivateKeyDer::from_pem_file(&key).map_err(|error| unreadable(&key, &error))?;
    let builder = ServerConfig::builder().with_no_client_auth();
    let mut tls = builder
        .with_single_cert(chain, private)
        .map_err(|error| unreadable(&certificate, &error))?;
    // WebSockets need HTTP/1.1 (RFC 8441 is not spoken here).
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}

/// The configured certificate and its key, or those made in the state folder.
pub fn certificate_files(config: &Config) -> io::Result<(PathBuf, PathBuf)> {
    match (&config.http.certificate, &config.http.key) {
        (Some(certificate), Some(key)) => Ok((certificate.clone(), key.clone())),
        _ => {
            config.state.make_folder()?;
            self_signed(&config.state.folder, &names(config))
        }
    }
}

/// The certificate of a state folder, made when there is none.
fn self_signed(folder: &Path, names: &[String]) -> io::Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (folder.join(CERTIFICATE_FILE), folder.join(KEY_FILE));
    if certificate.is_file() && key.is_file() {
        return Ok((certificate, key));
    }
    let failed =
        |error: rcgen::Error| io::Error::other(format!("a certificate cannot be made: {error}"));
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Foredial");
    let year = jiff::Zoned::now().year();
    params.not_before = date_time_ymd(i32::from(year) - 1, 1, 1);
    params.not_after = date_time_ymd(i32::from(year + VALID_YEARS), 1, 1);
    let pair = KeyPair::generate().map_err(failed)?;
    let made = params.self_signed(&pair).map_err(failed)?;
    write_private(&key, pair.serialize_pem().as_bytes())?;
    write_private(&certificate, made.pem().as_bytes())?;
    Ok((certificate, key))
}

/// What a browser on this machine or network may call us.
fn names(config: &Config) -> Vec<String> {
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    let listen = config
        .http
        .tls_listen
        .map(|listen| listen.ip())
        .filter(|ip| !ip.is_unspecified());
    let others = listen.into_iter().chain(config.sip.advertised.clone());
    names.extend(
        others
            .map(|ip: IpAddr| ip.to_string())
            .filter(|ip| ip != "127.0.0.1"),
    );
    names
}

fn unreadable(file: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{}: {error}", file.display()),
    )
}
