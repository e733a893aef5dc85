//! The text of a report, for the terminal.

mod asked;
mod operations;
mod servers;

use std::fmt;

use super::number::{count, decimal};
use super::{Figures, Report, ServiceGap};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = self.figures();
        self.write_header(&figures, f)?;
        self.write_operations(&figures, f)?;
        self.write_shares(f)?;
        self.write_schedule(&figures, f)?;
        self.write_contention(&figures, f)?;
        self.write_servers(&figures, f)?;
        self.write_faults(&figures, f)?;
        self.write_limit(&figures, f)?;
        self.write_errors(f)?;
        match &self.audit {
            Some(audit) => write!(f, "{audit}"),
            None => writeln!(f, "audit: not run"),
        }
    }
}

impl Report {
    fn write_header(&self, figures: &Figures, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { load, settings, machine, .. } = self;
        let (ended, seconds) = (count(load.ended), load.seconds);
        write!(f, "{ended} operations in {seconds:.1} s: {}/s", decimal(figures.rate_achieved))?;
        if let Some(asked) = figures.rate_asked {
            write!(f, ", asked for {}/s", decimal(asked))?;
        }
        writeln!(f)?;
        writeln!(f, "{}; {} clients", settings.describe_model(), settings.clients)?;
        writeln!(f, "plan {}, seed {}", settings.plan, settings.seed)?;
        write!(f, "eddyline {}; ", settings.eddyline)?;
        if settings.has_store() {
            let servers = figures.servers.iter();
            let names: Vec<_> = servers.clone().map(|server| server.name.as_str()).collect();
            let version = servers.map(|server| server.version.as_str());
            let version = version.into_iter().find(|version| !version.is_empty()).unwrap_or("?");
            writeln!(f, "PostgreSQL {version}: {} ({})", names.join(", "), figures.owner)?;
        } else {
            writeln!(f, "servers: {}", figures.owner)?;
        }
        writeln!(f, "{}", machine.describe())
    }

    fn write_schedule(&self, figures: &Figures, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let load = &self.load;
        writeln!(
            f,
            "\nof {} operations whose time came: {} began late, {} did not begin, and for {} the city \
             had no suitable reader or book",
            count(load.due),
            count(load.late),
            count(figures.not_begun),
            count(load.impossible)
        )
    }

    fn write_contention(&self, figures: &Figures, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let load = &self.load;
        writeln!(
            f,
            "lost rounds: {} in {} commands; {} decisions under the log's lock; {} retries of \
             transient errors",
            count(load.lost_rounds),
            count(load.commands_with_lost_rounds),
            count(load.escalations),
            count(load.retries)
        )?;
        if let Some(events) = figures.events_per_command {
            writeln!(
                f,
                "histories: a command was decided on {} events on average",
                decimal(events)
            )?;
        }
        match &figures.batches {
            Some(batches) => writeln!(
                f,
                "batches: {} events per transaction, the largest has {}",
                decimal(batches.events_per_transaction),
                count(batches.largest)
            ),
            None => writeln!(f, "batches: not known"),
        }
    }

    fn write_faults(&self, figures: &Figures, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (fault, gap) in self.faults.iter().zip(&figures.gaps) {
            write!(f, "fault at {:.1} s", fault.at)?;
            if let Some(until) = fault.until {
                write!(f, " to {until:.1} s")?;
            }
            write!(f, ": {}", fault.text)?;
            match gap {
                Some(gap @ ServiceGap { from: Some(from), .. }) => write!(
                    f,
                    "; no command succeeded for {:.1} s from {:.1} s (windows of {:.1} s)",
                    gap.seconds, from, gap.resolution
                )?,
                Some(gap) => write!(
                    f,
                    "; no gap in service: commands succeeded in each window of {:.1} s",
                    gap.resolution
                )?,
                None => {}
            }
            match &fault.error {
                Some(error) => writeln!(f, "; failed: {error}")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }

    fn write_limit(&self, figures: &Figures, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(limit) = &self.limit else { return Ok(()) };
        write!(
            f,
            "limit: highest rate with a p99 of commands within {} ms in windows of {:.0} s: ",
            decimal(limit.goal_ms),
            limit.window_seconds
        )?;
        let Some(found) = &figures.limit else {
            return writeln!(f, "none of the {} rounds found one", limit.rounds.len());
        };
        let rates: Vec<_> =
            found.highest_rates.iter().map(|rate| format!("{}/s", decimal(*rate))).collect();
        writeln!(
            f,
            "{}/s (rounds: {}; spread {:.1} % of the median)",
            decimal(found.median),
            rates.join(", "),
            found.spread * 100.0
        )
    }

    fn write_errors(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (text, times) in self.load.errors.iter().take(MAX_ERRORS) {
            let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
            writeln!(f, "error, {} times: {line}", count(*times))?;
        }
        match self.load.errors.len().saturating_sub(MAX_ERRORS) {
            0 => Ok(()),
            more => writeln!(f, "and {more} more errors with other texts"),
        }
    }
}

/// The greatest number of error texts that are listed.
const MAX_ERRORS: usize = 8;
