//! The outcome of a run.

use std::fmt;
use std::time::Duration;

use console::Conclusion;

use crate::answer::Ask;
use crate::args::Sabotage;
use crate::checker::Verdict;
use crate::disturbances::Disturbance;
use crate::tally::{Reads, Tally};

/// The outcome of a run.
pub struct Report {
    pub verdict: Verdict,
    /// The time until the first violation was found.
    pub first_found: Option<Duration>,
    pub tally: Tally,
    /// The number of reads on the primary by the store that may do so.
    pub fallbacks: u64,
    /// The number of events in the final log.
    pub events: usize,
    pub seed: u64,
}

impl Report {
    /// Returns the overall result. A violation counts even if some kind of disturbance did not
    /// occur.
    pub fn conclusion(&self, sabotage: Option<Sabotage>) -> Conclusion {
        match sabotage {
            Some(sabotage) if sabotage.is_found(&self.verdict) => Conclusion::Passed,
            Some(_) => Conclusion::Failed,
            None if !self.verdict.found().is_empty() => Conclusion::Failed,
            None if !self.tally.absent().is_empty() => Conclusion::Void,
            None => Conclusion::Passed,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, violations) in self.verdict.all() {
            violations.write(name, f)?;
        }
        if let Some(time) = self.first_found {
            writeln!(f, "the first one was found after {:.1} s", time.as_secs_f64())?;
        }
        let Tally { reads, served, unserved, appends, failed_appends, disturbances, .. } =
            &self.tally;
        write_header(f, "reads", "")?;
        for ask in Ask::ALL {
            write_row(f, ask, None, reads.get(&ask))?;
        }
        write_header(f, "reads while servers were", "times")?;
        for disturbance in Disturbance::ALL {
            let times = disturbances.get(&disturbance).copied().unwrap_or(0);
            write_row(f, disturbance, Some(times), Some(&self.tally.during(disturbance)))?;
        }
        writeln!(f, "\nserved by:")?;
        for ask in Ask::ALL {
            let servers = served.iter().filter(|((one, _), _)| *one == ask);
            let servers: Vec<_> =
                servers.map(|((_, name), count)| format!("{name} {count}")).collect();
            writeln!(f, "{ask:<16}  {}", servers.join(", "))?;
        }
        writeln!(f, "the primary logged {} reads as a last resort", self.fallbacks)?;
        if !unserved.is_empty() {
            writeln!(f, "\nnot served:")?;
        }
        for ((ask, kind), (count, first)) in unserved {
            writeln!(f, "{ask:<16}  {kind} {count}, the first one: {first}")?;
        }
        write!(
            f,
            "\n{appends} appends, {failed_appends} refused or unknown; {} events in the log; seed {}",
            self.events, self.seed
        )
    }
}

fn write_header(f: &mut fmt::Formatter<'_>, name: &str, times: &str) -> fmt::Result {
    writeln!(
        f,
        "\n{name:<24} {times:>6} {:>9} {:>10} {:>9} {:>9} {:>9}",
        "answered", "not served", "median", "p99", "longest"
    )
}

fn write_row(
    f: &mut fmt::Formatter<'_>,
    name: impl fmt::Display,
    times: Option<u64>,
    reads: Option<&Reads>,
) -> fmt::Result {
    let none = Reads::default();
    let reads = reads.unwrap_or(&none);
    let times = times.map(|times| times.to_string()).unwrap_or_default();
    let [median, p99, longest] = [0.5, 0.99, 1.0].map(|share| milliseconds(reads.quantile(share)));
    let Reads { answered, unserved, .. } = reads;
    writeln!(
        f,
        "{name:<24} {times:>6} {answered:>9} {unserved:>10} {median:>9} {p99:>9} {longest:>9}"
    )
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a report in which everything has occurred.
    fn report(set: impl FnOnce(&mut Verdict)) -> Report {
        let mut tally = Tally::default();
        for ask in Ask::ALL {
            tally.add_answer(ask, "replica-0", &Disturbance::ALL, Duration::ZERO);
        }
        tally.disturbances.extend(Disturbance::ALL.map(|it| (it, 1)));
        let mut verdict = Verdict::default();
        set(&mut verdict);
        Report { verdict, first_found: None, tally, fallbacks: 0, events: 0, seed: 1 }
    }

    #[test]
    fn concludes_from_violations_and_from_what_did_not_occur() {
        let clean = || report(|_| {});
        let torn = || report(|verdict| verdict.torn.count = 1);
        let without = |mut report: Report| {
            report.tally.disturbances.remove(&Disturbance::Frozen);
            report
        };

        for (report, conclusion) in [
            (clean(), Conclusion::Passed),
            (torn(), Conclusion::Failed),
            (without(clean()), Conclusion::Void),
            (without(torn()), Conclusion::Failed),
        ] {
            assert_eq!(report.conclusion(None), conclusion, "{report}");
        }
    }

    #[test]
    fn sabotage_must_be_found() {
        let both = |verdict: &mut Verdict| {
            (verdict.stale.count, verdict.backwards.count) = (1, 1);
        };
        for (report, conclusion) in [
            (report(both), Conclusion::Passed),
            (report(|verdict| verdict.stale.count = 1), Conclusion::Failed),
            (report(|verdict| verdict.torn.count = 1), Conclusion::Failed),
        ] {
            assert_eq!(report.conclusion(Some(Sabotage::Bounds)), conclusion, "{report}");
        }
    }

    #[test]
    fn a_kind_of_read_without_an_answer_during_a_disturbance_is_absent() {
        let mut tally = report(|_| {}).tally;
        assert!(tally.absent().is_empty());

        tally.during.remove(&(Disturbance::Frozen, Ask::Causal));

        assert_eq!(tally.absent(), ["answers to causal reads while servers were frozen"]);
    }
}
