//! The options of the city.

use clap::Args;
use serde::Serialize;

/// The options of the city.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "City")]
pub struct CityOptions {
    /// Number of books in circulation at the start
    #[arg(long, value_name = "N", default_value_t = 62_000, env = "LIBRARY_BOOKS")]
    #[arg(value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    pub books: u32,

    /// Number of registered readers at the start
    #[arg(long, value_name = "N", default_value_t = 14_500, env = "LIBRARY_READERS")]
    #[arg(value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    pub readers: u32,

    /// Number of loans at the start. By default as many as readers, but at most half of the books
    #[arg(long, value_name = "N", env = "LIBRARY_LOANS")]
    pub loans: Option<u32>,

    /// How unequal the popularity of books is: the exponent of Zipf's law. 0 is equal
    #[arg(long, value_name = "S", default_value_t = 0.7, env = "LIBRARY_BOOK_SKEW")]
    #[arg(allow_negative_numbers = true)]
    pub book_skew: f64,

    /// How unequal the number of visits of readers is: the exponent of Zipf's law. 0 is equal
    #[arg(long, value_name = "S", default_value_t = 0.5, env = "LIBRARY_READER_SKEW")]
    #[arg(allow_negative_numbers = true)]
    pub reader_skew: f64,
}
