use std::collections::BTreeSet;

use serde_json::value::RawValue;

use super::node::Node;
use super::subset_index::SubsetIndex;

/// The elements that an array must contain, in any order and among any others.
///
/// `@>` checks for each of them that the array has an element that contains it. So repetition does
/// not count, and an element that another one contains is redundant.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Elements(BTreeSet<Node>);

impl Elements {
    /// Makes the list without its redundant elements.
    pub(super) fn new(mut elements: BTreeSet<Node>) -> Self {
        let containers: Vec<_> = elements.iter().filter(|one| !one.is_scalar()).cloned().collect();
        if containers.len() > 1 {
            let index = SubsetIndex::new(containers.iter().map(Node::leaf_paths).collect());
            for (whole, container) in containers.iter().enumerate() {
                for part in index.candidates(whole) {
                    if part != whole && containers[part].is_implied_by(container) {
                        elements.remove(&containers[part]);
                    }
                }
            }
        }
        Self(elements)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.0.iter()
    }

    /// Returns the longest scalar. It is the most selective one as a rule: an identifier rather
    /// than a word that many arrays contain.
    pub(super) fn longest_scalar(&self) -> Option<&Node> {
        let scalars = self.0.iter().filter(|one| one.is_scalar());
        scalars.max_by_key(|one| match one {
            Node::String(text) => text.len(),
            _ => 0,
        })
    }

    /// Returns the elements of both lists.
    pub(super) fn merge(&self, other: &Self) -> Self {
        Self::new(self.0.union(&other.0).cloned().collect())
    }

    /// Returns whether each array that contains `other` contains these elements as well.
    pub(super) fn is_implied_by(&self, other: &Self) -> bool {
        self.0.iter().all(|part| match part.is_scalar() {
            true => other.0.contains(part),
            false => other.0.iter().any(|whole| part.is_implied_by(whole)),
        })
    }

    /// Returns whether a JSON array contains the elements.
    pub(super) fn is_contained_in(&self, array: &str) -> bool {
        let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(array) else { return false };
        self.0.iter().all(|one| values.iter().any(|value| one.is_contained_in(value.get())))
    }

    /// Appends the JSON array to a text.
    pub(super) fn push_json(&self, json: &mut String) {
        json.push('[');
        for (index, element) in self.0.iter().enumerate() {
            if index > 0 {
                json.push(',');
            }
            element.push_json(json);
        }
        json.push(']');
    }
}
