//! Clusters that are kept in a directory.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use local_postgres::{Cluster, Error};
use tempfile::TempDir;

use crate::Outcome;
use crate::client::{books, write_a_book};

/// Creates a folder that the user of the servers can enter.
fn folder() -> std::io::Result<TempDir> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

#[tokio::test]
async fn rows_are_kept_between_clusters() -> Outcome {
    let folder = folder()?;
    let builder = Cluster::builder().standbys(2).directory(folder.path().join("bench"));
    let first = builder.clone().start().await?;
    assert!(first.is_new());
    write_a_book(first.primary()).await?;
    drop(first);

    let second = builder.max_connections(300).start().await?;

    assert!(!second.is_new());
    second.wait_for_replay().await?;
    for server in second.servers() {
        assert_eq!(books(server).await?, 1);
    }
    Ok(())
}

#[tokio::test]
async fn servers_in_a_kept_directory_shut_down_cleanly() -> Outcome {
    let folder = folder()?;
    let cluster = Cluster::builder().directory(folder.path()).start().await?;
    write_a_book(cluster.primary()).await?;
    let log = cluster.primary().log().to_owned();

    drop(cluster);

    let log = fs::read_to_string(log)?;
    assert!(log.trim_end().ends_with("database system is shut down"), "{log}");
    Ok(())
}

#[tokio::test]
async fn another_number_of_standbys_is_refused() -> Outcome {
    let folder = folder()?;
    let builder = Cluster::builder().fsync(false).directory(folder.path());
    drop(builder.clone().standbys(1).start().await?);

    let outcome = builder.standbys(2).start().await;

    let expected = matches!(outcome, Err(Error::DirectoryMismatch { found: 1, wanted: 2, .. }));
    assert!(expected, "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn an_interrupted_creation_is_started_again() -> Outcome {
    let folder = folder()?;
    fs::create_dir_all(folder.path().join("unfinished/primary"))?;
    fs::write(folder.path().join("unfinished/primary/PG_VERSION"), "15")?;

    let cluster = Cluster::builder().fsync(false).directory(folder.path()).start().await?;

    assert!(cluster.is_new());
    assert!(!folder.path().join("unfinished").exists());
    Ok(())
}

#[tokio::test]
async fn other_files_in_the_directory_are_kept() -> Outcome {
    let folder = folder()?;
    fs::write(folder.path().join("notes.txt"), "keep me")?;

    drop(Cluster::builder().fsync(false).directory(folder.path()).start().await?);

    assert_eq!(fs::read_to_string(folder.path().join("notes.txt"))?, "keep me");
    Ok(())
}

#[tokio::test]
async fn a_directory_in_use_is_refused() -> Outcome {
    let folder = folder()?;
    let builder = Cluster::builder().fsync(false).directory(folder.path());
    let _first = builder.clone().start().await?;

    let outcome = builder.start().await;

    assert!(matches!(outcome, Err(Error::DirectoryInUse { .. })), "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn a_directory_need_not_be_utf_8() -> Outcome {
    let folder = folder()?;
    let directory = folder.path().join(OsStr::from_bytes(b"ad\xe9 'lovelace'"));
    let builder = Cluster::builder().standbys(1).fsync(false).directory(&directory);
    write_a_book(builder.clone().start().await?.primary()).await?;

    let again = builder.start().await?;

    again.wait_for_replay().await?;
    for server in again.servers() {
        assert_eq!(books(server).await?, 1);
    }
    drop(again);
    let left: Vec<_> = fs::read_dir(folder.path())?.flatten().map(|entry| entry.path()).collect();
    assert_eq!(left, [directory]);
    Ok(())
}
