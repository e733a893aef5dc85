//! Fire at the server's processes.

use std::time::Duration;

use rand::RngExt;
use tokio::time::sleep;

use super::writers::{Director, Writers};
use crate::site::{Setting, Site};
use crate::{Campaign, Failure};

/// Kills sessions; the server then ends all others and recovers.
pub async fn kill(site: &Site) -> Result<(), Failure> {
    let writers = Writers::connect(site, Campaign::Kill, &[Setting::DEFAULT]).await?;
    writers
        .hold_out(async |director| {
            for _ in director.one_in(30) {
                director.pace(40).await;
                let control = site.control().await?;
                let Some(victim) = victim(director, &site.backends(&control).await?) else {
                    continue;
                };
                let outage = site.notes.outage();
                // It may have ended by itself.
                if site.cluster.primary().kill_backend(victim).is_ok() {
                    director.struck(1);
                    // Until then the server takes connections that it is about to end.
                    while !control.is_closed() {
                        sleep(PAUSE).await;
                    }
                    site.control().await?;
                }
                drop(outage);
            }
            Ok(())
        })
        .await
}

/// Ends sessions, as an administrator does.
pub async fn terminate(site: &Site) -> Result<(), Failure> {
    let writers = Writers::connect(site, Campaign::Terminate, &[Setting::DEFAULT]).await?;
    writers
        .hold_out(async |director| {
            let control = site.control().await?;
            for _ in director.one_in(8) {
                director.pace(10).await;
                let Some(victim) = victim(director, &site.backends(&control).await?) else {
                    continue;
                };
                let ended = control.query_one("SELECT pg_terminate_backend($1)", &[&victim]).await;
                let failed = Failure::sql("end a session");
                let ended: bool = ended.and_then(|row| row.try_get(0)).map_err(failed)?;
                director.struck(u64::from(ended));
            }
            Ok(())
        })
        .await
}

/// Stops the primary at once, and starts it again.
pub async fn restart(site: &Site) -> Result<(), Failure> {
    let writers = Writers::connect(site, Campaign::Restart, &[Setting::DEFAULT]).await?;
    writers
        .hold_out(async |director| {
            for _ in director.one_in(60) {
                director.pace(60).await;
                let outage = site.notes.outage();
                site.cluster.primary().stop_immediately().await.map_err(Failure::Cluster)?;
                director.struck(1);
                site.cluster.primary().start().await.map_err(Failure::Cluster)?;
                drop(outage);
            }
            Ok(())
        })
        .await
}

/// Stops all of the server for a while: it takes no connections, and its sessions neither read nor
/// write, but what was sent to them they will find.
pub async fn freeze(site: &Site) -> Result<(), Failure> {
    let writers = Writers::connect(site, Campaign::Freeze, &[Setting::DEFAULT]).await?;
    writers
        .hold_out(async |director| {
            let control = site.control().await?;
            for _ in director.one_in(60) {
                director.pace(60).await;
                let primary = site.cluster.primary();
                let outage = site.notes.outage();
                // First, so that no session begins that would go on.
                primary.sigstop().map_err(Failure::Cluster)?;
                let mut frozen = site.backends(&control).await?;
                frozen.retain(|&session| primary.sigstop_backend(session).is_ok());
                director.struck(u64::from(!frozen.is_empty() && director.in_flight() > 0));
                sleep(Duration::from_millis(director.random.random_range(200..2_000))).await;
                for session in frozen {
                    primary.sigcont_backend(session).map_err(Failure::Cluster)?;
                }
                primary.sigcont().map_err(Failure::Cluster)?;
                drop(outage);
            }
            Ok(())
        })
        .await
}

/// Chooses a session, rather a busy one.
fn victim(director: &mut Director<'_>, sessions: &[i32]) -> Option<i32> {
    let busiest = sessions.get(..sessions.len().min(3)).filter(|some| !some.is_empty())?;
    Some(busiest[director.random.random_range(0..busiest.len())])
}

const PAUSE: Duration = Duration::from_millis(2);
