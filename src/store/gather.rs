use tokio::task::yield_now;

/// Lets the tasks that are ready run, a few times at most, until what they bring is enough.
pub(super) async fn gather(is_enough: impl Fn() -> bool) {
    for _ in 0..YIELDS {
        if is_enough() {
            break;
        }
        yield_now().await;
    }
}

/// How often to let other tasks run.
const YIELDS: usize = 8;
