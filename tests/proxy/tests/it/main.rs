//! The proxy between plain TCP sockets.

mod cut;
mod pass;
mod slow;
mod stall;
mod support;
