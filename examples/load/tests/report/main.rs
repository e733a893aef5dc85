//! The report of a load: text, JSON, page, and the comparison of two reports.

mod gap;
mod json;
mod sample;
mod text;
