use tokio::task::yield_now;

/// Lets the tasks that are ready run, at most [`MAX_YIELDS`] times, until `is_done` returns `true`.
pub(super) async fn yield_until(is_done: impl Fn() -> bool) {
    for _ in 0..MAX_YIELDS {
        if is_done() {
            break;
        }
        yield_now().await;
    }
}

const MAX_YIELDS: usize = 8;
