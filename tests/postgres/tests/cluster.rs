//! What a cluster does as a whole.

use std::time::{Duration, Instant};

use local_postgres::{Cluster, Error};
use tokio_postgres::{Client, NoTls};

type Outcome = Result<(), Box<dyn std::error::Error>>;

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

#[tokio::test]
async fn a_row_reaches_every_standby() -> Outcome {
    let begun = Instant::now();
    let cluster = Cluster::builder().standbys(2).start().await?;
    println!("started in {:?}", begun.elapsed());
    cluster.create_database("library").await?;
    println!("database in {:?}", begun.elapsed());
    let primary = connect(&cluster.primary().url("library")).await?;

    primary
        .batch_execute("CREATE TABLE book (title text); INSERT INTO book VALUES ('Emma')")
        .await?;
    cluster.wait_for_replay().await?;

    for standby in cluster.standbys() {
        let reader = connect(&standby.url("library")).await?;
        let row = reader.query_one("SELECT title FROM book", &[]).await?;
        assert_eq!(row.get::<_, &str>(0), "Emma");
    }
    let begun = Instant::now();
    let directory = cluster.directory().to_owned();
    drop(cluster);
    println!("dropped in {:?}", begun.elapsed());
    assert!(!directory.exists());
    Ok(())
}

#[tokio::test]
async fn a_failed_start_shows_the_log_and_leaves_nothing() -> Outcome {
    let outcome = Cluster::builder()
        .setting("shared_buffers", "a lot")
        .patience(Duration::from_secs(20))
        .start()
        .await;

    match outcome {
        Err(Error::StartFailed { server, log, .. }) => {
            assert_eq!(server, "primary");
            assert!(log.contains("shared_buffers"), "{log}");
        }
        other => return Err(format!("{other:?}").into()),
    }
    Ok(())
}
