//! A TCP proxy that breaks connections at a given byte, for tests.
//!
//! A [`Proxy`] listens on 127.0.0.1 and passes all bytes between its clients and a server. A test
//! can inject a [`Fault`]: it cuts a connection, or holds its bytes back, after an exact number of
//! bytes in one direction. The count starts when the fault is injected, so earlier bytes, such as
//! those of the connection's startup, do not matter.
//!
//! ```
//! use fault_proxy::{Action, Direction, Ending, Proxy};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::{TcpListener, TcpStream};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = TcpListener::bind("127.0.0.1:0").await?;
//! let proxy = Proxy::start(server.local_addr()?).await?;
//! let mut client = TcpStream::connect(proxy.address()).await?;
//! let (mut session, _) = server.accept().await?;
//!
//! let fault = proxy.inject(Direction::ToServer, 4, Action::Cut(Ending::Close));
//! client.write_all(b"lend a book").await?;
//!
//! let mut received = String::new();
//! session.read_to_string(&mut received).await?;
//! assert_eq!(received, "lend");
//! assert!(fault.has_triggered());
//! # Ok(())
//! # }
//! ```
//!
//! All connections can be slowed down ([`Proxy::limit_rate`]) or frozen ([`Proxy::freeze`]).
//!
//! Bytes that are held back are not lost. They can be delivered later, even after the client has
//! disconnected: [`Fault::disconnect_client`] ends the client's connection, and [`Fault::release`]
//! then delivers what the client had sent to the server.

mod connection;
mod controls;
mod error;
mod fault;
mod proxy;
mod registry;
mod relay;

pub use error::Error;
pub use fault::{Action, Direction, Ending, Fault};
pub use proxy::Proxy;
