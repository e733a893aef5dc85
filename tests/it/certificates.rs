//! Kinds of server certificates, and the fallback to connections without encryption.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use eddyline::error::Reason;
use eddyline::{Class, Config, Error, ReadWrite, RetryPolicy, Schema, Store, Tls};
use local_postgres::{Cluster, Server};
use rcgen::{CertificateParams, CustomExtension, KeyPair, PKCS_ECDSA_P384_SHA384};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use tokio_postgres::config::SslMode;

use crate::support::{as_user, connect, next, secure_server, wait_until};

/// A server with TLS. Tests replace its certificate and its `pg_hba.conf`.
struct TlsServer(Cluster);

impl TlsServer {
    async fn new() -> Self {
        let (certificate, key) = generated(KeyPair::generate().unwrap(), |_| {});
        let builder = Cluster::builder().fsync(false).tls(certificate, key);
        let cluster = builder.setting("unix_socket_directories", ".").start().await.unwrap();
        let server = Self(cluster);
        Schema::new(&Config::new(&server.url("?sslmode=disable")).unwrap())
            .migrate()
            .await
            .unwrap();
        server
    }

    fn server(&self) -> &Server {
        self.0.primary()
    }

    fn url(&self, options: &str) -> String {
        self.server().url("postgres") + options
    }

    /// Restarts the server with another certificate and a maximum version of TLS.
    async fn restart_with(&self, certificate: &str, key: &str, version: &str) {
        let set = format!("ALTER SYSTEM SET ssl_max_protocol_version = '{version}'");
        connect(&self.url("")).await.batch_execute(&set).await.unwrap();
        self.server().stop().await.unwrap();
        // Overwriting keeps the owner of the files.
        fs::write(self.0.directory().join("tls.crt"), certificate).unwrap();
        fs::write(self.0.directory().join("tls.key"), key).unwrap();
        self.server().start().await.unwrap();
    }
}

/// Generates a certificate and its key, in PEM.
fn generated(key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    change(&mut params);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn unknown_critical_extension(params: &mut CertificateParams) {
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    extension.set_criticality(true);
    params.custom_extensions.push(extension);
}

fn expired(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(1999, 1, 1);
    params.not_after = rcgen::date_time_ymd(1999, 12, 31);
}

/// Connects, and returns whether the server sees the connection as encrypted.
async fn is_encrypted(url: &str, tls: Option<Tls>) -> Result<bool, Error> {
    let name = format!("branch_{}", next());
    let separator = if url.contains('?') { '&' } else { '?' };
    let config = Config::new(&format!("{url}{separator}application_name={name}"))?;
    let config = config.retry(RetryPolicy::never());
    let store = Store::<ReadWrite>::connect(match tls {
        Some(tls) => config.tls(tls),
        None => config,
    })
    .await?;
    store.head().await?;
    let sql = connect_as_owner(url).await;
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = $1";
    Ok(sql.query_one(encrypted, &[&name]).await.unwrap().get(0))
}

async fn connect_as_owner(url: &str) -> tokio_postgres::Client {
    let mut config: tokio_postgres::Config = url.parse().unwrap();
    config.ssl_mode(SslMode::Disable).user("postgres");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn an_unverified_certificate_may_have_any_content() {
    let server = TlsServer::new().await;
    let key = |algorithm| KeyPair::generate_for(algorithm).unwrap();
    let version_1 = (
        include_str!("certificates/version_1.pem").to_owned(),
        include_str!("certificates/version_1.key.pem").to_owned(),
    );
    for (name, (certificate, key)) in [
        // From the command that PostgreSQL's manual had for long. It has also expired.
        ("version 1, RSA", version_1),
        ("critical", generated(KeyPair::generate().unwrap(), unknown_critical_extension)),
        ("expired", generated(KeyPair::generate().unwrap(), expired)),
        ("P-384", generated(key(&PKCS_ECDSA_P384_SHA384), unknown_critical_extension)),
    ] {
        for version in ["TLSv1.2", "TLSv1.3"] {
            server.restart_with(&certificate, &key, version).await;
            for tls in [None, Some(Tls::Prefer), Some(Tls::Require)] {
                let encrypted = is_encrypted(&server.url(""), tls.clone()).await;

                assert!(
                    encrypted.as_ref().is_ok_and(|encrypted| *encrypted),
                    "{name} {version} {tls:?}: {encrypted:?}"
                );
            }
        }
    }
}

/// The cryptography of ring does not support P-521.
#[cfg(not(feature = "aws-lc-rs"))]
#[tokio::test]
async fn a_key_on_an_unsupported_curve_is_refused_unless_encryption_is_optional() {
    let server = TlsServer::new().await;
    let (certificate, key) =
        (include_str!("certificates/p521.pem"), include_str!("certificates/p521.key.pem"));
    for version in ["TLSv1.2", "TLSv1.3"] {
        server.restart_with(certificate, key, version).await;

        let preferred = is_encrypted(&server.url(""), None).await;
        let required = is_encrypted(&server.url(""), Some(Tls::Require)).await;

        assert!(!preferred.unwrap());
        let error = required.unwrap_err();
        assert_eq!(error.class(), Class::Permanent(Reason::Authentication), "{error:?}");
        assert!(error.to_string().contains("encryption"), "{error}");
    }
}

/// As libpq does. An unencrypted attempt is not repeated.
#[tokio::test]
async fn prefer_falls_back_to_plain_text_if_encrypted_logins_are_rejected() {
    let server = TlsServer::new().await;
    let sql = connect(&server.url("")).await;
    sql.batch_execute("CREATE ROLE plain SUPERUSER LOGIN; CREATE ROLE out LOGIN").await.unwrap();
    let rules = server.server().data().join("pg_hba.conf");
    let before = fs::read_to_string(&rules).unwrap();
    let reject = "hostssl all plain all reject\nhost all out all reject\n";
    fs::write(&rules, reject.to_owned() + &before).unwrap();
    sql.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let out = as_user(&server.url("?sslmode=disable"), "out");
    wait_until(async || tokio_postgres::connect(&out, tokio_postgres::NoTls).await.is_err()).await;
    let plain = as_user(&server.url(""), "plain");

    let preferred = is_encrypted(&plain, Some(Tls::Prefer)).await;
    let required = is_encrypted(&plain, Some(Tls::Require)).await;
    let out = is_encrypted(&as_user(&server.url(""), "out"), None).await;

    assert!(!preferred.unwrap());
    for refused in [required.map(drop), out.map(drop)] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.sqlstate().unwrap().as_str(), "28000", "{refused:?}");
    }
}

#[tokio::test]
async fn each_combination_of_host_and_hostaddr_connects() {
    let server = secure_server().await;
    let url: tokio_postgres::Config = server.url().parse().unwrap();
    let port = url.get_ports()[0];
    for (hosts, is_named) in [
        ("hostaddr=127.0.0.1", false),
        ("host=localhost", true),
        ("host=localhost hostaddr=127.0.0.1", true),
        ("host=127.0.0.1", false),
        ("host=db.invalid hostaddr=127.0.0.1", false),
        ("host=/unreachable_url hostaddr=127.0.0.1", false),
    ] {
        let url = format!("{hosts} port={port} user=postgres dbname=postgres");
        for (tls, connects) in [
            (Tls::Disable, true),
            (Tls::Prefer, true),
            (Tls::Require, true),
            (Tls::Verify { ca_file: server.authority() }, is_named),
        ] {
            let config = Config::new(&url).unwrap().tls(tls.clone());

            let connected = Store::<ReadWrite>::connect(config).await;

            assert_eq!(connected.is_ok(), connects, "{hosts} {tls:?}: {connected:?}");
        }
    }
}

/// No certificate is issued for a directory. The alternative that the error names connects.
#[tokio::test]
async fn verify_refuses_a_directory_with_a_hostaddr() {
    let server = secure_server().await;
    let url: tokio_postgres::Config = server.url().parse().unwrap();
    let verified = |host: &str| {
        let port = url.get_ports()[0];
        let url = format!("{host} hostaddr=127.0.0.1 port={port} user=postgres dbname=postgres");
        Config::new(&url).unwrap().tls(Tls::Verify { ca_file: server.authority() })
    };

    let refused = Store::<ReadWrite>::connect(verified("host=/unreachable_url")).await.unwrap_err();

    assert!(matches!(refused, Error::InvalidConfig { setting: "url", .. }), "{refused:?}");
    assert!(refused.to_string().contains("set host to the name"), "{refused}");
    Store::<ReadWrite>::connect(verified("host=localhost")).await.unwrap();
}

#[tokio::test]
async fn verify_accepts_a_certificate_for_the_ip_address() {
    let server = TlsServer::new().await;
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    server.restart_with(&certificate, &key.serialize_pem(), "TLSv1.3").await;
    let ca_file = server.0.directory().join("authority.pem");
    fs::write(&ca_file, certificate).unwrap();
    let port = server.server().port();
    for hosts in ["hostaddr=127.0.0.1", "host=127.0.0.1"] {
        let url = format!("{hosts} port={port} user=postgres dbname=postgres");
        let config = Config::new(&url).unwrap().tls(Tls::Verify { ca_file: ca_file.clone() });

        let connected = Store::<ReadWrite>::connect(config).await;

        assert!(connected.is_ok(), "{hosts}: {connected:?}");
    }
}

/// As for libpq, a Unix-domain socket needs no encryption, and offers none.
#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_connects_with_every_tls_mode() {
    let server = TlsServer::new().await;
    let directory = server.server().data().display().to_string();
    let port = server.server().port();
    let ca_file = server.0.directory().join("tls.crt");
    for options in ["", "sslmode=require", "sslnegotiation=direct sslmode=prefer"] {
        for tls in [None, Some(Tls::Require), Some(Tls::Verify { ca_file: ca_file.clone() })] {
            let url = format!("host='{directory}' port={port} user=postgres {options}");
            let config = Config::new(&url).unwrap();
            let config = match tls.clone() {
                Some(tls) => config.tls(tls),
                None => config,
            };

            let connected = Store::<ReadWrite>::connect(config).await;

            assert!(connected.is_ok(), "{options} {tls:?}: {connected:?}");
        }
    }
}

/// Accepts one connection that begins with TLS. Returns the negotiated ALPN protocol.
fn accept_direct(listener: &TcpListener) -> Option<Vec<u8>> {
    let (certificate, key) = generated(KeyPair::generate().unwrap(), |_| {});
    let certificate = rustls::pki_types::CertificateDer::from_pem_slice(certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = config.with_single_cert(vec![certificate.unwrap()], key).unwrap();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    let mut server = rustls::ServerConnection::new(Arc::new(config)).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let mut tls = rustls::Stream::new(&mut server, &mut stream);
    // The first request comes after the handshake.
    let mut request = [0; 8];
    tls.read_exact(&mut request).ok()?;
    tls.write_all(b"N").ok()?;
    server.alpn_protocol().map(<[u8]>::to_vec)
}

#[test]
fn direct_negotiation_sends_the_alpn_protocol() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || accept_direct(&listener));
    let url =
        format!("postgres://ada@127.0.0.1:{port}/library?sslnegotiation=direct&sslmode=require");
    let config = Config::new(&url).unwrap().retry(RetryPolicy::never());
    let runtime = tokio::runtime::Runtime::new().unwrap();

    let _refused = runtime.block_on(Store::<ReadWrite>::connect(config));

    assert_eq!(server.join().unwrap().as_deref(), Some(b"postgresql".as_slice()));
}

#[tokio::test]
async fn direct_negotiation_needs_required_encryption() {
    let server = secure_server().await;
    for tls in [None, Some(Tls::Prefer)] {
        let url = server.url() + "?sslnegotiation=direct";
        let config = Config::new(&url).unwrap();
        let config = match tls {
            Some(tls) => config.tls(tls),
            None => config,
        };

        let refused = Store::<ReadWrite>::connect(config).await.unwrap_err();

        assert!(matches!(refused, Error::InvalidConfig { .. }), "{refused:?}");
        assert!(refused.to_string().contains("Tls::Require"), "{refused}");
    }
}
