//! Files of plans.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{LineError, Planned};

/// The first line of a plan file, as JSON.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PlanHeader {
    /// The version of the format.
    pub eddyline_load_plan: u32,
    /// The number of intentions.
    pub intentions: u64,
    /// The duration of the load, in microseconds.
    pub duration_us: u64,
    /// The hash of the intentions.
    pub hash: String,
}

/// A plan that was read from a file.
#[derive(Debug)]
pub struct PlanFile {
    /// The first line.
    pub header: PlanHeader,
    /// The intentions, in the order of their times.
    pub intentions: Vec<Planned>,
}

/// An error of a plan file.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// The intentions are not those that were written.
    #[error(
        "{} was changed or is incomplete: its {found} intentions have the hash {actual}, and the \
         first line says {stated}; write the plan again with --write-plan",
        path.display()
    )]
    Changed {
        /// The path.
        path: PathBuf,
        /// The number of intentions in the file.
        found: usize,
        /// Their hash.
        actual: String,
        /// The hash in the first line.
        stated: String,
    },

    /// The first line is not that of a plan.
    #[error("{} is not a plan: its first line must be one that --write-plan has written", path.display())]
    NoPlan {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },

    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },

    /// A line is not valid.
    #[error("{}, line {line}", path.display())]
    Line {
        /// The path.
        path: PathBuf,
        /// The number of the line.
        line: usize,
        /// The cause.
        source: LineError,
    },

    /// The times do not ascend, or go beyond the duration.
    #[error(
        "{}, line {line}: the time must not be before that of the previous line or after the end \
         of the load",
        path.display()
    )]
    Order {
        /// The path.
        path: PathBuf,
        /// The number of the line.
        line: usize,
    },

    /// The format has another version.
    #[error(
        "{} is a plan of version {found}, and this program reads version {VERSION}; write it again \
         with --write-plan and the same options",
        path.display()
    )]
    Version {
        /// The path.
        path: PathBuf,
        /// The version of the file.
        found: u32,
    },

    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Returns the number and the hash of intentions: SHA-256 of their lines, as 16 digits.
pub fn hash(intentions: impl Iterator<Item = Planned>) -> (u64, String) {
    let (mut count, mut hash) = (0, Sha256::new());
    for planned in intentions {
        count += 1;
        hash.update(planned.to_line());
        hash.update("\n");
    }
    let digest = hash.finalize();
    let digits = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    (count, digits)
}

/// Writes a plan.
///
/// # Errors
///
/// [`PlanFileError::Write`].
pub fn write(
    path: &Path,
    header: &PlanHeader,
    intentions: impl Iterator<Item = Planned>,
) -> Result<(), PlanFileError> {
    let failed = |source| PlanFileError::Write { path: path.to_owned(), source };
    let mut file = io::BufWriter::new(File::create(path).map_err(failed)?);
    let first = serde_json::to_string(header).map_err(|error| failed(error.into()))?;
    writeln!(file, "{first}").map_err(failed)?;
    for planned in intentions {
        writeln!(file, "{}", planned.to_line()).map_err(failed)?;
    }
    file.flush().map_err(failed)
}

/// Reads a plan.
///
/// # Errors
///
/// [`PlanFileError`], with the number of the line that is wrong.
pub fn read(path: &Path) -> Result<PlanFile, PlanFileError> {
    let failed = |source| PlanFileError::Read { path: path.to_owned(), source };
    let mut lines = BufReader::new(File::open(path).map_err(failed)?).lines();
    let first = lines.next().transpose().map_err(failed)?.unwrap_or_default();
    let header = parse_header(path, &first)?;
    let (mut intentions, mut last) = (Vec::new(), Duration::ZERO);
    for (number, text) in (2..).zip(lines) {
        let planned = Planned::from_line(&text.map_err(failed)?).map_err(|source| {
            PlanFileError::Line { path: path.to_owned(), line: number, source }
        })?;
        if planned.at < last || planned.at > Duration::from_micros(header.duration_us) {
            return Err(PlanFileError::Order { path: path.to_owned(), line: number });
        }
        last = planned.at;
        intentions.push(planned);
    }
    let (_, actual) = hash(intentions.iter().copied());
    if actual != header.hash {
        let (found, stated) = (intentions.len(), header.hash);
        return Err(PlanFileError::Changed { path: path.to_owned(), found, actual, stated });
    }
    Ok(PlanFile { header, intentions })
}

fn parse_header(path: &Path, first: &str) -> Result<PlanHeader, PlanFileError> {
    #[derive(Deserialize)]
    struct Version {
        eddyline_load_plan: u32,
    }
    let no_plan = |source| PlanFileError::NoPlan { path: path.to_owned(), source };
    let Version { eddyline_load_plan: found } = serde_json::from_str(first).map_err(no_plan)?;
    if found != VERSION {
        return Err(PlanFileError::Version { path: path.to_owned(), found });
    }
    serde_json::from_str(first).map_err(no_plan)
}

/// The version of the format.
pub const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::plan::{MixOptions, Visits};

    fn intentions() -> Vec<Planned> {
        let visits = Visits::new(MixOptions::usual().check().unwrap(), 1_000, 7);
        let planned = |(at, intention)| Planned { at: Duration::from_millis(at), intention };
        (0..).zip(visits).take(100).map(planned).collect()
    }

    fn written(folder: &Path) -> PathBuf {
        let path = folder.join("plan");
        let (count, hash) = hash(intentions().into_iter());
        let header = PlanHeader {
            eddyline_load_plan: VERSION,
            intentions: count,
            duration_us: 1_000_000,
            hash,
        };
        write(&path, &header, intentions().into_iter()).unwrap();
        path
    }

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();

        let plan = read(&written(folder.path())).unwrap();

        assert_eq!(plan.intentions, intentions());
        assert_eq!(plan.header.intentions, 100);
    }

    #[test]
    fn a_damaged_plan_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path());
        let text = fs::read_to_string(&path).unwrap();
        let replaced = |from: &str, to: &str| text.replacen(from, to, 1);
        let shorter = text.lines().take(50).map(|line| format!("{line}\n")).collect::<String>();

        for (damaged, message) in [
            (String::new(), "is not a plan"),
            ("{}".to_owned(), "is not a plan"),
            (replaced("load_plan\":1", "load_plan\":2"), "is a plan of version 2"),
            (replaced("\n1000 ", "\n-1000 "), "line 3"),
            (
                replaced("duration_us\":1000000", "duration_us\":50000"),
                "the time must not be before",
            ),
            (replaced("\n99000 ", "\n9000 "), "the time must not be before"),
            (shorter, "was changed or is incomplete"),
        ] {
            fs::write(&path, &damaged).unwrap();
            let error = read(&path).unwrap_err();

            assert!(error.to_string().contains(message), "{message}: {error}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("/nowhere/plan")).unwrap_err();

        assert_eq!(error.to_string(), "cannot read /nowhere/plan");
    }
}
