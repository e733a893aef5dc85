//! The search for PostgreSQL's programs.

use std::error::Error as _;

use local_postgres::{Cluster, Error, Programs, find_or_install};

use crate::Outcome;

#[test]
fn the_found_folder_contains_both_programs() -> Outcome {
    let programs = Programs::find(None)?;

    assert!(programs.directory().join("initdb").is_file());
    assert!(programs.directory().join("postgres").is_file());
    assert!(programs.version().starts_with(&programs.major_version().to_string()));
    Ok(())
}

#[test]
fn only_a_given_folder_is_searched() -> Outcome {
    let empty = tempfile::tempdir()?;

    let outcome = Programs::find(Some(empty.path()));

    assert!(matches!(outcome, Err(Error::ProgramsMissing { .. })), "{outcome:?}");
    Ok(())
}

#[test]
fn the_error_names_the_installation_command_in_one_line() -> Outcome {
    let empty = tempfile::tempdir()?;

    let Err(error) = Programs::find(Some(empty.path())) else {
        return Err("found".into());
    };

    let text = error.to_string();
    assert!(text.contains("run `"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(error.source().is_none());
    Ok(())
}

#[tokio::test]
#[ignore = "may install a package"]
async fn missing_programs_are_installed() -> Outcome {
    let programs = find_or_install(None, |line| println!("{line}")).await?;

    let cluster = Cluster::builder().programs(programs).standbys(1).start().await?;

    cluster.wait_for_replay().await?;
    Ok(())
}
