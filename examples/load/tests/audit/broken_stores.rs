use library::commands::CommandHandler;
use library::queries::QueryHandler;
use load::service::{Sabotage, Service};

use crate::small_library::SmallLibrary;

/// Runs loads on a store that is broken, and checks that each audit finds it.
async fn assert_is_found(sabotage: Sabotage, texts: &[&str]) {
    for seed in 0..SEEDS {
        let library = SmallLibrary::open().await;
        let service = Service::sabotaged(sabotage, library.writer.clone(), library.reader.clone());

        let replies = library.load(&service, seed).await;
        let audit = library.audit(replies).await;

        let found = &audit.findings.first;
        assert!(!audit.is_clean(), "seed {seed}: {audit}");
        assert!(
            found.iter().any(|finding| texts.iter().any(|text| finding.contains(text))),
            "seed {seed}: {audit}"
        );
        assert!(audit.found_before.is_empty(), "seed {seed}: {audit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_works_has_no_findings() {
    let library = SmallLibrary::open().await;
    let commands = CommandHandler::new(library.writer.clone());
    let service = Service::library(commands, QueryHandler::new(library.reader.clone()));
    for seed in 0..SEEDS {
        let replies = library.load(&service, seed).await;

        let audit = library.audit(replies).await;

        let checked = audit.checked;
        assert!(audit.is_clean(), "seed {seed}: {audit}");
        assert!(checked.stored > 0 && checked.idempotent > 0 && checked.answers > 0, "{audit}");
        assert!(audit.to_string().starts_with("audit: no findings in "), "{audit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_decision_is_found() {
    assert_is_found(Sabotage::Stale, &["was accepted, but", "was rejected for"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_event_is_found() {
    assert_is_found(Sabotage::Lost, &["was acknowledged, and is not there"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_answer_is_found() {
    assert_is_found(Sabotage::Old, &["was answered by replica-0 at position"]).await;
}

const SEEDS: u64 = 3;
