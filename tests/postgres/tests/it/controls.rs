//! Controls of a single server.

use std::time::Duration;

use local_postgres::{Cluster, Error, ServerLog};
use rustix::process::{Pid, Signal, kill_process};
use tokio_postgres::NoTls;

use crate::Outcome;
use crate::client::{books, connect, write_a_book};

async fn start(standbys: usize) -> Result<Cluster, Error> {
    Cluster::builder()
        .standbys(standbys)
        .fsync(false)
        .timeout(Duration::from_secs(30))
        .start()
        .await
}

#[tokio::test]
async fn a_paused_standby_returns_old_data_until_it_resumes() -> Outcome {
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
async fn a_timeout_waiting_for_replay_names_the_paused_standby() -> Outcome {
    let cluster = Cluster::builder()
        .standbys(1)
        .fsync(false)
        .timeout(Duration::from_secs(15))
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
    // Without a replication slot the primary would now remove WAL that the standby lacks.
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
async fn a_killed_primary_restarts_with_all_commits() -> Outcome {
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

/// Stops a backend with SIGSTOP, so that it cannot notice the end of its postmaster.
async fn stop_a_backend(cluster: &Cluster) -> Result<Pid, Box<dyn std::error::Error>> {
    let session = connect(cluster.primary(), "postgres").await?;
    let process: i32 = session.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
    let process = Pid::from_raw(process).ok_or("no process")?;
    kill_process(process, Signal::STOP)?;
    Ok(process)
}

#[tokio::test]
async fn a_start_after_a_kill_waits_for_leftover_backends() -> Outcome {
    let cluster = start(0).await?;
    let primary = cluster.primary();
    let frozen = stop_a_backend(&cluster).await?;
    primary.kill().await?;

    let restarted = primary.start();
    let killed_backend = async {
        while !std::fs::read_to_string(primary.log())?.contains("is still in use") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        kill_process(frozen, Signal::KILL)?;
        Ok::<(), std::io::Error>(())
    };

    let (restarted, killed_backend) = tokio::join!(restarted, killed_backend);
    killed_backend?;
    restarted?;
    connect(primary, "postgres").await?;
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn leftover_backends_of_a_killed_server_end_with_the_cluster() -> Outcome {
    let cluster = start(0).await?;
    let frozen = stop_a_backend(&cluster).await?;
    cluster.primary().kill().await?;

    drop(cluster);

    let process = format!("/proc/{}/cwd", frozen.as_raw_nonzero());
    assert!(std::fs::read_link(process).is_err());
    Ok(())
}

#[tokio::test]
async fn a_killed_standby_restarts() -> Outcome {
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
async fn a_server_stopped_in_immediate_mode_recovers() -> Outcome {
    let cluster = start(0).await?;
    write_a_book(cluster.primary()).await?;

    cluster.primary().stop_immediately().await?;
    cluster.primary().start().await?;

    assert_eq!(books(cluster.primary()).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_restart_keeps_the_port_and_changes_the_process() -> Outcome {
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
async fn starting_and_stopping_are_idempotent() -> Outcome {
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
async fn a_stopped_postmaster_delays_new_connections_only() -> Outcome {
    let cluster = start(0).await?;
    let primary = cluster.primary();
    let session = connect(primary, "postgres").await?;

    primary.sigstop()?;
    let url = primary.url("postgres");
    let new_connection = tokio_postgres::connect(&url, NoTls);
    tokio::pin!(new_connection);
    let timeout = Duration::from_millis(300);
    let waited = tokio::time::timeout(timeout, &mut new_connection).await;
    session.batch_execute("SELECT 1").await?;

    assert!(waited.is_err());
    primary.sigcont()?;
    let (client, connection) = new_connection.await?;
    drop((client, connection));
    Ok(())
}

#[tokio::test]
async fn a_server_with_a_stopped_postmaster_can_be_shut_down_and_dropped() -> Outcome {
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
async fn sigstop_fails_if_the_server_is_not_running() -> Outcome {
    let cluster = start(0).await?;
    cluster.primary().stop().await?;

    let outcome = cluster.primary().sigstop();

    assert!(matches!(outcome, Err(Error::Stopped { .. })), "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn killing_a_backend_ends_the_other_backends() -> Outcome {
    let cluster = start(0).await?;
    let victim = connect(cluster.primary(), "postgres").await?;
    let other = connect(cluster.primary(), "postgres").await?;
    let process = victim.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);

    cluster.primary().kill_backend(process)?;
    let both_have_ended = async {
        while !victim.is_closed() || !other.is_closed() {
            tokio::task::yield_now().await;
        }
    };

    tokio::time::timeout(Duration::from_secs(30), both_have_ended).await?;
    Ok(())
}

#[tokio::test]
async fn a_stopped_backend_answers_after_sigcont() -> Outcome {
    let cluster = start(0).await?;
    let session = connect(cluster.primary(), "postgres").await?;
    let other = connect(cluster.primary(), "postgres").await?;
    let process = session.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);

    cluster.primary().sigstop_backend(process)?;
    let query = session.batch_execute("SELECT 1");
    tokio::pin!(query);
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut query).await;
    other.batch_execute("SELECT 1").await?;

    assert!(waited.is_err());
    cluster.primary().sigcont_backend(process)?;
    query.await?;
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_cpu_time_includes_sessions_that_have_ended() -> Outcome {
    let cluster = start(0).await?;
    let primary = cluster.primary();
    let before = primary.cpu_time()?;
    let session = connect(primary, "postgres").await?;
    while primary.cpu_time()? < before + Duration::from_millis(100) {
        session.batch_execute("SELECT count(*) FROM generate_series(1, 100000)").await?;
    }
    let during = primary.cpu_time()?;

    drop(session);
    let other = connect(primary, "postgres").await?;
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'";
    while other.query_one(sessions, &[]).await?.get::<_, i64>(0) > 1 {}

    assert!(primary.cpu_time()? >= during);
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_frozen_server_answers_no_session_until_it_thaws() -> Outcome {
    let cluster = start(0).await?;
    let primary = cluster.primary();
    let session = connect(primary, "postgres").await?;

    primary.freeze().await?;
    let query = session.batch_execute("SELECT 1");
    let new_connection = connect(primary, "postgres");
    tokio::pin!(query, new_connection);
    let timeout = Duration::from_millis(300);
    let waited = tokio::time::timeout(timeout, &mut query).await;
    let waited_to_connect = tokio::time::timeout(timeout, &mut new_connection).await;

    assert!(waited.is_err() && waited_to_connect.is_err());
    primary.thaw()?;
    query.await?;
    new_connection.await?;
    Ok(())
}

#[tokio::test]
async fn a_changed_setting_holds_for_new_sessions_and_after_a_restart() -> Outcome {
    let cluster = start(0).await?;
    let primary = cluster.primary();

    primary.set("work_mem", "5MB").await?;

    for _ in 0..2 {
        let session = connect(primary, "postgres").await?;
        let row = session.query_one("SHOW work_mem", &[]).await?;
        assert_eq!(row.get::<_, &str>(0), "5MB");
        primary.restart().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_log_begins_at_the_given_moment_and_continues_after_the_lines_taken() -> Outcome {
    let cluster = start(0).await?;
    let session = connect(cluster.primary(), "postgres").await?;
    let warn = async |text: &str| {
        session.batch_execute(&format!("DO $$ BEGIN RAISE LOG '{text}'; END $$")).await
    };
    warn("earlier").await?;
    let mut log = ServerLog::from_now(cluster.primary())?;
    warn("first").await?;

    let taken = log.take_lines()?;
    warn("second").await?;

    assert!(taken.contains("first") && !taken.contains("earlier"), "{taken}");
    assert_eq!((log.count(&["LOG:  first"])?, log.count(&["LOG:  second"])?), (0, 1));
    Ok(())
}
