//! How connections are encrypted, and whom they trust.

use std::fs;

use eddyline::error::Reason;
use eddyline::{Class, Config, Error, Filter, ReadWrite, Store, Tls};

use crate::support::{Log, MEMBER, PASSWORD, as_user, connect, next, secure_server};

/// Connects, reads, and returns whether the server sees the connection encrypted.
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
    // No question tells one failed handshake from another.
    assert!(format!("{error:?}").contains(cause), "{error:?}");
}

#[tokio::test]
async fn verify_connects_to_a_server_that_its_authority_vouches_for() {
    let server = secure_server().await;

    let encrypted = is_encrypted(&server.url(), verify(server.authority()), "events").await;

    assert!(encrypted.unwrap());
}

#[tokio::test]
async fn verify_refuses_a_server_that_another_authority_vouches_for() {
    let server = secure_server().await;

    let refused = is_encrypted(&server.url(), verify(server.other_authority()), "events").await;

    assert_unreachable(refused, "BadSignature");
}

#[tokio::test]
async fn verify_refuses_a_server_of_another_name() {
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
async fn verify_is_not_weakened_by_the_address() {
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
async fn require_takes_any_certificate() {
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
async fn prefer_encrypts_where_the_server_offers_it() {
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
async fn the_address_decides_where_no_setting_does() {
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

/// A mode of libpq that the crate does not take from an address must not pass for a weaker one.
#[tokio::test]
async fn an_address_that_asks_for_verification_is_refused() {
    for mode in ["verify-ca", "verify-full", "allow"] {
        let refused = Config::new(&format!("postgres://member@localhost/library?sslmode={mode}"));

        assert!(matches!(refused, Err(Error::InvalidConfig { .. })), "{mode}: {refused:?}");
    }
}

#[tokio::test]
async fn a_file_without_an_authority_is_refused_by_its_name() {
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
async fn a_password_is_bound_to_the_encryption_it_passes_through() {
    let server = secure_server().await;
    let url = as_user(&server.url(), &format!("{MEMBER}:{PASSWORD}"));
    let url = format!("{url}?channel_binding=require");
    let config = |tls| Config::new(&url).unwrap().tls(tls);

    let bound = config(Tls::Verify { ca_file: server.authority() });
    let unbound = config(Tls::Disable);

    assert!(Store::<ReadWrite>::connect(bound).await.is_ok());
    assert!(Store::<ReadWrite>::connect(unbound).await.is_err());
}
