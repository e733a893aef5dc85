//! The server under test, its logs, and the connections to it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use console::print_stderr;
use eddyline::{Config, ReadWrite, RetryPolicy, Schema, Store};
use fault_proxy::{Direction, Proxy};
use local_postgres::{Cluster, Programs, find_or_install};
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::checker::{DEADLINE, Entry};
use crate::recorder::Recorder;
use crate::{Campaign, Failure, Plan};

/// A primary with empty logs: one that most campaigns share, and further ones for writers whose
/// locks would otherwise block all others.
pub struct Testbed {
    pub plan: Plan,
    pub recorder: Arc<Recorder>,
    pub cluster: Cluster,
    pub programs: Programs,
    /// The events of logs on other clusters.
    other_logs: Mutex<Vec<Entry>>,
    proxies: Mutex<Vec<(Campaign, Arc<Proxy>)>>,
}

/// The settings of a store that differ between campaigns.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The number of the log that it appends to.
    pub log: usize,
    pub max_connections: u32,
    pub lock_timeout: Duration,
    pub statement_timeout: Duration,
    /// How long appends wait for others to share a transaction with.
    pub linger: Duration,
}

impl Setting {
    pub const DEFAULT: Self = Self {
        log: 0,
        max_connections: 8,
        lock_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(30),
        linger: Duration::ZERO,
    };
}

impl Testbed {
    pub async fn prepare(plan: Plan, recorder: Arc<Recorder>) -> Result<Self, Failure> {
        let programs = find_or_install(plan.pg_bin.as_deref(), print_stderr);
        let programs = programs.await.map_err(Failure::Cluster)?;
        let cluster = Cluster::builder()
            .programs(programs.clone())
            .fsync(plan.fsync)
            .max_connections(connections(plan.writers))
            .start()
            .await
            .map_err(Failure::Cluster)?;
        cluster.create_database(NAME).await.map_err(Failure::Cluster)?;
        let (other_logs, proxies) = (Mutex::default(), Mutex::default());
        let testbed = Self { plan, recorder, cluster, programs, other_logs, proxies };
        for log in testbed.logs() {
            testbed.create_log(&testbed.cluster.primary().url(NAME), &log).await?;
        }
        // As superusers, the writers could use the reserved connection slots.
        let login = format!("ALTER ROLE {NAME} LOGIN");
        let control = testbed.control().await?;
        control.batch_execute(&login).await.map_err(Failure::sql("create a role"))?;
        Ok(testbed)
    }

    /// Creates a log in a database.
    pub async fn create_log(&self, url: &str, log: &str) -> Result<(), Failure> {
        let failed = Failure::store("create a log");
        let config = Config::new(url).map_err(&failed)?.log(log);
        Schema::new(&config).writer_role(NAME).migrate().await.map_err(failed)
    }

    /// Connects a store to another cluster, to the server that accepts writes.
    pub async fn replicated_store(&self, cluster: &Cluster) -> Result<Store<ReadWrite>, Failure> {
        let failed = Failure::store("connect a store");
        let hosts: Vec<_> =
            cluster.servers().map(|it| format!("{}:{}", it.host(), it.port())).collect();
        let url = format!("postgres://postgres@{}/{NAME}", hosts.join(","));
        let config = Config::new(&url).map_err(&failed)?.retry(self.policy()?);
        Store::<ReadWrite>::connect(config).await.map_err(failed)
    }

    /// Adds the events of a log on another cluster to those that are checked.
    pub fn add_log(&self, entries: Vec<Entry>) {
        self.other_logs.lock().unwrap_or_else(PoisonError::into_inner).extend(entries);
    }

    fn policy(&self) -> Result<RetryPolicy, Failure> {
        match self.plan.retry {
            true => retry_policy().map_err(Failure::store("connect a store")),
            false => Ok(RetryPolicy::never()),
        }
    }

    /// Starts a proxy in front of the server. It runs until the campaign ends.
    pub async fn proxy(&self, campaign: Campaign) -> Result<Arc<Proxy>, Failure> {
        let server = SocketAddr::from(([127, 0, 0, 1], self.cluster.primary().port()));
        let proxy = Arc::new(Proxy::start(server).await.map_err(Failure::Proxy)?);
        let kept = (campaign, Arc::clone(&proxy));
        self.proxies.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
        Ok(proxy)
    }

    /// Connects a store through the proxy.
    pub async fn store(
        &self,
        proxy: &Proxy,
        setting: Setting,
    ) -> Result<Store<ReadWrite>, Failure> {
        let failed = Failure::store("connect a store");
        let url = format!("postgres://{NAME}@{}/{NAME}", proxy.address());
        let config = Config::new(&url)
            .map_err(&failed)?
            .log(log_name(setting.log))
            .retry(self.policy()?)
            .max_connections(setting.max_connections)
            .lock_timeout(setting.lock_timeout)
            .statement_timeout(setting.statement_timeout)
            .linger(setting.linger);
        Store::<ReadWrite>::connect(config).await.map_err(failed)
    }

    /// Connects as the superuser, without a proxy. Retries while the server is not reachable.
    pub async fn control(&self) -> Result<Client, Failure> {
        self.connect(&self.cluster.primary().url(NAME)).await
    }

    /// Connects as the writers' role, without a proxy.
    pub async fn client(&self) -> Result<Client, tokio_postgres::Error> {
        let url = self.cluster.primary().url(NAME).replacen("postgres@", &format!("{NAME}@"), 1);
        connect(&url).await
    }

    /// Connects to an address, without a proxy. Retries while the server is not reachable.
    pub async fn connect(&self, url: &str) -> Result<Client, Failure> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match connect(url).await {
                Err(error) if Instant::now() > deadline => {
                    return Err(Failure::sql("connect")(error));
                }
                Err(_) => sleep(PAUSE).await,
                Ok(client) => return Ok(client),
            }
        }
    }

    /// Returns the process ids of the writers' backends, busy ones first.
    pub async fn backends(&self, control: &Client) -> Result<Vec<i32>, Failure> {
        let text = format!(
            "SELECT pid FROM pg_stat_activity WHERE usename = '{NAME}' AND application_name <> ''
             ORDER BY state <> 'active'"
        );
        let rows = control.query(&text, &[]).await.map_err(Failure::sql("list the sessions"))?;
        let pids: Result<_, _> = rows.iter().map(|row| row.try_get(0)).collect();
        pids.map_err(Failure::sql("list the sessions"))
    }

    /// Ends a campaign whose stores have been dropped: delivers everything that was held back, and
    /// waits until all connections of writers are closed, so that no append is pending.
    pub async fn finish_campaign(&self) -> Result<(), Failure> {
        let proxies =
            std::mem::take(&mut *self.proxies.lock().unwrap_or_else(PoisonError::into_inner));
        let control = self.control().await?;
        let deadline = Instant::now() + TIMEOUT;
        loop {
            // Connections accepted since the last iteration may hold back bytes, too.
            for (_, proxy) in &proxies {
                proxy.release_all();
                proxy.thaw();
                Direction::BOTH.iter().for_each(|&direction| proxy.limit_rate(direction, None));
            }
            if self.backends(&control).await?.is_empty() {
                break;
            }
            if Instant::now() > deadline {
                let what = "the end of the writers' sessions".to_owned();
                return Err(Failure::TimedOut { what, seconds: TIMEOUT.as_secs() });
            }
            sleep(PAUSE).await;
        }
        for (campaign, proxy) in proxies {
            self.recorder.add_connections(campaign, proxy.accepted());
        }
        Ok(())
    }

    /// Reads the logs, each in ascending order.
    pub async fn read_logs(&self) -> Result<Vec<Entry>, Failure> {
        let control = self.control().await?;
        let mut entries = self.other_logs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for log in self.logs() {
            entries.extend(read_log(&control, &log).await?);
        }
        Ok(entries)
    }

    /// Returns the number of transactions that stored the given events.
    pub async fn transactions_of(&self, log: usize, ids: &[Uuid]) -> Result<i64, Failure> {
        let failed = Failure::sql("count transactions");
        let log = log_name(log);
        let text =
            format!("SELECT count(DISTINCT xmin::text) FROM {log} WHERE event_id = ANY ($1)");
        let row = self.control().await?.query_one(&text, &[&ids]).await.map_err(&failed)?;
        row.try_get(0).map_err(failed)
    }

    fn logs(&self) -> impl Iterator<Item = String> + use<> {
        // One log for most campaigns, one for each writer, and one for measurements.
        (0..=self.plan.writers + 1).map(log_name)
    }
}

/// Returns the retry policy with which outcomes are found out. It has no retry budget: budgets
/// protect overloaded servers, but here every second append fails on purpose. After a conflict, a
/// decision takes the log's lock, because decisions under the lock are under test as well.
fn retry_policy() -> Result<RetryPolicy, eddyline::Error> {
    RetryPolicy::builder()
        .attempts(12)
        .attempt_timeout(Duration::from_secs(1))
        .deadline(DEADLINE)
        .no_budget()
        .escalate_after(1)
        .build()
}

/// Returns the server's connection limit. It is enough for two stores of each writer with two
/// connections each, and for as many connections of earlier stores that the server has not closed
/// yet. It is small enough to be exhausted quickly.
fn connections(writers: usize) -> u32 {
    20 + 10 * u32::try_from(writers).unwrap_or(u32::MAX / 20)
}

fn log_name(log: usize) -> String {
    if log == 0 { "events".to_owned() } else { format!("events_{log}") }
}

/// Reads a log in ascending order.
pub async fn read_log(client: &Client, log: &str) -> Result<Vec<Entry>, Failure> {
    let failed = Failure::sql("read a log");
    let text = format!("SELECT sequence_number, event_id FROM {log} ORDER BY sequence_number");
    let rows = client.query(&text, &[]).await.map_err(&failed)?;
    let entry = |row: &tokio_postgres::Row| {
        let position: i64 = row.try_get(0)?;
        Ok(Entry { position: position.cast_unsigned(), id: row.try_get(1)? })
    };
    rows.iter().map(entry).collect::<Result<_, _>>().map_err(failed)
}

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // The client's calls report errors of the connection.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// The name of the database and of the writers' role.
const NAME: &str = "faults";

const PAUSE: Duration = Duration::from_millis(5);
const TIMEOUT: Duration = Duration::from_secs(60);
