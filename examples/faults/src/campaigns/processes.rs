//! Faults of the server's processes.

use std::time::Duration;

use rand::RngExt;
use tokio::time::sleep;

use super::writers::{Injector, Writers};
use crate::testbed::{Setting, Testbed};
use crate::{Campaign, Failure};

/// Kills backends. The server then terminates all others and recovers.
pub async fn kill(testbed: &Testbed) -> Result<(), Failure> {
    let writers = Writers::connect(testbed, Campaign::Kill, &[Setting::DEFAULT]).await?;
    writers
        .run_with(async |injector| {
            for _ in injector.one_in(30) {
                injector.wait_for_appends(40).await;
                let control = testbed.control().await?;
                let Some(target) = target(injector, &testbed.backends(&control).await?) else {
                    continue;
                };
                let outage = testbed.recorder.outage();
                // The backend may have ended by itself.
                if testbed.cluster.primary().kill_backend(target).is_ok() {
                    injector.add_faults(1);
                    // Until this connection is closed, the server accepts connections that it is
                    // about to close.
                    while !control.is_closed() {
                        sleep(PAUSE).await;
                    }
                    testbed.control().await?;
                }
                drop(outage);
            }
            Ok(())
        })
        .await
}

/// Terminates backends, as an administrator does.
pub async fn terminate(testbed: &Testbed) -> Result<(), Failure> {
    let writers = Writers::connect(testbed, Campaign::Terminate, &[Setting::DEFAULT]).await?;
    writers
        .run_with(async |injector| {
            let control = testbed.control().await?;
            for _ in injector.one_in(8) {
                injector.wait_for_appends(10).await;
                let Some(target) = target(injector, &testbed.backends(&control).await?) else {
                    continue;
                };
                let ended = control.query_one("SELECT pg_terminate_backend($1)", &[&target]).await;
                let failed = Failure::sql("end a session");
                let ended: bool = ended.and_then(|row| row.try_get(0)).map_err(failed)?;
                injector.add_faults(u64::from(ended));
            }
            Ok(())
        })
        .await
}

/// Stops the primary in immediate mode, and starts it again.
pub async fn restart(testbed: &Testbed) -> Result<(), Failure> {
    let writers = Writers::connect(testbed, Campaign::Restart, &[Setting::DEFAULT]).await?;
    writers
        .run_with(async |injector| {
            for _ in injector.one_in(60) {
                injector.wait_for_appends(60).await;
                let outage = testbed.recorder.outage();
                testbed.cluster.primary().stop_immediately().await.map_err(Failure::Cluster)?;
                injector.add_faults(1);
                testbed.cluster.primary().start().await.map_err(Failure::Cluster)?;
                drop(outage);
            }
            Ok(())
        })
        .await
}

/// Stops all of the server for a while: it accepts no connections, and its backends neither read
/// nor write. Afterwards they read what was sent to them in the meantime.
pub async fn freeze(testbed: &Testbed) -> Result<(), Failure> {
    let writers = Writers::connect(testbed, Campaign::Freeze, &[Setting::DEFAULT]).await?;
    writers
        .run_with(async |injector| {
            for _ in injector.one_in(60) {
                injector.wait_for_appends(60).await;
                let primary = testbed.cluster.primary();
                let outage = testbed.recorder.outage();
                primary.freeze().await.map_err(Failure::Cluster)?;
                injector.add_faults(u64::from(injector.in_flight() > 0));
                sleep(Duration::from_millis(injector.random.random_range(200..2_000))).await;
                primary.thaw().map_err(Failure::Cluster)?;
                drop(outage);
            }
            Ok(())
        })
        .await
}

/// Chooses a backend, preferably a busy one.
fn target(injector: &mut Injector<'_>, sessions: &[i32]) -> Option<i32> {
    let busiest = sessions.get(..sessions.len().min(3)).filter(|some| !some.is_empty())?;
    Some(busiest[injector.random.random_range(0..busiest.len())])
}

const PAUSE: Duration = Duration::from_millis(2);
