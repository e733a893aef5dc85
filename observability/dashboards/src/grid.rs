//! The positions of panels on the grid of a dashboard, which is 24 wide.

use crate::model::Dashboard;

/// The place of a panel, in units of the grid.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The distance from the left.
    pub x: usize,
    /// The distance from the top.
    pub y: usize,
    /// The width.
    pub width: usize,
    /// The height.
    pub height: usize,
}

/// The place of a row's title, and of its panels.
#[derive(Clone, Debug)]
pub struct RowPlaces {
    /// The title's place.
    pub title: Place,
    /// The places of the panels.
    pub panels: Vec<Place>,
}

/// Returns the places of all rows. The panels of a line share its width equally, also if the last
/// line of a row has fewer of them.
pub fn places(dashboard: &Dashboard) -> Vec<RowPlaces> {
    let mut y = 0;
    let mut rows = Vec::new();
    for row in &dashboard.rows {
        let title = Place { x: 0, y, width: WIDTH, height: TITLE_HEIGHT };
        y += TITLE_HEIGHT;
        let mut panels = Vec::new();
        for line in row.panels.chunks(row.columns) {
            let width = WIDTH / line.len();
            panels.extend((0..line.len()).map(|at| Place {
                x: at * width,
                y,
                width,
                height: PANEL_HEIGHT,
            }));
            y += PANEL_HEIGHT;
        }
        rows.push(RowPlaces { title, panels });
    }
    rows
}

const WIDTH: usize = 24;
const TITLE_HEIGHT: usize = 1;
const PANEL_HEIGHT: usize = 8;
