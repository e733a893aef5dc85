//! Passwords do not appear in what a store prints or exports.

use eddyline::{AppendCondition, Config, Filter, ReadOnly, ReadWrite, RetryPolicy, Schema, Store};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::support::{Log, Observer, lent, unreachable_url};

/// Generates passwords. They contain characters with a meaning in URLs at any position, and
/// sequences of letters that occur in no other text.
fn passwords() -> impl Strategy<Value = String> {
    let confusing = prop::sample::select(vec!["@", ":", "/", "?", "#", "%", "[", "]", " "]);
    let fragment = prop_oneof!["[JQXZ]{3,6}", confusing.prop_map(str::to_owned)];
    let fragments = prop::collection::vec(fragment, 0..5);
    ("[JQXZ]{3,6}", fragments, "[JQXZ]{3,6}")
        .prop_map(|(first, fragments, last)| first + &fragments.concat() + &last)
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Returns whether a text contains three consecutive letters of a password, plain or
/// percent-encoded.
fn contains_part_of(text: &str, password: &str) -> bool {
    let letters: Vec<_> = password.chars().collect();
    let mut fragments = letters.windows(3).map(String::from_iter);
    fragments.any(|fragment| {
        let is_of_letters = fragment.chars().all(char::is_alphabetic);
        is_of_letters && (text.contains(&fragment) || text.contains(&encoded(&fragment)))
    })
}

/// Returns the address of a server in each form, with the password plain and percent-encoded.
fn addresses(url: &str, password: &str) -> Vec<String> {
    let url: tokio_postgres::Config = url.parse().unwrap();
    let (port, database) = (url.get_ports()[0], url.get_dbname().unwrap());
    let list = format!("host=127.0.0.1 port={port} user=postgres dbname={database}");
    let host = format!("127.0.0.1:{port}/{database}");
    let encoded = encoded(password);
    vec![
        format!("postgres://postgres:{encoded}@{host}"),
        format!("postgres://postgres:{password}@{host}"),
        format!("postgres://postgres@{host}?password={encoded}"),
        format!("{list} password='{password}'"),
        format!("password={password} {list}"),
    ]
}

/// Uses stores of an address and returns all that they print and export. Returns the error text if
/// the address is refused.
async fn printed_and_exported(url: &str, replica: &str, log: &str) -> Result<String, String> {
    let refused = |error: eddyline::Error| format!("{error} {error:?}");
    let observer = Observer::new();
    let config = Config::new(url).map_err(refused)?.replica(replica).map_err(refused)?;
    let config = config.log(log).telemetry(observer.telemetry()).retry(RetryPolicy::never());
    let writer = Config::new(url).map_err(refused)?.log(log).telemetry(observer.telemetry());
    let writer = Store::<ReadWrite>::connect(writer).await.unwrap();
    let reader = Store::<ReadOnly>::connect(config.clone()).await.unwrap();

    let appended = writer.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    let condition = AppendCondition::no_match(Filter::everything());
    let conflict = writer.append([lent("b-1", "r-1")], condition).await.unwrap_err();
    let invalid = writer.append([], AppendCondition::none()).await.unwrap_err();
    let history = reader.query(Filter::everything()).await.unwrap();
    let stream = reader.stream(Filter::everything()).await.unwrap();
    let schema = Schema::new(&config);
    let mut printed_and_exported =
        format!("{config:?} {schema:?} {writer:?} {reader:?} {appended:?}");
    printed_and_exported +=
        &format!("{conflict} {conflict:?} {invalid} {invalid:?} {history:?} {stream:?}");
    drop(stream);

    observer.meters.force_flush().unwrap();
    let (spans, metrics) = (observer.spans(), observer.metrics.get_finished_metrics().unwrap());
    assert!(spans.len() > 3 && !metrics.is_empty());
    Ok(printed_and_exported + &format!("{spans:?} {metrics:?}"))
}

/// No three consecutive letters of a password appear in what a store prints (itself, its settings,
/// its errors) or exports (spans and metrics), in any form of its address.
#[test]
fn a_store_prints_and_exports_no_part_of_a_password() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let log = runtime.block_on(Log::new());
    let mut runner = TestRunner::new(ProptestConfig::with_cases(12));

    let law = runner.run(&passwords(), |password| {
        let replicas = addresses(&log.replica_url(), &password);
        for (address, replica) in addresses(&log.primary_url(), &password).iter().zip(replicas) {
            let printed_and_exported = printed_and_exported(address, &replica, &log.name);
            let printed_and_exported = runtime.block_on(printed_and_exported);
            let printed_and_exported = printed_and_exported.unwrap_or_else(|refused| refused);

            prop_assert!(
                !contains_part_of(&printed_and_exported, &password),
                "{address}: {printed_and_exported}"
            );
        }
        // Encoded and quoted passwords are accepted.
        let accepted = addresses(&unreachable_url(), &password);
        for address in [&accepted[0], &accepted[2], &accepted[3]] {
            prop_assert!(Config::new(address).is_ok(), "{address}");
        }
        Ok(())
    });

    law.unwrap();
}
