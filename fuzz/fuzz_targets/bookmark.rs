//! Any text is refused, or is the token of what it is parsed to.

#![no_main]

use eddyline::{Bookmark, Causality};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let bookmark = text.parse::<Bookmark>();
    if let Ok(bookmark) = bookmark {
        assert_eq!(bookmark.to_string(), text);
    }
    match text.parse::<Causality>() {
        // A token may name an epoch twice.
        Ok(causality) => {
            let token = causality.to_string();
            assert!(token.len() <= text.len());
            let again: Causality = token.parse().expect("its own token");
            assert_eq!(again.bookmarks(), causality.bookmarks());
        }
        Err(_) => assert!(bookmark.is_err()),
    }
});
