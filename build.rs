//! Tells the program what it was built from, for `--version` and the `build_info` metric.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    // A commit changes the log of HEAD, and so does a checkout. A source archive has none.
    if std::path::Path::new(".git/logs/HEAD").exists() {
        println!("cargo::rerun-if-changed=.git/logs/HEAD");
    }
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    for (name, program, arguments) in [
        ("BUILD_REVISION", "git", &["rev-parse", "HEAD"][..]),
        ("BUILD_BRANCH", "git", &["rev-parse", "--abbrev-ref", "HEAD"]),
        ("BUILD_RUSTVERSION", rustc.as_str(), &["--version"]),
    ] {
        // A packager without git names revision and branch in the environment.
        let value = std::env::var(name).ok().or_else(|| output(program, arguments));
        println!("cargo::rustc-env={name}={}", value.as_deref().unwrap_or("unknown"));
        println!("cargo::rerun-if-env-changed={name}");
    }
    println!("cargo::rustc-env=BUILD_TARGET={}", std::env::var("TARGET").expect("cargo sets TARGET"));
}

/// The first line a command prints, unless it fails.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(|line| line.trim_start_matches("rustc ").to_owned())
}
