//! Which certificates of MySQL servers does the gate accept?
//!
//! The words are MySQL's `--ssl-mode`: `preferred` and `required` encrypt and check nothing,
//! `verify-ca` wants a certificate of a known authority, `verify-identity` wants it to name the host
//! as well.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::backend::Tls;
use crate::config::{Backend, BackendTls};

/// Takes any certificate; only the handshake's signature must fit it.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

/// Takes any host's certificate that comes from a known authority.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

/// The TLS policy towards the servers.
///
/// # Errors
/// Authorities that cannot be read, with the file's name.
pub(super) fn policy(backend: &Backend) -> Result<Tls, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let unchecked = || -> Arc<dyn ServerCertVerifier> { Arc::new(AnyCertificate(Arc::clone(&provider))) };
    let checked = || authorities(backend.tls_ca.as_deref(), &provider);
    let verifier: Arc<dyn ServerCertVerifier> = match backend.tls {
        BackendTls::Off => return Ok(Tls::Off),
        BackendTls::Preferred | BackendTls::Required => unchecked(),
        BackendTls::VerifyCa => Arc::new(AnyName(checked()?)),
        BackendTls::VerifyIdentity => checked()?,
    };
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("backend.tls: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let config = Arc::new(config);
    Ok(if backend.tls == BackendTls::Preferred { Tls::Preferred(config) } else { Tls::Required(config) })
}

fn authorities(
    path: Option<&Path>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    let path = path.ok_or("backend.tls_ca is not set")?;
    let failed = |error: &dyn std::fmt::Display| format!("backend.tls_ca: {}: {error}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))? {
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| failed(&error))
}

// === impl ServerCertVerifier for … ===

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The chain is checked before the name.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server certificate for `shard1` and the PEM file of the authority that signed it.
    fn certificate() -> (CertificateDer<'static>, String) {
        let made = rcgen::generate_simple_self_signed(vec!["shard1".to_owned()]).unwrap();
        (made.cert.der().clone(), made.cert.pem())
    }

    fn verifier_with(pem: &str) -> Arc<WebPkiServerVerifier> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        std::fs::write(&path, pem).unwrap();
        authorities(Some(&path), &Arc::new(aws_lc_rs::default_provider())).unwrap()
    }

    fn check(verifier: &dyn ServerCertVerifier, certificate: &CertificateDer<'_>, host: &str) -> bool {
        let name = ServerName::try_from(host.to_owned()).unwrap();
        verifier.verify_server_cert(certificate, &[], &name, &[], UnixTime::now()).is_ok()
    }

    #[test]
    fn each_mode_checks_what_it_says() {
        let (own, pem) = certificate();
        let (foreign, _) = certificate();
        let identity = verifier_with(&pem);
        assert!(check(&*identity, &own, "shard1"));
        assert!(!check(&*identity, &own, "shard2"));
        let authority = AnyName(identity);
        assert!(check(&authority, &own, "shard2"));
        assert!(!check(&authority, &foreign, "shard1"));
        let any = AnyCertificate(Arc::new(aws_lc_rs::default_provider()));
        assert!(check(&any, &foreign, "shard2"));
    }

    #[test]
    fn a_file_without_authorities_is_refused() {
        let mut backend = Backend { tls: BackendTls::VerifyCa, ..Backend::default() };
        backend.tls_ca = Some("/nowhere/ca.pem".into());
        assert!(policy(&backend).unwrap_err().starts_with("backend.tls_ca: /nowhere/ca.pem: "));
        backend.tls = BackendTls::Preferred;
        assert!(matches!(policy(&backend), Ok(Tls::Preferred(_))));
    }
}
