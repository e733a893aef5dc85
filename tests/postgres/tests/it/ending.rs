//! Cleanup after the process that owns a cluster has ended.

use std::fs;
use std::future;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use local_postgres::Cluster;
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::Outcome;
use crate::client::{books, wait_until, write_a_book};

/// Runs in a process that other tests start and kill.
#[tokio::test]
#[ignore = "keeps a cluster running until it is killed"]
async fn keep_a_cluster_running() -> Outcome {
    let mut builder = Cluster::builder().standbys(2).fsync(false);
    if let Some(directory) = std::env::var_os("KEEP_IN") {
        builder = builder.directory(directory);
    }
    let cluster = builder.start().await?;
    write_a_book(cluster.primary()).await?;
    println!("started");
    future::pending::<()>().await;
    Ok(())
}

/// A process that owns a cluster, with its own folder for temporary files.
struct Owner {
    process: Child,
    folder: TempDir,
}

impl Owner {
    fn start(kept: bool) -> Result<Self, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let mut command = Command::new(std::env::current_exe()?);
        if kept {
            command.env("KEEP_IN", folder.path().join("kept"));
        }
        let process = command
            .args(["--exact", "ending::keep_a_cluster_running", "--ignored", "--nocapture"])
            .env("TMPDIR", folder.path())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self { process, folder })
    }

    /// Waits until the whole cluster is running.
    fn wait_until_started(&mut self) -> Outcome {
        let output = self.process.stdout.take().ok_or("no output")?;
        for line in BufReader::new(output).lines() {
            if line?.contains("started") {
                return Ok(());
            }
        }
        Err("the owner failed".into())
    }

    /// Sends a signal to the process group, as a terminal does, and waits for the process.
    fn end_by(&mut self, signal: Signal) -> Outcome {
        let group = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        rustix::process::kill_process_group(group.ok_or("no process")?, signal)?;
        self.process.wait()?;
        Ok(())
    }

    /// Returns whether a server or `initdb` is still running in the cluster.
    fn has_servers(&self) -> bool {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let folders =
            processes.filter_map(|process| fs::read_link(process.path().join("cwd")).ok());
        let mut folders = folders.collect::<Vec<PathBuf>>().into_iter();
        folders.any(|folder| folder.starts_with(self.folder.path()))
    }

    /// Counts the files that are left.
    fn left_files(&self) -> usize {
        fs::read_dir(self.folder.path()).map_or(0, |entries| entries.count())
    }

    fn contains(&self, file: &str) -> bool {
        let clusters = fs::read_dir(self.folder.path()).into_iter().flatten().flatten();
        clusters.map(|cluster| cluster.path()).any(|cluster| cluster.join(file).exists())
    }

    /// Waits until no process and no file is left.
    fn leaves_nothing(&self) -> Outcome {
        wait_until("no server is left", || !self.has_servers())?;
        wait_until("the directory is gone", || self.left_files() == 0)
    }
}

#[test]
fn nothing_is_left_after_the_owner_is_killed() -> Outcome {
    let mut owner = Owner::start(false)?;
    owner.wait_until_started()?;
    assert!(owner.has_servers());

    owner.end_by(Signal::KILL)?;

    owner.leaves_nothing()
}

#[test]
fn nothing_is_left_after_the_owner_is_interrupted() -> Outcome {
    let mut owner = Owner::start(false)?;
    owner.wait_until_started()?;

    owner.end_by(Signal::INT)?;

    owner.leaves_nothing()
}

#[test]
fn nothing_is_left_after_the_owner_is_killed_during_the_start() -> Outcome {
    for file in PROGRESS {
        let mut owner = Owner::start(false)?;
        wait_until(file, || owner.contains(file))?;

        owner.end_by(Signal::KILL)?;

        owner.leaves_nothing().map_err(|error| format!("killed at {file:?}: {error}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_kept_cluster_is_shut_down_cleanly_after_its_owner_is_killed() -> Outcome {
    let mut owner = Owner::start(true)?;
    owner.wait_until_started()?;
    owner.end_by(Signal::KILL)?;

    let directory = owner.folder.path().join("kept");
    let cluster = Cluster::builder().standbys(2).fsync(false).directory(directory).start().await?;

    assert_eq!(books(cluster.primary()).await?, 1);
    let log = fs::read_to_string(cluster.primary().log())?;
    assert!(!log.contains("not properly shut down"), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_kept_cluster_starts_again_after_its_owner_is_killed_at_any_time() -> Outcome {
    for file in PROGRESS {
        let mut owner = Owner::start(true)?;
        wait_until(file, || owner.contains(file))?;
        owner.end_by(Signal::KILL)?;

        let directory = owner.folder.path().join("kept");
        let cluster =
            Cluster::builder().standbys(2).fsync(false).directory(directory).start().await;

        cluster.map_err(|error| format!("killed at {file:?}: {error}"))?.wait_for_replay().await?;
    }
    Ok(())
}

/// Files whose existence shows the progress of a cluster's start.
const PROGRESS: [&str; 10] = [
    "",
    "creation.log",
    "unfinished",
    "unfinished/primary/PG_VERSION",
    "unfinished/primary/global/pg_control",
    "unfinished/standby_1",
    "servers",
    "servers/primary/postmaster.pid",
    "standby_1.log",
    "servers/standby_2/postmaster.pid",
];
