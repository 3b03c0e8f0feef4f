use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;

#[test]
fn a_port_alone_is_every_address_of_both_kinds() {
    for text in [":0", "[::]:0"] {
        let listener = bind(text).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(address.ip().is_unspecified() && address.port() != 0, "{address}");
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).unwrap();
        // A machine without IPv6 has nothing to connect to.
        if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            std::net::TcpStream::connect((Ipv6Addr::LOCALHOST, address.port())).unwrap();
        }
    }
}

#[test]
fn no_address_at_all_is_refused_as_prometheus_tools_do() {
    let error = bind("").unwrap_err().to_string();
    assert_eq!(error, "no web listen address or systemd socket flag specified");
}

#[test]
fn an_address_is_bound_as_it_is_written() {
    let bound = |text| bind(text).map(|listener| listener.local_addr().unwrap().ip());
    assert_eq!(bound("127.0.0.1:0").unwrap(), IpAddr::from(Ipv4Addr::LOCALHOST));
    // A machine without IPv6 has nothing to bind.
    if let Ok(ip) = bound("[::1]:0") {
        assert_eq!(ip, IpAddr::from(Ipv6Addr::LOCALHOST));
    }
}

#[test]
fn what_is_no_address_is_refused_with_the_right_spellings() {
    for text in [":", ":x", ":65536", ":-1", "10365", "127.0.0.1", "[::1]", "127.0.0.1:port", "::1:10365:x"] {
        let error = bind(text).unwrap_err();
        assert!(matches!(error, ListenError::Address { .. }), "{text}: {error}");
        let error = error.to_string();
        assert!(error.starts_with(&format!("--web.listen-address {text}: ")), "{error}");
        assert!(error.ends_with("; write it as :10365, 127.0.0.1:10365 or [::1]:10365"), "{error}");
    }
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_the_address() {
    let first = bind("127.0.0.1:0").unwrap();
    let text = first.local_addr().unwrap().to_string();
    let error = bind(&text).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on {text}: ")), "{error}");
}

#[test]
fn what_must_not_be_reachable_binds_loopback_only() {
    assert!(bind_loopback("127.0.0.1:0").unwrap().local_addr().unwrap().ip().is_loopback());
    assert!(bind_loopback("localhost:0").is_ok());
    for text in ["0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0"] {
        let error = bind_loopback(text).unwrap_err();
        assert!(matches!(&error, ListenError::NotLoopback(found) if found == text), "{text}: {error}");
    }
}
