//! A private authority: its certificate in `http.ca_file` opens the door to what it has signed, and nothing else does.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::exchange::{Plain, kit};
use crate::contract::fault::{ConnectorError, Fault};
use crate::http::api::{Api, HttpSettings, base_url};
use crate::http::auth::Anonymous;
use crate::http::wire::{Answer, Call};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]";

/// An authority with a key of its own.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Writes the certificate to a file in this folder.
    fn file(&self, folder: &tempfile::TempDir, name: &str) -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, &self.pem).expect("written");
        path
    }

    /// Serves an empty list over TLS on loopback, with a certificate for this name. Returns the port.
    async fn serve(&self, name: &str) -> u16 {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate with its key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                // Whoever does not trust the certificate hangs up within the handshake.
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut asked = Vec::new();
                    while !asked.ends_with(b"\r\n\r\n") && stream.read_buf(&mut asked).await.is_ok_and(|n| n > 0) {}
                    let _ = stream.write_all(OK).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        port
    }
}

async fn ask(port: u16, ca_file: Option<PathBuf>) -> Result<Answer, ConnectorError> {
    let base = base_url("url", &format!("https://127.0.0.1:{port}"), false).expect("a base URL");
    let http = HttpSettings { attempts: 1, ca_file, ..HttpSettings::default() };
    let api = Api::new(&"jira".into(), base, &http, Arc::new(Anonymous), Arc::new(Plain), &kit()).expect("an API");
    api.send(Call::get("rest/users", "list users")).await
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_it_is_named_and_nowhere_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, other) = (Authority::new(), Authority::new());
    let port = ours.serve("127.0.0.1").await;

    let answer = ask(port, Some(ours.file(&folder, "ours.pem"))).await.expect("the handshake is done");
    assert_eq!(answer.json::<Vec<u32>>().expect("a list"), Vec::<u32>::new());

    for ca_file in [None, Some(other.file(&folder, "other.pem"))] {
        let error = ask(port, ca_file).await.expect_err("nobody vouches for it");
        assert_eq!(error.fault, Fault::Unreachable);
        assert!(error.why.starts_with("the TLS connection failed: invalid peer certificate"), "{error}");
        assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("http.ca_file")), "{:?}", error.hint);
    }
}

#[tokio::test]
async fn a_trusted_authority_does_not_vouch_for_another_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let ours = Authority::new();
    let port = ours.serve("jira.example.com").await;
    let error = ask(port, Some(ours.file(&folder, "ours.pem"))).await.expect_err("another name");
    assert!(error.fault == Fault::Unreachable && error.why.contains("not valid for name"), "{error}");
}
