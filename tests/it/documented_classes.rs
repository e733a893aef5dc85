//! The classes that the documentation of `Class` gives to SQLSTATEs, for the codes of the installed
//! server.

#[path = "../../src/error/classify/documented.rs"]
mod documented;

use std::collections::BTreeSet;

use self::documented::table;
use crate::support::{cluster, connect};

/// The codes that the installed server may lack, because newer servers have added them.
const NEWER: [&str; 3] = ["10608", "25P04", "58P03"];

/// Returns the codes in the list that the server was built from, and `NEWER`.
pub async fn codes() -> BTreeSet<String> {
    let sql = connect(&cluster().await.primary().url("postgres")).await;
    let list = "SELECT pg_read_file(setting || '/errcodes.txt') FROM pg_config
        WHERE name = 'SHAREDIR'";
    let list: String = sql.query_one(list, &[]).await.unwrap().get(0);
    let lines = list.lines().filter(|line| !line.starts_with('#') && !line.starts_with("Section"));
    let mut codes: BTreeSet<String> =
        lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    assert!(codes.len() > 250 && codes.iter().all(|code| code.len() == 5), "{codes:?}");
    codes.extend(NEWER.map(str::to_owned));
    codes
}

/// Returns the rows of the table of codes: each code or first two characters, with its meaning and
/// class.
fn rows() -> Vec<(String, String, String)> {
    let row = |(codes, meaning, class): (Vec<String>, String, String)| {
        codes.into_iter().map(move |code| (code, meaning.clone(), class.clone()))
    };
    table("Codes").into_iter().flat_map(row).collect()
}

/// The role of a server.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Role {
    Primary,
    Replica,
}

/// Returns the class of a code in a read of a server of this role.
pub fn class_in_read(code: &str, role: Role) -> String {
    let rows = rows();
    let exact: Vec<_> = rows.iter().filter(|(row, ..)| row == code).collect();
    let class = match (code, &exact[..]) {
        ("25006", _) if role == Role::Primary => "transient",
        ("25006", _) => "bug",
        ("57014", _) => "canceled",
        (_, [(.., class)]) => class,
        (_, []) => {
            let general = rows.iter().find(|(row, ..)| row == &code[..2]);
            &general.unwrap_or_else(|| panic!("no row for {code}")).2
        }
        (_, several) => panic!("{several:?}"),
    };
    class.to_owned()
}

/// Returns the class of a code as the answer to an append that was sent.
pub fn class_in_append(code: &str, ended: bool) -> String {
    let ends = ["08", "57P", "25P03", "25P04", "40003"].map(|start| code.starts_with(start));
    match ended || ends.contains(&true) {
        true => "outcome_unknown".to_owned(),
        false => class_in_read(code, Role::Primary),
    }
}

/// A newer server may have a class of codes that is not documented.
#[tokio::test]
async fn every_class_of_codes_has_a_row() {
    let rows = rows();
    for code in codes().await {
        assert!(rows.iter().any(|(row, ..)| row == &code[..2]), "{code}");
    }
}
