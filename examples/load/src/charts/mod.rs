//! The code for charts, which the report and the live page share.

/// Returns a page from its template and its own parts. The common parts are added: uPlot, the
/// charts, and the common styles. Each part replaces its name.
pub fn assembled(template: &str, parts: &[(&str, &str)]) -> String {
    COMMON.iter().chain(parts).fold(template.to_owned(), |page, (name, text)| {
        debug_assert!(page.contains(name), "{name} is not in the page");
        page.replacen(name, text, 1)
    })
}

const COMMON: [(&str, &str); 7] = [
    ("/* uplot.css */", include_str!("uplot/uPlot.min.css")),
    ("/* base.css */", include_str!("base.css")),
    ("/* uplot.js */", include_str!("uplot/uPlot.iife.min.js")),
    ("/* value.js */", include_str!("value.js")),
    ("/* chart.js */", include_str!("chart.js")),
    ("/* bars.js */", include_str!("bars.js")),
    ("/* parts.js */", include_str!("parts.js")),
];
