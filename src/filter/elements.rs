use std::collections::BTreeSet;

use serde_json::value::RawValue;

use super::leaves::Leaves;
use super::node::Node;

/// The elements that an array must contain, whatever else it contains and in whatever order.
///
/// `jsonb` asks of each of them alone whether the array has an element that contains it. So
/// repetition does not count, nor does an element that another one contains.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Elements(BTreeSet<Node>);

impl Elements {
    /// Leaves out the elements that are part of another one.
    pub(super) fn new(mut elements: BTreeSet<Node>) -> Self {
        let containers: Vec<_> = elements.iter().filter(|one| !one.is_scalar()).cloned().collect();
        if containers.len() > 1 {
            let leaves = Leaves::new(containers.iter().map(|one| one.leaves("")).collect());
            for (whole, container) in containers.iter().enumerate() {
                for part in leaves.may_be_parts(whole) {
                    if part != whole && containers[part].is_part_of(container) {
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

    /// Returns the scalar that tells arrays apart best: the longest, which is an identifier
    /// rather than a word that many arrays contain.
    pub(super) fn scalar(&self) -> Option<&Node> {
        let scalars = self.0.iter().filter(|one| one.is_scalar());
        scalars.max_by_key(|one| match one {
            Node::String(text) => text.len(),
            _ => 0,
        })
    }

    /// Demands what both demand.
    pub(super) fn merge(&self, other: &Self) -> Self {
        Self::new(self.0.union(&other.0).cloned().collect())
    }

    /// Returns whether each array that holds `other` holds this as well.
    pub(super) fn is_part_of(&self, other: &Self) -> bool {
        self.0.iter().all(|part| match part.is_scalar() {
            true => other.0.contains(part),
            false => other.0.iter().any(|whole| part.is_part_of(whole)),
        })
    }

    /// Returns whether a JSON array holds this.
    pub(super) fn is_held_by(&self, array: &str) -> bool {
        let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(array) else { return false };
        self.0.iter().all(|one| values.iter().any(|value| one.is_held_by(value.get())))
    }

    /// Renders the JSON array that `@>` takes.
    pub(super) fn to_json(&self) -> String {
        let elements: Vec<_> = self.0.iter().map(Node::to_json).collect();
        format!("[{}]", elements.join(","))
    }
}
