use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;

#[test]
fn a_port_alone_is_every_address() {
    let address = bind(":0").unwrap().local_addr().unwrap();
    assert!(address.ip().is_unspecified() && address.port() != 0, "{address}");
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
    for text in
        ["", ":", ":x", ":65536", ":-1", "10365", "127.0.0.1", "[::1]", "127.0.0.1:port", "::1:10365:x"]
    {
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

#[tokio::test]
async fn requests_in_flight_are_finished_when_the_server_stops() {
    let listener = bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (arrived, mut arrival) = watch::channel(false);
    let go_on = Arc::new(tokio::sync::Notify::new());
    let held = Arc::clone(&go_on);
    let routes = Router::new().route(
        "/",
        get(move || async move {
            arrived.send_replace(true);
            held.notified().await;
            "done"
        }),
    );
    let stop = tokio_util::sync::CancellationToken::new();
    let server = Server::new(routes, None, 0);
    let stopping = stop.clone();
    let server = tokio::spawn(async move { server.serve(listener, stopping).await });
    // A thread of its own: the standard library's sockets block.
    let client = tokio::task::spawn_blocking(move || {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    arrival.wait_for(|arrived| *arrived).await.unwrap();
    stop.cancel();
    go_on.notify_one();
    let text = client.await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\ndone"), "{text}");
    server.await.unwrap().unwrap();
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens any more");
}
