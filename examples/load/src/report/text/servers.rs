use std::fmt;

use crate::report::number::{count, decimal, percent};
use crate::report::{Figures, Report, ServerFigures};

impl Report {
    /// Writes what servers did and what they said of themselves.
    pub(super) fn write_servers(
        &self,
        figures: &Figures,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        let servers = &figures.servers;
        for server in servers.iter().filter(|server| !server.later_names.is_empty()) {
            let later = server.later_names.join(", then ");
            writeln!(f, "the server that is called {} here was later {later}", server.name)?;
        }
        write_list("queries answered: ", servers, f, |server| {
            Some(with_share(server.answered, server.answered_share))
        })?;
        write_list("reads by the servers' statistics: ", servers, f, |server| {
            Some(with_share(server.reads?, server.reads_share))
        })?;
        write_list("of these for queries: ", servers, f, |server| {
            Some(with_share(server.query_reads?, server.query_reads_share))
        })?;
        write_list("replication lag: ", servers, f, |server| {
            let (median, max) = (server.lag_median_ms?, server.lag_max_ms?);
            Some(format!("median {} ms, max {} ms", decimal(median), decimal(max)))
        })?;
        write_list("gave no answer to the observer: ", servers, f, |server| {
            let unanswered = server.unanswered_samples;
            (unanswered > 0).then(|| format!("{unanswered} of {} times", server.samples))
        })?;
        self.write_cpu(servers, f)?;
        self.servers.not_observed.iter().try_for_each(|text| writeln!(f, "not observed: {text}"))
    }

    fn write_cpu(&self, servers: &[ServerFigures], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = self.cpu_per_operation_us;
        let own = own.map(|cpu| format!("generator with eddyline {} us", decimal(cpu)));
        let servers = servers.iter().filter_map(|server| {
            let cpu = server.cpu_per_operation_us?;
            Some(format!("{} {} us", server.name, decimal(cpu)))
        });
        let parts: Vec<_> = own.into_iter().chain(servers).collect();
        match parts.is_empty() {
            true => Ok(()),
            false => writeln!(f, "CPU time per operation: {}", parts.join(", ")),
        }
    }
}

/// Writes a line with a text for each server that has one. Writes nothing if none has one.
fn write_list(
    title: &str,
    servers: &[ServerFigures],
    f: &mut fmt::Formatter<'_>,
    text: impl Fn(&ServerFigures) -> Option<String>,
) -> fmt::Result {
    let texts = servers.iter().filter_map(|server| Some((&server.name, text(server)?)));
    let texts: Vec<_> = texts.map(|(name, text)| format!("{name} {text}")).collect();
    match texts.is_empty() {
        true => Ok(()),
        false => writeln!(f, "{title}{}", texts.join("; ")),
    }
}

fn with_share(number: u64, share: Option<f64>) -> String {
    match share {
        Some(share) => format!("{} ({})", count(number), percent(share)),
        None => count(number),
    }
}
