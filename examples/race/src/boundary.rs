//! What is raced for: a few boundaries, the filters that read them, and events within them.

use std::sync::atomic::{AtomicU64, Ordering};

use rand::RngExt;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::filter::{FilterSpec, ItemSpec};

/// The boundaries that all writers share, each at its present age.
///
/// A boundary that has grown old is given up for a fresh one, or reading it would soon take longer
/// than any race. Processes need not agree on the age: whoever reads an old boundary moves on.
pub struct Boundaries {
    ages: Vec<AtomicU64>,
}

impl Boundaries {
    /// Makes this many.
    pub fn new(count: usize) -> Self {
        Self { ages: (0..count).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Returns any of them.
    pub fn any(&self, random: &mut SmallRng) -> Boundary {
        self.at(random.random_range(0..self.ages.len()))
    }

    /// Returns the one where more writers meet than anywhere else.
    pub fn hottest(&self) -> Boundary {
        self.at(0)
    }

    fn at(&self, place: usize) -> Boundary {
        let age = self.ages[place].load(Ordering::Relaxed);
        Boundary { name: format!("{place}.{age}"), shared: Some((place, age)) }
    }

    /// Gives the boundary up for a fresh one, unless that was done before or it is a private one.
    pub fn retire(&self, boundary: &Boundary) {
        if let Some((place, age)) = boundary.shared {
            self.ages[place].fetch_max(age + 1, Ordering::Relaxed);
        }
    }
}

/// A book, a reader and a branch, known by one name.
#[derive(Clone, Debug)]
pub struct Boundary {
    name: String,
    /// Its place and age among the shared ones.
    shared: Option<(usize, u64)>,
}

/// The kinds of filter that decisions are taken by.
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

    /// Names it for people.
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
    /// Makes one that no other writer knows.
    pub fn private(writer: usize, age: u64) -> Self {
        Self { name: format!("private-{writer}.{age}"), shared: None }
    }

    /// Returns whether no other writer knows it.
    pub fn is_private(&self) -> bool {
        self.shared.is_none()
    }

    /// Makes the filter of a kind that reads the boundary.
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

    /// Makes type and payload of an event that the filter of the kind matches; which of the
    /// others match it too is left to chance.
    pub fn event(&self, kind: FilterKind, random: &mut SmallRng) -> (String, Value) {
        let level = if kind == FilterKind::SeveralItems { 1 } else { random.random_range(0..3) };
        let whole = kind == FilterKind::AllOf || kind == FilterKind::SeveralItems;
        let mut payload = json!({
            "Reserved": kind == FilterKind::AllOf || random.random(),
            "Shelf": { "Branch": self.branch(), "Level": level },
        });
        let book = if whole || random.random() { self.book() } else { elsewhere("BookID") };
        // An event of a boundary has one of its ids at least.
        let stray = !whole && book == self.book() && random.random();
        let reader = if stray { elsewhere("ReaderID") } else { self.reader() };
        for (key, value) in [book, reader] {
            payload[key] = value;
        }
        // In any order, with others: the filter's are all there, or one of them is missing.
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

    /// The first two are what its filter asks for.
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

fn elsewhere(key: &str) -> (String, Value) {
    (key.into(), "elsewhere".into())
}

/// The count of events at which a boundary is old.
pub const OLD: u64 = 150;

const LENT: &str = "BookCopyLentToReader";
const REGISTERED: &str = "ReaderRegistered";
const RETURNED: &str = "BookCopyReturnedByReader";

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn makes_events_that_their_own_filter_matches() {
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
            let strangers = FilterKind::ALL
                .iter()
                .cycle()
                .take(300)
                .filter(|&&kind| boundary.filter(kind) != filter)
                .map(|&kind| boundary.event(kind, &mut random));

            assert!(strangers.into_iter().any(|(name, payload)| filter.matches(&name, &payload)));
        }
    }

    #[test]
    fn keeps_private_boundaries_to_themselves() {
        let mut random = SmallRng::seed_from_u64(1);
        let shared = Boundaries::new(1).any(&mut random);
        let (one, other) = (Boundary::private(1, 0), Boundary::private(2, 0));
        for kind in FilterKind::ALL {
            for (owner, stranger) in [(&one, &shared), (&shared, &one), (&one, &other)] {
                let (event_type, payload) = stranger.event(kind, &mut random);

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
    fn retires_a_boundary_once() {
        let mut random = SmallRng::seed_from_u64(1);
        let boundaries = Boundaries::new(1);
        let old = boundaries.any(&mut random);

        boundaries.retire(&old);
        boundaries.retire(&old);

        assert_eq!(boundaries.any(&mut random).name, "0.1");
    }
}
