//! A TCP proxy that breaks connections at a given byte, for tests.
//!
//! A [`Proxy`] listens on 127.0.0.1 and passes on, unchanged, what a client and a server say to each
//! other, until it is told to inflict a [`Fault`]: to cut the connection, or to hold bytes back, after
//! exactly so many bytes in one direction. Bytes are counted from the moment that the fault is armed,
//! so that what a connection said before (its set-up, say) does not matter.
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
//! let fault = proxy.inflict(Direction::ToServer, 4, Action::Cut(Ending::Close));
//! client.write_all(b"lend a book").await?;
//!
//! let mut received = String::new();
//! session.read_to_string(&mut received).await?;
//! assert_eq!(received, "lend");
//! assert!(fault.has_struck());
//! # Ok(())
//! # }
//! ```
//!
//! A whole line can be slow ([`Proxy::set_pace`]) or frozen ([`Proxy::freeze`]).
//!
//! What is held back is not lost. It can be passed on later, even when the client has long gone:
//! [`Fault::hang_up`] ends the client's connection, and [`Fault::release`] then delivers to the
//! server what the client had sent.

mod armory;
mod connection;
mod error;
mod fault;
mod hold;
mod proxy;
mod way;

pub use error::Error;
pub use fault::{Action, Direction, Ending, Fault};
pub use proxy::Proxy;
