//! Operations on whole clusters.

use local_postgres::{Cluster, Error};

use crate::Outcome;
use crate::client::{connect, write_a_book};

#[tokio::test]
async fn a_new_database_exists_on_every_server() -> Outcome {
    let cluster = Cluster::builder().standbys(2).fsync(false).start().await?;

    cluster.create_database("library \"east\"").await?;

    for server in cluster.servers() {
        connect(server, "library%20%22east%22").await?;
    }
    assert!(cluster.has_database("library \"east\"").await?);
    assert!(!cluster.has_database("library").await?);
    Ok(())
}

#[tokio::test]
async fn commits_are_on_every_standby_after_waiting_for_replay() -> Outcome {
    let cluster = Cluster::builder().standbys(2).fsync(false).start().await?;
    write_a_book(cluster.primary()).await?;

    for expected in 2..=50 {
        write_a_book(cluster.primary()).await?;
        cluster.wait_for_replay().await?;
        for standby in cluster.standbys() {
            assert_eq!(crate::client::books(standby).await?, expected);
        }
    }
    Ok(())
}

#[tokio::test]
async fn waiting_for_replay_does_not_depend_on_open_transactions() -> Outcome {
    let cluster = Cluster::builder().standbys(1).fsync(false).start().await?;
    write_a_book(cluster.primary()).await?;
    let writer = connect(cluster.primary(), "postgres").await?;
    let bulk =
        "BEGIN; INSERT INTO book SELECT repeat(md5(n::text), 50) FROM generate_series(1, 5000) n";
    writer.batch_execute(bulk).await?;

    cluster.wait_for_replay().await?;

    Ok(())
}

#[tokio::test]
async fn settings_of_the_caller_take_precedence() -> Outcome {
    let cluster = Cluster::builder()
        .standbys(1)
        .max_connections(33)
        .shared_buffers("16MB")
        .fsync(false)
        .setting("work_mem", "5MB")
        .setting("listen_addresses", "127.0.0.1, 127.0.0.2")
        .start()
        .await?;
    let expected = [
        ("max_connections", "33"),
        ("shared_buffers", "16MB"),
        ("fsync", "off"),
        ("work_mem", "5MB"),
        ("listen_addresses", "127.0.0.1, 127.0.0.2"),
        ("server_encoding", "UTF8"),
        ("TimeZone", "UTC"),
        ("unix_socket_directories", ""),
    ];

    for server in cluster.servers() {
        let client = connect(server, "postgres").await?;
        for (name, value) in expected {
            let row = client.query_one("SELECT current_setting($1)", &[&name]).await?;
            assert_eq!(row.get::<_, &str>(0), value, "{name}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn fsync_is_on_by_default() -> Outcome {
    let cluster = Cluster::builder().start().await?;

    let client = connect(cluster.primary(), "postgres").await?;
    let row = client.query_one("SELECT current_setting('fsync')", &[]).await?;

    assert_eq!(row.get::<_, &str>(0), "on");
    Ok(())
}

#[tokio::test]
async fn a_failed_start_returns_the_log() -> Outcome {
    let outcome = Cluster::builder().setting("work_mem", "a lot").start().await;

    match outcome {
        Err(Error::StartFailed { server, log, .. }) => {
            assert_eq!(server, "primary");
            assert!(log.contains("work_mem"), "{log}");
        }
        other => return Err(format!("{other:?}").into()),
    }
    Ok(())
}

#[tokio::test]
async fn an_invalid_setting_name_is_refused() -> Outcome {
    let outcome = Cluster::builder().setting("fsync = off #", "on").start().await;

    assert!(matches!(outcome, Err(Error::InvalidSetting { .. })), "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn several_clusters_start_concurrently() -> Outcome {
    let start = || Cluster::builder().standbys(1).fsync(false).start();

    let clusters = futures_util::try_join!(start(), start(), start(), start())?;

    let clusters = [clusters.0, clusters.1, clusters.2, clusters.3];
    let mut ports: Vec<u16> =
        clusters.iter().flat_map(|each| each.servers().map(|server| server.port())).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 8);
    Ok(())
}

#[test]
fn types_and_futures_are_send() {
    fn assert_send<T: Send>(_: &T) {}
    fn assert_shared<T: Send + Sync + 'static>() {}

    assert_shared::<Cluster>();
    assert_shared::<Error>();
    assert_send(&Cluster::builder().start());
    let _ = |cluster: &Cluster| {
        assert_send(&cluster.create_database("library"));
        assert_send(&cluster.wait_for_replay());
        assert_send(&cluster.primary().restart());
        assert_send(&cluster.primary().promote());
    };
}

#[test]
fn an_empty_folder_for_temporary_files_counts_as_unset() -> Outcome {
    let output = std::process::Command::new(std::env::current_exe()?)
        .args(["--exact", "cluster::fsync_is_on_by_default"])
        .env("TMPDIR", "")
        .output()?;

    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    Ok(())
}
