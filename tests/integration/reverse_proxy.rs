//! Behind a reverse proxy that serves the exporter below a prefix, every link of every page leads somewhere.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use reqwest::Url;

use crate::support::{Exporter, OTHER_TENANT, Simulator, TENANT, agent, eventually};

/// The prefix, as in `location /partner-license/ { proxy_pass http://…/; }` of nginx.
const PREFIX: &str = "/partner-license/";

/// Starts a proxy that serves the exporter below the prefix and nothing elsewhere, and returns its address. It ends with
/// the program that tests.
fn proxy(upstream: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || pass_on(client, upstream));
        }
    });
    address
}

fn pass_on(mut client: TcpStream, upstream: SocketAddr) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
    let path = line.split(' ').nth(1).unwrap();
    let response = match path.strip_prefix(PREFIX) {
        Some(path) => {
            let mut server = TcpStream::connect(upstream).unwrap();
            let request =
                format!("GET /{path} HTTP/1.1\r\nHost: {upstream}\r\nConnection: close\r\n\r\n");
            server.write_all(request.as_bytes()).unwrap();
            let mut response = Vec::new();
            server.read_to_end(&mut response).unwrap();
            response
        }
        // As nginx does.
        None if path == PREFIX.trim_end_matches('/') => {
            format!("HTTP/1.1 301 Moved Permanently\r\nLocation: {PREFIX}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .into_bytes()
        }
        None => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
    };
    client.write_all(&response).unwrap();
}

/// Returns what a page links to.
fn links(html: &str) -> Vec<String> {
    let attributes = ["href=\"", "src=\"", "action=\""];
    let values = attributes.iter().flat_map(|name| html.split(name).skip(1));
    values.filter_map(|rest| Some(rest.split('"').next()?.replace("&amp;", "&"))).collect()
}

#[test]
fn every_link_works_behind_a_reverse_proxy_with_a_path_prefix() {
    let simulator = Simulator::start("");
    let accounts =
        [("one", TENANT), ("two", OTHER_TENANT)].map(|(name, tenant)| simulator.account(Some(name), tenant));
    let exporter = Exporter::start(&format!("accounts:\n{}", accounts.concat()), &[]);
    eventually("readiness", || {
        let response = agent().get(&format!("{}/-/ready", exporter.url)).call().unwrap();
        (response.status() == 200).then_some(())
    });
    let proxy = proxy(exporter.url.trim_start_matches("http://").parse().unwrap());
    for start in [PREFIX, PREFIX.trim_end_matches('/')] {
        let start: Url = format!("http://{proxy}{start}").parse().unwrap();
        let (mut seen, mut left) = (BTreeSet::new(), vec![start]);
        while let Some(mut url) = left.pop() {
            url.set_fragment(None);
            if !seen.insert(url.clone()) {
                continue;
            }
            let mut response = agent().get(url.as_str()).call().unwrap();
            assert_eq!(response.status(), 200, "{url}");
            let is_page = response.headers()["content-type"].to_str().unwrap().starts_with("text/html");
            if !is_page {
                continue;
            }
            // A link is relative to where a redirect has led.
            let path = url.path().to_owned();
            if path == PREFIX.trim_end_matches('/') {
                url.set_path(PREFIX);
            }
            let html = response.body_mut().read_to_string().unwrap();
            for link in links(&html) {
                let target = url.join(&link).unwrap();
                let is_ours = target.scheme() == "http" && target.host() == url.host();
                if is_ours {
                    assert!(target.path().starts_with(PREFIX), "{url} links to {link}");
                    left.push(target);
                }
            }
        }
        let paths: Vec<_> = seen.iter().map(Url::path).collect();
        assert!(paths.len() > 18, "{paths:?}");
        for expected in ["metrics", "-/healthy", "-/ready", "runbooks/PartnerLicenseScrapeFailing"] {
            let expected = format!("{PREFIX}{expected}");
            assert!(paths.contains(&expected.as_str()), "{expected} is not among {paths:?}");
        }
    }
}
