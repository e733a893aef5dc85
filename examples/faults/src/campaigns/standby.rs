//! Faults of a synchronous standby, and a failover to it.
//!
//! The primary and the standby are a cluster of their own. The recorded outcomes are compared with
//! the log of the promoted standby.

use std::time::Duration;

use local_postgres::Cluster;
use rand::RngExt;
use tokio::time::sleep;
use tokio_postgres::Client;

use super::writers::Writers;
use crate::checker::Entry;
use crate::testbed::{Testbed, read_log};
use crate::{Campaign, Failure};

pub async fn run(testbed: &Testbed) -> Result<(), Failure> {
    let cluster = start(testbed).await?;
    let writers =
        Writers::of(testbed, Campaign::Standby, testbed.replicated_store(&cluster).await?).await?;
    let (primary, standby) = (cluster.primary(), &cluster.standbys()[0]);
    writers
        .run_with(async |injector| {
            let control = testbed.connect(&cluster.primary().url(NAME)).await?;
            for _ in injector.one_in(100) {
                injector.wait_for_appends(60).await;
                let outage = testbed.recorder.outage();
                standby.stop().await.map_err(Failure::Cluster)?;
                injector.add_faults(u64::from(injector.in_flight() > 0));
                sleep(Duration::from_millis(injector.random.random_range(100..3_000))).await;
                standby.start().await.map_err(Failure::Cluster)?;
                cluster.wait_until_streaming().await.map_err(Failure::Cluster)?;
                drop(outage);
            }
            injector.wait_for_appends(60).await;
            let _outage = testbed.recorder.outage();
            standby.stop().await.map_err(Failure::Cluster)?;
            // This may be longer than an attempt: by then the store has handled appends without an
            // answer.
            sleep(Duration::from_millis(injector.random.random_range(100..4_000))).await;
            add_seen(testbed, &control).await?;
            primary.stop_immediately().await.map_err(Failure::Cluster)?;
            standby.start().await.map_err(Failure::Cluster)?;
            standby.promote().await.map_err(Failure::Cluster)?;
            injector.add_faults(1);
            Ok(())
        })
        .await?;
    let promoted = testbed.connect(&standby.url(NAME)).await?;
    testbed.add_log(read_log(&promoted, LOG).await?);
    Ok(())
}

/// Records the events that a reader of the primary sees: the standby must have them.
async fn add_seen(testbed: &Testbed, control: &Client) -> Result<(), Failure> {
    for Entry { position, id } in read_log(control, LOG).await? {
        testbed.recorder.add_seen(Campaign::Standby, id, position);
    }
    Ok(())
}

async fn start(testbed: &Testbed) -> Result<Cluster, Failure> {
    let cluster = Cluster::builder()
        .programs(testbed.programs.clone())
        .standbys(1)
        .fsync(testbed.plan.fsync)
        .start()
        .await
        .map_err(Failure::Cluster)?;
    cluster.create_database(NAME).await.map_err(Failure::Cluster)?;
    testbed.create_log(&cluster.primary().url(NAME), LOG).await?;
    cluster.wait_for_replay().await.map_err(Failure::Cluster)?;
    let control = testbed.connect(&cluster.primary().url(NAME)).await?;
    let failed = Failure::sql("make the standby synchronous");
    let name = cluster.standbys()[0].name();
    for text in [
        format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'"),
        "SELECT pg_reload_conf()".to_owned(),
    ] {
        control.batch_execute(&text).await.map_err(&failed)?;
    }
    let is_synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
    loop {
        let row = control.query_one(is_synchronous, &[]).await.map_err(&failed)?;
        if row.try_get::<_, i64>(0).map_err(&failed)? > 0 {
            return Ok(cluster);
        }
        sleep(PAUSE).await;
    }
}

pub const NAME: &str = "faults";
pub const LOG: &str = "events";
const PAUSE: Duration = Duration::from_millis(10);
