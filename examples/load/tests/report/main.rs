//! The report of a load: text, JSON, page, and the comparison of two reports.

mod browser;
mod compare;
mod figures;
mod gap;
mod json;
mod page;
mod sample;
mod text;
