//! The certificate by which a store identifies itself to a server.

use std::fs;
use std::path::PathBuf;

use eddyline::{Config, Error, ReadWrite, RetryPolicy, Schema, Store, Tls};
use local_postgres::Cluster;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, Issuer, KeyPair};
use tokio::sync::OnceCell;
use tokio_postgres::NoTls;

use crate::support::{connect, wait_until};

/// A server that asks the role `ada` for a certificate, and the role `bea` for a certificate and a
/// password.
struct CertificateServer {
    cluster: Cluster,
    authority: Authority,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

const PASSWORD: &str = "shelf-mark";

impl CertificateServer {
    async fn start() -> Self {
        let (authority, key) = (authority("library"), KeyPair::generate().unwrap());
        let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &authority).unwrap();
        let builder = Cluster::builder().fsync(false).tls(certificate.pem(), key.serialize_pem());
        let server = Self { cluster: builder.start().await.unwrap(), authority };
        let ca_file = server.file("authority.pem", &server.authority.pem());
        let sql = connect(&server.cluster.primary().url("postgres")).await;
        for statement in [
            format!("ALTER SYSTEM SET ssl_ca_file = '{}'", ca_file.display()),
            "CREATE ROLE ada SUPERUSER LOGIN".to_owned(),
            format!("CREATE ROLE bea SUPERUSER LOGIN PASSWORD '{PASSWORD}'"),
        ] {
            sql.batch_execute(&statement).await.unwrap();
        }
        let rules = server.cluster.primary().data().join("pg_hba.conf");
        let added = "hostssl all ada all cert\n\
            hostssl all bea all scram-sha-256 clientcert=verify-full\n\
            host all ada,bea all reject\n";
        fs::write(&rules, added.to_owned() + &fs::read_to_string(&rules).unwrap()).unwrap();
        sql.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let ada = server.url("ada", "?sslmode=disable");
        wait_until(async || tokio_postgres::connect(&ada, NoTls).await.is_err()).await;
        let owner = server.url("postgres", "");
        Schema::new(&Config::new(&owner).unwrap()).migrate().await.unwrap();
        server
    }

    fn url(&self, user: &str, options: &str) -> String {
        let port = self.cluster.primary().port();
        format!("postgres://{user}@localhost:{port}/postgres{options}")
    }

    /// Returns a configuration that verifies the server, and has no certificate.
    fn config(&self, user: &str) -> Config {
        let ca_file = self.cluster.directory().join("authority.pem");
        let config = Config::new(&self.url(user, "")).unwrap().tls(Tls::Verify { ca_file });
        config.retry(RetryPolicy::never())
    }

    /// Writes a file that is removed with the server.
    fn file(&self, name: &str, content: &str) -> PathBuf {
        let file = self.cluster.directory().join(name);
        fs::write(&file, content).unwrap();
        file
    }

    /// Writes a certificate for a role, and its key.
    fn certificate(&self, role: &str, issuer: &Issuer<'_, KeyPair>) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let certificate = named(role).signed_by(&key, issuer).unwrap().pem();
        let name = format!("{role}_{}", crate::support::next());
        (
            self.file(&format!("{name}.pem"), &certificate),
            self.file(&format!("{name}.key"), &key.serialize_pem()),
        )
    }
}

/// Returns the server, which the first test starts. It ends with the process.
async fn server() -> &'static CertificateServer {
    static SERVER: OnceCell<CertificateServer> = OnceCell::const_new();
    SERVER.get_or_init(CertificateServer::start).await
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str) -> Authority {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

async fn connect_and_read(config: Config) -> Result<(), Error> {
    let store = Store::<ReadWrite>::connect(config).await?;
    store.head().await.map(drop)
}

#[tokio::test]
async fn a_client_certificate_logs_in_without_a_password() {
    let server = server().await;
    let (cert, key) = server.certificate("ada", &server.authority);

    for tls in [None, Some(Tls::Prefer), Some(Tls::Require)] {
        let config = server.config("ada").client_certificate(&cert, &key);
        let config = match tls {
            Some(tls) => config.tls(tls),
            None => config,
        };
        connect_and_read(config).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_certificate_of_an_address_logs_in() {
    let server = server().await;
    let (cert, key) = server.certificate("ada", &server.authority);
    let ca_file = server.cluster.directory().join("authority.pem");
    let options = format!(
        "?sslmode=verify-full&sslrootcert={}&sslcert={}&sslkey={}",
        ca_file.display(),
        cert.display(),
        key.display()
    );

    connect_and_read(Config::new(&server.url("ada", &options)).unwrap()).await.unwrap();

    let disabled = server.url("ada", &(options.clone() + "&sslcertmode=disable"));
    let refused = connect_and_read(Config::new(&disabled).unwrap()).await.unwrap_err();
    assert_eq!(refused.sqlstate().unwrap().as_str(), "28000", "{refused:?}");
    let other = server.certificate("bea", &server.authority);
    let overridden = Config::new(&server.url("ada", &options)).unwrap();
    let overridden = overridden.client_certificate(other.0, other.1);
    assert!(connect_and_read(overridden).await.is_err());
}

#[tokio::test]
async fn a_server_may_require_a_certificate_and_a_password() {
    let server = server().await;
    let (cert, key) = server.certificate("bea", &server.authority);
    let with_password = format!("bea:{PASSWORD}");

    let both = server.config(&with_password).client_certificate(&cert, &key);
    let no_password = server.config("bea").client_certificate(&cert, &key);

    connect_and_read(both).await.unwrap();
    assert!(connect_and_read(no_password).await.is_err());
    assert!(connect_and_read(server.config(&with_password)).await.is_err());
}

#[tokio::test]
async fn a_chain_with_an_intermediate_certificate_is_sent_completely() {
    let server = server().await;
    let mut params = named("branch");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let intermediate =
        CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &server.authority)
            .unwrap();
    let (cert, key) = server.certificate("ada", &intermediate);
    let alone = server.config("ada").client_certificate(&cert, &key);
    let chain = fs::read_to_string(&cert).unwrap() + &intermediate.pem();
    let chain = server.file("chain.pem", &chain);

    let with_chain = server.config("ada").client_certificate(chain, &key);

    connect_and_read(with_chain).await.unwrap();
    assert!(connect_and_read(alone).await.is_err());
}

#[tokio::test]
async fn a_missing_or_wrong_client_certificate_is_refused_by_the_server() {
    let server = server().await;
    let of_other_role = server.certificate("bea", &server.authority);
    let of_other_authority = server.certificate("ada", &authority("other"));

    let without = connect_and_read(server.config("ada")).await.unwrap_err();
    let other_role = server.config("ada").client_certificate(of_other_role.0, of_other_role.1);
    let other_role = connect_and_read(other_role).await.unwrap_err();
    let (cert, key) = of_other_authority;
    let other_authority = server.config("ada").client_certificate(cert, key);
    let other_authority = connect_and_read(other_authority).await.unwrap_err();

    assert_eq!(without.sqlstate().unwrap().as_str(), "28000", "{without:?}");
    assert_eq!(other_role.sqlstate().unwrap().as_str(), "28000", "{other_role:?}");
    assert!(matches!(other_authority, Error::Unreachable { .. }), "{other_authority:?}");
}

#[tokio::test]
async fn unusable_files_are_refused_by_their_names() {
    let server = server().await;
    let (cert, key) = server.certificate("ada", &server.authority);
    let (_, other_key) = server.certificate("ada", &server.authority);
    let missing = server.cluster.directory().join("missing.pem");
    let text = server.file("text.pem", "no certificate");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2hlbGYtbWFyaw==\n\
        -----END ENCRYPTED PRIVATE KEY-----\n";
    let encrypted = server.file("encrypted.key", encrypted);
    for (cert, key, named) in [
        (&missing, &key, &missing),
        (&text, &key, &text),
        (&cert, &missing, &missing),
        (&cert, &text, &text),
        (&cert, &encrypted, &encrypted),
        (&cert, &other_key, &other_key),
    ] {
        let config = server.config("ada").client_certificate(cert, key);

        let refused = connect_and_read(config).await.unwrap_err();

        let Error::InvalidConfig { setting, .. } = refused else { panic!("{refused:?}") };
        assert_eq!(setting, "client_certificate");
        assert!(refused.to_string().contains(&named.display().to_string()), "{refused}");
    }
}

#[tokio::test]
async fn a_client_certificate_without_encryption_is_refused() {
    let server = server().await;
    let (cert, key) = server.certificate("ada", &server.authority);
    let files = format!("sslcert={}&sslkey={}", cert.display(), key.display());
    let url = server.url("ada", &format!("?sslmode=disable&{files}"));

    let by_setting = server.config("ada").tls(Tls::Disable).client_certificate(cert, key);
    let by_setting = connect_and_read(by_setting).await.unwrap_err();
    let by_address = connect_and_read(Config::new(&url).unwrap()).await.unwrap_err();

    for (error, expected) in [(by_setting, "client_certificate"), (by_address, "url")] {
        let Error::InvalidConfig { setting, .. } = error else { panic!("{error:?}") };
        assert_eq!(setting, expected);
    }
}
