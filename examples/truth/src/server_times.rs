//! How long the primary worked on a repeated statement.

use local_postgres::{Server, ServerLog};

use crate::Failure;
use crate::repeated::RepeatedOperation;
use crate::statements::Times;
use crate::testbed::Log;

/// The durations that the server writes to its log.
///
/// `pg_stat_statements` measures the run of a plan. The server's log has the binding of parameters
/// and the start of the plan as well, which take longer than the run of a short one. And up to
/// PostgreSQL 15, `pg_stat_statements` counts only the first execution of a prepared `CALL`.
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

    /// Returns the times of the statements of an operation on a log, and lets the server write no
    /// more durations.
    ///
    /// # Errors
    ///
    /// [`Failure::Cluster`].
    pub async fn end(mut self, operation: RepeatedOperation, log: Log) -> Result<Times, Failure> {
        let lines = self.log.take_lines()?;
        self.server.set("log_min_duration_statement", -1).await?;
        let statement = match operation {
            RepeatedOperation::Append => format!("\"{}_append\"(", log.name()),
            RepeatedOperation::Query => FEW.to_owned(),
        };
        let steps = lines.lines().filter_map(|line| step_of(line, &statement));
        Ok(steps.fold(Times::default(), |sum, (step, seconds)| Times {
            calls: sum.calls + u64::from(step == "execute"),
            seconds: sum.seconds + seconds,
        }))
    }
}

/// Returns the step and its duration in seconds, if a line is about a step of a statement: the
/// binding of its parameters or its execution.
fn step_of<'l>(line: &'l str, statement: &str) -> Option<(&'l str, f64)> {
    let (_, rest) = line.split_once("duration: ")?;
    let (milliseconds, rest) = rest.split_once(" ms")?;
    let (step, text) = rest.trim_start().split_once(' ')?;
    let is_of_statement = ["bind", "execute"].contains(&step) && text.contains(statement);
    if !is_of_statement { None } else { Some((step, milliseconds.parse::<f64>().ok()? / 1e3)) }
}

/// The beginning of the statement that reads few events.
const FEW: &str = "WITH candidate AS";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_steps_of_the_statement_count() {
        let call = "CALL \"public\".\"repeated_append\"(NULL, NULL, $1)";
        let line = |step: &str, statement: &str| {
            format!("2026-12-01 00:00:00 UTC [7] LOG:  duration: 1.250 ms  {step} s1: {statement}")
        };
        let other = call.replace("repeated", "calls");
        let procedure = "\"repeated_append\"(";

        for step in ["bind", "execute"] {
            assert_eq!(step_of(&line(step, call), procedure), Some((step, 0.001_25)));
        }
        for line in [line("parse", call), line("execute", &other), line("execute", "SELECT 1")] {
            assert_eq!(step_of(&line, procedure), None, "{line}");
        }
    }
}
