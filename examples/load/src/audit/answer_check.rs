use std::fmt::Write;

use super::lists::Lists;
use super::table::Row;
use crate::replies::{KeptAnswer, row_hash};

/// Describes how an answer differs from the one that the log implies, with the events that show it.
pub fn difference(answer: &KeptAnswer, server: &str, lists: &Lists) -> String {
    let KeptAnswer { question, position, content, rows, .. } = answer;
    let expected = lists.rows(*question);
    let mut text = format!(
        "{question} was answered by {server} at position {position} with {} rows (count {}, total \
         {}), and the log implies {}",
        content.rows,
        content.count,
        content.total,
        expected.len(),
    );
    match rows {
        Some(rows) => add_first_difference(&mut text, rows, &expected),
        None => add_events(&mut text, &expected),
    }
    text
}

fn add_first_difference(text: &mut String, rows: &[String], expected: &[Row]) {
    let hashes: Vec<_> = rows.iter().map(|row| row_hash(row)).collect();
    let same = hashes.iter().zip(expected).take_while(|(hash, row)| **hash == row.hash).count();
    let answered = rows.get(same).map_or("is missing", String::as_str);
    let implied = match expected.get(same) {
        Some(row) => format!("has the row of event {}", row.position),
        None => "has none".to_owned(),
    };
    if same < rows.len().max(expected.len()) {
        write_to(text, format_args!("; row {}: {answered}; the log {implied}", same + 1));
    }
}

/// Adds the positions of the events of the newest rows.
fn add_events(text: &mut String, expected: &[Row]) {
    let mut positions: Vec<_> = expected.iter().map(|row| row.position).collect();
    positions.sort_unstable_by(|left, right| right.cmp(left));
    positions.truncate(MAX_LISTED_EVENTS);
    let positions: Vec<_> = positions.iter().map(ToString::to_string).collect();
    if !positions.is_empty() {
        write_to(
            text,
            format_args!("; its newest rows are of the events {}", positions.join(", ")),
        );
    }
}

fn write_to(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a text takes everything that is written to it");
}

/// The maximum number of events that the description of a difference names.
const MAX_LISTED_EVENTS: usize = 10;
