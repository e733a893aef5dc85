//! A page in headless Chromium.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// An element of a page that a browser has run.
#[derive(Debug)]
pub struct Element {
    attributes: String,
    /// The text up to the next tag.
    pub text: String,
}

impl Element {
    /// Returns the value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<String> {
        let (_, rest) = self.attributes.split_once(&format!(" {name}=\""))?;
        rest.split('"').next().map(unescaped)
    }
}

/// Opens a page in a browser and returns its elements after its scripts have run.
pub fn elements(html: &str) -> Vec<Element> {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    std::fs::write(&page, html).unwrap();
    elements_at(&format!("file://{}", page.display()))
}

/// Opens an address in a browser and returns the elements of its page after ten seconds, in which
/// the browser's clock does not wait.
pub fn elements_at(url: &str) -> Vec<Element> {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(browser())
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .args(["--virtual-time-budget=10000", "--dump-dom"])
        .arg(url)
        .output()
        .unwrap();
    let dom = String::from_utf8(output.stdout).unwrap();
    assert!(dom.contains("</html>"), "{}", String::from_utf8_lossy(&output.stderr));
    parse(&without_scripts(&dom))
}

/// Returns the program of a browser. Installs it if that is possible.
fn browser() -> &'static Path {
    static BROWSER: OnceLock<PathBuf> = OnceLock::new();
    BROWSER.get_or_init(|| find().unwrap_or_else(install))
}

fn find() -> Option<PathBuf> {
    if let Some(given) = env::var_os("EDDYLINE_CHROMIUM").filter(|given| !given.is_empty()) {
        return Some(PathBuf::from(given));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let programs = NAMES.iter().flat_map(|name| folders.iter().map(move |path| path.join(name)));
    programs.into_iter().find(|program| program.is_file())
}

fn install() -> PathBuf {
    const ADVICE: &str = "no Chromium found: install the package `chromium` or set \
                          EDDYLINE_CHROMIUM to its program";
    assert!(local_postgres::can_install(), "{ADVICE}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(local_postgres::install_package("chromium")).unwrap();
    find().expect(ADVICE)
}

fn without_scripts(dom: &str) -> String {
    let (first, others) = dom.split_once("<script").unwrap_or((dom, ""));
    let after = |part: &str| part.split_once("</script>").map(|(_, after)| after.to_owned());
    let others: String = others.split("<script").filter_map(after).collect();
    first.to_owned() + &others
}

/// Parses elements and the text after each. Browsers put the values of attributes in double quotes.
fn parse(dom: &str) -> Vec<Element> {
    let mut elements: Vec<Element> = Vec::new();
    let mut rest = dom;
    while let Some((text, after)) = rest.split_once('<') {
        if let Some(element) = elements.last_mut() {
            element.text = unescaped(text);
        }
        let mut is_quoted = false;
        let end = after.find(|c: char| {
            is_quoted ^= c == '"';
            c == '>' && !is_quoted
        });
        let Some(end) = end else { break };
        elements.push(Element { attributes: after[..end].to_owned(), text: String::new() });
        rest = &after[end + 1..];
    }
    elements
}

fn unescaped(text: &str) -> String {
    let plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    plain.replace("&nbsp;", "\u{a0}").replace("&amp;", "&")
}

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
