//! The audit of the primaries: which statements of the readers they have executed, according to
//! their own logs.

use console::Violations;
use local_postgres::ServerLog;

use crate::failure::Failure;
use crate::testbed::{FALLBACK_READER, READER, Testbed};

/// The logs of the servers that readers must not read from.
#[derive(Debug, Default)]
pub struct Audit {
    logs: Vec<(usize, ServerLog)>,
    /// The number of reads by the store that may read from the primary.
    pub fallbacks: u64,
}

impl Audit {
    /// Begins to audit a server.
    pub async fn begin(&mut self, testbed: &Testbed, number: usize) -> Result<(), Failure> {
        let server = testbed.server(number);
        self.logs.push((number, ServerLog::from_now(server)?));
        Ok(server.set(LOG_STATEMENT, "all").await?)
    }

    /// Ends the audit of a server that is no primary any more.
    pub async fn end(&mut self, testbed: &Testbed, number: usize) -> Result<(), Failure> {
        self.logs.retain(|(audited, _)| *audited != number);
        Ok(testbed.server(number).set(LOG_STATEMENT, "none").await?)
    }

    /// Adds what the servers have logged since the last call.
    pub fn collect(
        &mut self,
        testbed: &Testbed,
        violations: &mut Violations,
    ) -> Result<(), Failure> {
        for (number, log) in &mut self.logs {
            let lines = log.take_lines()?;
            let server = testbed.server(*number);
            for read in reads(&lines, READER) {
                violations.add(|| format!("{} on port {}: {read}", server.name(), server.port()));
            }
            self.fallbacks += reads(&lines, FALLBACK_READER).count() as u64;
        }
        Ok(())
    }
}

/// Returns the statements of a user that read events, from the lines of a server's log.
fn reads<'a>(lines: &'a str, user: &'a str) -> impl Iterator<Item = String> + 'a {
    let by_user = format!("] {user} LOG:  execute ");
    entries(lines).filter_map(move |entry| {
        let statement = entry.split_once(&by_user)?.1.to_owned();
        let reads_events = ["payload", "events"].iter().all(|word| statement.contains(word));
        reads_events.then(|| statement.chars().take(LONGEST_EXAMPLE).collect())
    })
}

/// Returns the entries of a server's log, each in one line. The further lines of an entry begin with
/// a tab.
fn entries(lines: &str) -> impl Iterator<Item = String> {
    let mut lines = lines.lines().peekable();
    std::iter::from_fn(move || {
        let mut entry = lines.next()?.to_owned();
        while let Some(line) = lines.next_if(|line| line.starts_with('\t')) {
            entry.push(' ');
            entry.push_str(line.trim());
        }
        Some(entry)
    })
}

/// The longest part of a statement that is reported, in characters.
const LONGEST_EXAMPLE: usize = 80;

const LOG_STATEMENT: &str = "log_statement";

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
2026-11-30 12:00:00.001 UTC [41] freshness_reader LOG:  execute s1: SELECT payload
\t    FROM events
2026-11-30 12:00:00.002 UTC [41] freshness_reader LOG:  execute s2: SELECT max(sequence_number)
\tFROM events
2026-11-30 12:00:00.003 UTC [42] freshness_fallback_reader LOG:  execute s1: SELECT payload FROM events
2026-11-30 12:00:00.004 UTC [43]  LOG:  checkpoint starting: time
2026-11-30 12:00:00.005 UTC [41] freshness_reader LOG:  execute s1: SELECT payload
\t    FROM events
";

    #[test]
    fn finds_the_reads_of_a_user_over_several_lines() {
        let found: Vec<_> = reads(LOG, READER).collect();

        assert_eq!(found, ["s1: SELECT payload FROM events"; 2]);
        assert_eq!(reads(LOG, FALLBACK_READER).count(), 1);
    }
}
