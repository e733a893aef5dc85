//! Sessions, which see at least what they have appended and read before.

use eddyline::{Bookmark, Causality, ReadOnly, ReadWrite, Store};
use rand::RngExt;
use rand::rngs::SmallRng;

use crate::answer::{Ask, Content, Demand, Scope};
use crate::entry::Entry;
use crate::read::Question;
use crate::run::{Run, is_lost};

/// A session of a writer or reader.
pub struct Session {
    causality: Causality,
    pub writer: Store<ReadWrite>,
    reader: Store<ReadOnly>,
    /// The last event that it has appended.
    appended: Option<Entry>,
    /// The last answer.
    seen: Option<Content>,
}

impl Session {
    pub fn new(run: &Run) -> Self {
        Self::of(run, Causality::new())
    }

    fn of(run: &Run, causality: Causality) -> Self {
        Self {
            writer: run.stores.writer.with_causality(&causality),
            reader: run.bounded(&run.stores.plain, |store| store.with_causality(&causality)),
            causality,
            appended: None,
            seen: None,
        }
    }

    /// Notes an acknowledged append.
    pub fn appended(&mut self, entry: Entry) {
        self.appended = Some(entry);
    }

    /// Reads from a replica. Returns whether the read was served. Begins anew if a failover has
    /// lost what the session has seen.
    pub async fn read(&mut self, run: &Run, scope: Scope, random: &mut SmallRng) -> bool {
        if random.random_ratio(1, 8) {
            self.travel(run);
        }
        let appended = self.appended.map(Demand::Contains);
        let seen = self.seen.clone().map(Demand::Extends);
        let question = Question {
            ask: Ask::Causal,
            store: self.reader.clone(),
            scope,
            after: Bookmark::default(),
            demands: appended.into_iter().chain(seen).collect(),
        };
        match question.ask(run, random).await {
            Ok((content, _)) => {
                self.seen = Some(content);
                true
            }
            Err(error) => {
                if is_lost(&error) {
                    *self = Self::new(run);
                }
                false
            }
        }
    }

    /// Continues the session from its token, as another process would.
    fn travel(&mut self, run: &Run) {
        let token = self.causality.to_string();
        let causality = token.parse().expect("a causality is its token");
        let (appended, seen) = (self.appended, self.seen.take());
        *self = Self { appended, seen, ..Self::of(run, causality) };
    }
}
