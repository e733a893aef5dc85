//! What goes wrong during a step: a locked table, and replicas that stand still or are gone.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::Failure;
use crate::testbed::{Log, Testbed};

/// Disturbs the servers until a time. All of them work again when it returns.
///
/// # Errors
///
/// [`Failure`] if a server cannot be disturbed.
pub async fn disturb(testbed: &Testbed, length: Duration) -> Result<(), Failure> {
    tokio::try_join!(lock_table(testbed, length), disturb_replicas(testbed, length))?;
    Ok(())
}

/// Locks the log of the unsteady calls for a moment, again and again.
async fn lock_table(testbed: &Testbed, length: Duration) -> Result<(), Failure> {
    let end = Instant::now() + length;
    let client = testbed.sql(testbed.primary()).await?;
    let lock = format!("BEGIN; LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", Log::Unsteady.name());
    while Instant::now() < end {
        client.batch_execute(&lock).await.map_err(Failure::sql("lock a table"))?;
        sleep(LOCKED).await;
        client.batch_execute("COMMIT").await.map_err(Failure::sql("unlock a table"))?;
        sleep(UNLOCKED).await;
    }
    Ok(())
}

/// Lets both replicas stand still for a while, and later stops one.
async fn disturb_replicas(testbed: &Testbed, length: Duration) -> Result<(), Failure> {
    let [first, second] = testbed.replicas() else { return Ok(()) };
    sleep(length / 5).await;
    first.pause_replay().await?;
    second.pause_replay().await?;
    sleep(length / 10).await;
    second.resume_replay().await?;
    first.resume_replay().await?;
    sleep(length / 5).await;
    second.stop_immediately().await?;
    sleep(length / 5).await;
    second.start().await?;
    Ok(())
}

const LOCKED: Duration = Duration::from_millis(60);
const UNLOCKED: Duration = Duration::from_millis(240);
