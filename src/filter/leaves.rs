use std::collections::HashMap;

/// An index over containments that finds those that may be part of another one.
///
/// A containment can be part of another one only if the other one has all of its leaves. So it is
/// enough to look for it under one of its leaves, and the leaf that the fewest have costs least.
pub(super) struct Leaves {
    /// The leaves of each containment.
    leaves: Vec<Vec<String>>,
    /// The containments under their rarest leaf.
    by_rarest: HashMap<String, Vec<usize>>,
}

impl Leaves {
    /// Takes the leaves of each containment.
    pub(super) fn new(mut leaves: Vec<Vec<String>>) -> Self {
        for own in &mut leaves {
            own.sort_unstable();
            own.dedup();
        }
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for leaf in leaves.iter().flatten() {
            *counts.entry(leaf).or_default() += 1;
        }
        let mut by_rarest: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, own) in leaves.iter().enumerate() {
            if let Some(rarest) = own.iter().min_by_key(|leaf| counts[leaf.as_str()]) {
                by_rarest.entry(rarest.clone()).or_default().push(index);
            }
        }
        Self { leaves, by_rarest }
    }

    /// Returns the containments, by index, that may be part of the one at this index. It is among
    /// them itself.
    pub(super) fn may_be_parts(&self, whole: usize) -> impl Iterator<Item = usize> {
        self.leaves[whole].iter().filter_map(|leaf| self.by_rarest.get(leaf)).flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Or else ten thousand predicates with a common tag would all be compared with each other.
    #[test]
    fn a_leaf_that_all_have_makes_none_a_candidate_of_another() {
        let leaves = (0..1_000).map(|n| vec!["term:2026".to_owned(), format!("student:{n}")]);
        let leaves = Leaves::new(leaves.collect());

        for whole in 0..1_000 {
            assert_eq!(leaves.may_be_parts(whole).collect::<Vec<_>>(), [whole]);
        }
    }

    #[test]
    fn finds_each_that_has_no_other_leaves() {
        let of = |leaves: &[&str]| leaves.iter().map(|leaf| (*leaf).to_owned()).collect();
        let leaves =
            Leaves::new(vec![of(&["a", "b", "c"]), of(&["b"]), of(&["c", "a", "a"]), of(&["d"])]);

        let mut parts: Vec<_> = leaves.may_be_parts(0).collect();

        parts.sort_unstable();
        assert_eq!(parts, [0, 1, 2]);
    }
}
