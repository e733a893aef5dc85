use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::join3;

use super::recent::MAX_PAYLOAD_BYTES;
use super::seat::MAX_NEWS;
use super::work::Work;
use crate::Error;
use crate::pool::{send, sent};
use crate::sql::{self, Staleness, Waits};
use crate::store::limit::timed_out;
use crate::store::transact::{name_holder, release};

impl Work<'_> {
    /// Begins a transaction under the log's lock and learns what came since, so that what it holds
    /// then can be judged. The server ends it if this process does not go on at once.
    pub(super) async fn lock_and_learn(&mut self, for_lock: Option<Duration>) -> Result<(), Error> {
        let limit = self.limit;
        let lease = &mut self.seat.lease;
        let server = lease.server().clone();
        let lock =
            sql::lock(&self.log.name, Staleness::Fresh, Waits { for_lock, for_client: None });
        let known = self.seat.recent.end();
        let after = known.unwrap_or_default();
        let news = sql::news(&self.log.name, after, MAX_NEWS, MAX_PAYLOAD_BYTES);
        let forms = limit.of(&server, async {
            Ok((lease.prepare(&lock.text).await?, lease.prepare(&news.text).await?))
        });
        let (lock_form, news_form) = forms.await?;
        lease.hold();
        lease.begin();
        let client = lease.client();
        let answers = limit.hold(join3(
            client.batch_execute(lease.begin_text()),
            sent(client, &lock_form, &lock),
            async { send(client, &news_form, &news).await?.try_collect::<Vec<_>>().await },
        ));
        let (begun, locked, news) = match answers.await {
            Ok(answers) => answers,
            Err(waited) => {
                lease.give_up();
                return Err(timed_out(&server, waited));
            }
        };
        if let Err(error) = begun.and(locked) {
            let error = lease.failed(error);
            release(lease, limit).await;
            return Err(name_holder(&self.log.name, lease, error, limit).await);
        }
        let news: Result<Vec<_>, _> =
            news.and_then(|rows| rows.iter().map(sql::decode_news).collect());
        match news {
            Ok(news) => {
                self.seat.learn(known, news);
                Ok(())
            }
            Err(error) => {
                let error = lease.failed(error);
                release(lease, limit).await;
                Err(error)
            }
        }
    }
}
