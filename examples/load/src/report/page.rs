//! The page of a report.

use super::Report;
use crate::charts::assembled;

/// Returns the report as a page that needs no other file and no network.
pub fn page(report: &Report) -> String {
    let page = assembled(
        include_str!("page/page.html"),
        &[
            ("/* page.css */", include_str!("page/page.css")),
            ("/* tables.js */", include_str!("page/tables.js")),
            ("/* charts.js */", include_str!("page/charts.js")),
            ("/* page.js */", include_str!("page/page.js")),
        ],
    );
    // The report comes last, since its texts may contain the name of a part.
    page.replacen("/* report.json */", &inlined(&report.to_compact_json()), 1)
}

/// Escapes JSON for the content of a `script` element. A text in it could otherwise end the
/// element, or start a comment.
fn inlined(json: &str) -> String {
    json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inlined_json_cannot_end_its_element_and_keeps_its_meaning() {
        let text = "</script><!--\u{2028}\u{2029}";
        let json = serde_json::to_string(text).unwrap();

        let inlined = inlined(&json);

        assert!(!inlined.contains(['<', '\u{2028}', '\u{2029}']), "{inlined}");
        assert_eq!(serde_json::from_str::<String>(&inlined).unwrap(), text);
    }
}
