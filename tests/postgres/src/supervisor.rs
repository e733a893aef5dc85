//! The supervisor, which ends all started programs even if this process is killed.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Error;
use crate::identity::Identity;

/// A shell that outlives this process to end every program that was launched through it.
///
/// It reads a pipe whose other end only this process holds, so it notices any end of this process.
#[derive(Debug)]
pub(crate) struct Supervisor {
    shell: Mutex<Shell>,
}

#[derive(Debug)]
struct Shell {
    process: Child,
    pipe: Option<ChildStdin>,
}

/// A program to run.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    /// The program.
    pub(crate) program: &'a Path,
    /// Its arguments.
    pub(crate) arguments: &'a [&'a OsStr],
    /// Its working directory.
    pub(crate) folder: &'a Path,
    /// The user that it runs as.
    pub(crate) identity: &'a Identity,
    /// The file for its standard output and standard error.
    pub(crate) output: File,
}

impl Supervisor {
    /// Starts a supervisor that shuts down the servers in a folder in fast mode, keeps the folder,
    /// and holds a lock until it ends.
    pub(crate) fn keeping_directory(folder: &Path, lock: File) -> Result<Self, Error> {
        Self::start("INT QUIT KILL", "keep", folder, lock.into())
    }

    /// Starts a supervisor that stops the servers in a folder in immediate mode and removes the
    /// folder, which need not exist yet.
    pub(crate) fn removing_directory(folder: &Path) -> Result<Self, Error> {
        Self::start("QUIT KILL", "remove", folder, Stdio::null())
    }

    /// Runs a program that ends with this process.
    ///
    /// The program waits until the supervisor is notified of it, so this process cannot die and
    /// leave it behind.
    pub(crate) fn launch(&self, launch: Launch<'_>) -> Result<Child, Error> {
        let Launch { program, arguments, folder, identity, output } = launch;
        let errors = output.try_clone().map_err(Error::io("write the output of", program))?;
        let mut command = Command::new("sh");
        command
            .args(["-c", AWAIT_GO, "local-postgres"])
            .arg(program)
            .args(arguments)
            .envs([("LC_ALL", "C"), ("TZ", "UTC")])
            .current_dir(folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors);
        // libpq variables are removed: a standby's connection to its primary would use PGSSLMODE.
        let inherited = env::vars_os().map(|(name, _)| name);
        for name in inherited.filter(|name| name.as_encoded_bytes().starts_with(b"PG")) {
            command.env_remove(name);
        }
        identity.apply(&mut command);
        let mut child = command.spawn().map_err(Error::io("run", program))?;
        let notified =
            self.notify("launched", child.id()).and_then(|()| match child.stdin.take() {
                Some(mut stdin) => stdin.write_all(b"go\n"),
                None => Ok(()),
            });
        notified.map_err(Error::io("launch", program))?;
        Ok(child)
    }

    /// Notifies the supervisor that a program has ended, before its process id is reused.
    pub(crate) fn forget(&self, child: &Child) {
        // An error means that the supervisor has ended.
        let _ = self.notify("ended", child.id());
    }

    /// Requests the end of all programs.
    pub(crate) fn end(&self) {
        self.shell().pipe = None;
    }

    /// Returns whether all programs have ended.
    pub(crate) fn has_ended(&self) -> bool {
        !matches!(self.shell().process.try_wait(), Ok(None))
    }

    fn start(signals: &str, fate: &str, folder: &Path, output: Stdio) -> Result<Self, Error> {
        let mut process = Command::new("sh")
            .args(["-c", SUPERVISE, "local-postgres", signals, fate])
            .arg(folder)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::io("run", Path::new("sh")))?;
        let pipe = process.stdin.take();
        Ok(Self { shell: Mutex::new(Shell { process, pipe }) })
    }

    fn notify(&self, change: &str, process: u32) -> io::Result<()> {
        match &mut self.shell().pipe {
            Some(pipe) => pipe.write_all(format!("{change} {process}\n").as_bytes()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn shell(&self) -> MutexGuard<'_, Shell> {
        self.shell.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.end();
        // An error means that the supervisor has already ended.
        let _ = self.shell().process.wait();
    }
}

/// The script of the supervisor.
///
/// It reads which programs are launched and have ended. At the end of its input it ends the running
/// ones with each of the signals in order, kills backends that a killed server has left behind, and
/// removes the folder if requested.
///
/// A server that does not end in fast mode gets half a minute: the next start of the cluster waits a
/// minute for the lock.
///
/// A zombie process can still be signaled, so the script checks for the zombie state. On systems
/// without `/proc`, backends that are left behind end by themselves.
const SUPERVISE: &str = r#"
trap '' HUP INT QUIT TERM
signals=$1 fate=$2 folder=$3 running=
while read -r change process; do
    case $change in
    launched) running="$running $process" ;;
    ended)
        others=
        for other in $running; do
            [ "$other" = "$process" ] || others="$others $other"
        done
        running=$others
        ;;
    esac
done

lives() {
    kill -0 "$1" || return 1
    [ -e "/proc/$1/stat" ] || return 0
    read -r stat <"/proc/$1/stat" || return 1
    case $stat in *') Z '*) return 1 ;; esac
}

all_ended_within() {
    tries=$1
    while [ "$tries" -gt 0 ]; do
        left=
        for process in $running; do
            lives "$process" && left="$left $process"
        done
        running=$left
        [ -z "$running" ] && return 0
        sleep 0.02
        tries=$((tries - 1))
    done
    return 1
}

for signal in $signals; do
    for process in $running; do
        kill -s "$signal" -- "-$process"
        kill -s CONT -- "-$process"
    done
    case $signal in
    INT) all_ended_within 1500 ;;
    *) all_ended_within 400 ;;
    esac && break
done

for process in /proc/[0-9]*; do
    for data in "$folder"/servers/*; do
        [ "$process/cwd" -ef "$data" ] || continue
        read -r program <"$process/comm" && [ "$program" = postgres ] || continue
        kill -s KILL "${process#/proc/}"
        running="$running ${process#/proc/}"
    done
done
all_ended_within 400

tries=250
while [ "$fate" = remove ] && [ -e "$folder" ] && [ "$tries" -gt 0 ]; do
    rm -rf "$folder" || sleep 0.02
    tries=$((tries - 1))
done
"#;

/// A script that waits for a line of input and then executes the program in its arguments.
const AWAIT_GO: &str = r#"read -r go && exec "$@" </dev/null"#;
