use std::fmt;

use serde::{Deserialize, Serialize};

/// The errors that an audit has found.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Findings {
    count: u64,
    first: Vec<String>,
}

impl Findings {
    pub fn add(&mut self, finding: String) {
        self.count += 1;
        if self.first.len() < MAX_LISTED {
            self.first.push(finding);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn count(&self) -> u64 {
        self.count
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.iter().try_for_each(|finding| writeln!(f, "finding: {finding}"))?;
        match self.count - self.first.len() as u64 {
            0 => Ok(()),
            more => writeln!(f, "and {more} more"),
        }
    }
}

/// The maximum number of findings that are listed. Further ones are only counted.
const MAX_LISTED: usize = 50;
