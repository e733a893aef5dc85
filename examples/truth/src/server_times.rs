//! How long the primary worked on statements.

use local_postgres::{Server, ServerLog};

use crate::Failure;
use crate::statements::Times;

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

    /// Returns what was written since the last call of this method.
    ///
    /// # Errors
    ///
    /// [`Failure::Cluster`].
    pub fn take(&mut self) -> Result<WrittenTimes, Failure> {
        Ok(WrittenTimes(self.log.take_lines()?))
    }

    /// Lets the server write no more durations.
    ///
    /// # Errors
    ///
    /// [`Failure::Cluster`].
    pub async fn end(self) -> Result<(), Failure> {
        Ok(self.server.set("log_min_duration_statement", -1).await?)
    }
}

/// The durations that a server wrote.
#[derive(Clone, Debug)]
pub struct WrittenTimes(String);

impl WrittenTimes {
    /// Returns the times of the statements that contain a text.
    pub fn of(&self, statement: &str) -> Times {
        let steps = self.0.lines().filter_map(|line| step_of(line, statement));
        steps.fold(Times::default(), |sum, (step, seconds)| Times {
            calls: sum.calls + u64::from(step == "execute"),
            seconds: sum.seconds + seconds,
        })
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
        let others = [line("parse", call), line("execute", &other), line("execute", "SELECT 1")];
        for line in others {
            assert_eq!(step_of(&line, procedure), None, "{line}");
        }
        let written = [line("bind", call), line("execute", call), line("execute", &other)];
        let times = WrittenTimes(written.join("\n")).of(procedure);
        assert_eq!(times, Times { calls: 1, seconds: 0.002_5 });
    }
}
