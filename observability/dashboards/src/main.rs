//! Writes the dashboards and alerts to `observability/`.

use std::fs;
use std::io;

fn main() -> io::Result<()> {
    for file in dashboards::files::generated() {
        fs::write(&file.path, file.content)?;
        println!("wrote {}", file.path.display());
    }
    Ok(())
}
