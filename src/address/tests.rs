use std::time::Duration;

use proptest::prelude::*;
use tokio_postgres::config::Host;

use super::{Address, ClientCertificate, RootCertificates, parameter};
use crate::Error;

fn read(address: &str) -> Address {
    Address::parse(address).unwrap()
}

#[test]
fn the_documentation_has_each_parameter_once() {
    let text = include_str!("../../docs/connections.md");
    let (_, table) = text.split_once("| parameter |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut documented: Vec<_> = rows.filter_map(|row| row.split('`').nth(1)).collect();
    let mut known: Vec<_> = parameter::names().collect();
    documented.sort_unstable();
    known.sort_unstable();

    assert_eq!(documented, known);
}

#[test]
fn all_parameters_reach_the_driver() {
    let address = read(
        "host=a password=x dbname=d user=u options=-cgeqo=off tcp_user_timeout=1500 keepalives=0 \
         keepalives_idle=7 keepalives_interval=8 keepalives_count=9 connect_timeout=3",
    );

    let driver = &address.driver;
    assert_eq!((driver.get_user(), driver.get_dbname()), (Some("u"), Some("d")));
    assert_eq!(driver.get_password(), Some(b"x".as_slice()));
    assert_eq!(driver.get_options(), Some("-cgeqo=off"));
    assert_eq!(driver.get_tcp_user_timeout(), Some(&Duration::from_millis(1500)));
    assert_eq!(driver.get_keepalives_idle(), Duration::from_secs(7));
    assert_eq!(driver.get_keepalives_interval(), Some(Duration::from_secs(8)));
    assert_eq!(driver.get_keepalives_retries(), Some(9));
    assert!(!driver.get_keepalives());
    assert_eq!(address.connect_timeout, Some(Duration::from_secs(3)));
}

#[test]
fn a_password_may_contain_any_character_that_is_not_ambiguous() {
    for (address, password) in [
        ("postgres://ada:a:b@localhost/library", "a:b"),
        ("postgres://ada:a#b[c] d@localhost/library", "a#b[c] d"),
        ("postgres://ada:%40%3A%2F%3F%23%25%5B%5D%20@localhost/library", "@:/?#%[] "),
        ("postgres://localhost/library?password=a=b/c?d", "a=b/c?d"),
        ("host=localhost password=@:/?#%[]", "@:/?#%[]"),
        (r"host=localhost password='it\'s a \\'", r"it's a \"),
    ] {
        let password = Some(password.as_bytes());
        assert_eq!(read(address).driver.get_password(), password, "{address}");
    }
}

#[test]
fn hosts_have_individual_ports_and_addresses() {
    let endpoints = |address: &str| -> Vec<String> {
        read(address).endpoints.iter().map(ToString::to_string).collect()
    };

    assert_eq!(endpoints("postgres://a:1,b,[::1]:3"), ["a:1", "b:5432", "::1:3"]);
    assert_eq!(endpoints("postgres://a,b?port=7"), ["a:7", "b:7"]);
    assert_eq!(endpoints("host=a,b port=1,2"), ["a:1", "b:2"]);
    assert_eq!(endpoints("hostaddr=127.0.0.1,127.0.0.2"), ["127.0.0.1:5432", "127.0.0.2:5432"]);
    assert_eq!(endpoints("host=/tmp,/tmp hostaddr=127.0.0.1,"), ["127.0.0.1:5432", "/tmp:5432"]);
    let named = read("host=a hostaddr=127.0.0.1");
    assert_eq!(named.endpoints[0].host, Host::Tcp("a".to_owned()));
    assert_eq!(named.endpoints[0].hostaddr, Some([127, 0, 0, 1].into()));
}

#[test]
fn certificates_of_an_address_are_read_as_libpq_reads_them() {
    let roots = |parameters: &str| read(&format!("host=localhost {parameters}")).root_certificates;
    let file = Some(RootCertificates::File("root.crt".into()));

    assert_eq!(roots("sslmode=verify-full sslrootcert=root.crt"), file);
    assert_eq!(roots("sslmode=verify-full sslrootcert=system"), Some(RootCertificates::System));
    assert_eq!(roots("sslrootcert=system"), Some(RootCertificates::System));
    assert_eq!(roots("sslmode=require"), None);
    let client =
        |parameters: &str| read(&format!("host=localhost {parameters}")).client_certificate;
    let expected = ClientCertificate {
        cert_file: "client.crt".into(),
        key_file: "client.key".into(),
        setting: "url",
    };
    assert_eq!(client("sslcert=client.crt sslkey=client.key"), Some(expected.clone()));
    assert_eq!(client("sslcert=client.crt sslkey=client.key sslcertmode=allow"), Some(expected));
    assert_eq!(client("sslcert=client.crt sslkey=client.key sslcertmode=disable"), None);
}

#[test]
fn incomplete_or_contradictory_certificate_parameters_are_refused() {
    for (parameters, remedy) in [
        ("sslmode=verify-full", "sslrootcert"),
        ("sslrootcert=root.crt", "sslmode=verify-full"),
        ("sslrootcert=root.crt sslmode=require", "sslmode=verify-full"),
        ("sslrootcert=system sslmode=require", "sslmode=verify-full"),
        ("sslrootcert=system ssl=true", "sslmode=verify-full"),
        ("sslcert=client.crt", "sslkey"),
        ("sslkey=client.key", "sslcert"),
    ] {
        let refused = Address::parse(&format!("host=localhost {parameters}")).err();

        let Some(Error::InvalidConfig { reason, .. }) = refused else { panic!("{parameters}") };
        assert!(reason.contains(remedy), "{parameters}: {reason}");
    }
}

proptest! {
    /// A password without percent-encoding is read literally, or the address is refused. No part of
    /// it is read as a host, a port or a database, which appear in spans and metrics.
    #[test]
    fn a_raw_password_is_read_literally_or_refused(
        password in "([a-z0-9]{1,3}|[@:/?#\\[\\] =&,]|%4[0-9]|%[g-z]){1,8}"
    ) {
        let address = format!("postgres://ada:{password}@localhost:1/library?sslmode=disable");
        let Ok(read) = Address::parse(&address) else { return Ok(()) };

        let decoded = (0..10).fold(password, |text, digit| {
            text.replace(&format!("%4{digit}"), &char::from(b'@' + digit).to_string())
        });
        prop_assert_eq!(read.driver.get_password(), Some(decoded.as_bytes()));
        prop_assert_eq!(read.driver.get_user(), Some("ada"));
        prop_assert_eq!(read.driver.get_dbname(), Some("library"));
        prop_assert_eq!(read.endpoints.len(), 1);
        prop_assert_eq!(read.endpoints[0].to_string(), "localhost:1");
    }
}
