//! Tests of the load generator's own servers: faults and observations on real clusters.

mod faults;
mod observer;
mod promotions;
mod support;
