//! The audit of logs on a real cluster.

mod broken_stores;
mod replicas;
mod small_library;
