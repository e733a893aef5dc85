//! Fire by using up what there is a limit of.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use super::writers::Writers;
use crate::server_log::ServerLog;
use crate::site::{Setting, Site};
use crate::{Campaign, Failure};

/// Takes all connection slots, the writers' as well, until the server refused a writer.
pub async fn slots(site: &Site) -> Result<(), Failure> {
    let writers = Writers::connect(site, Campaign::Slots, &[Setting::DEFAULT]).await?;
    writers
        .hold_out(async |director| {
            let control = site.control().await?;
            for _ in director.one_in(75) {
                director.pace(60).await;
                let log = ServerLog::from_now(site.cluster.primary().log())?;
                let outage = site.notes.outage();
                let mut grabbed = Grabbed::default();
                // The pool is as quick as they are, but pauses when it is refused.
                let patience = Instant::now() + PATIENCE;
                loop {
                    grabbed.grab(site).await;
                    let sessions = site.backends(&control).await?;
                    if sessions.is_empty() || Instant::now() > patience {
                        break;
                    }
                    for session in sessions {
                        let text = "SELECT pg_terminate_backend($1)";
                        control
                            .query(text, &[&session])
                            .await
                            .map_err(Failure::sql("end a session"))?;
                    }
                }
                let refused =
                    wait_for(async || Ok(log.count(&NO_SLOT)?.saturating_sub(grabbed.refusals)));
                director.struck(refused.await?);
                drop((grabbed, outage));
            }
            Ok(())
        })
        .await
}

/// Clients that do nothing but be there.
#[derive(Default)]
struct Grabbed {
    clients: Vec<Client>,
    /// How often they themselves were refused.
    refusals: u64,
}

impl Grabbed {
    /// Takes slots until there are none.
    async fn grab(&mut self, site: &Site) {
        while let Ok(client) = site.client().await {
            self.clients.push(client);
        }
        self.refusals += 1;
    }
}

/// Holds the log's lock until somebody's patience with it, and somebody's statement, has ended.
pub async fn timeouts(site: &Site) -> Result<(), Failure> {
    let (long, short) = (Duration::from_secs(10), Duration::from_millis(150));
    let settings = [
        Setting { lock_timeout: short, statement_timeout: long, ..Setting::DEFAULT },
        Setting { lock_timeout: long, statement_timeout: short, ..Setting::DEFAULT },
    ];
    let writers = Writers::connect(site, Campaign::Timeouts, &settings).await?;
    writers
        .hold_out(async |director| {
            let control = site.control().await?;
            let failed = Failure::sql("hold the log's lock");
            for _ in director.one_in(75) {
                director.pace(60).await;
                let log = ServerLog::from_now(site.cluster.primary().log())?;
                let lock = format!("SELECT pg_advisory_lock({LOCK}), pg_sleep(0.3)");
                let unlock = format!("SELECT pg_advisory_unlock({LOCK})");
                control.batch_execute(&lock).await.map_err(&failed)?;
                for ended in [LOCK_TIMEOUT, STATEMENT_TIMEOUT] {
                    director.struck(wait_for(async || log.count(&[ended])).await?);
                }
                control.batch_execute(&unlock).await.map_err(&failed)?;
            }
            Ok(())
        })
        .await
}

/// Waits until a count is more than nothing, and returns it; nothing if that takes too long, which
/// the report will show.
async fn wait_for(count: impl AsyncFn() -> Result<u64, Failure>) -> Result<u64, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let counted = count().await?;
        if counted > 0 || Instant::now() > deadline {
            return Ok(counted);
        }
        sleep(PAUSE).await;
    }
}

/// The key of the log's lock, as SQL.
const LOCK: &str = "(x'0edd1e5e'::bigint << 32) | 'events'::regclass::oid::bigint";

const NO_SLOT: [&str; 2] = ["remaining connection slots are reserved", "too many clients already"];
const LOCK_TIMEOUT: &str = "canceling statement due to lock timeout";
const STATEMENT_TIMEOUT: &str = "canceling statement due to statement timeout";

const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(10);
