//! Records what the program is built from, for `--version` and the `build_info` metric, embeds the bundled files, and
//! says how the program is linked.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    // Commits and checkouts append to the log of HEAD, which a source archive does not have.
    if Path::new(".git/logs/HEAD").exists() {
        println!("cargo::rerun-if-changed=.git/logs/HEAD");
    }
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    for (name, program, arguments) in [
        ("BUILD_REVISION", "git", &["rev-parse", "HEAD"][..]),
        ("BUILD_BRANCH", "git", &["rev-parse", "--abbrev-ref", "HEAD"]),
        ("BUILD_RUSTVERSION", rustc.as_str(), &["--version"]),
    ] {
        // A packager without git sets the revision and the branch in the environment.
        let value = std::env::var(name).ok().or_else(|| first_line(program, arguments));
        println!("cargo::rustc-env={name}={}", value.as_deref().unwrap_or("unknown"));
        println!("cargo::rerun-if-env-changed={name}");
    }
    println!("cargo::rustc-env=BUILD_TARGET={}", std::env::var("TARGET").expect("cargo sets TARGET"));
    bundle();
    link_name_service();
    order_functions();
}

/// Files to embed: a directory of the repository, the end of their names, and the directory that `export` writes them to.
type FileSet = (&'static str, &'static str, &'static str);

/// The lists of bundled files, by the names of their constants.
const BUNDLES: [(&str, &[FileSet]); 3] = [
    ("DASHBOARDS", &[("dashboards", ".json", "")]),
    ("CONCEPTS", &[("docs/concepts", ".md", "")]),
    (
        "ALERTS",
        &[
            ("alerts", ".rules.yml", ""),
            ("examples", "alertmanager.yml", ""),
            ("examples", "alertmanager-teams.yml", ""),
            ("examples/alertmanager", ".tmpl", "alertmanager/"),
            ("docs/runbooks", ".md", "docs/runbooks/"),
            ("docs/concepts", ".md", "docs/concepts/"),
        ],
    ),
];

/// Writes the code that src/bundled.rs includes.
fn bundle() {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    for (name, sets) in BUNDLES {
        writeln!(code, "/// See build.rs.\npub const {name}: &[Bundled] = &[").expect(WRITES);
        for (directory, end, target) in sets {
            println!("cargo::rerun-if-changed={directory}");
            for file in files(&root.join(directory), end) {
                let name = file.file_name().expect("a file has a name").to_string_lossy();
                let (target, source) = (format!("{target}{name}"), file.to_string_lossy());
                writeln!(code, "    ({target:?}, include_str!({source:?})),").expect(WRITES);
            }
        }
        code.push_str("];\n");
    }
    let output = PathBuf::from(std::env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("bundled.rs");
    std::fs::write(output, code).expect("OUT_DIR is writable");
}

const WRITES: &str = "writing to a String cannot fail";

/// Lists the files of a directory whose names have this end, in order.
fn files(directory: &Path, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.is_file() && path.to_string_lossy().ends_with(end));
    files.sort();
    files
}

/// Links packaging/name-service.c, which says why, into a program that is static with glibc.
fn link_name_service() {
    const SOURCE: &str = "packaging/name-service.c";
    println!("cargo::rerun-if-changed={SOURCE}");
    let set = |name| std::env::var(name).unwrap_or_default();
    let is_static = set("CARGO_CFG_TARGET_FEATURE").split(',').any(|feature| feature == "crt-static");
    if is_static && set("CARGO_CFG_TARGET_ENV") == "gnu" {
        // An object, because the linker would leave a member of a library out that nothing refers to.
        for object in cc::Build::new().file(SOURCE).compile_intermediates() {
            println!("cargo::rustc-link-arg-bins={}", object.display());
        }
    }
}

/// Has the linker put the functions that a serving exporter executes next to each other in a release, so that few pages
/// of the others come into memory with them. A function that is not found stays where it is.
fn order_functions() {
    // scripts/order-functions writes it.
    const PATTERNS: &str = "tools/order/functions.txt";
    const SWITCH: &str = "ORDER_FUNCTIONS";
    println!("cargo::rerun-if-changed={PATTERNS}");
    println!("cargo::rerun-if-env-changed={SWITCH}");
    let set = |name| std::env::var(name).unwrap_or_default();
    let is_fuzzed = std::env::var_os("CARGO_CFG_FUZZING").is_some();
    if set("PROFILE") != "release" || set("CARGO_CFG_TARGET_OS") != "linux" || set(SWITCH) == "0" || is_fuzzed
    {
        return;
    }
    let flags = set("CARGO_ENCODED_RUSTFLAGS");
    if !flags.contains("symbol-mangling-version=v0") {
        println!(
            "cargo::warning=the program will take more memory than it needs, because other flags replace those of \
             .cargo/config.toml; add -Csymbol-mangling-version=v0 to RUSTFLAGS"
        );
        return;
    }
    // These linkers know no linker scripts with INSERT.
    let is_choice = |flag: &&str| ["linker=", "-fuse-ld=", "--ld-path="].iter().any(|it| flag.contains(it));
    let linker = set("RUSTC_LINKER");
    let chosen = flags.split('\x1f').filter(is_choice).chain([linker.as_str()]);
    let mut names = chosen.filter_map(|path| path.rsplit(['=', '/']).next());
    if names.any(|name| ["mold", "wild", "gold"].iter().any(|linker| name.contains(linker))) {
        return;
    }
    let patterns = std::fs::read_to_string(PATTERNS).expect("the repository has it");
    let mut script = String::from("SECTIONS\n{\n  .text.executed :\n  {\n");
    for pattern in patterns.lines() {
        writeln!(script, "    *(.text.{pattern} .text.unlikely.{pattern})").expect(WRITES);
    }
    script.push_str("  }\n}\nINSERT BEFORE .text;\n");
    let output = PathBuf::from(std::env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("functions.ld");
    std::fs::write(&output, script).expect("OUT_DIR is writable");
    println!("cargo::rustc-link-arg-bins=-T{}", output.display());
}

/// Returns the first line that a command prints, if it succeeds.
fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(|line| line.trim_start_matches("rustc ").to_owned())
}
