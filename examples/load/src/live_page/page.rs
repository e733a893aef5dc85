use crate::charts::assembled;
use crate::web::Answer;

/// Returns the page, which needs no other file than the counts.
pub(super) fn page() -> Answer {
    let html = assembled(
        include_str!("live.html"),
        &[
            ("/* live.css */", include_str!("live.css")),
            ("/* history.js */", include_str!("history.js")),
            ("/* lines.js */", include_str!("lines.js")),
            ("/* groups.js */", include_str!("groups.js")),
            ("/* stores.js */", include_str!("stores.js")),
            ("/* tables.js */", include_str!("tables.js")),
            ("/* live.js */", include_str!("live.js")),
        ],
    );
    Answer::new("text/html; charset=utf-8", html).with_policy(POLICY)
}

/// The page asks for nothing but the counts.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                      connect-src 'self'; img-src data:; frame-ancestors 'none'";
