//! The encryption of connections, and the verification of the server's identity.

use std::fs;
use std::process::Command;

use eddyline::error::Reason;
use eddyline::{Class, Config, Error, Filter, ReadWrite, Store, Tls};

use crate::support::{Log, MEMBER, PASSWORD, as_user, connect, next, secure_server};

/// Connects, reads, and returns whether the server sees the connection as encrypted.
async fn is_encrypted(url: &str, tls: Option<Tls>, log: &str) -> Result<bool, Error> {
    let name = format!("branch_{}", next());
    let separator = if url.contains('?') { '&' } else { '?' };
    let config = Config::new(&format!("{url}{separator}application_name={name}"))?.log(log);
    let config = match tls {
        Some(tls) => config.tls(tls),
        None => config,
    };
    let store = Store::<ReadWrite>::connect(config).await?;
    store.query(Filter::everything()).await?;

    let sql = connect(url.split('?').next().unwrap_or(url)).await;
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = $1";
    Ok(sql.query_one(encrypted, &[&name]).await.unwrap().get(0))
}

fn verify(ca_file: impl Into<std::path::PathBuf>) -> Option<Tls> {
    Some(Tls::Verify { ca_file: ca_file.into() })
}

fn assert_unreachable(outcome: Result<bool, Error>, cause: &str) {
    let error = outcome.expect_err("connected");
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(error.class(), Class::Permanent(Reason::Authentication), "{error:?}");
    // No method of the error distinguishes the causes of failed handshakes.
    assert!(format!("{error:?}").contains(cause), "{error:?}");
}

#[tokio::test]
async fn verify_accepts_a_certificate_signed_by_the_authority() {
    let server = secure_server().await;

    let encrypted = is_encrypted(&server.url(), verify(server.authority()), "events").await;

    assert!(encrypted.unwrap());
}

#[tokio::test]
async fn verify_refuses_a_certificate_signed_by_another_authority() {
    let server = secure_server().await;

    let refused = is_encrypted(&server.url(), verify(server.other_authority()), "events").await;

    assert_unreachable(refused, "BadSignature");
}

#[tokio::test]
async fn verify_refuses_a_certificate_for_another_host() {
    let server = secure_server().await;
    let url = server.url_by_address();

    let refused = is_encrypted(&url, verify(server.authority()), "events").await;

    assert_unreachable(refused, "NotValidForName");
}

#[tokio::test]
async fn verify_refuses_a_server_without_encryption() {
    let (server, log) = (secure_server().await, Log::new().await);

    let refused = is_encrypted(&log.primary_url(), verify(server.authority()), &log.name).await;

    assert_unreachable(refused, "does not support TLS");
}

#[tokio::test]
async fn sslmode_in_the_address_does_not_weaken_verify() {
    let server = secure_server().await;
    for mode in ["disable", "prefer", "require"] {
        let url = format!("{}?sslmode={mode}", server.url());

        let encrypted = is_encrypted(&url, verify(server.authority()), "events").await;
        let refused = is_encrypted(&url, verify(server.other_authority()), "events").await;

        assert!(encrypted.unwrap(), "{mode}");
        assert_unreachable(refused, "BadSignature");
    }
}

#[tokio::test]
async fn require_accepts_any_certificate() {
    let server = secure_server().await;
    for url in [server.url(), server.url_by_address()] {
        assert!(is_encrypted(&url, Some(Tls::Require), "events").await.unwrap());
    }
}

#[tokio::test]
async fn require_refuses_a_server_without_encryption() {
    let log = Log::new().await;

    let refused = is_encrypted(&log.primary_url(), Some(Tls::Require), &log.name).await;

    assert_unreachable(refused, "does not support TLS");
}

#[tokio::test]
async fn prefer_encrypts_if_the_server_supports_it() {
    let (server, log) = (secure_server().await, Log::new().await);

    let offered = is_encrypted(&server.url(), Some(Tls::Prefer), "events").await;
    let not_offered = is_encrypted(&log.primary_url(), Some(Tls::Prefer), &log.name).await;

    assert!(offered.unwrap());
    assert!(!not_offered.unwrap());
}

#[tokio::test]
async fn disable_encrypts_nothing() {
    let server = secure_server().await;

    assert!(!is_encrypted(&server.url(), Some(Tls::Disable), "events").await.unwrap());
}

#[tokio::test]
async fn sslmode_counts_if_tls_is_not_set() {
    let server = secure_server().await;
    for (options, encrypted) in [
        ("", true),
        ("?sslmode=disable", false),
        ("?sslmode=prefer", true),
        ("?sslmode=require", true),
    ] {
        let url = server.url() + options;

        assert_eq!(is_encrypted(&url, None, "events").await.unwrap(), encrypted, "{options}");
    }
}

/// A mode that is not honored must not be replaced by a weaker one.
#[tokio::test]
async fn verify_modes_without_root_certificates_are_refused() {
    for mode in ["verify-ca", "verify-full", "allow"] {
        let refused = Config::new(&format!("postgres://member@localhost/library?sslmode={mode}"));

        assert!(matches!(refused, Err(Error::InvalidConfig { .. })), "{mode}: {refused:?}");
    }
}

#[tokio::test]
async fn an_unusable_ca_file_is_refused_by_its_name() {
    let server = secure_server().await;
    let certificate = fs::read_to_string(server.authority()).unwrap();
    let garbage =
        "-----BEGIN CERTIFICATE-----\nc2hlbGYtbWFyaw==\n-----END CERTIFICATE-----\n".to_owned();
    for (name, content) in [
        ("missing.pem", None),
        ("empty.pem", Some(String::new())),
        ("text.pem", Some("no certificate".to_owned())),
        ("garbage.pem", Some(garbage.clone())),
        ("partly_garbage.pem", Some(certificate.clone() + &garbage)),
        ("cut.pem", Some(certificate[..certificate.len() / 2].to_owned())),
    ] {
        let file = server.file(name);
        if let Some(content) = content {
            fs::write(&file, content).unwrap();
        }

        let refused = is_encrypted(&server.url(), verify(&file), "events").await;

        let Err(error @ Error::InvalidConfig { setting: "tls", .. }) = refused else {
            panic!("{name}: {refused:?}")
        };
        assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    }
}

#[tokio::test]
async fn channel_binding_needs_encryption() {
    let server = secure_server().await;
    let url = as_user(&server.url(), &format!("{MEMBER}:{PASSWORD}"));
    let url = format!("{url}?channel_binding=require");
    let config = |tls| Config::new(&url).unwrap().tls(tls);

    let bound = config(Tls::Verify { ca_file: server.authority() });
    let unbound = config(Tls::Disable);

    assert!(Store::<ReadWrite>::connect(bound).await.is_ok());
    assert!(Store::<ReadWrite>::connect(unbound).await.is_err());
}

#[tokio::test]
async fn an_address_with_verify_full_verifies_the_server() {
    let server = secure_server().await;
    let verified = |url: String, file: std::path::PathBuf| {
        url + "?sslmode=verify-full&sslrootcert=" + &file.display().to_string()
    };

    let trusted = is_encrypted(&verified(server.url(), server.authority()), None, "events").await;
    let other = verified(server.url(), server.other_authority());
    let other_authority = is_encrypted(&other, None, "events").await;
    let by_address = verified(server.url_by_address(), server.authority());
    let other_host = is_encrypted(&by_address, None, "events").await;
    let missing = is_encrypted(&verified(server.url(), "no.pem".into()), None, "events").await;

    assert!(trusted.unwrap());
    assert_unreachable(other_authority, "BadSignature");
    assert_unreachable(other_host, "NotValidForName");
    let Err(error @ Error::InvalidConfig { setting: "url", .. }) = missing else {
        panic!("{missing:?}")
    };
    assert!(error.to_string().contains("no.pem"), "{error}");
    assert!(is_encrypted(&other, Some(Tls::Require), "events").await.unwrap());
}

/// The variables of a process cannot be changed safely, so another process connects.
#[tokio::test]
async fn verify_system_trusts_the_certificates_of_the_system() {
    let server = secure_server().await;
    let outcome = async |ca_file: std::path::PathBuf, options: &str| {
        let mut process = Command::new(std::env::current_exe().unwrap());
        process
            .args(["--exact", "encryption::connect_by_system_certificates"])
            .args(["--ignored", "--nocapture"])
            .env("SSL_CERT_FILE", ca_file)
            .env_remove("SSL_CERT_DIR")
            .env(SERVER_VARIABLE, server.url() + options);
        let process = tokio::task::spawn_blocking(move || process.output()).await.unwrap().unwrap();
        String::from_utf8(process.stdout).unwrap()
    };

    for options in ["", "?sslrootcert=system", "?sslmode=verify-full&sslrootcert=system"] {
        let trusted = outcome(server.authority(), options).await;
        let untrusted = outcome(server.other_authority(), options).await;
        let none = outcome(server.file("no_such_authority.pem"), options).await;

        assert!(trusted.contains("outcome: Ok(())"), "{options}: {trusted}");
        assert!(untrusted.contains("BadSignature"), "{options}: {untrusted}");
        assert!(none.contains("outcome: Err(InvalidConfig"), "{options}: {none}");
        assert!(none.contains("SSL_CERT_FILE"), "{options}: {none}");
    }
}

#[tokio::test]
#[ignore = "verify_system_trusts_the_certificates_of_the_system runs it in another process"]
async fn connect_by_system_certificates() {
    let Ok(url) = std::env::var(SERVER_VARIABLE) else { return };
    let config = Config::new(&url).unwrap();
    let config = if url.contains('?') { config } else { config.tls(Tls::VerifySystem) };

    let outcome = Store::<ReadWrite>::connect(config).await.map(drop);

    println!("outcome: {outcome:?}");
}

const SERVER_VARIABLE: &str = "EDDYLINE_TEST_SERVER";
