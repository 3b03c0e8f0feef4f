//! Binds addresses that must not be reachable from other machines.

use std::net::{TcpListener, ToSocketAddrs as _};

use exporter_toolkit::listen;

/// Binds a loopback address such as `127.0.0.1:0` or `localhost:0`.
///
/// # Errors
/// If the address is not a loopback one, or a [`listen::ListenError`].
pub(super) fn bind(text: &str) -> anyhow::Result<TcpListener> {
    // What is not an address at all is reported by `listen::bind`.
    let is_loopback = text.to_socket_addrs().map_or(true, |mut all| all.all(|one| one.ip().is_loopback()));
    if text.starts_with(':') || !is_loopback {
        anyhow::bail!("{text} is no loopback address; the simulator and the demo listen on loopback only");
    }
    Ok(listen::bind(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_bound() {
        assert!(bind("127.0.0.1:0").unwrap().local_addr().unwrap().ip().is_loopback());
        assert!(bind("localhost:0").is_ok());
        for text in ["0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0"] {
            let error = bind(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{text} is no loopback address; ")), "{error}");
        }
    }
}
