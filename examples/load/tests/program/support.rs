//! Runs of the program, and a cluster for those that are given servers.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use eddyline::{AppendCondition, Config, Event, ReadWrite, Schema, Store};
use local_postgres::Cluster;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

pub const SMALL: [&str; 4] = ["--books", "400", "--readers", "100"];
pub const SHORT: [&str; 6] = ["--seconds", "2", "--rate", "60", "--shape", "constant"];

/// A database on a primary and a replica.
pub struct Servers {
    pub primary: String,
    pub replica: String,
}

impl Servers {
    pub async fn open() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let cluster = cluster().await;
        let database = format!("load_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        cluster.create_database(&database).await.unwrap();
        let [primary, replica] =
            [cluster.primary(), &cluster.standbys()[0]].map(|server| server.url(&database));
        Self { primary, replica }
    }

    /// Appends an event to the log as any other program could.
    pub async fn append(&self, event_type: &str, payload: Value) {
        let config = Config::new(&self.primary).unwrap().log("library");
        Schema::new(&config).migrate().await.unwrap();
        let store = Store::<ReadWrite>::connect(config).await.unwrap();
        let id = uuid::Uuid::now_v7();
        let metadata = json!({ "MessageID": id, "CausationID": id, "CorrelationID": id });
        let event = Event::new(event_type, &payload).unwrap();
        let event = event.with_metadata(&metadata).unwrap();
        store.append([event], AppendCondition::none()).await.unwrap();
    }

    pub fn arguments(&self) -> [&str; 4] {
        ["--primary", &self.primary, "--replica", &self.replica]
    }
}

/// Returns the cluster. The first test starts it; it stops when the process ends.
async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    let start = || async { Cluster::builder().standbys(1).fsync(false).start().await.unwrap() };
    CLUSTER.get_or_init(start).await
}

/// A folder for the reports of a run.
pub struct Reports(TempDir);

impl Reports {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    pub fn json_path(&self) -> PathBuf {
        self.folder().join("report.json")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.json_path()).unwrap()).unwrap()
    }

    /// Returns the program with these arguments. Its reports go to the folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut load = Command::new(env!("CARGO_BIN_EXE_load"));
        load.args(arguments).arg("--json").arg(self.json_path());
        load.arg("--html").arg(self.folder().join("report.html"));
        load
    }

    /// Runs the program until it exits.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        output(self.command(arguments)).await
    }

    /// Runs a small and short load against servers.
    pub async fn run_against(&self, servers: &Servers, arguments: &[&str]) -> Output {
        self.run(&[&SMALL[..], &SHORT, &servers.arguments(), arguments].concat()).await
    }

    /// Starts the program with pipes for its output.
    pub fn start(&self, arguments: &[&str]) -> Child {
        let mut load = self.command(arguments);
        load.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

pub async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

pub async fn wait(child: Child) -> Output {
    tokio::task::spawn_blocking(|| child.wait_with_output()).await.unwrap().unwrap()
}

pub fn lines(bytes: &[u8]) -> Vec<&str> {
    std::str::from_utf8(bytes).unwrap().lines().collect()
}

/// Checks that the program has found nothing wrong.
#[track_caller]
pub fn assert_clean(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("audit: no findings in "), "{output:?}");
}
