//! The grid of a dashboard is full: 24 wide, without overlap and without a hole.

use serde_json::Value;

use super::Problems;
use crate::dashboard::title;

/// A panel's place, from the left and the top to behind the right and the bottom.
struct Area<'a> {
    title: &'a str,
    x: (u64, u64),
    y: (u64, u64),
    is_row: bool,
}

/// Returns what is wrong with the places of the panels.
pub fn check(dashboard: &Value) -> Problems {
    let areas: Vec<_> = dashboard["panels"].as_array().unwrap().iter().map(area).collect();
    let mut problems = Vec::new();
    let bottom = areas.iter().map(|area| area.y.1).max().unwrap_or(0);
    for y in 0..bottom {
        for x in 0..WIDTH {
            let there: Vec<_> = areas.iter().filter(|area| area.covers(x, y)).collect();
            match there.as_slice() {
                [] => problems.push(format!("no panel is at x = {x}, y = {y}")),
                [_] => {}
                [one, other, ..] => {
                    problems.push(format!("{} overlaps {} at {x}, {y}", one.title, other.title));
                }
            }
        }
    }
    for area in &areas {
        if area.x.1 > WIDTH {
            problems.push(format!("{} is wider than the grid", area.title));
        }
        if area.is_row != (area.y.1 - area.y.0 == 1) {
            problems.push(format!("{} has the wrong height", area.title));
        }
    }
    problems
}

impl Area<'_> {
    fn covers(&self, x: u64, y: u64) -> bool {
        (self.x.0..self.x.1).contains(&x) && (self.y.0..self.y.1).contains(&y)
    }
}

fn area(panel: &Value) -> Area<'_> {
    let length = |name: &str| panel["gridPos"][name].as_u64().unwrap_or_default();
    let (x, y) = (length("x"), length("y"));
    Area {
        title: title(panel),
        x: (x, x + length("w")),
        y: (y, y + length("h")),
        is_row: panel["type"] == "row",
    }
}

const WIDTH: u64 = 24;
