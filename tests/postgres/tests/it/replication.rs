//! Standbys that change their primary.

use local_postgres::{Cluster, Error, Server};

use crate::Outcome;
use crate::client::{books, connect, write_a_book};

async fn start(standbys: usize) -> Result<Cluster, Error> {
    Cluster::builder().standbys(standbys).fsync(false).start().await
}

async fn wait_for_books(server: &Server, count: i64) -> Outcome {
    while books(server).await? < count {
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[tokio::test]
async fn an_apply_delay_holds_back_a_standby() -> Outcome {
    let cluster = start(2).await?;
    let [delayed, other] = cluster.standbys() else {
        return Err("two standbys".into());
    };
    write_a_book(cluster.primary()).await?;
    cluster.wait_for_replay().await?;

    delayed.set("recovery_min_apply_delay", "1h").await?;
    write_a_book(cluster.primary()).await?;
    wait_for_books(other, 2).await?;

    assert_eq!(books(delayed).await?, 1);
    delayed.set("recovery_min_apply_delay", 0).await?;
    wait_for_books(delayed, 2).await
}

#[tokio::test]
async fn a_standby_follows_a_promoted_one_without_a_restart() -> Outcome {
    let cluster = start(2).await?;
    let [promoted, other] = cluster.standbys() else {
        return Err("two standbys".into());
    };
    let process = other.process_id();
    cluster.primary().stop().await?;
    promoted.promote().await?;

    other.follow(promoted).await?;
    write_a_book(promoted).await?;
    other.catch_up_with(promoted).await?;

    assert_eq!(books(other).await?, 1);
    assert_eq!(other.process_id(), process);
    Ok(())
}

#[tokio::test]
async fn a_primary_that_was_shut_down_follows_the_promoted_standby() -> Outcome {
    let cluster = start(1).await?;
    let (old, new) = (cluster.primary(), &cluster.standbys()[0]);
    write_a_book(old).await?;
    old.stop().await?;
    new.promote().await?;
    write_a_book(new).await?;

    old.follow(new).await?;
    old.catch_up_with(new).await?;

    assert!(!old.is_primary());
    assert_eq!(books(old).await?, 2);
    Ok(())
}

/// The promoted standby lacks a commit of the old primary, as after an asynchronous failover.
#[tokio::test]
async fn a_server_with_another_history_is_rebuilt() -> Outcome {
    let cluster = start(2).await?;
    let [promoted, ahead] = cluster.standbys() else {
        return Err("two standbys".into());
    };
    let old = cluster.primary();
    write_a_book(old).await?;
    cluster.wait_for_replay().await?;
    promoted.stop_streaming().await?;
    write_a_book(old).await?;
    ahead.catch_up_with(old).await?;
    old.kill().await?;
    promoted.promote().await?;
    assert_eq!(books(promoted).await?, 1);

    for server in [old, ahead] {
        server.rebuild(promoted).await?;
    }

    write_a_book(promoted).await?;
    for server in [old, ahead] {
        server.catch_up_with(promoted).await?;
        assert_eq!(books(server).await?, 2);
        assert_ne!(server.port(), promoted.port());
        let session = connect(server, "postgres").await?;
        let name = session.query_one("SHOW cluster_name", &[]).await?;
        assert_eq!(name.get::<_, &str>(0), server.name());
    }
    Ok(())
}
