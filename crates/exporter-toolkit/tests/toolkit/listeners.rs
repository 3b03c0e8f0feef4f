//! Addresses, and sockets from systemd.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use crate::support::{self, Example, Listening, activated, eventually, failure};

fn get(url: &str) -> String {
    let config = ureq::Agent::config_builder().timeout_global(Some(support::TIMEOUT)).proxy(None).build();
    ureq::Agent::from(config).get(url).call().unwrap().body_mut().read_to_string().unwrap()
}

#[test]
fn it_serves_on_several_addresses_and_announces_each() {
    for listening in [Listening::Addresses, Listening::Systemd] {
        let example = Example::start(listening, &[]);
        let addresses: Vec<_> = example.addresses.iter().map(ToString::to_string).collect();
        eventually("the addresses without TLS", || {
            (example.process.announced("TLS is disabled. http2=false ") == addresses).then_some(())
        });
        for (n, address) in addresses.iter().enumerate() {
            let text = get(&format!("http://{address}/metrics"));
            assert!(text.contains(&format!("\nscrapes_total{{padding=\"\"}} {}\n", n + 1)), "{text}");
            assert_eq!(get(&format!("http://{address}/-/healthy")), "OK\n");
        }
    }
}

#[test]
fn it_serves_on_the_sockets_that_systemd_passes() {
    let sockets = ["127.0.0.1:0", support::ipv6()].map(|address| TcpListener::bind(address).unwrap());
    let addresses: Vec<_> = sockets.iter().map(|socket| socket.local_addr().unwrap().to_string()).collect();
    let process =
        support::Process::start(&mut activated(sockets.into_iter().map(OwnedFd::from).collect(), "$$"));
    eventually("the addresses", || (process.announced("Listening on ") == addresses).then_some(()));
    for address in addresses {
        assert_eq!(get(&format!("http://{address}/-/healthy")), "OK\n");
    }
}

#[test]
fn only_tcp_listeners_that_systemd_passes_to_this_process_are_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener();
    let connection = TcpStream::connect(peer.local_addr().unwrap()).unwrap();
    let none = "no socket activation file descriptors found";
    let other = "a socket passed by systemd is no TCP listener";
    let path = directory.path().join("socket");
    for (sockets, receiver, expected) in [
        (vec![], "$$", none),
        (vec![OwnedFd::from(listener())], "1", none),
        (vec![OwnedFd::from(UnixListener::bind(path).unwrap())], "$$", other),
        (vec![OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap())], "$$", other),
        (vec![OwnedFd::from(listener()), OwnedFd::from(connection)], "$$", other),
        (vec![OwnedFd::from(tempfile::tempfile().unwrap())], "$$", other),
    ] {
        let text = failure(&mut activated(sockets, receiver));
        assert!(text.starts_with(&format!("Error: {expected}")) && text.lines().count() == 1, "{text}");
    }
}

#[test]
fn no_address_and_an_address_in_use_are_errors() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("--web.listen-address={}", taken.local_addr().unwrap());
    let text = support::refusal(Listening::Addresses, &[&address]);
    assert!(
        text.starts_with(&format!("Error: cannot listen on {}: ", taken.local_addr().unwrap())),
        "{text}"
    );
    let text = support::refusal(Listening::Addresses, &["--web.listen-address="]);
    assert!(text.starts_with("Error: no web listen address or systemd socket flag specified"), "{text}");
}
