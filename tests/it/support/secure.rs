//! A server with TLS and password authentication, which tests share.

use std::fs;
use std::path::PathBuf;

use eddyline::{Config, Schema};
use local_postgres::Cluster;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::sync::{Mutex, OnceCell};
use tokio_postgres::NoTls;

use super::{as_user, connect, wait_until};

/// A role that has to authenticate with [`PASSWORD`].
pub const MEMBER: &str = "member";
/// The password of [`MEMBER`].
pub const PASSWORD: &str = "shelf-mark";

/// A server with TLS. Most roles need no password.
pub struct SecureServer {
    cluster: Cluster,
}

impl SecureServer {
    /// Returns the URL of the server with the host name that is in its certificate.
    pub fn url(&self) -> String {
        self.url_by_address().replacen("127.0.0.1", "localhost", 1)
    }

    /// Returns the URL of the server with a host that is not in its certificate.
    pub fn url_by_address(&self) -> String {
        self.cluster.primary().url("postgres")
    }

    /// Returns the connection string for the server's Unix socket.
    pub fn socket_url(&self) -> String {
        let server = self.cluster.primary();
        let directory = server.data().display();
        format!("host='{directory}' port={} user=postgres dbname=postgres", server.port())
    }

    /// Returns the path of the certificate of the authority that signed the server's certificate.
    pub fn authority(&self) -> PathBuf {
        self.file("authority.pem")
    }

    /// Returns the path of the certificate of another authority with the same name.
    pub fn other_authority(&self) -> PathBuf {
        self.file("other_authority.pem")
    }

    /// Returns a path in the server's directory, which is removed with the server.
    pub fn file(&self, name: &str) -> PathBuf {
        self.cluster.directory().join(name)
    }

    /// Creates a superuser that has to authenticate with a password.
    pub async fn create_user_with_password(&self, name: &str, password: &str) {
        let sql = connect(&self.url_by_address()).await;
        sql.batch_execute(&format!("CREATE ROLE {name} SUPERUSER LOGIN PASSWORD '{password}'"))
            .await
            .unwrap();
        let rules = self.cluster.primary().data().join("pg_hba.conf");
        let rule = format!("host all {name} all scram-sha-256\n");
        let _writing = RULES.lock().await;
        fs::write(&rules, rule + &fs::read_to_string(&rules).unwrap()).unwrap();
        sql.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let without = as_user(&self.url_by_address(), name);
        wait_until(async || tokio_postgres::connect(&without, NoTls).await.is_err()).await;
    }
}

/// Held while the rules of authentication are changed.
static RULES: Mutex<()> = Mutex::const_new(());

/// Returns the shared server, which the first call starts. It ends with the process.
pub async fn secure_server() -> &'static SecureServer {
    static SERVER: OnceCell<SecureServer> = OnceCell::const_new();
    SERVER
        .get_or_init(|| async {
            let (authority, key) = (authority(), KeyPair::generate().unwrap());
            let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap();
            let certificate = certificate.signed_by(&key, &authority).unwrap();
            let builder = Cluster::builder().fsync(false).setting("unix_socket_directories", ".");
            let builder = builder.tls(certificate.pem(), key.serialize_pem());
            let server = SecureServer { cluster: builder.start().await.unwrap() };
            fs::write(server.authority(), authority.pem()).unwrap();
            fs::write(server.other_authority(), self::authority().pem()).unwrap();
            server.create_user_with_password(MEMBER, PASSWORD).await;
            Schema::new(&Config::new(&server.url()).unwrap()).migrate().await.unwrap();
            server
        })
        .await
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}
