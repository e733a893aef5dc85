//! The machine that runs the generator, and what this process takes of it.

use std::fs;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::report::Machine;

/// Returns a description of this machine. What the system does not tell is `unknown` or zero.
pub fn machine() -> Machine {
    let value = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line[key.len()..].trim_start_matches([' ', '\t', ':', '=']).to_owned())
    };
    let unknown = || "unknown".to_owned();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease");
    let kernel = kernel.map_or_else(|_| unknown(), |release| release.trim().to_owned());
    let name = value("/etc/os-release", "PRETTY_NAME");
    let name = name.map_or_else(|| std::env::consts::OS.to_owned(), |name| name.replace('"', ""));
    let memory = value("/proc/meminfo", "MemTotal");
    let memory = memory.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    Machine {
        system: format!("{name}, kernel {kernel}"),
        processor: value("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
        processors: available_parallelism().map_or(0, usize::from),
        memory_gib: memory.map_or(0.0, |kib| (kib / (1024.0 * 1024.0) * 10.0).round() / 10.0),
    }
}

/// Returns the version of eddyline.
pub fn eddyline_version() -> &'static str {
    let manifest = include_str!("../../../Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = "));
    version.unwrap_or("unknown").trim_matches('"')
}

/// Returns the CPU time of the threads of this process that are running. Returns `None` if the
/// system does not tell it.
pub fn cpu_time() -> Option<Duration> {
    let threads = fs::read_dir("/proc/self/task").ok()?;
    let mut nanoseconds = 0;
    for thread in threads {
        // A thread that has just ended has no file any more.
        let Ok(times) = fs::read_to_string(thread.ok()?.path().join("schedstat")) else { continue };
        nanoseconds += times.split(' ').next()?.parse::<u64>().ok()?;
    }
    (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eddyline_has_a_version() {
        assert!(eddyline_version().split('.').count() >= 3, "{}", eddyline_version());
    }

    #[test]
    fn the_machine_has_processors() {
        let machine = machine();

        assert!(machine.processors > 0, "{machine:?}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn work_takes_cpu_time() {
        let before = cpu_time().unwrap();

        let mut number = 1_u64;
        while cpu_time().unwrap() == before {
            number = std::hint::black_box(number.wrapping_mul(3));
        }

        assert!(cpu_time().unwrap() > before);
    }
}
