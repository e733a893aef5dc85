//! Fire at the line between the writers and the server: it is slow, or falls silent.

use std::sync::Arc;
use std::time::Duration;

use fault_proxy::Direction;
use rand::RngExt;
use tokio::time::sleep;

use super::writers::Writers;
use crate::site::{Setting, Site};
use crate::{Campaign, Failure};

/// Lets bytes pass at one pace after the other.
pub async fn slow(site: &Site) -> Result<(), Failure> {
    let writers = Writers::connect(site, Campaign::Slow, &[Setting::DEFAULT]).await?;
    let proxy = Arc::clone(&writers.proxy);
    writers
        .hold_out(async |director| {
            for _ in director.one_in(20) {
                for direction in Direction::BOTH {
                    let pace = director.random.random_range(SLOWEST..FASTEST);
                    proxy.limit_rate(direction, director.random.random_ratio(2, 3).then_some(pace));
                }
                director.pace(20).await;
                director.struck(u64::from(director.in_flight() > 0));
            }
            Direction::BOTH.iter().for_each(|&direction| proxy.limit_rate(direction, None));
            Ok(())
        })
        .await
}

/// Lets nothing pass for a while.
pub async fn silence(site: &Site) -> Result<(), Failure> {
    let writers = Writers::connect(site, Campaign::Silence, &[Setting::DEFAULT]).await?;
    let proxy = Arc::clone(&writers.proxy);
    writers
        .hold_out(async |director| {
            for _ in director.one_in(40) {
                director.pace(40).await;
                let outage = site.notes.outage();
                proxy.freeze();
                director.struck(u64::from(director.in_flight() > 0));
                sleep(Duration::from_millis(director.random.random_range(50..2_500))).await;
                proxy.thaw();
                drop(outage);
            }
            Ok(())
        })
        .await
}

/// In bytes per second and connection. An append and its answer have a few thousand.
const SLOWEST: u64 = 10_000;
const FASTEST: u64 = 200_000;
