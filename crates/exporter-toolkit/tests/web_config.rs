//! The web configuration file: the test cases of the exporters of Prometheus, and our own tests, with the example on
//! addresses and on sockets from systemd.
//!
//! Each row of the table in `web_config/cases.rs` is a test with the row's name. At the end, the number of rows that
//! passed is printed.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests fail by panicking")]

mod support;

mod web_config {
    pub(crate) mod cases;
    pub(crate) mod certificates;
    pub(crate) mod client;
    pub(crate) mod clients;
    pub(crate) mod files;
    pub(crate) mod reloading;
    pub(crate) mod requests;
    pub(crate) mod world;
}

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use libtest_mimic::{Arguments, Trial};
use rustls::crypto::aws_lc_rs::kx_group::SECP384R1;

use support::Listening;
use web_config::cases::{self, Case, Client, Pem};
use web_config::client::{self, Login, P521, Tls};
use web_config::world::{Server, World};
use web_config::{clients, files, reloading, requests};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // Most of them wait.
    let arguments = Arguments { test_threads: arguments.test_threads.or(Some(4)), ..arguments };
    let passed = Arc::new(AtomicUsize::new(0));
    let all = [("addresses", Listening::Addresses), ("systemd", Listening::Systemd)];
    let trials = all.into_iter().flat_map(|(prefix, listening)| trials(prefix, listening, &passed)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let all = !arguments.list && arguments.filter.is_none() && arguments.skip.is_empty();
    let passed = passed.load(Ordering::SeqCst);
    if all && passed != 2 * cases::COUNT {
        eprintln!("{passed} of 2 x {} cases passed", cases::COUNT);
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

/// Returns all tests with listeners of one kind.
fn trials(prefix: &'static str, listening: Listening, passed: &Arc<AtomicUsize>) -> Vec<Trial> {
    let world = Arc::new(World::new(listening));
    let cases = cases::all().into_iter().map(|case| {
        let (world, passed) = (Arc::clone(&world), Arc::clone(passed));
        Trial::test(format!("{prefix}/{}/{}", case.group, case.name), move || {
            run_case(&world, &case);
            passed.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    });
    let own = [clients::TESTS, reloading::TESTS, requests::TESTS].concat().into_iter().map(|(name, test)| {
        let world = Arc::clone(&world);
        Trial::test(format!("{prefix}/{name}"), move || {
            test(&world);
            Ok(())
        })
    });
    cases.chain(own).collect()
}

fn run_case(world: &World, case: &Case) {
    if let Client::None = case.client {
        let error = case.error.expect("a program that starts has a client");
        let text = world.refusal(case.file);
        // The exporters in Go report the first problem only, so it must come first here.
        let first: String = text.lines().take(2).collect::<Vec<_>>().join("\n");
        assert!(matches(error, &first), "expected {error:?} first in {text}");
        return;
    }
    let server = world.start(case.file);
    for address in &server.addresses {
        let outcome: Result<(), String> =
            (0..case.requests).try_for_each(|_| request(world, &server, address, case));
        match (case.error, outcome) {
            (None, Ok(())) => {}
            (Some(error), Err(text)) if matches(error, &text) => {}
            (expected, found) => panic!("at {address} expected {expected:?}, found {found:?}"),
        }
        if let Client::Reload(_) = case.client {
            server.write(files::BLOCKING);
        }
    }
}

/// Requests the page, and returns an error for any other response.
fn request(world: &World, server: &Server, address: &str, case: &Case) -> Result<(), String> {
    let certificates = &world.certificates;
    let trusted = certificates.authority.der();
    let login = Login(case.login);
    let pair = |pem| match pem {
        Pem::Client => &certificates.client,
        Pem::Client2 => &certificates.client2,
    };
    let (tls, suite) = match case.client {
        Client::None => unreachable!("the program does not start"),
        Client::Plain => return check_page(&client::get(address, "/", login)?),
        Client::Tls11 => return client::hello_of_tls11(address),
        Client::Tls(pem) => (Tls::new(trusted, pem.map(pair)), None),
        Client::Suites(offered, chosen) => (Tls::with(trusted, None, client::only_suites(offered)), chosen),
        Client::P521 => (Tls::with(trusted, None, client::only_group(&P521)), None),
        Client::P384 => (Tls::with(trusted, None, client::only_group(SECP384R1)), None),
        Client::Reload(text) => {
            let tls = Tls::new(trusted, None);
            tls.get(address, "/", login)
                .map(|_| ())
                .expect_err("a client without a certificate was accepted");
            server.write(text);
            (tls, None)
        }
    };
    let (response, agreed) = tls.get(address, "/", login)?;
    if let Some(suite) = suite {
        assert_eq!(agreed.suite, suite);
    }
    check_page(&response)
}

fn check_page(response: &client::Response) -> Result<(), String> {
    let body = response.body.trim();
    if response.status != 200 {
        return Err(format!("{} {body}", response.status));
    }
    assert!(body.ends_with("</html>"), "the body is not that of the page: {body}");
    Ok(())
}

/// Returns whether a text contains the parts of one alternative, in order.
fn matches(pattern: &str, text: &str) -> bool {
    pattern.split('|').any(|alternative| {
        let mut rest = Some(text);
        for part in alternative.split(".*") {
            rest = rest.and_then(|text| Some(text.split_once(part)?.1));
        }
        rest.is_some()
    })
}
