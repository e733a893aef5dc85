//! Fire at a synchronous standby, and a failover to it.
//!
//! The primary and the standby are a cluster of their own. What is told of its log is judged by what
//! the standby has when it has become the primary.

use std::time::Duration;

use local_postgres::Cluster;
use rand::RngExt;
use tokio::time::sleep;
use tokio_postgres::Client;

use super::writers::Writers;
use crate::checker::Entry;
use crate::site::{Site, read_log};
use crate::{Campaign, Failure};

pub async fn fight(site: &Site) -> Result<(), Failure> {
    let cluster = start(site).await?;
    let writers =
        Writers::of(site, Campaign::Standby, site.replicated_store(&cluster).await?).await?;
    let (primary, standby) = (cluster.primary(), &cluster.standbys()[0]);
    writers
        .hold_out(async |director| {
            let control = site.connect(&cluster.primary().url(NAME)).await?;
            for _ in director.one_in(100) {
                director.pace(60).await;
                let outage = site.notes.outage();
                standby.stop().await.map_err(Failure::Cluster)?;
                director.struck(u64::from(director.in_flight() > 0));
                sleep(Duration::from_millis(director.random.random_range(100..3_000))).await;
                standby.start().await.map_err(Failure::Cluster)?;
                cluster.wait_until_streaming().await.map_err(Failure::Cluster)?;
                drop(outage);
            }
            director.pace(60).await;
            let _outage = site.notes.outage();
            standby.stop().await.map_err(Failure::Cluster)?;
            // Longer than an attempt: the store has done what it does about an append that has no answer.
            sleep(Duration::from_millis(director.random.random_range(100..4_000))).await;
            seen(site, &control).await?;
            primary.stop_immediately().await.map_err(Failure::Cluster)?;
            standby.start().await.map_err(Failure::Cluster)?;
            standby.promote().await.map_err(Failure::Cluster)?;
            director.struck(1);
            Ok(())
        })
        .await?;
    let promoted = site.connect(&standby.url(NAME)).await?;
    site.add_log(read_log(&promoted, LOG).await?);
    Ok(())
}

/// Takes down what a reader of the primary sees: the standby must have it.
async fn seen(site: &Site, control: &Client) -> Result<(), Failure> {
    for Entry { number, id } in read_log(control, LOG).await? {
        site.notes.seen(Campaign::Standby, id, number);
    }
    Ok(())
}

async fn start(site: &Site) -> Result<Cluster, Failure> {
    let cluster = Cluster::builder()
        .programs(site.programs.clone())
        .standbys(1)
        .fsync(site.plan.fsync)
        .start()
        .await
        .map_err(Failure::Cluster)?;
    cluster.create_database(NAME).await.map_err(Failure::Cluster)?;
    site.make_log(&cluster.primary().url(NAME), LOG).await?;
    cluster.wait_for_replay().await.map_err(Failure::Cluster)?;
    let control = site.connect(&cluster.primary().url(NAME)).await?;
    let failed = Failure::sql("make the standby a synchronous one");
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
