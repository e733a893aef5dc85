//! Faults by exhausting a limit of the server.

use std::time::Duration;

use local_postgres::{Error, ServerLog};
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use super::writers::Writers;
use crate::testbed::{Setting, Testbed};
use crate::{Campaign, Failure};

/// Takes all connection slots, including those of the writers, until the server has refused a
/// writer.
pub async fn slots(testbed: &Testbed) -> Result<(), Failure> {
    let writers = Writers::connect(testbed, Campaign::Slots, &[Setting::DEFAULT]).await?;
    writers
        .run_with(async |injector| {
            let control = testbed.control().await?;
            for _ in injector.one_in(75) {
                injector.wait_for_appends(60).await;
                let log =
                    ServerLog::from_now(testbed.cluster.primary()).map_err(Failure::Cluster)?;
                let outage = testbed.recorder.outage();
                let mut grabbed = Grabbed::default();
                // The pool reconnects as fast as these clients do, but it pauses after a refusal.
                let deadline = Instant::now() + TIMEOUT;
                loop {
                    grabbed.grab(testbed).await;
                    let sessions = testbed.backends(&control).await?;
                    if sessions.is_empty() || Instant::now() > deadline {
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
                injector.add_faults(refused.await?);
                drop((grabbed, outage));
            }
            Ok(())
        })
        .await
}

/// Idle clients that occupy connection slots.
#[derive(Default)]
struct Grabbed {
    clients: Vec<Client>,
    /// How many times these clients themselves were refused.
    refusals: u64,
}

impl Grabbed {
    /// Takes connection slots until none is left.
    async fn grab(&mut self, testbed: &Testbed) {
        while let Ok(client) = testbed.client().await {
            self.clients.push(client);
        }
        self.refusals += 1;
    }
}

/// Holds the log's lock until a lock timeout and a statement timeout of writers have expired.
pub async fn timeouts(testbed: &Testbed) -> Result<(), Failure> {
    let (long, short) = (Duration::from_secs(10), Duration::from_millis(500));
    let settings = [
        Setting { lock_timeout: short, statement_timeout: long, ..Setting::DEFAULT },
        Setting { lock_timeout: long, statement_timeout: short, ..Setting::DEFAULT },
    ];
    let writers = Writers::connect(testbed, Campaign::Timeouts, &settings).await?;
    writers
        .run_with(async |injector| {
            let control = testbed.control().await?;
            let failed = Failure::sql("hold the log's lock");
            for _ in injector.one_in(75) {
                injector.wait_for_appends(60).await;
                let log =
                    ServerLog::from_now(testbed.cluster.primary()).map_err(Failure::Cluster)?;
                let lock = format!("SELECT pg_advisory_lock({LOCK}), pg_sleep(1)");
                let unlock = format!("SELECT pg_advisory_unlock({LOCK})");
                control.batch_execute(&lock).await.map_err(&failed)?;
                for ended in [LOCK_TIMEOUT, STATEMENT_TIMEOUT] {
                    injector.add_faults(wait_for(async || log.count(&[ended])).await?);
                }
                control.batch_execute(&unlock).await.map_err(&failed)?;
            }
            Ok(())
        })
        .await
}

/// Waits until a count is positive, and returns it. Returns zero after a timeout, which makes the
/// report void.
async fn wait_for(count: impl AsyncFn() -> Result<u64, Error>) -> Result<u64, Failure> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let counted = count().await.map_err(Failure::Cluster)?;
        if counted > 0 || Instant::now() > deadline {
            return Ok(counted);
        }
        sleep(PAUSE).await;
    }
}

/// The key of the log's lock, in SQL.
const LOCK: &str = "(x'0edd1e5e'::bigint << 32) | 'events'::regclass::oid::bigint";

const NO_SLOT: [&str; 2] = ["remaining connection slots are reserved", "too many clients already"];
const LOCK_TIMEOUT: &str = "canceling statement due to lock timeout";
const STATEMENT_TIMEOUT: &str = "canceling statement due to statement timeout";

const PAUSE: Duration = Duration::from_millis(20);
const TIMEOUT: Duration = Duration::from_secs(10);
