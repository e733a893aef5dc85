//! The server, and the ways to it.

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
use crate::notes::Notes;
use crate::{Campaign, Failure, Plan};

/// A primary, with empty logs on it: one for all, and some more for writers whose locks would be in
/// the way of too many others.
pub struct Site {
    pub plan: Plan,
    pub notes: Arc<Notes>,
    pub cluster: Cluster,
    pub programs: Programs,
    /// The events of logs elsewhere.
    elsewhere: Mutex<Vec<Entry>>,
    proxies: Mutex<Vec<(Campaign, Arc<Proxy>)>>,
}

/// How the store of a campaign differs from those of others.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Which of the logs it appends to.
    pub log: usize,
    pub max_connections: u32,
    pub lock_timeout: Duration,
    pub statement_timeout: Duration,
    /// How long appends wait for others to go with.
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

impl Site {
    pub async fn prepare(plan: Plan, notes: Arc<Notes>) -> Result<Self, Failure> {
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
        let (elsewhere, proxies) = (Mutex::default(), Mutex::default());
        let site = Self { plan, notes, cluster, programs, elsewhere, proxies };
        for log in site.logs() {
            site.make_log(&site.cluster.primary().url(NAME), &log).await?;
        }
        // A superuser would be let in where others find all slots taken.
        let login = format!("ALTER ROLE {NAME} LOGIN");
        let control = site.control().await?;
        control.batch_execute(&login).await.map_err(Failure::sql("make a role"))?;
        Ok(site)
    }

    /// Makes a log in a database.
    pub async fn make_log(&self, url: &str, log: &str) -> Result<(), Failure> {
        let failed = Failure::store("make a log");
        let config = Config::new(url).map_err(&failed)?.log(log);
        Schema::new(&config).writer_role(NAME).migrate().await.map_err(failed)
    }

    /// Connects a store to whichever server of another cluster takes writes.
    pub async fn replicated_store(&self, cluster: &Cluster) -> Result<Store<ReadWrite>, Failure> {
        let failed = Failure::store("connect a store");
        let hosts: Vec<_> =
            cluster.servers().map(|it| format!("{}:{}", it.host(), it.port())).collect();
        let url = format!("postgres://postgres@{}/{NAME}", hosts.join(","));
        let config = Config::new(&url).map_err(&failed)?.retry(self.policy()?);
        Store::<ReadWrite>::connect(config).await.map_err(failed)
    }

    /// Adds the events of a log elsewhere to those that are judged.
    pub fn add_log(&self, entries: Vec<Entry>) {
        self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner).extend(entries);
    }

    fn policy(&self) -> Result<RetryPolicy, Failure> {
        match self.plan.retry {
            true => retry().map_err(Failure::store("connect a store")),
            false => Ok(RetryPolicy::never()),
        }
    }

    /// Starts a proxy in front of the server, until the campaign is over.
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

    /// Connects as the superuser, not through a proxy; tries for as long as the server is away.
    pub async fn control(&self) -> Result<Client, Failure> {
        self.connect(&self.cluster.primary().url(NAME)).await
    }

    /// Connects as any client would, not through a proxy.
    pub async fn client(&self) -> Result<Client, tokio_postgres::Error> {
        let url = self.cluster.primary().url(NAME).replacen("postgres@", &format!("{NAME}@"), 1);
        connect(&url).await
    }

    /// Connects as any client would; tries for as long as the server is away.
    pub async fn connect(&self, url: &str) -> Result<Client, Failure> {
        let deadline = Instant::now() + PATIENCE;
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

    /// Returns the process ids of the writers' sessions, busy ones first.
    pub async fn backends(&self, control: &Client) -> Result<Vec<i32>, Failure> {
        let text = format!(
            "SELECT pid FROM pg_stat_activity WHERE usename = '{NAME}' AND application_name <> ''
             ORDER BY state <> 'active'"
        );
        let rows = control.query(&text, &[]).await.map_err(Failure::sql("list the sessions"))?;
        let pids: Result<_, _> = rows.iter().map(|row| row.try_get(0)).collect();
        pids.map_err(Failure::sql("list the sessions"))
    }

    /// Ends a campaign whose stores have been dropped: everything that was held back is delivered,
    /// and when this returns, nobody is connected who could still append.
    pub async fn settle(&self) -> Result<(), Failure> {
        let proxies =
            std::mem::take(&mut *self.proxies.lock().unwrap_or_else(PoisonError::into_inner));
        let control = self.control().await?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            // What was accepted a moment ago may be held back now.
            for (_, proxy) in &proxies {
                proxy.release_all();
                proxy.thaw();
                Direction::BOTH.iter().for_each(|&direction| proxy.set_pace(direction, None));
            }
            if self.backends(&control).await?.is_empty() {
                break;
            }
            if Instant::now() > deadline {
                let what = "the end of the writers' sessions".to_owned();
                return Err(Failure::TimedOut { what, seconds: PATIENCE.as_secs() });
            }
            sleep(PAUSE).await;
        }
        for (campaign, proxy) in proxies {
            self.notes.connected(campaign, proxy.accepted());
        }
        Ok(())
    }

    /// Reads the logs, each in order.
    pub async fn read_logs(&self) -> Result<Vec<Entry>, Failure> {
        let control = self.control().await?;
        let mut entries = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for log in self.logs() {
            entries.extend(read_log(&control, &log).await?);
        }
        Ok(entries)
    }

    /// Returns how many transactions have stored events.
    pub async fn transactions_of(&self, log: usize, ids: &[Uuid]) -> Result<i64, Failure> {
        let failed = Failure::sql("look for events");
        let log = log_name(log);
        let text =
            format!("SELECT count(DISTINCT xmin::text) FROM {log} WHERE event_id = ANY ($1)");
        let row = self.control().await?.query_one(&text, &[&ids]).await.map_err(&failed)?;
        row.try_get(0).map_err(failed)
    }

    fn logs(&self) -> impl Iterator<Item = String> + use<> {
        // One for all, one to measure in, and one for each writer.
        (0..=self.plan.writers + 1).map(log_name)
    }
}

/// The policy under which outcomes are found out. A budget is for servers that fail under their
/// load; here every other append fails on purpose. A decision that has lost a round goes on under
/// the log's lock, which is under campaigns as well.
fn retry() -> Result<RetryPolicy, eddyline::Error> {
    RetryPolicy::builder()
        .attempts(12)
        .attempt_timeout(Duration::from_secs(1))
        .deadline(DEADLINE)
        .no_budget()
        .escalate_after(1)
        .build()
}

/// Returns how many connections the server allows: enough for two stores of each writer, with two
/// connections each, and as many again of stores before them that the server has not ended yet; few enough
/// to be used up soon.
fn connections(writers: usize) -> u32 {
    20 + 10 * u32::try_from(writers).unwrap_or(u32::MAX / 20)
}

fn log_name(log: usize) -> String {
    if log == 0 { "events".to_owned() } else { format!("events_{log}") }
}

/// Reads a log in order.
pub async fn read_log(client: &Client, log: &str) -> Result<Vec<Entry>, Failure> {
    let failed = Failure::sql("read a log");
    let text = format!("SELECT sequence_number, event_id FROM {log} ORDER BY sequence_number");
    let rows = client.query(&text, &[]).await.map_err(&failed)?;
    let entry = |row: &tokio_postgres::Row| {
        let number: i64 = row.try_get(0)?;
        Ok(Entry { number: number.cast_unsigned(), id: row.try_get(1)? })
    };
    rows.iter().map(entry).collect::<Result<_, _>>().map_err(failed)
}

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // Whoever uses the client comes to know of an error of the connection.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// The database, and the role of the writers.
const NAME: &str = "faults";

const PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(60);
