//! What the terminal shows during a load.

use std::time::Duration;

use console::{Progress, Stop};

use crate::tally::{Outcomes, Second, Tally, Totals};

/// Shows a load on the terminal until `ended` is set. The duration is `None` if it is not known.
/// `asked` returns the rate that was asked for at a time since the start of the load, if there is
/// one.
pub async fn show(
    tally: &Tally,
    duration: Option<Duration>,
    asked: impl Fn(Duration) -> Option<f64>,
    ended: &Stop,
) {
    let mut progress = match duration {
        Some(duration) => Progress::toward("load", duration.as_secs()),
        None => Progress::open_ended("load"),
    };
    while !ended.is_set() {
        let totals = tally.totals();
        let rate = asked(totals.elapsed);
        progress.show(totals.elapsed.as_secs(), &line(&totals, rate));
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Returns the line that describes the state of a load.
fn line(totals: &Totals, asked: Option<f64>) -> String {
    let Totals { elapsed, due: _, begun: _, late, outcomes, lost_rounds, recent } = totals;
    let done = recent.last().map_or(0, Second::ended);
    let rate = match asked {
        Some(asked) => format!("{done} of {asked:.0}/s"),
        None => format!("{done}/s"),
    };
    let p99 = match recent.iter().rev().find_map(Second::p99) {
        Some(p99) => format!("p99 {p99:.1} ms {}", sparkline(recent)),
        None => "p99 unknown".to_owned(),
    };
    let shares = shares(outcomes);
    let seconds = elapsed.as_secs();
    format!("{seconds} s  {rate}  {p99}  {shares}  lost rounds {lost_rounds}  late {late}")
}

/// Returns the share of each way to end. Conflicts and errors are numbers, and left out if there
/// are none.
fn shares(outcomes: &Outcomes) -> String {
    let total = outcomes.total().max(1) as f64;
    let shares = [
        ("success", outcomes.success),
        ("idempotent", outcomes.idempotent),
        ("rejected", outcomes.rejected),
    ];
    let shares = shares.map(|(name, count)| {
        let percent = 100.0 * count as f64 / total;
        format!("{name} {percent:.1} %")
    });
    let numbers = [("conflict", outcomes.conflict), ("error", outcomes.error)];
    let numbers = numbers.into_iter().filter(|(_, count)| *count > 0);
    let numbers = numbers.map(|(name, count)| format!("{name} {count}"));
    shares.into_iter().chain(numbers).collect::<Vec<_>>().join("  ")
}

/// Draws the 99th percentile of the latency in each second. A second without commands is blank.
///
/// The lowest bar stands for the lowest value. Each step up doubles the value, or is larger if the
/// values differ by more than the bars can show.
fn sparkline(seconds: &[Second]) -> String {
    let values = seconds.iter().filter_map(Second::p99).map(|p99| p99.max(SMALLEST));
    let (low, high) = values
        .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    let highest_bar = (BARS.len() - 1) as f64;
    let doublings_per_bar = ((high / low).log2() / highest_bar).max(1.0);
    let bar = |p99: f64| {
        let doublings = (p99.max(SMALLEST) / low).log2();
        BARS[(doublings / doublings_per_bar).round() as usize]
    };
    seconds.iter().map(|second| second.p99().map_or(' ', bar)).collect()
}

const INTERVAL: Duration = Duration::from_millis(200);
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The smallest time that is told from zero, in milliseconds.
const SMALLEST: f64 = 0.001;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Distribution;

    fn second(p99: impl Into<Option<f64>>) -> Second {
        let p99 = p99.into();
        let count = u64::from(p99.is_some());
        let commands = Distribution { count, p99: p99.unwrap_or(0.0), ..Distribution::default() };
        let outcomes = Outcomes { success: 250, ..Outcomes::default() };
        let operations = [("AddBookCopy", outcomes)].into();
        Second { operations, commands, ..Second::default() }
    }

    #[test]
    fn a_bar_is_higher_for_each_doubling() {
        let seconds: Vec<Second> = [3.0, 6.0, 12.0, 24.0, 3.0].map(second).into();

        assert_eq!(sparkline(&seconds), "▁▂▃▄▁");
    }

    #[test]
    fn values_that_differ_by_much_use_all_bars() {
        let seconds: Vec<Second> = [0.0, 1.0, 600_000.0].map(second).into();

        assert_eq!(sparkline(&seconds), "▁▃█");
    }

    #[test]
    fn a_second_without_commands_is_blank() {
        let seconds = [second(3.0), second(None), second(3.0)];

        assert_eq!(sparkline(&seconds), "▁ ▁");
    }

    #[test]
    fn a_line_shows_rates_latency_and_counts() {
        let outcomes =
            Outcomes { success: 850, idempotent: 60, rejected: 80, conflict: 0, error: 10 };
        let totals = Totals {
            elapsed: Duration::from_secs(4),
            late: 3,
            outcomes,
            lost_rounds: 7,
            recent: vec![second(3.0), second(6.0)],
            ..Totals::default()
        };

        let line = line(&totals, Some(255.0));

        assert_eq!(
            line,
            "4 s  250 of 255/s  p99 6.0 ms ▁▂  success 85.0 %  idempotent 6.0 %  rejected 8.0 %  \
             error 10  lost rounds 7  late 3"
        );
    }

    #[test]
    fn a_line_without_operations_says_so() {
        let line = line(&Totals::default(), None);

        assert!(line.starts_with("0 s  0/s  p99 unknown  success 0.0 %"), "{line}");
    }

    #[tokio::test]
    async fn ends_when_the_load_has_ended() {
        let (tally, ended) = (Tally::default(), Stop::default());
        ended.set();

        show(&tally, Some(Duration::from_secs(1)), |_| None, &ended).await;
    }
}
