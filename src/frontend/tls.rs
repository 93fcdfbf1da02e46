//! With which certificate and keys does the gate meet its clients?
//!
//! TLS 1.2 and 1.3. Without a certificate of the operator's the gate makes one itself, so that clients
//! that insist on TLS, or send passwords only inside it, can log in; such a certificate proves nothing.
//! The RSA pair is for full authentications on plain TCP and is made when the first client asks for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::sync::OnceCell;

use crate::protocol::auth::{AuthError, RsaKeyPair};

/// The RSA key pair of a listener, made on first use.
#[derive(Debug, Default)]
pub struct RsaKeys(OnceCell<RsaKeyPair>);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read as PEM.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// The certificate file holds no certificate.
    #[error("{}: no certificate in the file", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key do not fit, or are not acceptable.
    #[error("certificate and key: {0}")]
    Config(#[from] rustls::Error),
    /// The authorities for client certificates are not acceptable.
    #[error("client authorities: {0}")]
    ClientAuthorities(#[from] rustls::server::VerifierBuilderError),
    /// No certificate could be made.
    #[error("cannot make a certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
}

/// The server's side of TLS, from PEM files: certificate chain, its private key, and, if client
/// certificates are demanded, the authorities that they are checked against.
pub fn server_config(
    certificate: &Path,
    key: &Path,
    client_authorities: Option<&Path>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|source| TlsError::File { path: key.to_owned(), source })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match client_authorities {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                roots.add(authority)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    Ok(Arc::new(builder.with_single_cert(chain, private)?))
}

/// The server's side of TLS with a certificate made now, for `names` (host names and addresses), signed
/// by its own key.
pub fn self_signed(names: &[&str]) -> Result<Arc<ServerConfig>, TlsError> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())?;
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = |source| TlsError::File { path: path.to_owned(), source };
    let chain =
        CertificateDer::pem_file_iter(path).map_err(fault)?.collect::<Result<Vec<_>, _>>().map_err(fault)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(chain)
}

// === impl RsaKeys ===

impl RsaKeys {
    /// The pair. The first call makes it on a blocking thread; calls meanwhile wait for it.
    pub async fn pair(&self) -> Result<&RsaKeyPair, AuthError> {
        self.0
            .get_or_try_init(|| async {
                tokio::task::spawn_blocking(RsaKeyPair::generate)
                    .await
                    .unwrap_or(Err(AuthError::KeyGeneration))
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_an_operator_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["gate.test".to_owned()]).unwrap();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        assert!(server_config(&certificate, &key, None).is_ok());
        assert!(server_config(&certificate, &key, Some(&certificate)).is_ok());
        // The key file holds no certificate, and the other way round.
        assert!(matches!(server_config(&key, &key, None), Err(TlsError::NoCertificate { .. })));
        assert!(matches!(server_config(&certificate, &certificate, None), Err(TlsError::File { .. })));
        let absent = folder.path().join("absent.pem");
        let error = server_config(&absent, &key, None).unwrap_err().to_string();
        assert!(error.contains("absent.pem"), "{error}");
        let other = rcgen::generate_simple_self_signed(vec!["gate.test".to_owned()]).unwrap();
        std::fs::write(&key, other.signing_key.serialize_pem()).unwrap();
        assert!(matches!(server_config(&certificate, &key, None), Err(TlsError::Config(_))));
    }
}
