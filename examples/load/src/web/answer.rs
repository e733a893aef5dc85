use hyper::body::Bytes;

/// A request for a page: its method is GET or HEAD.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// The path, such as `/metrics`.
    pub path: String,
    /// What follows the question mark, or nothing.
    pub query: String,
}

/// An answer to a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The content, in UTF-8.
    pub content: Bytes,
    /// The media type of the content.
    pub media_type: &'static str,
    /// The security policy of a page.
    pub policy: Option<&'static str>,
    /// Whether the content could be made.
    pub is_failed: bool,
}

impl Answer {
    /// Returns an answer with a content.
    pub fn new(media_type: &'static str, content: impl Into<Bytes>) -> Self {
        Self { content: content.into(), media_type, policy: None, is_failed: false }
    }

    /// Returns the answer to a request whose content could not be made.
    pub fn failed(reason: &str) -> Self {
        Self { is_failed: true, ..Self::new(TEXT, format!("{reason}\n")) }
    }

    /// Sets the security policy (`Content-Security-Policy`) of a page.
    pub fn with_policy(self, policy: &'static str) -> Self {
        Self { policy: Some(policy), ..self }
    }
}

/// The media type of plain text.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";
