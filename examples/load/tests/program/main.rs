//! Tests of the program: its options, its reports and its exit codes.

mod bad_input;
mod observed;
mod omission;
mod outcomes;
mod plans;
mod reports;
mod support;
