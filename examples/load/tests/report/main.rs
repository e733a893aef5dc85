//! The report of a load: text, JSON, page, and the comparison of two reports.

mod compare;
mod gap;
mod json;
mod sample;
mod text;
