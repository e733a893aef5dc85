//! The page of a report.

use super::Report;

/// Returns the report as a page that needs no other file and no network.
pub fn page(report: &Report) -> String {
    let parts = [
        ("/* uplot.css */", include_str!("page/uplot/uPlot.min.css")),
        ("/* page.css */", include_str!("page/page.css")),
        ("/* uplot.js */", include_str!("page/uplot/uPlot.iife.min.js")),
        ("/* value.js */", include_str!("page/value.js")),
        ("/* chart.js */", include_str!("page/chart.js")),
        ("/* bars.js */", include_str!("page/bars.js")),
        ("/* tables.js */", include_str!("page/tables.js")),
        ("/* charts.js */", include_str!("page/charts.js")),
        ("/* page.js */", include_str!("page/page.js")),
    ];
    let page = parts.into_iter().fold(TEMPLATE.to_owned(), |page, (name, text)| {
        debug_assert!(page.contains(name), "{name} is not in the page");
        page.replacen(name, text, 1)
    });
    // The report comes last, since its texts may contain the name of a part.
    page.replacen("/* report.json */", &inlined(&report.to_compact_json()), 1)
}

/// Escapes JSON for the content of a `script` element. A text in it could otherwise end the
/// element, or start a comment.
fn inlined(json: &str) -> String {
    json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

const TEMPLATE: &str = include_str!("page/page.html");

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
