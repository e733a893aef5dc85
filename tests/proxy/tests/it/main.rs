//! The proxy between plain TCP sockets.

mod cut;
mod pass;
mod stall;
mod support;
