//! Disturbances of one standby.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::time::sleep;

use super::Disturbance;
use crate::failure::Failure;
use crate::run::Run;

/// Disturbs a standby for a while. It runs when this returns, but may have to catch up.
pub async fn disturb(
    run: &Run,
    disturbance: Disturbance,
    number: usize,
    random: &mut SmallRng,
) -> Result<(), Failure> {
    let standby = run.testbed.server(number);
    let _active = run.record.disturb(disturbance);
    let time = Duration::from_millis(random.random_range(200..1_500));
    let hold = async || {
        sleep(time).await;
        run.record.wait_for_appends(FEWEST_APPENDS).await
    };
    match disturbance {
        Disturbance::Paused => {
            standby.pause_replay().await?;
            hold().await?;
            standby.resume_replay().await?;
        }
        Disturbance::Delayed => {
            let delay = format!("{}ms", random.random_range(100..3_000));
            standby.set(APPLY_DELAY, delay).await?;
            hold().await?;
            standby.set(APPLY_DELAY, 0).await?;
        }
        Disturbance::Frozen => {
            standby.freeze().await?;
            hold().await?;
            standby.thaw()?;
        }
        Disturbance::Killed => {
            standby.kill().await?;
            hold().await?;
            standby.start().await?;
        }
        Disturbance::Restarted => {
            standby.restart().await?;
            run.record.wait_for_appends(FEWEST_APPENDS).await?;
        }
        Disturbance::Removed => {
            run.stores.remove(number).await?;
            hold().await?;
            run.stores.add(&run.testbed, number).await?;
        }
        Disturbance::Slowed => {
            run.testbed.limit_answers(Some(SLOW));
            hold().await?;
            run.testbed.limit_answers(None);
        }
        Disturbance::Promoted | Disturbance::FailedOver => {}
    }
    Ok(())
}

/// The fewest appends during a disturbance.
const FEWEST_APPENDS: u64 = 20;

/// The rate of slow answers, in bytes per second. A short answer takes some 40 ms.
const SLOW: u64 = 4_000;

const APPLY_DELAY: &str = "recovery_min_apply_delay";
