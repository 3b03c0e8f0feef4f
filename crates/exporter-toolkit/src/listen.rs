//! Sockets to listen on: from addresses as Prometheus tools write them, or from systemd.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{self, AddressFamily, SocketType, sockopt};

/// Connections that may wait to be accepted; the system has a limit of its own. The standard library's 128 are fewer
/// than may come at once, and who is left out tries again after a second.
const BACKLOG: i32 = 4096;

/// Why there is nothing to listen on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// There is no address.
    #[error("no web listen address or systemd socket flag specified")]
    NoAddress,
    /// The text is no address.
    #[error("--web.listen-address {text}: {cause}; write it as :10365, 127.0.0.1:10365 or [::1]:10365")]
    Address {
        /// What was given.
        text: String,
        /// What is wrong with it.
        cause: io::Error,
    },
    /// The address cannot be bound.
    #[error("cannot listen on {text}: {cause}")]
    Bind {
        /// What was given.
        text: String,
        /// Why not.
        cause: io::Error,
    },
    /// The address is not a loopback one, where it must be.
    #[error("{0} is no loopback address; the simulator and the demo listen on loopback only")]
    NotLoopback(String),
    /// systemd passed no socket.
    #[error("no socket activation file descriptors found")]
    NoSystemdSocket,
    /// systemd passed something else.
    #[error("a socket passed by systemd is no TCP listener: {0}")]
    SystemdSocket(io::Error),
}

/// Binds an address such as `127.0.0.1:10365`, `[::1]:0` or `:10365` (every address, IPv6 and IPv4).
///
/// # Errors
/// [`ListenError`] if it is no address or cannot be bound.
pub fn bind(text: &str) -> Result<TcpListener, ListenError> {
    if text.is_empty() {
        return Err(ListenError::NoAddress);
    }
    let invalid = |cause| ListenError::Address { text: text.to_owned(), cause };
    let bound = if let Some(port) = text.strip_prefix(':') {
        let port: u16 = port.parse().map_err(|error| invalid(io::Error::other(error)))?;
        bind_all(port)
    } else {
        let addresses: Vec<SocketAddr> = text.to_socket_addrs().map_err(invalid)?.collect();
        match addresses[..] {
            [SocketAddr::V6(address)] if address.ip().is_unspecified() => bind_all(address.port()),
            _ => TcpListener::bind(&addresses[..]),
        }
    };
    let bound = bound.and_then(|listener| {
        net::listen(&listener, BACKLOG)?;
        Ok(listener)
    });
    bound.map_err(|cause| ListenError::Bind { text: text.to_owned(), cause })
}

/// Every address, IPv6 and IPv4 in one socket, whatever the system would do by itself.
fn bind_all(port: u16) -> io::Result<TcpListener> {
    let Ok(socket) = net::socket(AddressFamily::INET6, SocketType::STREAM, None) else {
        // A system without IPv6.
        return TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
    };
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    sockopt::set_ipv6_v6only(&socket, false)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))?;
    net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// As [`bind`], for what must not be reachable from elsewhere.
///
/// # Errors
/// [`ListenError::NotLoopback`] in addition.
pub fn bind_loopback(text: &str) -> Result<TcpListener, ListenError> {
    let invalid = |cause| ListenError::Address { text: text.to_owned(), cause };
    let addresses: Vec<SocketAddr> = if text.starts_with(':') {
        return Err(ListenError::NotLoopback(text.to_owned()));
    } else {
        text.to_socket_addrs().map_err(invalid)?.collect()
    };
    if addresses.iter().any(|address| !address.ip().is_loopback()) {
        return Err(ListenError::NotLoopback(text.to_owned()));
    }
    TcpListener::bind(&addresses[..]).map_err(|cause| ListenError::Bind { text: text.to_owned(), cause })
}

/// The TCP listeners that systemd passed to this process.
///
/// # Errors
/// [`ListenError`] if there is none, or one is something else.
pub fn from_systemd() -> Result<Vec<TcpListener>, ListenError> {
    let mut passed = listenfd::ListenFd::from_env();
    let listeners = (0..passed.len())
        .filter_map(|n| passed.take_tcp_listener(n).transpose())
        .map(|listener| listener.and_then(that_listens).map_err(ListenError::SystemdSocket))
        .collect::<Result<Vec<_>, _>>()?;
    if listeners.is_empty() { Err(ListenError::NoSystemdSocket) } else { Ok(listeners) }
}

/// With `Accept=yes` systemd passes connections.
fn that_listens(socket: TcpListener) -> io::Result<TcpListener> {
    if sockopt::socket_acceptconn(&socket)? {
        Ok(socket)
    } else {
        Err(io::Error::other("it does not listen; the socket unit needs Accept=no"))
    }
}

#[cfg(test)]
mod tests;
