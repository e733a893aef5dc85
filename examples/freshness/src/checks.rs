//! The checks that are made while the program runs.

use std::time::{Duration, Instant};

use crate::answer::Answer;
use crate::audit::Audit;
use crate::checker::{Acknowledgment, Checker};
use crate::failure::Failure;
use crate::run::Run;
use crate::sql;
use crate::testbed::Testbed;

/// The checker, the audit, and what is still to be checked.
#[derive(Debug, Default)]
pub struct Checks {
    pub checker: Checker,
    pub audit: Audit,
    /// The time from the first check until the first violation.
    pub first_found: Option<Duration>,
    began: Option<Instant>,
    acknowledgments: Vec<Acknowledgment>,
    answers: Vec<Answer>,
}

impl Checks {
    /// Ends the audit of a server that is no primary any more.
    pub async fn end_audit(&mut self, testbed: &Testbed, number: usize) -> Result<(), Failure> {
        self.audit.collect(testbed, &mut self.checker.verdict_mut().primary)?;
        self.audit.end(testbed, number).await
    }

    /// Checks what was recorded so far, if the primary answers. Nothing must be running any more.
    pub async fn finish(&mut self, run: &Run) -> Result<(), Failure> {
        self.advance(run).await?;
        self.checker.check(Vec::new(), &std::mem::take(&mut self.answers));
        Ok(())
    }

    /// Checks what was recorded since the last call, if the primary answers.
    pub async fn advance(&mut self, run: &Run) -> Result<(), Failure> {
        let began = *self.began.get_or_insert_with(Instant::now);
        let (acknowledgments, answers) = run.record.take();
        self.acknowledgments.extend(acknowledgments);
        self.answers.extend(answers);
        self.audit.collect(&run.testbed, &mut self.checker.verdict_mut().primary)?;
        let primary = run.testbed.url(run.testbed.roles().primary);
        // What was acknowledged is in the log that is read now.
        match sql::read_log(&primary, self.checker.head()).await {
            Ok(entries) => self.checker.extend(&entries),
            Err(Failure::Sql { .. }) => return Ok(()),
            Err(failure) => return Err(failure),
        }
        let acknowledgments = std::mem::take(&mut self.acknowledgments);
        // A commit may become visible on a standby before it does on the primary.
        let head = self.checker.head();
        let is_ahead = |answer: &mut Answer| answer.content.position > head;
        let ahead = self.answers.extract_if(.., is_ahead).collect();
        self.checker.check(acknowledgments, &std::mem::replace(&mut self.answers, ahead));
        if !self.checker.verdict().found().is_empty() {
            self.first_found.get_or_insert_with(|| began.elapsed());
        }
        if run.sabotage.is_some_and(|sabotage| sabotage.is_found(self.checker.verdict())) {
            run.stop.set();
        }
        Ok(())
    }
}
