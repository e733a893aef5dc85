//! The report of a load: text, JSON, page, and the comparison of two reports; and the live page.

mod browser;
mod compare;
mod figures;
mod gap;
mod json;
mod live_page;
mod live_run;
mod page;
mod sample;
mod shown;
mod text;
