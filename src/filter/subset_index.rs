use std::collections::HashMap;

/// An index of JSON values by their leaf paths. It finds the values that may be contained in
/// another.
///
/// A value can be contained in another one only if all of its leaf paths are among the other's. So
/// it is enough to index each value under one of its paths. The rarest path gives the fewest
/// candidates.
pub(super) struct SubsetIndex {
    /// The leaf paths of each value.
    paths: Vec<Vec<String>>,
    /// The indexes of the values, by their rarest path.
    by_rarest: HashMap<String, Vec<usize>>,
}

impl SubsetIndex {
    /// Indexes values, given the leaf paths of each.
    pub(super) fn new(mut paths: Vec<Vec<String>>) -> Self {
        for paths in &mut paths {
            paths.sort_unstable();
            paths.dedup();
        }
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for path in paths.iter().flatten() {
            *counts.entry(path).or_default() += 1;
        }
        let mut by_rarest: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, paths) in paths.iter().enumerate() {
            if let Some(rarest) = paths.iter().min_by_key(|path| counts[path.as_str()]) {
                by_rarest.entry(rarest.clone()).or_default().push(index);
            }
        }
        Self { paths, by_rarest }
    }

    /// Returns the indexes of the values that may be contained in the value with this index. The
    /// index itself is among them.
    pub(super) fn candidates(&self, whole: usize) -> impl Iterator<Item = usize> {
        self.paths[whole].iter().filter_map(|path| self.by_rarest.get(path)).flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise ten thousand predicates with a common tag would all be compared with each other.
    #[test]
    fn a_path_of_all_values_makes_none_a_candidate_of_another() {
        let paths = (0..1_000).map(|n| vec!["term:2026".to_owned(), format!("student:{n}")]);
        let index = SubsetIndex::new(paths.collect());

        for whole in 0..1_000 {
            assert_eq!(index.candidates(whole).collect::<Vec<_>>(), [whole]);
        }
    }

    #[test]
    fn finds_each_value_that_has_no_other_paths() {
        let of = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        let index = SubsetIndex::new(vec![
            of(&["a", "b", "c"]),
            of(&["b"]),
            of(&["c", "a", "a"]),
            of(&["d"]),
        ]);

        let mut candidates: Vec<_> = index.candidates(0).collect();

        candidates.sort_unstable();
        assert_eq!(candidates, [0, 1, 2]);
    }
}
