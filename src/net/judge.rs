//! Who a TLS server is (RFC 5922 §7.3): signed by an authority of ours, and for the SIP domain we
//! call; a refusal says whom the certificate is for instead.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::certificate::Certificate;

#[derive(Debug)]
pub(super) struct Judge {
    /// Whom we call, and who signs for him. `None`, `verify = "off"`: any certificate will do. Its
    /// key is still proved, so that nobody can read along; only who it belongs to is not known.
    by: Option<(String, Arc<RootCertStore>)>,
    crypto: Arc<CryptoProvider>,
}

impl Judge {
    pub fn believing(crypto: Arc<CryptoProvider>) -> Arc<Judge> {
        Arc::new(Judge { by: None, crypto })
    }

    pub fn of(
        wanted: String,
        roots: Arc<RootCertStore>,
        crypto: Arc<CryptoProvider>,
    ) -> Arc<Judge> {
        let by = Some((wanted, roots));
        Arc::new(Judge { by, crypto })
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some((wanted, roots)) = &self.by else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let known = self.crypto.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, known)?;
        let certificate = Certificate::read(end_entity);
        match &certificate {
            Some(one) if one.is_for(wanted) => Ok(ServerCertVerified::assertion()),
            one => {
                let told = one.as_ref().map_or_else(String::new, Certificate::told);
                Err(Error::General(format!(
                    "the certificate is for {told} and not for {wanted}; \
                     if that is right, name it in [[trunk]] certificate_name"
                )))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.crypto.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.crypto.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.crypto
            .signature_verification_algorithms
            .supported_schemes()
    }
}
