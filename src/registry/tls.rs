//! What a TLS connection trusts and shows: the system's certificates, those of certs.d, a client's certificate.

use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::sys::files;

/// Where distributions keep the certificates that everybody trusts.
const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// No certificate file is larger (bytes).
const LIMIT: usize = 8 << 20;

/// How to speak TLS with one host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Trust {
    /// Certificates trusted besides the system's.
    pub authorities: Vec<PathBuf>,
    /// Certificate and key that we show (the key may lie in the certificate's file).
    pub client: Option<(PathBuf, PathBuf)>,
    /// Whatever the server shows is accepted.
    pub anything: bool,
}

impl Trust {
    /// The same for a host that a server redirected us to: our own certificate is not for it.
    pub fn for_others(&self) -> Trust {
        Trust { client: None, ..self.clone() }
    }

    /// Reads the files.
    pub fn config(&self) -> anyhow::Result<TlsConfig> {
        let client = match &self.client {
            Some((certificate, key)) => Some(client_certificate(certificate, key)?),
            None => None,
        };
        Ok(TlsConfig::builder()
            .root_certs(self.roots()?)
            .client_cert(client)
            .disable_verification(self.anything)
            .build())
    }

    fn roots(&self) -> anyhow::Result<RootCerts> {
        let mut trusted = Vec::new();
        let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let bundle = named.or_else(|| SYSTEM_BUNDLES.iter().map(PathBuf::from).find(|path| path.exists()));
        if let Some(bundle) = &bundle {
            trusted.extend(certificates(bundle)?);
        }
        for path in &self.authorities {
            let found = certificates(path)?;
            if found.is_empty() {
                bail!("{}: no certificate in PEM form", path.display());
            }
            trusted.extend(found);
        }
        // A machine without a bundle (a minimal image) still reaches the public registries.
        Ok(if trusted.is_empty() { RootCerts::WebPki } else { RootCerts::Specific(Arc::new(trusted)) })
    }
}

fn certificates(path: &Path) -> anyhow::Result<Vec<Certificate<'static>>> {
    let bytes = files::read(path, LIMIT)?;
    // An unreadable entry among many is no reason to trust none of them.
    let items = parse_pem(&bytes).filter_map(Result::ok);
    Ok(items.filter_map(|item| if let PemItem::Certificate(c) = item { Some(c) } else { None }).collect())
}

fn client_certificate(certificate: &Path, key: &Path) -> anyhow::Result<ClientCert> {
    let chain = certificates(certificate)?;
    if chain.is_empty() {
        bail!("{}: no certificate in PEM form", certificate.display());
    }
    let bytes = files::read(key, LIMIT)?;
    let key = PrivateKey::from_pem(&bytes).with_context(|| format!("{}: private key", key.display()))?;
    Ok(ClientCert::new_with_certs(&chain, key))
}
