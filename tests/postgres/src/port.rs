//! Free ports.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::Error;
use crate::data::random;

/// Finds a free port.
///
/// Neither a client nor another server of this process takes the port of a server that is stopped
/// for a while: the port is below the ephemeral port range of usual systems, and no port is found
/// twice.
pub(crate) fn free_port() -> Result<u16, Error> {
    let count = u64::from(PORTS.end - PORTS.start);
    let ports = (0..ATTEMPTS).map(|_| PORTS.start + (random() % count) as u16);
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    ports.into_iter().find(|port| is_free(*port) && found.insert(*port)).ok_or_else(|| {
        Error::io("find a free port on", Path::new("127.0.0.1"))(io::ErrorKind::AddrInUse.into())
    })
}

/// Returns whether a port is free.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

const PORTS: Range<u16> = 20_000..32_000;

const ATTEMPTS: u32 = 1000;

static FOUND: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
