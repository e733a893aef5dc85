//! Lends a book to a reader. A second loan that was decided from the same history fails with a
//! conflict.
//!
//! `cargo run --example quickstart` starts a PostgreSQL primary and a replica for the example.

use eddyline::{Config, Error, Event, Filter, ReadOnly, ReadWrite, Schema, Store};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cluster = local_postgres::Cluster::builder().standbys(1).start().await?;
    cluster.create_database("library").await?;
    let primary = Config::new(&cluster.primary().url("library"))?;
    Schema::new(&primary).migrate().await?;
    cluster.wait_for_replay().await?;
    let replica = Config::new(&cluster.standbys()[0].url("library"))?;

    let writer = Store::<ReadWrite>::connect(primary).await?;
    let reader = Store::<ReadOnly>::connect(replica).await?;

    // A command reads the events that its filter matches, and decides. Its append succeeds only if
    // no other event that matches the filter was appended in between.
    let loans = Filter::types(["BookCopyLentToReader", "BookCopyReturnedByReader"])
        .any_of([("BookID", "b-7")])
        .build()?;
    let history = writer.query(&loans).await?;
    let lend =
        |to: &str| Event::new("BookCopyLentToReader", &json!({ "BookID": "b-7", "ReaderID": to }));
    let appended = writer.append([lend("ada")?], history.condition()).await?;
    println!("lent to ada at {}", appended.last());

    // A second append with the same condition conflicts with the first.
    match writer.append([lend("bob")?], history.condition()).await {
        Err(Error::Conflict { position, event_type, .. }) => {
            println!("not lent to bob: conflict with {event_type} at {position}");
        }
        other => println!("unexpected: {other:?}"),
    }

    // A query reads from the replica, at the position of the append or later.
    let seen = reader.at_least(appended.bookmark()).query(&loans).await?;
    println!("{} sees {} loan, as of {}", seen.served_by(), seen.events().len(), seen.position());
    Ok(())
}
