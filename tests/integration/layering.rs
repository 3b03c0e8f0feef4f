//! Holds the code to the map in src/lib.rs: a module may name only modules that are declared above it.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// The modules in the order of src/lib.rs.
fn order() -> Vec<String> {
    let map = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    map.lines()
        .filter_map(|line| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned()))
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The part of a path like `src/poll/mod.rs` or `src/cli.rs` that names the module.
fn module_of(file: &Path) -> String {
    let inside = file.strip_prefix(root().join("src")).unwrap();
    let first = inside.iter().next().unwrap();
    Path::new(first).file_stem().unwrap().to_str().unwrap().to_owned()
}

/// The modules that a line of code names by `crate::name`.
fn named_in(line: &str) -> Vec<&str> {
    let code = line.split("//").next().unwrap_or_default();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    code.split("crate::").skip(1).map(|rest| rest.split(|c| !is_name(c)).next().unwrap_or_default()).collect()
}

#[test]
fn a_module_names_only_modules_above_it_in_the_map() {
    let order = order();
    let rank = |module: &str| order.iter().position(|known| known == module);
    let mut wrong = Vec::new();
    let mut named = 0;
    for file in files(&root().join("src")) {
        let module = module_of(&file);
        let is_test = file.file_name().is_some_and(|name| name == "tests.rs")
            || file.iter().any(|part| part == "tests");
        let Some(own) = rank(&module).filter(|_| !is_test) else { continue };
        let text = fs::read_to_string(&file).unwrap();
        // What follows are unit tests, which may reach further.
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate() {
            for other in named_in(line) {
                named += 1;
                if rank(other).is_none_or(|other| other > own) {
                    wrong.push(format!("{}:{}: {module} names {other}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(named > 50, "only {named} uses were found: this test does not see the code");
    assert!(wrong.is_empty(), "against the order of src/lib.rs:\n{}", wrong.join("\n"));
}
