//! The result of a load, as text, JSON and a page, and the comparison of two results.

mod compare;
mod data;
mod describe;
mod figures;
mod json;
mod number;
mod page;
mod statistics;
mod text;

pub use self::compare::{Compared, Comparison, Verdict, compare};
pub use self::data::{Asked, Machine, Report, Settings, Shares};
pub use self::figures::{
    BatchFigures, Figures, LimitFigures, Rates, ServerFigures, ServiceGap, Wait, WindowFigures,
};
pub use self::json::ReportError;
pub use self::page::page;
