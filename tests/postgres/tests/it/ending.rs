//! What remains when the process that holds a cluster is gone.

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

/// The process that other tests start, and end by force.
#[tokio::test]
#[ignore = "holds a cluster until it is killed"]
async fn holds_a_cluster() -> Outcome {
    let mut builder = Cluster::builder().standbys(2).fsync(false);
    if let Some(directory) = std::env::var_os("HOLD_IN") {
        builder = builder.directory(directory);
    }
    let cluster = builder.start().await?;
    write_a_book(cluster.primary()).await?;
    println!("held");
    future::pending::<()>().await;
    Ok(())
}

/// A process that holds a cluster, in a folder of its own for temporary files.
struct Holder {
    process: Child,
    folder: TempDir,
}

impl Holder {
    fn start(kept: bool) -> Result<Self, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let mut command = Command::new(std::env::current_exe()?);
        if kept {
            command.env("HOLD_IN", folder.path().join("kept"));
        }
        let process = command
            .args(["--exact", "ending::holds_a_cluster", "--ignored", "--nocapture"])
            .env("TMPDIR", folder.path())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self { process, folder })
    }

    /// Waits until the whole cluster is up.
    fn wait_until_held(&mut self) -> Outcome {
        let output = self.process.stdout.take().ok_or("no output")?;
        for line in BufReader::new(output).lines() {
            if line?.contains("held") {
                return Ok(());
            }
        }
        Err("the holder failed".into())
    }

    /// Ends the process and everything in its process group, as a terminal would.
    fn end_by(&mut self, signal: Signal) -> Outcome {
        let group = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        rustix::process::kill_process_group(group.ok_or("no process")?, signal)?;
        self.process.wait()?;
        Ok(())
    }

    /// Says whether some server, or `initdb`, still works on the cluster.
    fn has_servers(&self) -> bool {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let folders =
            processes.filter_map(|process| fs::read_link(process.path().join("cwd")).ok());
        let mut folders = folders.collect::<Vec<PathBuf>>().into_iter();
        folders.any(|folder| folder.starts_with(self.folder.path()))
    }

    fn left_files(&self) -> usize {
        fs::read_dir(self.folder.path()).map_or(0, |entries| entries.count())
    }

    fn holds(&self, file: &str) -> bool {
        let clusters = fs::read_dir(self.folder.path()).into_iter().flatten().flatten();
        clusters.map(|cluster| cluster.path()).any(|cluster| cluster.join(file).exists())
    }

    fn leaves_nothing(&self) -> Outcome {
        wait_until("no server is left", || !self.has_servers())?;
        wait_until("the directory is gone", || self.left_files() == 0)
    }
}

#[test]
fn nothing_is_left_when_the_owner_is_killed() -> Outcome {
    let mut holder = Holder::start(false)?;
    holder.wait_until_held()?;
    assert!(holder.has_servers());

    holder.end_by(Signal::KILL)?;

    holder.leaves_nothing()
}

#[test]
fn nothing_is_left_when_the_owner_is_interrupted() -> Outcome {
    let mut holder = Holder::start(false)?;
    holder.wait_until_held()?;

    holder.end_by(Signal::INT)?;

    holder.leaves_nothing()
}

#[test]
fn nothing_is_left_when_the_owner_is_killed_while_the_cluster_starts() -> Outcome {
    for moment in MOMENTS {
        let mut holder = Holder::start(false)?;
        wait_until(moment, || holder.holds(moment))?;

        holder.end_by(Signal::KILL)?;

        holder.leaves_nothing().map_err(|error| format!("killed at {moment:?}: {error}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_kept_cluster_is_whole_after_its_owner_was_killed() -> Outcome {
    let mut holder = Holder::start(true)?;
    holder.wait_until_held()?;
    holder.end_by(Signal::KILL)?;

    let directory = holder.folder.path().join("kept");
    let cluster = Cluster::builder().standbys(2).fsync(false).directory(directory).start().await?;

    assert_eq!(books(cluster.primary()).await?, 1);
    let log = fs::read_to_string(cluster.primary().log())?;
    assert!(!log.contains("not properly shut down"), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_kept_cluster_starts_again_whenever_its_owner_was_killed() -> Outcome {
    for moment in MOMENTS {
        let mut holder = Holder::start(true)?;
        wait_until(moment, || holder.holds(moment))?;
        holder.end_by(Signal::KILL)?;

        let directory = holder.folder.path().join("kept");
        let cluster =
            Cluster::builder().standbys(2).fsync(false).directory(directory).start().await;

        cluster
            .map_err(|error| format!("killed at {moment:?}: {error}"))?
            .wait_for_replay()
            .await?;
    }
    Ok(())
}

/// Files that show how far the start of a cluster has come.
const MOMENTS: [&str; 10] = [
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
