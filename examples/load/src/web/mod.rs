//! A small HTTP server: it answers GET and HEAD, one request per connection.

mod address;
mod answer;
mod server;
#[cfg(test)]
mod tests;

pub use self::address::{Address, AddressError};
pub use self::answer::{Answer, Request};
pub use self::server::{Limits, Server, Serving};
