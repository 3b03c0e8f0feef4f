//! Opens listening sockets: from addresses as the Prometheus tools write them, or from systemd.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{self, AddressFamily, SocketType, sockopt};

/// The number of connections that may wait to be accepted; the system may allow fewer. The standard library's 128 are
/// too few for a burst, and a client that is left out retries only after a second.
const BACKLOG: i32 = 4096;

/// The reason why a socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// No address is given.
    #[error("no web listen address or systemd socket flag specified")]
    NoAddress,
    /// The text is not an address.
    #[error("--web.listen-address {text}: {cause}; write it as :PORT, 127.0.0.1:PORT or [::1]:PORT")]
    Address {
        /// The text.
        text: String,
        /// The reason.
        cause: io::Error,
    },
    /// The address cannot be bound.
    #[error("cannot listen on {text}: {cause}")]
    Bind {
        /// The address.
        text: String,
        /// The reason.
        cause: io::Error,
    },
    /// systemd passed no socket.
    #[error("no socket activation file descriptors found")]
    NoSystemdSocket,
    /// systemd passed something other than a TCP listener.
    #[error("a socket passed by systemd is no TCP listener: {0}")]
    SystemdSocket(io::Error),
}

/// Opens the listeners that `--web.listen-address` and `--web.systemd-socket` ask for; the latter takes precedence.
///
/// # Errors
/// [`ListenError`] for the first listener that cannot be opened, or if there is none.
pub fn open(addresses: &[String], systemd_socket: bool) -> Result<Vec<TcpListener>, ListenError> {
    if systemd_socket {
        return from_systemd();
    }
    if addresses.is_empty() {
        return Err(ListenError::NoAddress);
    }
    addresses.iter().map(|text| bind(text)).collect()
}

/// Binds an address such as `127.0.0.1:9100`, `[::1]:0`, or `:9100` for every address of IPv6 and IPv4.
///
/// # Errors
/// [`ListenError`] if the text is not an address or cannot be bound.
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

/// Binds every address of IPv6 and IPv4 with one socket, whatever the system's default is.
fn bind_all(port: u16) -> io::Result<TcpListener> {
    let Ok(socket) = net::socket(AddressFamily::INET6, SocketType::STREAM, None) else {
        // The system has no IPv6.
        return TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
    };
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    sockopt::set_ipv6_v6only(&socket, false)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))?;
    net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Takes the TCP listeners that systemd passed to this process.
fn from_systemd() -> Result<Vec<TcpListener>, ListenError> {
    let mut passed = listenfd::ListenFd::from_env();
    let listeners = (0..passed.len())
        .filter_map(|n| passed.take_tcp_listener(n).transpose())
        .map(|listener| listener.and_then(require_listening).map_err(ListenError::SystemdSocket))
        .collect::<Result<Vec<_>, _>>()?;
    if listeners.is_empty() { Err(ListenError::NoSystemdSocket) } else { Ok(listeners) }
}

/// Refuses a connection, which is what systemd passes with `Accept=yes`.
fn require_listening(socket: TcpListener) -> io::Result<TcpListener> {
    if sockopt::socket_acceptconn(&socket)? {
        Ok(socket)
    } else {
        Err(io::Error::other("it does not listen; the socket unit needs Accept=no"))
    }
}

#[cfg(test)]
mod tests;
