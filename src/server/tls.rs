//! Certificates: given ones, or one that the server makes for itself and keeps.

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use spelunk_tree::{Error, ErrorKind, Result};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the certificate comes from.
#[derive(Clone, Debug)]
pub enum Tls {
    /// No TLS: for a loopback address, or behind a proxy.
    Off,
    /// A certificate chain and its key, PEM.
    Given {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// One that is made for these names, at the first start.
    SelfMade {
        /// DNS names and addresses.
        names: Vec<String>,
    },
}

/// What a server needs to speak TLS.
pub struct Identity {
    /// For the listener.
    pub config: Arc<ServerConfig>,
    /// SHA-256 of the certificate, in hexadecimal digits with colons, as browsers show it.
    pub fingerprint: String,
}

/// Loads what `tls` says; `None` for [`Tls::Off`]. What is made is kept in `data`.
///
/// # Errors
/// When a file cannot be read or written, or is no certificate or key.
pub fn load(tls: &Tls, data: &Path) -> Result<Option<Identity>> {
    match tls {
        Tls::Off => Ok(None),
        Tls::Given { certificate, key } => read(certificate, key).map(Some),
        Tls::SelfMade { names } => {
            let (certificate, key) = (data.join("tls-certificate.pem"), data.join("tls-key.pem"));
            if !certificate.exists() || !key.exists() {
                make(names, &certificate, &key)?;
            }
            read(&certificate, &key).map(Some)
        }
    }
}

fn read(certificate: &Path, key: &Path) -> Result<Identity> {
    let bad = |path: &Path, why: String| {
        let path = crate::escape::escape(path.as_os_str().as_encoded_bytes()).into_owned();
        Error::new(ErrorKind::Storage, format!("reading {path}")).because(Error::new(ErrorKind::Storage, why))
    };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| bad(certificate, error.to_string()))?;
    let first = chain.first().ok_or_else(|| bad(certificate, "no certificate".to_owned()))?;
    let digits: Vec<String> = Sha256::digest(first).iter().map(|byte| format!("{byte:02X}")).collect();
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private));
    let mut config = config.map_err(|error| bad(certificate, error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Identity { config: Arc::new(config), fingerprint: digits.join(":") })
}

fn make(names: &[String], certificate: &Path, key: &Path) -> Result<()> {
    let failed = |error: rcgen::Error| {
        Error::internal("making a certificate").because(Error::internal(error.to_string()))
    };
    let mut params = CertificateParams::new(names.to_vec()).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, "Spelunk");
    let pair = KeyPair::generate().map_err(failed)?;
    let made = params.self_signed(&pair).map_err(failed)?;
    write(key, 0o600, &pair.serialize_pem())?;
    write(certificate, 0o644, &made.pem())
}

fn write(path: &Path, mode: u32, text: &str) -> Result<()> {
    let failed = |error: std::io::Error| Error::from_io(format!("writing {}", path.display()), &error);
    // One left from a start that was broken off may be anybody's.
    _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}
