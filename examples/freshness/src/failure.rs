//! Errors that end the program.

/// An error that prevented the run or its check.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("cannot start or control the cluster")]
    Cluster(#[from] local_postgres::Error),
    #[error("the log holds an event that this program did not append")]
    Foreign,
    #[error("cannot start a proxy")]
    Proxy(#[from] fault_proxy::Error),
    #[error("cannot {action}")]
    Sql { action: &'static str, source: tokio_postgres::Error },
    #[error("cannot {action}")]
    Store { action: &'static str, source: eddyline::Error },
    #[error("timed out after {seconds} s waiting for {what}")]
    TimedOut { what: &'static str, seconds: u64 },
}

impl Failure {
    pub fn sql(action: &'static str) -> impl Fn(tokio_postgres::Error) -> Self {
        move |source| Self::Sql { action, source }
    }

    pub fn store(action: &'static str) -> impl Fn(eddyline::Error) -> Self {
        move |source| Self::Store { action, source }
    }
}
