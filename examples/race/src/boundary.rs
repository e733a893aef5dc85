//! The consistency boundaries of a race, their filters and their events.

use std::sync::atomic::{AtomicU64, Ordering};

use rand::RngExt;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::filter::{FilterSpec, ItemSpec};

/// The boundaries that all writers share, each with its current generation.
///
/// A boundary is replaced by its next generation when it is full: reading a large one takes too
/// long. Processes need not agree on the generation: a writer that reads a full boundary moves on
/// to the next one.
pub struct Boundaries {
    generations: Vec<AtomicU64>,
}

impl Boundaries {
    /// Creates the given number of boundaries.
    pub fn new(count: usize) -> Self {
        Self { generations: (0..count).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Returns a random boundary.
    pub fn any(&self, random: &mut SmallRng) -> Boundary {
        self.at(random.random_range(0..self.generations.len()))
    }

    /// Returns the boundary with the most contention.
    pub fn hottest(&self) -> Boundary {
        self.at(0)
    }

    fn at(&self, index: usize) -> Boundary {
        let generation = self.generations[index].load(Ordering::Relaxed);
        Boundary { name: format!("{index}.{generation}"), shared: Some((index, generation)) }
    }

    /// Replaces the boundary by its next generation, unless that has happened already or the
    /// boundary is private.
    pub fn replace(&self, boundary: &Boundary) {
        if let Some((index, generation)) = boundary.shared {
            self.generations[index].fetch_max(generation + 1, Ordering::Relaxed);
        }
    }
}

/// A boundary: a book, a reader and a branch, with a common name.
#[derive(Clone, Debug)]
pub struct Boundary {
    name: String,
    /// Its index and generation, if it is shared.
    shared: Option<(usize, u64)>,
}

/// The kinds of filter that decisions use.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum FilterKind {
    AllOf,
    Ids,
    Nested,
    SeveralItems,
    Tags,
    Types,
    TypesAndIds,
}

impl FilterKind {
    pub const ALL: [Self; 7] = [
        Self::AllOf,
        Self::Ids,
        Self::Nested,
        Self::SeveralItems,
        Self::Tags,
        Self::Types,
        Self::TypesAndIds,
    ];

    /// Returns its name for display.
    pub fn name(self) -> &'static str {
        match self {
            Self::AllOf => "all of several predicates",
            Self::Ids => "any of several ids",
            Self::Nested => "a nested predicate",
            Self::SeveralItems => "several items",
            Self::Tags => "several tags",
            Self::Types => "types",
            Self::TypesAndIds => "types and any of several ids",
        }
    }
}

impl Boundary {
    /// Creates a boundary for a single writer.
    pub fn private(writer: usize, generation: u64) -> Self {
        Self { name: format!("private-{writer}.{generation}"), shared: None }
    }

    /// Returns whether the boundary has a single writer.
    pub fn is_private(&self) -> bool {
        self.shared.is_none()
    }

    /// Returns the filter of the given kind for this boundary.
    pub fn filter(&self, kind: FilterKind) -> FilterSpec {
        let types = |types: &[&str]| types.iter().map(ToString::to_string).collect();
        match kind {
            FilterKind::AllOf => {
                let all_of = vec![self.book(), self.reader(), ("Reserved".into(), json!(true))];
                ItemSpec { all_of, ..ItemSpec::default() }.into()
            }
            FilterKind::Ids => {
                let any_of = vec![self.book(), self.reader()];
                ItemSpec { any_of, ..ItemSpec::default() }.into()
            }
            FilterKind::Nested => {
                let any_of = vec![("Shelf".into(), json!({ "Branch": self.branch() }))];
                ItemSpec { any_of, ..ItemSpec::default() }.into()
            }
            FilterKind::SeveralItems => {
                let lent = ItemSpec {
                    types: types(&[LENT]),
                    any_of: vec![self.book()],
                    ..ItemSpec::default()
                };
                let level = json!({ "Branch": self.branch(), "Level": 1 });
                let registered = ItemSpec {
                    types: types(&[REGISTERED, RETURNED]),
                    all_of: vec![self.reader(), ("Shelf".into(), level)],
                    ..ItemSpec::default()
                };
                FilterSpec { items: vec![lent, registered] }
            }
            FilterKind::Tags => {
                let tags = self.tags();
                let all_of = vec![("Tags".into(), json!([tags[0], tags[1]]))];
                ItemSpec { all_of, ..ItemSpec::default() }.into()
            }
            FilterKind::Types => {
                let types = vec![self.audited()];
                ItemSpec { types, ..ItemSpec::default() }.into()
            }
            FilterKind::TypesAndIds => {
                let types = types(&[LENT, RETURNED]);
                let any_of = vec![self.book(), self.reader()];
                ItemSpec { types, any_of, ..ItemSpec::default() }.into()
            }
        }
    }

    /// Makes type and payload of an event that the filter of the given kind matches. Filters of
    /// other kinds match it at random.
    pub fn event(&self, kind: FilterKind, random: &mut SmallRng) -> (String, Value) {
        let level = if kind == FilterKind::SeveralItems { 1 } else { random.random_range(0..3) };
        let has_both_ids = kind == FilterKind::AllOf || kind == FilterKind::SeveralItems;
        let mut payload = json!({
            "Reserved": kind == FilterKind::AllOf || random.random(),
            "Shelf": { "Branch": self.branch(), "Level": level },
        });
        let book =
            if has_both_ids || random.random() { self.book() } else { unrelated_id("BookID") };
        // An event of a boundary has at least one of the boundary's ids.
        let only_book = !has_both_ids && book == self.book() && random.random();
        let reader = if only_book { unrelated_id("ReaderID") } else { self.reader() };
        for (key, value) in [book, reader] {
            payload[key] = value;
        }
        // The tags are in any order, with a further one: the filter's tags are all there, or one is
        // missing.
        let mut tags = self.tags().to_vec();
        let first = random.random_range(0..tags.len());
        tags.rotate_left(first);
        if kind != FilterKind::Tags && random.random() {
            tags.truncate(1);
        }
        payload["Tags"] = json!(tags);
        let event_type = match kind {
            FilterKind::Types => self.audited(),
            FilterKind::TypesAndIds => [LENT, RETURNED][random.random_range(0..2)].into(),
            FilterKind::SeveralItems => {
                [LENT, REGISTERED, RETURNED][random.random_range(0..3)].into()
            }
            _ => [LENT, REGISTERED, RETURNED, &self.audited()][random.random_range(0..4)].into(),
        };
        (event_type, payload)
    }

    fn audited(&self) -> String {
        format!("Branch{}Audited", self.name)
    }

    fn book(&self) -> (String, Value) {
        ("BookID".into(), format!("book-{}", self.name).into())
    }

    /// Returns the boundary's tags. Its filter requires the first two.
    fn tags(&self) -> [String; 3] {
        ["book", "reader", "shelf"].map(|what| format!("{what}:{}", self.name))
    }

    fn branch(&self) -> String {
        format!("branch-{}", self.name)
    }

    fn reader(&self) -> (String, Value) {
        ("ReaderID".into(), format!("reader-{}", self.name).into())
    }
}

fn unrelated_id(key: &str) -> (String, Value) {
    (key.into(), "elsewhere".into())
}

/// The number of events at which a boundary is full.
pub const FULL: u64 = 150;

const LENT: &str = "BookCopyLentToReader";
const REGISTERED: &str = "ReaderRegistered";
const RETURNED: &str = "BookCopyReturnedByReader";

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn makes_events_that_their_filter_matches() {
        let mut random = SmallRng::seed_from_u64(1);
        let boundary = Boundaries::new(1).any(&mut random);
        for kind in FilterKind::ALL {
            for _ in 0..50 {
                let (event_type, payload) = boundary.event(kind, &mut random);

                assert!(boundary.filter(kind).matches(&event_type, &payload), "{kind:?}");
            }
        }
    }

    #[test]
    fn makes_events_that_other_kinds_of_filter_match_too() {
        let mut random = SmallRng::seed_from_u64(1);
        let boundary = Boundaries::new(1).any(&mut random);
        for filter in FilterKind::ALL.map(|kind| boundary.filter(kind)) {
            let events = FilterKind::ALL
                .iter()
                .cycle()
                .take(300)
                .filter(|&&kind| boundary.filter(kind) != filter)
                .map(|&kind| boundary.event(kind, &mut random));

            assert!(events.into_iter().any(|(name, payload)| filter.matches(&name, &payload)));
        }
    }

    #[test]
    fn no_filter_matches_an_event_of_another_boundary() {
        let mut random = SmallRng::seed_from_u64(1);
        let shared = Boundaries::new(1).any(&mut random);
        let (first, second) = (Boundary::private(1, 0), Boundary::private(2, 0));
        for kind in FilterKind::ALL {
            for (owner, other) in [(&first, &shared), (&shared, &first), (&first, &second)] {
                let (event_type, payload) = other.event(kind, &mut random);

                let kinds = FilterKind::ALL.iter();
                assert!(
                    kinds
                        .map(|&kind| owner.filter(kind))
                        .all(|it| !it.matches(&event_type, &payload))
                );
            }
        }
    }

    #[test]
    fn replaces_a_boundary_once() {
        let mut random = SmallRng::seed_from_u64(1);
        let boundaries = Boundaries::new(1);
        let full = boundaries.any(&mut random);

        boundaries.replace(&full);
        boundaries.replace(&full);

        assert_eq!(boundaries.any(&mut random).name, "0.1");
    }
}
