use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::bookmark::{decode, encode};
use crate::{Bookmark, Error, SequenceNumber};

/// The positions that were appended or seen so far, and that later reads have to show.
///
/// Give a causality to stores by [`Store::with_causality`](crate::Store::with_causality). Their
/// appends and reads add their positions to it, and their reads show the log at these positions or
/// later. So these stores read their own appends, from any replica, and never see less than before.
/// Share one among the stores of a request, of a session, or of a whole process. Its clones share
/// the same state, which takes a few dozen bytes.
///
/// It travels to other processes as a token, in a header or a cookie. Text that is not a token is
/// refused with [`Error::InvalidBookmark`]. With a forged token, reads may wait or fail. It has 40
/// characters, and 34 more for each further epoch of which it holds a position.
///
/// If a failover has lost what it holds, reads fail with [`Error::PositionLost`], until it is
/// [cleared](Self::clear) or replaced: what the caller has seen is no longer true.
///
/// ```no_run
/// # use eddyline::{AppendCondition, Causality, Error, Event, Filter, ReadOnly, ReadWrite, Store};
/// /// The state of a web application, as its handlers get it.
/// struct Library {
///     writer: Store<ReadWrite>,
///     reader: Store<ReadOnly>,
/// }
///
/// /// `POST /loans`. The response sets the cookie `seen` to the token that is returned.
/// async fn lend(library: &Library, seen: &str, loan: Event) -> Result<String, Error> {
///     let causality = seen.parse().unwrap_or_else(|_| Causality::new());
///     let writer = library.writer.with_causality(&causality);
///     writer.append([loan], AppendCondition::none()).await?;
///     Ok(causality.to_string())
/// }
///
/// /// `GET /loans`, with the cookie of the response above.
/// async fn loans(library: &Library, seen: &str) -> Result<(usize, String), Error> {
///     let causality = seen.parse().unwrap_or_else(|_| Causality::new());
///     let reader = library.reader.with_causality(&causality);
///     let loans = Filter::types(["BookCopyLentToReader"]).build()?;
///     let history = match reader.query(&loans).await {
///         // The loan was lost in a failover: show what there is.
///         Err(Error::PositionLost { .. }) => {
///             causality.clear();
///             reader.query(&loans).await?
///         }
///         history => history?,
///     };
///     Ok((history.events().len(), causality.to_string()))
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Causality(Arc<Mutex<Vec<Bookmark>>>);

impl Causality {
    /// Creates a causality that holds nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a position: later reads show the log at this position or later.
    pub fn raise(&self, position: impl Into<Bookmark>) {
        raise(&mut self.lock(), position.into());
    }

    /// Forgets everything, in all clones.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Returns the positions that reads have to show. Usually there is one: several are of
    /// different epochs, if an append began a new one and was not followed by a read.
    pub fn bookmarks(&self) -> Vec<Bookmark> {
        self.lock().clone()
    }

    /// Replaces the positions that a read had to show by the head of its answer.
    ///
    /// The answer shows them, so a later read that shows the answer shows them too. A position that
    /// was raised meanwhile stays. So does one that is lost, because no answer shows it.
    pub(crate) fn answered(&self, shown: &[Bookmark], head: Bookmark) {
        let mut held = self.lock();
        held.retain(|one| !shown.iter().any(|shown| covers(shown, one)));
        raise(&mut held, head);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Bookmark>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Bookmark> for Causality {
    fn from(bookmark: Bookmark) -> Self {
        let causality = Self::new();
        causality.raise(bookmark);
        causality
    }
}

/// Renders the token.
impl fmt::Display for Causality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(&self.lock()))
    }
}

/// Parses the token, or that of a [`Bookmark`].
///
/// # Errors
///
/// [`Error::InvalidBookmark`] if the text is not a token, or is damaged.
impl FromStr for Causality {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let causality = Self::new();
        decode(text)?.into_iter().for_each(|bookmark| causality.raise(bookmark));
        Ok(causality)
    }
}

/// Adds a bookmark. Positions of one epoch are comparable, so only the highest one is kept.
fn raise(held: &mut Vec<Bookmark>, bookmark: Bookmark) {
    if bookmark.position() == SequenceNumber::ZERO {
        return;
    }
    match held.iter_mut().find(|one| one.epoch() == bookmark.epoch()) {
        Some(same_epoch) if covers(same_epoch, &bookmark) => {}
        Some(same_epoch) => *same_epoch = bookmark,
        None => held.push(bookmark),
    }
}

/// Returns whether a log that shows one bookmark shows the other one, whatever else it holds.
fn covers(one: &Bookmark, other: &Bookmark) -> bool {
    one.epoch() == other.epoch() && one.position() >= other.position()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::thread;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::bookmark::Epoch;

    fn at(position: u64, epoch: u128) -> Bookmark {
        Bookmark::new(SequenceNumber::new(position), Epoch::new(Uuid::from_u128(epoch)))
    }

    fn bookmark() -> impl Strategy<Value = Bookmark> {
        (0_u64..20, 0_u128..4).prop_map(|(position, epoch)| match epoch {
            0 => SequenceNumber::new(position).into(),
            epoch => at(position, epoch),
        })
    }

    /// The highest position of each epoch.
    fn highest(bookmarks: impl IntoIterator<Item = Bookmark>) -> HashMap<Option<Epoch>, u64> {
        let mut highest = HashMap::new();
        for bookmark in bookmarks.into_iter().filter(|one| one.position().value() > 0) {
            let position = highest.entry(bookmark.epoch()).or_insert(0);
            *position = bookmark.position().value().max(*position);
        }
        highest
    }

    /// A step of one of several requests that share a causality.
    #[derive(Clone, Debug)]
    enum CausalStep {
        /// An append has advanced the log by so much.
        Append(u64),
        /// The server was restarted, so that the next append begins an epoch.
        Restart,
        /// A request begins to read.
        Ask(usize),
        /// The request gets its answer, from a replica that is at least where it has to be and so
        /// much behind the primary, if that is not too far.
        Answer(usize, u64),
    }

    fn step() -> impl Strategy<Value = CausalStep> {
        prop_oneof![
            (1_u64..4).prop_map(CausalStep::Append),
            Just(CausalStep::Restart),
            (0_usize..4).prop_map(CausalStep::Ask),
            (0_usize..4, 0_u64..9).prop_map(|(request, lag)| CausalStep::Answer(request, lag)),
        ]
    }

    proptest! {
        /// It holds the highest position of each epoch that was raised, in whatever order.
        #[test]
        fn holds_the_highest_position_of_each_epoch(bookmarks in vec(bookmark(), 0..20)) {
            let causality = Causality::new();

            bookmarks.iter().for_each(|bookmark| causality.raise(*bookmark));

            prop_assert_eq!(highest(causality.bookmarks()), highest(bookmarks));
        }

        /// A causality holds the same as its parsed token.
        #[test]
        fn parses_what_it_displays(bookmarks in vec(bookmark(), 0..9)) {
            let causality = Causality::new();
            bookmarks.iter().for_each(|bookmark| causality.raise(*bookmark));

            let parsed: Causality = causality.to_string().parse().unwrap();

            prop_assert_eq!(highest(parsed.bookmarks()), highest(causality.bookmarks()));
        }

        /// If no event is lost, a read shows every append and every answer before it, and what is
        /// held stays short.
        #[test]
        fn later_reads_show_what_was_appended_and_answered(steps in vec(step(), 0..60)) {
            let causality = Causality::new();
            let (mut head, mut epoch, mut restarted) = (0, 1, false);
            // The epoch of each position.
            let mut epochs = vec![epoch];
            let mut asked: HashMap<usize, (Vec<Bookmark>, u64)> = HashMap::new();
            let mut known = 0;
            for step in steps {
                match step {
                    CausalStep::Restart => restarted = true,
                    CausalStep::Append(events) => {
                        epoch += u128::from(std::mem::take(&mut restarted));
                        head += events;
                        epochs.resize(head as usize + 1, epoch);
                        causality.raise(at(head, epoch));
                        known = head;
                    }
                    CausalStep::Ask(request) => {
                        asked.insert(request, (causality.bookmarks(), known));
                    }
                    CausalStep::Answer(request, lag) => {
                        let Some((shown, known_before)) = asked.remove(&request) else { continue };
                        let bound = shown.iter().map(|one| one.position().value()).max();
                        let position = head.saturating_sub(lag).max(bound.unwrap_or(0));
                        prop_assert!(position >= known_before);
                        causality.answered(&shown, at(position, epochs[position as usize]));
                        known = known.max(position);
                    }
                }
                let bound = causality.bookmarks().iter().map(|one| one.position().value()).max();
                prop_assert_eq!(bound.unwrap_or(0), known);
            }
            causality.answered(&causality.bookmarks(), at(head, epoch));
            prop_assert!(causality.bookmarks().len() <= 1);
        }

        /// A lost position stays, since no answer shows it.
        #[test]
        fn a_position_that_no_answer_shows_stays(answers in vec(bookmark(), 0..9)) {
            let causality = Causality::from(at(7, 9));

            for answer in answers {
                let shown = causality.bookmarks();
                let shown: Vec<_> = shown.into_iter().filter(|one| *one != at(7, 9)).collect();
                causality.answered(&shown, answer);
            }

            prop_assert!(causality.bookmarks().contains(&at(7, 9)));
        }
    }

    #[test]
    fn threads_that_share_it_raise_it_to_the_highest_position() {
        let causality = Causality::new();
        thread::scope(|scope| {
            for thread in 0..8 {
                let causality = causality.clone();
                scope.spawn(move || {
                    for position in 1..=1_000 {
                        causality.raise(at(position * 8 + thread, 1));
                        let shown = causality.bookmarks();
                        causality.answered(&shown, *shown.last().unwrap());
                        let held = causality.bookmarks()[0].position();
                        assert!(held.value() >= position * 8 + thread);
                    }
                });
            }
        });

        assert_eq!(causality.bookmarks(), [at(8_007, 1)]);
    }
}
