//! What can be done to a server.

use std::time::Duration;

use local_postgres::{Cluster, Error};
use rustix::process::{Pid, Signal, kill_process};
use tokio_postgres::NoTls;

use crate::Outcome;
use crate::client::{books, connect, write_a_book};

async fn start(standbys: usize) -> Result<Cluster, Error> {
    Cluster::builder()
        .standbys(standbys)
        .fsync(false)
        .patience(Duration::from_secs(30))
        .start()
        .await
}

#[tokio::test]
async fn a_paused_standby_shows_the_past_until_it_resumes() -> Outcome {
    let cluster = start(2).await?;
    let [paused, other] = cluster.standbys() else {
        return Err("two standbys".into());
    };
    write_a_book(cluster.primary()).await?;
    cluster.wait_for_replay().await?;

    paused.pause_replay().await?;
    write_a_book(cluster.primary()).await?;
    let primary = connect(cluster.primary(), "postgres").await?;
    let reader = connect(other, "postgres").await?;
    while reader.query_one("SELECT count(*) FROM book", &[]).await?.get::<_, i64>(0) < 2 {}

    assert_eq!(books(paused).await?, 1);
    drop(primary);
    paused.resume_replay().await?;
    cluster.wait_for_replay().await?;
    assert_eq!(books(paused).await?, 2);
    Ok(())
}

#[tokio::test]
async fn waiting_for_a_paused_standby_ends_with_its_name() -> Outcome {
    let cluster = Cluster::builder()
        .standbys(1)
        .fsync(false)
        .patience(Duration::from_secs(2))
        .start()
        .await?;
    for standby in cluster.standbys() {
        standby.pause_replay().await?;
    }

    let outcome = cluster.wait_for_replay().await;

    assert!(
        matches!(&outcome, Err(Error::TimedOut { server, .. }) if server == "standby_1"),
        "{outcome:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_stopped_standby_catches_up() -> Outcome {
    let cluster = start(1).await?;
    let [standby] = cluster.standbys() else {
        return Err("one standby".into());
    };
    let port = standby.port();

    standby.stop().await?;
    assert!(!standby.is_running());
    write_a_book(cluster.primary()).await?;
    cluster.wait_for_replay().await?;
    // Without a replication slot the primary would now throw away what the standby lacks.
    let primary = connect(cluster.primary(), "postgres").await?;
    for _ in 0..3 {
        primary.batch_execute("SELECT pg_switch_wal()").await?;
        primary.batch_execute("CHECKPOINT").await?;
    }
    standby.start().await?;
    cluster.wait_for_replay().await?;

    assert_eq!(books(standby).await?, 1);
    assert_eq!(standby.port(), port);
    Ok(())
}

#[tokio::test]
async fn a_killed_primary_comes_back_with_everything_committed() -> Outcome {
    let cluster = start(1).await?;
    write_a_book(cluster.primary()).await?;
    let session = connect(cluster.primary(), "postgres").await?;

    cluster.primary().kill().await?;
    assert!(!cluster.primary().is_running());
    cluster.primary().start().await?;

    assert!(session.batch_execute("SELECT 1").await.is_err());
    assert_eq!(books(cluster.primary()).await?, 1);
    cluster.wait_until_streaming().await?;
    Ok(())
}

/// Freezes a session, so that it cannot notice the end of its server.
async fn freeze_a_session(cluster: &Cluster) -> Result<Pid, Box<dyn std::error::Error>> {
    let session = connect(cluster.primary(), "postgres").await?;
    let process: i32 = session.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
    let process = Pid::from_raw(process).ok_or("no process")?;
    kill_process(process, Signal::STOP)?;
    Ok(process)
}

#[tokio::test]
async fn a_killed_server_waits_for_the_sessions_that_outlive_it() -> Outcome {
    let cluster = start(0).await?;
    let primary = cluster.primary();
    let frozen = freeze_a_session(&cluster).await?;
    primary.kill().await?;

    let restarted = primary.start();
    let thawed = async {
        while !std::fs::read_to_string(primary.log())?.contains("is still in use") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        kill_process(frozen, Signal::KILL)?;
        Ok::<(), std::io::Error>(())
    };

    let (restarted, thawed) = tokio::join!(restarted, thawed);
    thawed?;
    restarted?;
    connect(primary, "postgres").await?;
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn sessions_that_outlive_a_killed_server_end_with_the_cluster() -> Outcome {
    let cluster = start(0).await?;
    let frozen = freeze_a_session(&cluster).await?;
    cluster.primary().kill().await?;

    drop(cluster);

    let process = format!("/proc/{}/cwd", frozen.as_raw_nonzero());
    assert!(std::fs::read_link(process).is_err());
    Ok(())
}

#[tokio::test]
async fn a_killed_standby_comes_back() -> Outcome {
    let cluster = start(1).await?;
    write_a_book(cluster.primary()).await?;
    let [standby] = cluster.standbys() else {
        return Err("one standby".into());
    };

    standby.kill().await?;
    standby.start().await?;
    cluster.wait_for_replay().await?;

    assert_eq!(books(standby).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_server_stopped_at_once_recovers() -> Outcome {
    let cluster = start(0).await?;
    write_a_book(cluster.primary()).await?;

    cluster.primary().stop_immediately().await?;
    cluster.primary().start().await?;

    assert_eq!(books(cluster.primary()).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_restarted_server_is_another_process_on_the_same_port() -> Outcome {
    let cluster = start(0).await?;
    let primary = cluster.primary();
    let (port, process) = (primary.port(), primary.process_id());

    primary.restart().await?;

    assert_eq!(primary.port(), port);
    assert_ne!(primary.process_id(), process);
    connect(primary, "postgres").await?;
    Ok(())
}

#[tokio::test]
async fn starting_and_stopping_twice_is_fine() -> Outcome {
    let cluster = start(0).await?;

    cluster.primary().start().await?;
    cluster.primary().stop().await?;
    cluster.primary().stop().await?;
    cluster.primary().start().await?;

    connect(cluster.primary(), "postgres").await?;
    Ok(())
}

#[tokio::test]
async fn a_promoted_standby_accepts_writes() -> Outcome {
    let cluster = start(2).await?;
    let [promoted, other] = cluster.standbys() else {
        return Err("two standbys".into());
    };
    write_a_book(cluster.primary()).await?;
    cluster.wait_for_replay().await?;
    cluster.primary().stop().await?;

    promoted.promote().await?;
    write_a_book(promoted).await?;

    assert_eq!(books(promoted).await?, 2);
    assert!(promoted.is_primary());
    assert!(!other.is_primary());
    Ok(())
}

#[tokio::test]
async fn a_frozen_server_keeps_newcomers_waiting() -> Outcome {
    let cluster = start(0).await?;
    let primary = cluster.primary();
    let session = connect(primary, "postgres").await?;

    primary.sigstop()?;
    let url = primary.url("postgres");
    let newcomer = tokio_postgres::connect(&url, NoTls);
    tokio::pin!(newcomer);
    let patience = Duration::from_millis(300);
    let waited = tokio::time::timeout(patience, &mut newcomer).await;
    session.batch_execute("SELECT 1").await?;

    assert!(waited.is_err());
    primary.sigcont()?;
    let (client, connection) = newcomer.await?;
    drop((client, connection));
    Ok(())
}

#[tokio::test]
async fn a_frozen_server_can_be_stopped_and_dropped() -> Outcome {
    let cluster = start(1).await?;
    let [standby] = cluster.standbys() else {
        return Err("one standby".into());
    };

    standby.sigstop()?;
    standby.stop().await?;
    cluster.primary().sigstop()?;
    let directory = cluster.directory().to_owned();
    drop(cluster);

    assert!(!directory.exists());
    Ok(())
}

#[tokio::test]
async fn a_stopped_server_cannot_be_frozen() -> Outcome {
    let cluster = start(0).await?;
    cluster.primary().stop().await?;

    let outcome = cluster.primary().sigstop();

    assert!(matches!(outcome, Err(Error::Stopped { .. })), "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn the_end_of_one_session_by_force_ends_its_neighbours() -> Outcome {
    let cluster = start(0).await?;
    let victim = connect(cluster.primary(), "postgres").await?;
    let neighbour = connect(cluster.primary(), "postgres").await?;
    let process = victim.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);

    cluster.primary().kill_backend(process)?;
    let neighbour_is_ended = async {
        while !victim.is_closed() || !neighbour.is_closed() {
            tokio::task::yield_now().await;
        }
    };

    tokio::time::timeout(Duration::from_secs(30), neighbour_is_ended).await?;
    Ok(())
}

#[tokio::test]
async fn a_frozen_session_answers_when_it_goes_on() -> Outcome {
    let cluster = start(0).await?;
    let session = connect(cluster.primary(), "postgres").await?;
    let other = connect(cluster.primary(), "postgres").await?;
    let process = session.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);

    cluster.primary().sigstop_backend(process)?;
    let question = session.batch_execute("SELECT 1");
    tokio::pin!(question);
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut question).await;
    other.batch_execute("SELECT 1").await?;

    assert!(waited.is_err());
    cluster.primary().sigcont_backend(process)?;
    question.await?;
    Ok(())
}
