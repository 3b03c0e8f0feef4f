//! The seeds of the fuzz targets and the recorded answers, as inputs for tests.

use std::fs;
use std::path::{Path, PathBuf};

/// Calls `invariant` with every seed of the fuzz target `target` and every recorded answer.
pub(crate) fn replay(target: &str, invariant: fn(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let seeds = files(&root.join("fuzz/seeds").join(target));
    assert!(!seeds.is_empty(), "{target} has no seeds");
    for path in seeds.into_iter().chain(files(&root.join("tests/fixtures"))) {
        println!("{}", path.display()); // shown if the invariant panics
        invariant(&fs::read(&path).unwrap());
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
