//! The connection addresses that `Config::new` accepts, and the errors for the others.

use eddyline::{Config, Error, ReadOnly, ReadWrite, RetryPolicy, Store};
use proptest::prelude::*;

use crate::support::Log;

/// A row of the parameter table in `docs/connections.md`.
struct Row {
    parameter: String,
    accepted: Vec<String>,
    refused: Vec<String>,
    alternatives: Vec<String>,
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string("docs/connections.md").unwrap();
    let table = text.split("| parameter |").nth(1).unwrap().lines().skip(2);
    let quoted = |cell: &str| -> Vec<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let rows = table.take_while(|line| line.starts_with('|')).map(|line| {
        let cells: Vec<_> = line.split('|').collect();
        Row {
            parameter: quoted(cells[1]).remove(0),
            accepted: quoted(cells[2]),
            refused: quoted(cells[3]),
            alternatives: quoted(cells[4]),
        }
    });
    rows.collect()
}

fn refusal(url: &str) -> Option<String> {
    match Config::new(url).err()? {
        error @ Error::InvalidConfig { setting: "url", .. } => Some(error.to_string()),
        error => panic!("{url}: {error:?}"),
    }
}

/// Returns an address with the parameter as a URL and as key-value pairs.
fn addresses(parameter: &str, value: &str) -> [String; 2] {
    let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let host = if parameter.starts_with("host") { "" } else { "host=localhost " };
    [
        format!("postgres://localhost/library?{parameter}={encoded}"),
        format!("{host}{parameter} = '{value}' "),
    ]
}

#[test]
fn each_parameter_is_accepted_or_refused_as_documented() {
    for row in rows() {
        let parameter = &row.parameter;
        assert!(!row.accepted.is_empty() || !row.refused.is_empty(), "{parameter} has no example");
        for address in row.accepted.iter().flat_map(|value| addresses(parameter, value)) {
            assert_eq!(refusal(&address), None, "{address}");
        }
        for address in row.refused.iter().flat_map(|value| addresses(parameter, value)) {
            let refused = refusal(&address).unwrap_or_else(|| panic!("accepted: {address}"));
            assert!(refused.contains(parameter.as_str()), "{address}: {refused}");
            for alternative in &row.alternatives {
                assert!(refused.contains(alternative.as_str()), "{address}: {refused}");
            }
        }
    }
}

#[test]
fn each_libpq_parameter_is_documented() {
    let rows = rows();
    for parameter in LIBPQ.split_whitespace() {
        assert!(rows.iter().any(|row| row.parameter == parameter), "{parameter}");
    }
}

#[test]
fn ordinary_addresses_are_accepted() {
    for address in [
        "postgres://localhost",
        "postgresql://localhost/library",
        "postgres://localhost/library ",
        " postgres://localhost/library\n",
        "postgres://ada@localhost/",
        "postgres://ada:@localhost/library",
        "postgres://localhost:/library",
        "postgres://[::1]/library",
        "postgres://[::1]:5433/library?sslmode=require",
        "postgres://a,b/library",
        "postgres://a:1,b:2/library",
        "postgres://a,b:2/library",
        "postgres://a,b/library?port=5433",
        "postgres://a,b/library?port=1,2",
        "postgres:///library?host=localhost",
        "postgres:///library?host=/var/run/postgresql",
        "postgres://%2Fvar%2Frun%2Fpostgresql/library",
        "postgres://localhost/library?",
        "postgres://localhost?user=ada",
        "postgres://db_1.internal-net:5432/library?sslmode=require&application_name=a%20b",
        "host=localhost",
        "host = localhost port = 5432",
        "host=localhost dbname=''",
        r"host=localhost password=a\ b",
        r"host=localhost password='it\'s'",
        "host=/var/run/postgresql dbname=library",
        "hostaddr=127.0.0.1",
        "host=a,b hostaddr=127.0.0.1,127.0.0.2 port=1,2",
        "host=localhost password=",
        "host=a,b load_balance_hosts=random",
        "\thost=localhost\n dbname=library\n",
    ] {
        assert_eq!(refusal(address), None, "{address}");
    }
}

#[test]
fn a_malformed_address_is_refused_with_its_reason() {
    for (address, reason) in [
        ("postgres://", "names no host"),
        ("postgres://localhost:port", "port is not a number from 1 to 65535"),
        ("postgres://localhost:0", "port is not a number from 1 to 65535"),
        ("postgres://a:1,b:2,c:/library?port=1,2", "port names 2 ports for 3 hosts"),
        ("host=a,b hostaddr=127.0.0.1", "host names 2 hosts, hostaddr 1"),
        ("postgres://[::1/library", "write [::1]"),
        ("postgres://::1/library", "names no host"),
        ("postgres://ada:s3cr@hunter2@db.invalid/library", "%40"),
        ("postgres://ada:s3cr/et@db.invalid/library", "%2F"),
        ("postgres://ada:100%@db.invalid/library", "%25"),
        ("postgres://localhost/library?sslmode", "?name=value"),
        ("postgres://localhost/library?color=blue", "docs/connections.md"),
        ("host=localhost password=a b", "single quotes"),
        ("host=localhost password='a b", "closing quote"),
        ("host=évènements", "neither a name"),
        ("postgres://[fe80::1%25eth0]/library", "write an address that needs no zone"),
        ("host=fe80::1%2", "write an address that needs no zone"),
        ("hostaddr=fe80::1%eth0", "write an address that needs no zone"),
        ("mysql://localhost/library", "begins with neither postgres:// nor"),
        ("http://localhost/library?sslmode=disable", "begins with neither postgres:// nor"),
    ] {
        let refused = refusal(address).unwrap_or_else(|| panic!("accepted: {address}"));
        assert!(refused.contains(reason), "{address}: {refused}");
    }
}

#[tokio::test]
async fn settings_of_an_address_reach_the_server() {
    let log = Log::new().await;
    let url = log.primary_url();
    for (parameters, setting, expected) in [
        ("application_name=loans%20a", "application_name", "loans a"),
        ("fallback_application_name=loans", "application_name", "loans"),
        ("fallback_application_name=b&application_name=a", "application_name", "a"),
        ("options=-cgeqo%3Doff", "geqo", "off"),
        ("client_encoding=UTF8", "client_encoding", "UTF8"),
    ] {
        let name = crate::support::log_that_runs(
            &log.sql().await,
            &format!(
                "IF current_setting('{setting}') <> '{expected}' THEN
                     RAISE 'it is %', current_setting('{setting}');
                 END IF;"
            ),
        )
        .await;
        let config = Config::new(&format!("{url}?{parameters}")).unwrap().log(name);
        let config = config.retry(RetryPolicy::never());
        let store = Store::<ReadOnly>::connect(config).await.unwrap();

        let read = store.head().await;

        assert!(read.is_ok(), "{parameters}: {read:?}");
    }
}

#[tokio::test]
async fn the_connect_timeout_of_an_address_applies_unless_the_config_overrides_it() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("postgres://ada@127.0.0.1:{port}/library?connect_timeout=1");
    let config = Config::new(&url).unwrap();
    let shorter = config.clone().connect_timeout(std::time::Duration::from_millis(20));

    let from_address = Store::<ReadWrite>::connect(config).await.unwrap_err().to_string();
    let from_config = Store::<ReadWrite>::connect(shorter).await.unwrap_err().to_string();

    assert!(from_address.contains("within 1s"), "{from_address}");
    assert!(from_config.contains("within 20ms"), "{from_config}");
}

/// Generates passwords that contain delimiters of addresses at any position.
fn passwords() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => "[JQXZ]{3,6}",
        2 => "[6-9]{3,4}",
        3 => prop::sample::select(vec!["@", ":", "/", "?", "#", "%", "[", "]", " ", "&", "=", ","])
            .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

/// Returns whether a text contains three consecutive alphanumeric characters of a password.
fn contains_part_of(text: &str, password: &str) -> bool {
    let password: Vec<_> = password.chars().collect();
    let mut pieces = password.windows(3).map(String::from_iter);
    pieces.any(|piece| piece.chars().all(char::is_alphanumeric) && text.contains(&piece))
}

fn output_about(address: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = match Config::new(address) {
        Ok(config) => config.connect_timeout(std::time::Duration::from_millis(50)),
        Err(error) => return format!("{error} {error:?}"),
    };
    let shown = format!("{config:?}");
    let connected = runtime.block_on(Store::<ReadWrite>::connect(config));
    let error = connected.expect_err("no server listens at this address");
    format!("{shown} {error} {error:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// No three consecutive alphanumeric characters of a password that was not percent-encoded
    /// appear in an error or in debug output.
    #[test]
    fn errors_and_debug_output_show_no_part_of_a_password(password in passwords()) {
        for address in [
            format!("postgres://ada:{password}@localhost:1/library"),
            format!("postgres://ada:{password}@localhost:1"),
            format!("postgres://localhost:1/library?password={password}"),
            format!("postgres://localhost:1/library?user=ada&password={password}&sslmode=disable"),
            format!("host=localhost port=1 user=ada password={password}"),
            format!("host=localhost port=1 password={password} user=ada dbname=library"),
            format!("password='{password}' host=localhost port=1"),
        ] {
            let output = output_about(&address);

            prop_assert!(!contains_part_of(&output, &password), "{address}: {output}");
        }
    }

    /// No address makes the parser panic, and each error names the setting `url`.
    #[test]
    fn any_text_is_accepted_or_refused(
        text in ".*",
        url in "postgres://[a-z@:/?#%\\[\\], =&0-9]*",
    ) {
        for address in [text, url] {
            if let Err(error) = Config::new(&address) {
                let names_url = matches!(error, Error::InvalidConfig { setting: "url", .. });
                prop_assert!(names_url, "{error:?}");
            }
        }
    }
}

/// The connection parameters of libpq in PostgreSQL 18.
const LIBPQ: &str = "application_name channel_binding client_encoding connect_timeout dbname
    fallback_application_name gssdelegation gssencmode gsslib host hostaddr keepalives
    keepalives_count keepalives_idle keepalives_interval krbsrvname load_balance_hosts
    max_protocol_version min_protocol_version oauth_client_id oauth_client_secret oauth_issuer
    oauth_scope options passfile password port replication require_auth requirepeer requiressl
    scram_client_key scram_server_key service servicefile ssl_max_protocol_version
    ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl sslcrldir sslkey
    sslkeylogfile sslmode sslnegotiation sslpassword sslrootcert sslsni target_session_attrs
    tcp_user_timeout tty user";
