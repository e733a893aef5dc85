//! The generated files.

use std::path::{Path, PathBuf};

use crate::queries::dashboards;
use crate::{alert_tests, alerts, json};

/// A generated file.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The path.
    pub path: PathBuf,
    /// The content.
    pub content: String,
}

/// Returns the files, with paths in `observability/`.
pub fn generated() -> Vec<Generated> {
    let folder = folder();
    let grafana = folder.join("grafana");
    let names = ["event-store.json", "library.json"];
    let mut files: Vec<_> = names
        .iter()
        .zip(dashboards())
        .map(|(name, dashboard)| Generated {
            path: grafana.join(name),
            content: format!("{:#}\n", json::dashboard(&dashboard)),
        })
        .collect();
    let prometheus = folder.join("prometheus");
    files.push(Generated {
        path: prometheus.join("alerts.yml"),
        content: alerts::rules(&alerts::alerts()),
    });
    files.push(Generated {
        path: prometheus.join("alerts_test.yml"),
        content: alert_tests::file(alert_tests::TESTS),
    });
    files
}

/// Returns the folder `observability`.
pub fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a package has a parent folder")
}
