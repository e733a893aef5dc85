//! What stores show and export of the passwords of their addresses.

use eddyline::{AppendCondition, Config, Filter, ReadOnly, ReadWrite, RetryPolicy, Schema, Store};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::support::{Log, Observer, lent, nowhere};

/// Passwords with what confuses parsers, anywhere, and letters that nothing else has in a row.
fn passwords() -> impl Strategy<Value = String> {
    let confusing = prop::sample::select(vec!["@", ":", "/", "?", "#", "%", "[", "]", " "]);
    let piece = prop_oneof!["[JQXZ]{3,6}", confusing.prop_map(str::to_owned)];
    let pieces = prop::collection::vec(piece, 0..5);
    ("[JQXZ]{3,6}", pieces, "[JQXZ]{3,6}")
        .prop_map(|(first, pieces, last)| first + &pieces.concat() + &last)
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Returns whether a text shows three letters in a row of a password, as they are or encoded.
fn shows(text: &str, password: &str) -> bool {
    let letters: Vec<_> = password.chars().collect();
    let mut pieces = letters.windows(3).map(String::from_iter);
    pieces.any(|piece| {
        let is_of_letters = piece.chars().all(char::is_alphabetic);
        is_of_letters && (text.contains(&piece) || text.contains(&encoded(&piece)))
    })
}

/// Writes the address of a server in each form, with a password typed as it is and one encoded.
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

/// Uses stores of an address, and returns all that they show and export. `None` if it is refused, which
/// shows nothing of it either.
async fn shown(url: &str, log: &str) -> Result<String, String> {
    let refused = |error: eddyline::Error| format!("{error} {error:?}");
    let observer = Observer::new();
    let config = Config::new(url).map_err(refused)?.replica(url).map_err(refused)?;
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
    let mut shown = format!("{config:?} {schema:?} {writer:?} {reader:?} {appended:?}");
    shown += &format!("{conflict} {conflict:?} {invalid} {invalid:?} {history:?} {stream:?}");
    drop(stream);

    observer.meters.force_flush().unwrap();
    let (spans, metrics) = (observer.spans(), observer.metrics.get_finished_metrics().unwrap());
    assert!(spans.len() > 3 && !metrics.is_empty());
    Ok(shown + &format!("{spans:?} {metrics:?}"))
}

/// No three letters in a row of a password are in what a store shows (it, its settings, its errors) or
/// exports (spans and metrics), however its address was written.
#[test]
fn no_piece_of_a_password_is_in_what_a_store_shows_or_exports() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let log = runtime.block_on(Log::new());
    let mut runner = TestRunner::new(ProptestConfig::with_cases(12));

    let law = runner.run(&passwords(), |password| {
        for address in addresses(&log.primary_url(), &password) {
            let shown = runtime.block_on(shown(&address, &log.name));
            let shown = shown.unwrap_or_else(|refused| refused);

            prop_assert!(!shows(&shown, &password), "{address}: {shown}");
        }
        // What is encoded, and what is quoted, is taken.
        let taken = addresses(&nowhere(), &password);
        for address in [&taken[0], &taken[2], &taken[3]] {
            prop_assert!(Config::new(address).is_ok(), "{address}");
        }
        Ok(())
    });

    law.unwrap();
}
