use super::*;

fn intentions(count: u32) -> impl Iterator<Item = Intention> + Send {
    // Four steps of each visit follow each other.
    (0..count).map(|number| lending(number / 4, u64::from(number % 7)))
}

#[tokio::test(start_paused = true)]
async fn the_number_of_clients_does_not_change_the_intentions() {
    for clients in [1, 8, 64] {
        let engine = engine(Takes, clients);

        engine.closed(intentions(1_000), Duration::from_secs(3_600)).await.unwrap();

        let mut runs: Vec<_> = engine.runs().iter().map(|run| run.intention).collect();
        runs.sort_by_key(|intention| intention.visit);
        assert!(runs.into_iter().eq(intentions(1_000)), "{clients} clients");
    }
}

#[tokio::test(start_paused = true)]
async fn all_clients_are_busy_although_steps_of_a_visit_follow_each_other() {
    let engine = engine(Takes, 8);
    let intentions = (0..).map(|number| lending(number / 4, 10));

    let ending = engine.closed(intentions, Duration::from_secs(10)).await.unwrap();

    // A service of 10 ms takes up to 11 ms, because the timer counts milliseconds.
    assert!((7_200..=8_008).contains(&ending.due), "{}", ending.due);
}

#[tokio::test(start_paused = true)]
async fn ends_after_its_duration_even_if_all_steps_are_of_one_visit() {
    let engine = engine(Takes, 8);
    let endless = std::iter::repeat(lending(1, 10));

    let ending = engine.closed(endless, Duration::from_secs(1)).await.unwrap();

    assert!((90..=101).contains(&ending.due), "{}", ending.due);
    assert!(ending.took <= Duration::from_millis(1_011), "{:?}", ending.took);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_it_early() {
    let engine = engine(Takes, 2);
    let stop = engine.stop.clone();
    let endless = (0..).map(move |number| {
        if number == 100 {
            stop.set();
        }
        lending(number, 10)
    });

    let ending = engine.closed(endless, Duration::from_secs(3_600)).await.unwrap();

    assert!(ending.is_stopped && ending.took < Duration::from_secs(2), "{ending:?}");
    assert_eq!(engine.tally.snapshot().due, ending.due);
}
