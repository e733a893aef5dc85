use std::sync::{Arc, PoisonError, RwLock};

/// A list of series that is read often and extended seldom.
pub(super) struct SharedList<T>(RwLock<Vec<Arc<T>>>);

impl<T> SharedList<T> {
    pub(super) fn find(&self, is_searched: impl Fn(&T) -> bool) -> Option<Arc<T>> {
        let list = self.0.read().unwrap_or_else(PoisonError::into_inner);
        list.iter().find(|one| is_searched(one)).cloned()
    }

    /// Finds an element, or adds it.
    pub(super) fn find_or_add(
        &self,
        is_searched: impl Fn(&T) -> bool,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        let found = self.find_or_add_up_to(usize::MAX, is_searched, make);
        found.expect("no list has so many elements")
    }

    /// Finds an element, or adds it unless there are `max` elements.
    pub(super) fn find_or_add_up_to(
        &self,
        max: usize,
        is_searched: impl Fn(&T) -> bool,
        make: impl FnOnce() -> T,
    ) -> Option<Arc<T>> {
        if let Some(found) = self.find(&is_searched) {
            return Some(found);
        }
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have added it.
        if let Some(found) = list.iter().find(|one| is_searched(one)) {
            return Some(found.clone());
        }
        (list.len() < max).then(|| {
            let made = Arc::new(make());
            list.push(made.clone());
            made
        })
    }
}

impl<T> Default for SharedList<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}
