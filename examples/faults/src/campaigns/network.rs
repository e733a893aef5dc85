//! Faults of the network between writers and server: it is slow, or passes nothing.

use std::sync::Arc;
use std::time::Duration;

use fault_proxy::Direction;
use rand::RngExt;
use tokio::time::sleep;

use super::writers::Writers;
use crate::testbed::{Setting, Testbed};
use crate::{Campaign, Failure};

/// Passes bytes at changing rates.
pub async fn slow(testbed: &Testbed) -> Result<(), Failure> {
    let writers = Writers::connect(testbed, Campaign::Slow, &[Setting::DEFAULT]).await?;
    let proxy = Arc::clone(&writers.proxy);
    writers
        .run_with(async |injector| {
            for _ in injector.one_in(20) {
                for direction in Direction::BOTH {
                    let pace = injector.random.random_range(SLOWEST..FASTEST);
                    proxy.limit_rate(direction, injector.random.random_ratio(2, 3).then_some(pace));
                }
                injector.wait_for_appends(20).await;
                injector.add_faults(u64::from(injector.in_flight() > 0));
            }
            Direction::BOTH.iter().for_each(|&direction| proxy.limit_rate(direction, None));
            Ok(())
        })
        .await
}

/// Passes no byte for a while.
pub async fn silence(testbed: &Testbed) -> Result<(), Failure> {
    let writers = Writers::connect(testbed, Campaign::Silence, &[Setting::DEFAULT]).await?;
    let proxy = Arc::clone(&writers.proxy);
    writers
        .run_with(async |injector| {
            for _ in injector.one_in(40) {
                injector.wait_for_appends(40).await;
                let outage = testbed.recorder.outage();
                proxy.freeze();
                injector.add_faults(u64::from(injector.in_flight() > 0));
                sleep(Duration::from_millis(injector.random.random_range(50..2_500))).await;
                proxy.thaw();
                drop(outage);
            }
            Ok(())
        })
        .await
}

/// The range of rates, in bytes per second and connection. An append and its answer have a few
/// thousand bytes.
const SLOWEST: u64 = 10_000;
const FASTEST: u64 = 200_000;
