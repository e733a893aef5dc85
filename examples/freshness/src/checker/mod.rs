//! The checker: compares answers with the log, as plain SQL reads it, and with what was
//! acknowledged to the writers before the reads, by their own clock.
//!
//! It shares no code with the store.

mod log;
#[cfg(test)]
mod tests;
mod timeline;

use std::time::Instant;

use console::Violations;

use self::timeline::Timeline;
use crate::answer::{Answer, Ask, Content, Demand};
use crate::entry::Entry;

/// An acknowledged append of one event.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledgment {
    pub entry: Entry,
    pub at: Instant,
}

/// The violations found.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Answers below their position or beyond their bound.
    pub stale: Violations,
    /// Answers whose events and position are not those of one log.
    pub torn: Violations,
    /// Answers that show a session less than it has appended or seen.
    pub backwards: Violations,
    /// Reads on the primary that no policy allows.
    pub primary: Violations,
    /// Appends that the log contradicts: acknowledged events that it lacks, and events that were
    /// accepted although their writer did not know the one before.
    pub wrong: Violations,
}

impl Verdict {
    /// Returns every kind of violation with its name.
    pub fn all(&self) -> [(&'static str, &Violations); 5] {
        let Self { stale, torn, backwards, primary, wrong } = self;
        [
            ("STALE", stale),
            ("TORN", torn),
            ("BACKWARDS", backwards),
            ("PRIMARY", primary),
            ("WRONG", wrong),
        ]
    }

    /// Returns the names of the kinds of violation that were found.
    pub fn found(&self) -> Vec<&'static str> {
        let found = self.all().into_iter().filter(|(_, violations)| violations.count > 0);
        found.map(|(name, _)| name).collect()
    }

    fn of(&mut self, ask: Ask) -> &mut Violations {
        match ask {
            Ask::AtLeast | Ask::Fallback | Ask::MaxStaleness => &mut self.stale,
            Ask::Causal => &mut self.backwards,
            Ask::Plain | Ask::Tail => &mut self.torn,
        }
    }
}

/// A checker of one run.
///
/// A failover that loses events begins another timeline of the log: the events up to some position
/// are those of the old one, and the numbers above are given again to other events. An answer may be
/// of any timeline that still has what its reader asked for.
#[derive(Debug)]
pub struct Checker {
    timelines: Vec<Timeline>,
    acknowledgments: Vec<Acknowledgment>,
    verdict: Verdict,
}

impl Checker {
    /// Returns the position of the last known event of the newest timeline.
    pub fn head(&self) -> u64 {
        self.newest().log.head()
    }

    /// Returns the number of events of the newest timeline.
    pub fn events(&self) -> usize {
        self.newest().log.len()
    }

    /// Returns the violations found so far.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    pub fn verdict_mut(&mut self) -> &mut Verdict {
        &mut self.verdict
    }

    pub fn into_verdict(self) -> Verdict {
        self.verdict
    }

    /// Adds the next events of the newest timeline.
    pub fn extend(&mut self, entries: &[Entry]) {
        for &entry in entries {
            if let Err(text) = self.newest_mut().log.add(entry) {
                self.verdict.wrong.add(|| text);
            }
        }
    }

    /// Begins another timeline, with all of its events so far. All appends on the primary of the
    /// last one had been answered at `closed`.
    pub fn fork(&mut self, closed: Instant, entries: &[Entry]) {
        self.newest_mut().closed = Some(closed);
        self.timelines.push(Timeline::default());
        self.extend(entries);
        let (newest, acknowledgments) = (self.timelines.len() - 1, &self.acknowledgments);
        for acknowledgment in acknowledgments {
            self.timelines[newest].acknowledge(acknowledgment);
        }
    }

    /// Checks acknowledgments and answers. The logs must be known at least up to the positions that
    /// these had, and the acknowledgments must be in the order of time.
    pub fn check(&mut self, acknowledgments: Vec<Acknowledgment>, answers: &[Answer]) {
        for acknowledgment in &acknowledgments {
            let known = self.timelines.iter_mut().map(|it| it.acknowledge(acknowledgment));
            // All timelines must get it, so this does not end at the first one.
            if !known.fold(false, |any, one| any | one) {
                let entry = acknowledgment.entry;
                self.verdict
                    .wrong
                    .add(|| format!("{entry} was acknowledged, but the log has no such event"));
            }
        }
        self.acknowledgments.extend(acknowledgments);
        answers.iter().for_each(|answer| self.check_answer(answer));
    }

    fn check_answer(&mut self, answer: &Answer) {
        let Answer { ask, server, content, disorder, .. } = answer;
        let found = format_args!("{ask}: {server} answered at {}", content.position);
        if let Some(disorder) = disorder {
            return self.verdict.torn.add(|| format!("{found}: {disorder}"));
        }
        let mut violation = None;
        for timeline in self.timelines.iter().filter(|timeline| timeline.log.has(content)) {
            match timeline.first_unmet(answer) {
                None => return,
                Some(unmet) => violation = Some(unmet),
            }
        }
        match violation {
            Some(unmet) => self.verdict.of(*ask).add(|| format!("{found} {unmet}")),
            None => {
                let torn = self.describe_torn(content);
                self.verdict.torn.add(|| format!("{found} {torn}"));
            }
        }
    }

    /// Describes an answer that no timeline has.
    fn describe_torn(&self, content: &Content) -> String {
        let Content { scope, after, position, summary } = content;
        let log = &self.newest().log;
        let events = log.summary(content).events;
        let at = if log.has_position(*position) {
            ""
        } else {
            ", which is not the position of an event"
        };
        format!(
            "with {} events of {scope} after {after}; the log has {events} or others{at}",
            summary.events
        )
    }

    fn newest(&self) -> &Timeline {
        self.timelines.last().expect("there is always a timeline")
    }

    fn newest_mut(&mut self) -> &mut Timeline {
        self.timelines.last_mut().expect("there is always a timeline")
    }
}

impl Default for Checker {
    fn default() -> Self {
        let (timelines, acknowledgments) = (vec![Timeline::default()], Vec::new());
        Self { timelines, acknowledgments, verdict: Verdict::default() }
    }
}

impl Timeline {
    /// Returns the description of the first demand that an answer of this timeline does not meet.
    fn first_unmet(&self, answer: &Answer) -> Option<String> {
        answer.demands.iter().find_map(|demand| self.unmet(answer, demand))
    }

    fn unmet(&self, answer: &Answer, demand: &Demand) -> Option<String> {
        let position = answer.content.position;
        match demand {
            Demand::Contains(entry) => {
                let is_met = entry.position <= position && self.log.contains(entry);
                (!is_met).then(|| format!("without {entry}, which its reader knew of"))
            }
            Demand::Extends(seen) => {
                let is_met = seen.position <= position && self.log.has(seen);
                (!is_met).then(|| {
                    let Content { scope, position, summary, .. } = seen;
                    let events = summary.events;
                    format!("after an answer at {position} with {events} events of {scope}")
                })
            }
            Demand::Within(bound) => self.beyond(answer, *bound),
        }
    }
}
