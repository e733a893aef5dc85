use std::time::Duration;

use super::{Config, Replica};
use crate::Error;
use crate::log_name::LogName;

impl Config {
    /// Checks the values of the setters, and returns the log's name.
    pub(crate) fn check(&self) -> Result<LogName, Error> {
        if self.max_connections == 0 {
            return Err(Error::invalid_config("max_connections", "is 0, the minimum is 1"));
        }
        for (setting, count) in [("max_batch", self.max_batch), ("append_queue", self.append_queue)]
        {
            if count == 0 || count > MAX_QUEUE {
                let reason = format!("is {count}, allowed are 1 to {MAX_QUEUE}");
                return Err(Error::invalid_config(setting, reason));
            }
        }
        if self.linger > MAX_LINGER {
            let reason = format!("is {:?}, the maximum is {MAX_LINGER:?}", self.linger);
            return Err(Error::invalid_config("linger", reason));
        }
        self.servers.iter().try_for_each(Replica::check)?;
        self.check_timeouts()?;
        LogName::new(&self.schema, &self.log)
    }

    fn check_timeouts(&self) -> Result<(), Error> {
        let connect_timeout = self.connect_timeout.map(|timeout| ("connect_timeout", timeout));
        for (setting, timeout) in connect_timeout.into_iter().chain([
            ("acquire_timeout", self.acquire_timeout),
            ("statement_timeout", self.statement_timeout),
            ("decision_timeout", self.decision_timeout),
            ("lock_timeout", self.lock_timeout),
            ("replica_timeout", self.replica_timeout),
            ("watch_interval", self.watch_interval),
        ]) {
            // The server stores milliseconds in an int, and 0 means no timeout.
            if timeout < Duration::from_millis(1) || timeout > MAX_TIMEOUT {
                return Err(Error::invalid_config(
                    setting,
                    format!("is {timeout:?}, allowed are 1 ms to 24 days"),
                ));
            }
        }
        Ok(())
    }
}

const MAX_QUEUE: usize = 1 << 20;
const MAX_LINGER: Duration = Duration::from_secs(1);
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 24 * 60 * 60);
