/// Returns the rows of a table in the documentation of `Class`: the codes of the first column, the
/// meaning and the class.
pub fn table(heading: &str) -> Vec<(Vec<String>, String, String)> {
    let section = include_str!("../class.rs").split(&format!("/// # {heading}\n")).nth(1).unwrap();
    let lines = section.lines().map_while(|line| line.strip_prefix("///"));
    let lines = lines.take_while(|line| !line.starts_with(" #"));
    let rows = lines.filter_map(|line| line.strip_prefix(" | ")).skip(2);
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let first = cells[0].split(", ").map(str::to_owned).collect();
        (first, cells[1].to_owned(), cells[cells.len() - 3].to_owned())
    })
    .collect()
}
