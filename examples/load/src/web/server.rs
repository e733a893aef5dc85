use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::address::{Address, AddressError, FREE, USUAL};
use super::answer::{Answer, Request, TEXT};

/// A server that has an address and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    /// Whether the usual address was taken.
    is_moved: bool,
}

/// How much clients can take of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The number of connections. Further clients wait.
    pub connections: usize,
    /// The longest time from accepting a connection to the end of its answer.
    pub exchange: Duration,
    /// How long the end of the server waits for the request of a client that is connected.
    pub last_request: Duration,
    /// The longest time that the end of the server waits for answers under way.
    pub end: Duration,
}

/// A server that answers. If dropped, it ends without waiting for answers under way.
#[derive(Debug)]
pub struct Serving {
    task: JoinHandle<()>,
    /// Dropping it ends the task.
    end: watch::Sender<()>,
}

/// What is common to the connections of a server.
struct Shared<F> {
    answer: F,
    limits: Limits,
}

impl Server {
    /// Listens on an address. Returns `None` if no server is wanted.
    ///
    /// # Errors
    ///
    /// [`AddressError::Taken`] and [`AddressError::Refused`]. The usual address that is taken is no
    /// error: the server gets a free port.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped at any time.
    pub async fn bind(address: Address) -> Result<Option<Self>, AddressError> {
        match address {
            Address::Default => match Self::listen(USUAL).await {
                Err(AddressError::Taken { .. }) => {
                    let free = Self::listen(FREE).await?;
                    Ok(Some(Self { is_moved: true, ..free }))
                }
                server => server.map(Some),
            },
            Address::Given(address) => Self::listen(address).await.map(Some),
            Address::Off => Ok(None),
        }
    }

    async fn listen(address: SocketAddr) -> Result<Self, AddressError> {
        let listener = TcpListener::bind(address).await.map_err(|source| match source.kind() {
            std::io::ErrorKind::AddrInUse => AddressError::Taken { address },
            _ => AddressError::Refused { address, source },
        })?;
        let refused = |source| AddressError::Refused { address, source };
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address, is_moved: false })
    }

    /// Returns the address with the port that it has got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the usual address if another program has taken it.
    pub fn instead_of(&self) -> Option<SocketAddr> {
        self.is_moved.then_some(USUAL)
    }

    /// Answers requests in the background. `answer` returns `None` for a path that does not exist.
    pub fn serve<F>(self, limits: Limits, answer: F) -> Serving
    where
        F: Fn(&Request) -> Option<Answer> + Send + Sync + 'static,
    {
        let shared = Arc::new(Shared { answer, limits });
        let (end, ended) = watch::channel(());
        Serving { task: tokio::spawn(run(self.listener, shared, ended)), end }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let [exchange, end] = [5, 2].map(Duration::from_secs);
        Self { connections: 64, exchange, last_request: Duration::from_millis(200), end }
    }
}

impl Serving {
    /// Ends the server. Clients that are connected get their whole answer; later ones are refused.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the server goes on to end.
    pub async fn shut_down(self) {
        let Self { task, end } = self;
        drop(end);
        // The task has no errors, and it is not aborted.
        let _ = task.await;
    }
}

async fn run<F>(listener: TcpListener, shared: Arc<Shared<F>>, mut ended: watch::Receiver<()>)
where
    F: Fn(&Request) -> Option<Answer> + Send + Sync + 'static,
{
    let permits = Arc::new(Semaphore::new(shared.limits.connections));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let permit = Arc::clone(&permits).acquire_owned();
        let permit = tokio::select! {
            permit = permit => permit.expect("the semaphore is not closed"),
            _ = ended.changed() => break,
        };
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (shared, ended) = (Arc::clone(&shared), ended.clone());
                    connections.spawn(async move {
                        connection(stream, &shared, ended).await;
                        drop(permit);
                    });
                }
                // The process has no free file descriptor, for instance.
                Err(_) => sleep(PAUSE_AFTER_ERROR).await,
            },
            _ = ended.changed() => break,
        }
    }
    // The system has accepted these clients, and would reset their connections.
    for stream in connected(listener) {
        let (shared, ended) = (Arc::clone(&shared), ended.clone());
        connections.spawn(async move { connection(stream, &shared, ended).await });
    }
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(shared.limits.end, all).await;
}

/// Returns the clients that are connected and were not accepted yet. Then the address is free.
fn connected(listener: TcpListener) -> Vec<TcpStream> {
    // Tokio accepts only what it was told of, and it may not have been told of all clients.
    let Ok(listener) = listener.into_std() else { return Vec::new() };
    let accepted = std::iter::from_fn(|| listener.accept().ok());
    let streams = accepted.filter_map(|(stream, _)| {
        stream.set_nonblocking(true).ok()?;
        TcpStream::from_std(stream).ok()
    });
    streams.collect()
}

/// Answers the request of a connection, if it comes in time.
async fn connection<F>(stream: TcpStream, shared: &Shared<F>, mut ended: watch::Receiver<()>)
where
    F: Fn(&Request) -> Option<Answer>,
{
    let service = service_fn(|request| {
        let response = response(&request, &shared.answer);
        async { Ok::<_, Infallible>(response) }
    });
    // A connection that is kept open would count as one of those that are allowed.
    let exchange = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(LONGEST_REQUEST)
        .serve_connection(TokioIo::new(stream), service);
    let mut exchange = pin!(exchange);
    let answered = async {
        tokio::select! {
            _ = exchange.as_mut() => return,
            _ = ended.changed() => (),
        }
        // A connection without a request would be closed at once, also if one is on its way.
        if timeout(shared.limits.last_request, exchange.as_mut()).await.is_ok() {
            return;
        }
        exchange.as_mut().graceful_shutdown();
        let _ = exchange.await;
    };
    let _ = timeout(shared.limits.exchange, answered).await;
}

fn response(
    request: &hyper::Request<Incoming>,
    answer: impl Fn(&Request) -> Option<Answer>,
) -> Response<Full<Bytes>> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut refused = with_status(StatusCode::METHOD_NOT_ALLOWED, "use GET or HEAD\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let Some(answer) = answer(&Request { path, query }) else {
        return with_status(StatusCode::NOT_FOUND, "there is no such page\n");
    };
    let mut response = Response::new(Full::new(answer.content));
    if answer.is_failed {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(policy) = answer.policy {
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    }
    response
}

fn with_status(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    response
}

const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);
/// The longest head of a request, in bytes.
const LONGEST_REQUEST: usize = 16 * 1024;
