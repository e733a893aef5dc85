//! How long the primary worked on the calls of a log's procedure.

use local_postgres::{Server, ServerLog};

use crate::Failure;
use crate::statements::Times;
use crate::testbed::Log;

/// The durations that the server writes to its log.
///
/// They replace `pg_stat_statements` for the calls of a procedure: up to PostgreSQL 15, it counts
/// only the first execution of a prepared `CALL`.
#[derive(Debug)]
pub struct ServerTimes<'a> {
    server: &'a Server,
    log: ServerLog,
}

impl<'a> ServerTimes<'a> {
    /// Lets the server write the duration of each statement.
    ///
    /// # Errors
    ///
    /// [`Failure::Cluster`].
    pub async fn begin(server: &'a Server) -> Result<Self, Failure> {
        // Values of parameters would only make the log long.
        server.set("log_parameter_max_length", 0).await?;
        server.set("log_min_duration_statement", 0).await?;
        Ok(Self { server, log: ServerLog::from_now(server)? })
    }

    /// Leaves out what was written so far.
    ///
    /// # Errors
    ///
    /// [`Failure::Cluster`].
    pub fn skip(&mut self) -> Result<(), Failure> {
        self.log.take_lines()?;
        Ok(())
    }

    /// Returns the calls of the procedure that appends to a log, and lets the server write no more
    /// durations.
    ///
    /// # Errors
    ///
    /// [`Failure::Cluster`].
    pub async fn end(mut self, log: Log) -> Result<Times, Failure> {
        let lines = self.log.take_lines()?;
        self.server.set("log_min_duration_statement", -1).await?;
        let procedure = format!("\"{}_append\"(", log.name());
        let times = lines.lines().filter_map(|line| duration_of_call(line, &procedure));
        Ok(times.fold(Times::default(), |sum, seconds| Times {
            calls: sum.calls + 1,
            seconds: sum.seconds + seconds,
        }))
    }
}

/// Returns the duration in a line about a call of a procedure, in seconds.
fn duration_of_call(line: &str, procedure: &str) -> Option<f64> {
    let (_, rest) = line.split_once("duration: ")?;
    let (milliseconds, rest) = rest.split_once(" ms")?;
    let is_call = rest.trim_start().starts_with("execute ")
        && rest.contains(": CALL ")
        && rest.contains(procedure);
    if !is_call { None } else { Some(milliseconds.parse::<f64>().ok()? / 1e3) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_executed_calls_of_the_procedure_count() {
        let call = "CALL \"public\".\"repeated_append\"(NULL, NULL, $1)";
        let line = |step: &str, statement: &str| {
            format!("2026-12-01 00:00:00 UTC [7] LOG:  duration: 1.250 ms  {step} s1: {statement}")
        };
        let other = call.replace("repeated", "calls");

        let executed = duration_of_call(&line("execute", call), "\"repeated_append\"(");

        assert_eq!(executed, Some(0.001_25));
        for line in [line("bind", call), line("execute", &other), line("execute", "SELECT 1")] {
            assert_eq!(duration_of_call(&line, "\"repeated_append\"("), None, "{line}");
        }
    }
}
