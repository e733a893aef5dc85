//! Errors in one line.

use std::error::Error;

/// Returns an error with all its causes, in one line.
pub fn in_one_line(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    let mut parts: Vec<String> = Vec::new();
    for cause in causes.map(ToString::to_string) {
        // Some errors repeat their cause in their own text.
        if !parts.last().is_some_and(|last| last.contains(&cause)) {
            parts.push(cause);
        }
    }
    let text = parts.join(": ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Failure(&'static str, Option<Box<Failure>>);

    impl fmt::Display for Failure {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Failure {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    fn caused_by(text: &'static str, cause: &'static str) -> Failure {
        Failure(text, Some(Box::new(Failure(cause, None))))
    }

    #[test]
    fn tells_causes_in_one_line() {
        let failure = caused_by("cannot start a worker", "no\n  memory");

        assert_eq!(in_one_line(&failure), "cannot start a worker: no memory");
    }

    #[test]
    fn tells_a_cause_once_that_the_error_repeats() {
        let failure = caused_by("cannot connect: refused", "refused");

        assert_eq!(in_one_line(&failure), "cannot connect: refused");
    }
}
