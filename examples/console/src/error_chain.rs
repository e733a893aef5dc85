//! Error texts.

use std::error::Error;

/// Returns the text of an error and of all its causes, in one line.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    let mut parts: Vec<String> = Vec::new();
    for cause in causes.map(ToString::to_string) {
        // The text of some errors already contains that of their cause.
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
    fn causes_are_joined_in_one_line() {
        let failure = caused_by("cannot start a worker", "no\n  memory");

        assert_eq!(error_chain(&failure), "cannot start a worker: no memory");
    }

    #[test]
    fn a_cause_that_the_error_text_contains_is_not_repeated() {
        let failure = caused_by("cannot connect: refused", "refused");

        assert_eq!(error_chain(&failure), "cannot connect: refused");
    }
}
