use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;

#[test]
fn a_port_alone_binds_every_address_of_ipv6_and_ipv4() {
    for text in [":0", "[::]:0"] {
        let listener = bind(text).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(address.ip().is_unspecified() && address.port() != 0, "{address}");
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).unwrap();
        // A machine without IPv6 has no address to connect to.
        if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            std::net::TcpStream::connect((Ipv6Addr::LOCALHOST, address.port())).unwrap();
        }
    }
}

#[test]
fn no_address_is_refused_in_the_words_of_the_prometheus_tools() {
    for addresses in [vec![], vec![String::new()]] {
        let error = open(&addresses, false).unwrap_err().to_string();
        assert_eq!(error, "no web listen address or systemd socket flag specified");
    }
}

#[test]
fn an_address_is_bound_as_written() {
    let bound = |text| bind(text).map(|listener| listener.local_addr().unwrap().ip());
    assert_eq!(bound("127.0.0.1:0").unwrap(), IpAddr::from(Ipv4Addr::LOCALHOST));
    // A machine without IPv6 has no such address.
    if let Ok(ip) = bound("[::1]:0") {
        assert_eq!(ip, IpAddr::from(Ipv6Addr::LOCALHOST));
    }
}

#[test]
fn a_text_that_is_not_an_address_is_refused_with_correct_examples() {
    for text in [":", ":x", ":65536", ":-1", "9100", "127.0.0.1", "[::1]", "127.0.0.1:port", "::1:9100:x"] {
        let error = bind(text).unwrap_err();
        assert!(matches!(error, ListenError::Address { .. }), "{text}: {error}");
        let error = error.to_string();
        assert!(error.starts_with(&format!("--web.listen-address {text}: ")), "{error}");
        assert!(error.ends_with("; write it as :PORT, 127.0.0.1:PORT or [::1]:PORT"), "{error}");
    }
}

#[test]
fn a_port_in_use_is_an_error_that_names_the_address() {
    let first = bind("127.0.0.1:0").unwrap();
    let text = first.local_addr().unwrap().to_string();
    let error = bind(&text).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on {text}: ")), "{error}");
}
