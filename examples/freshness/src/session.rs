//! Sessions, which see at least what they have appended and read before.

use eddyline::{Bookmark, ReadOnly, ReadWrite, Store};
use rand::rngs::SmallRng;

use crate::answer::{Ask, Content, Demand, Scope};
use crate::entry::Entry;
use crate::read::Question;
use crate::run::{Run, is_lost};

/// A session of a writer or reader.
pub struct Session {
    pub writer: Store<ReadWrite>,
    reader: Store<ReadOnly>,
    /// The last event that it has appended.
    appended: Option<Entry>,
    /// The last answer.
    seen: Option<Content>,
    bookmark: Bookmark,
}

impl Session {
    pub fn new(run: &Run) -> Self {
        Self {
            writer: run.stores.writer.clone(),
            reader: run.stores.plain.clone(),
            bookmark: Bookmark::default(),
            appended: None,
            seen: None,
        }
    }

    /// Notes an acknowledged append.
    pub fn appended(&mut self, entry: Entry, bookmark: Bookmark) {
        self.bookmark = bookmark;
        self.appended = Some(entry);
    }

    /// Reads from a replica. Returns whether the read was served. Begins anew if a failover has
    /// lost what the session has seen.
    pub async fn read(&mut self, run: &Run, scope: Scope, random: &mut SmallRng) -> bool {
        let appended = self.appended.map(Demand::Contains);
        let seen = self.seen.clone().map(Demand::Extends);
        let question = Question {
            ask: Ask::Causal,
            store: run.bounded(&self.reader, |it| it.at_least(self.bookmark)),
            scope,
            after: Bookmark::default(),
            demands: appended.into_iter().chain(seen).collect(),
        };
        match question.ask(run, random).await {
            Ok((content, bookmark)) => {
                self.bookmark = bookmark;
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
}
