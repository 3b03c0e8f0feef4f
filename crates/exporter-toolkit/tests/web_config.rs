//! The web configuration file: the cases that Prometheus' exporters are tested with, and ours besides, against
//! the real program, over real sockets, on all of its listeners.
//!
//! The cases of others are a table in `web_config/cases.rs`. Each of its rows is a test with the row's name, and
//! at the end it is counted that all of them ran.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests fail by panicking")]

mod support;

mod web_config {
    pub(crate) mod cases;
    pub(crate) mod certificates;
    pub(crate) mod client;
    pub(crate) mod clients;
    pub(crate) mod files;
    pub(crate) mod requests;
    pub(crate) mod world;
}

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use libtest_mimic::{Arguments, Trial};
use rustls::crypto::aws_lc_rs::kx_group::SECP384R1;

use web_config::cases::{self, Case, Client, Pem};
use web_config::client::{self, Login, P521, Tls};
use web_config::world::{Guarded, World};
use web_config::{clients, files, requests};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let world = Arc::new(World::new());
    let passed = Arc::new(AtomicUsize::new(0));
    let rows = cases::all().into_iter().map(|case| {
        let (world, passed) = (Arc::clone(&world), Arc::clone(&passed));
        Trial::test(format!("{}/{}", case.group, case.name), move || {
            holds(&world, &case);
            passed.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    });
    let ours = [clients::TESTS, requests::TESTS].concat().into_iter().map(|(name, test)| {
        let world = Arc::clone(&world);
        Trial::test(name, move || {
            test(&world);
            Ok(())
        })
    });
    let conclusion = libtest_mimic::run(&arguments, rows.chain(ours).collect());
    let all = !arguments.list && arguments.filter.is_none() && arguments.skip.is_empty();
    let passed = passed.load(Ordering::SeqCst);
    if all && passed != cases::COUNT {
        eprintln!("{passed} of the {} cases passed", cases::COUNT);
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

fn holds(world: &World, case: &Case) {
    if let Client::Nobody = case.client {
        let error = case.error.expect("a program that starts has a client");
        for said in world.refusals(case.file) {
            // The toolkit stops at the first problem, so that one must come first here.
            let first: String = said.lines().take(2).collect::<Vec<_>>().join("\n");
            assert!(fits(error, &first), "expected {error:?} first in {said}");
        }
        return;
    }
    let guarded = world.start(case.file);
    for address in &guarded.addresses {
        let answers: Result<(), String> =
            (0..case.requests).try_for_each(|_| ask(world, &guarded, address, case));
        match (case.error, answers) {
            (None, Ok(())) => {}
            (Some(error), Err(said)) if fits(error, &said) => {}
            (expected, found) => panic!("at {address} expected {expected:?}, found {found:?}"),
        }
        if let Client::Reload(_) = case.client {
            guarded.write(files::BLOCKING);
        }
    }
}

/// One request; `Err` if the answer is not the status page.
fn ask(world: &World, guarded: &Guarded, address: &str, case: &Case) -> Result<(), String> {
    let certificates = &world.certificates;
    let trusted = certificates.authority.der();
    let login = Login(case.login);
    let pair = |pem| match pem {
        Pem::Client => &certificates.client,
        Pem::Client2 => &certificates.client2,
    };
    let (tls, suite) = match case.client {
        Client::Nobody => unreachable!("nobody asks nothing"),
        Client::Plain => return is_page(&client::get(address, "/", login)?),
        Client::Tls11 => return client::hello_of_tls11(address),
        Client::Tls(pem) => (Tls::new(trusted, pem.map(pair)), None),
        Client::Suites(offered, chosen) => (Tls::with(trusted, None, client::only_suites(offered)), chosen),
        Client::P521 => (Tls::with(trusted, None, client::only_group(&P521)), None),
        Client::P384 => (Tls::with(trusted, None, client::only_group(SECP384R1)), None),
        Client::Reload(text) => {
            let tls = Tls::new(trusted, None);
            tls.get(address, "/", login).map(|_| ()).expect_err("a client without a certificate was let in");
            guarded.write(text);
            (tls, None)
        }
    };
    let (answer, agreed) = tls.get(address, "/", login)?;
    if let Some(suite) = suite {
        assert_eq!(agreed.suite, suite);
    }
    is_page(&answer)
}

fn is_page(answer: &client::Answer) -> Result<(), String> {
    let body = answer.body.trim();
    if answer.status != 200 {
        return Err(format!("{} {body}", answer.status));
    }
    assert!(body.ends_with("</html>"), "this is not the page: {body}");
    Ok(())
}

/// Are the words of one alternative in the text, in their order?
fn fits(pattern: &str, text: &str) -> bool {
    pattern.split('|').any(|alternative| {
        let mut rest = Some(text);
        for part in alternative.split(".*") {
            rest = rest.and_then(|text| Some(text.split_once(part)?.1));
        }
        rest.is_some()
    })
}
