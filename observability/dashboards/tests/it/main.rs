//! The tests of the dashboards, the alerts and their files.

mod files;
