//! The blocks of docs/start/kubernetes.md.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::real::root;

use super::rendered::{CHART, Objects, helm, run_helm, template};
use super::{kubernetes_takes, texts};

/// A block of the page: the word in the comment before it, if any, its language and its lines.
struct Block {
    mark: String,
    language: String,
    text: String,
}

fn blocks() -> Vec<Block> {
    let page = fs::read_to_string(root().join("docs/start/kubernetes.md")).unwrap();
    let mut found = Vec::new();
    let (mut mark, mut open): (String, Option<Block>) = Default::default();
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block { mark: mark.clone(), language: language.to_owned(), text: String::new() });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => block.text += &format!("{line}\n"),
            (None, None) => {
                let comment = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
                comment.unwrap_or_default().clone_into(&mut mark);
            }
        }
    }
    found
}

fn marked(mark: &str) -> Vec<String> {
    blocks().into_iter().filter(|block| block.mark == mark).map(|block| block.text).collect()
}

/// Renders the values of the page, and checks its own objects.
pub(super) fn values_and_objects_are_valid() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("values.yaml");
    let values = marked("values");
    for text in &values {
        fs::write(&file, text).unwrap();
        assert!(!Objects::parse(&template(Path::new(CHART), &file, &[])).workloads().is_empty(), "{text}");
    }
    let objects = marked("objects");
    for text in &objects {
        fs::write(&file, text).unwrap();
        let (is_valid, said) = kubernetes_takes(std::slice::from_ref(&file));
        assert!(is_valid, "{said}");
    }
    assert_eq!((values.len(), objects.len()), (6, 2));
}

/// Runs what needs no cluster, and has helm and kubectl parse the flags of everything else.
pub(super) fn commands_are_valid() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("values.yaml");
    fs::write(&file, &marked("values")[0]).unwrap();
    let packaged = format!("partner-license-exporter-{}.tgz", env!("CARGO_PKG_VERSION"));
    let (succeeded, _, said) =
        run_helm(&["package", CHART, "--destination", directory.path().to_str().unwrap()]);
    assert!(succeeded, "{said}");
    let archive = directory.path().join(&packaged);
    let (mut parsed, mut installed) = (0, Vec::new());
    for block in blocks().into_iter().filter(|block| block.language == "sh" && block.mark != "not checked") {
        for line in block.text.replace("\\\n", " ").lines() {
            let line = line.trim().trim_end_matches(" &&");
            let line = line.trim_start_matches("(umask 077 && ").trim_end_matches(')');
            let line = line.split(['<', '>']).next().unwrap().split(" -- ").next().unwrap();
            let words: Vec<&str> = line.split_whitespace().collect();
            let program = helm().with_file_name(words[0]);
            let output = Command::new(program).args(&words[1..]).arg("--help").output().unwrap();
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            parsed += 1;
            if words[..2] == ["helm", "install"] {
                let arguments = words[1..].iter().map(|word| match *word {
                    "values.yaml" => file.to_str().unwrap(),
                    word if word == packaged => archive.to_str().unwrap(),
                    word => word,
                });
                let arguments: Vec<&str> = arguments.chain(["--dry-run=client"]).collect();
                let (succeeded, printed, said) = run_helm(&arguments);
                assert!(succeeded, "{line}: {said}");
                let (_, manifest) = printed.split_once("\nMANIFEST:\n").unwrap();
                installed.push(Objects::parse(manifest.split_once("\nNOTES:").unwrap().0));
            }
        }
    }
    assert!(parsed >= 15 && installed.len() == 2, "{parsed} commands, {} installations", installed.len());
    // The names that the page uses.
    let workload = installed[0].only("StatefulSet");
    assert_eq!(workload["metadata"]["name"], "partner-license-exporter");
    assert_eq!(workload["spec"]["volumeClaimTemplates"][0]["metadata"]["name"], "state");
    let claim = texts(workload, "/spec/volumeClaimTemplates/0/metadata/labels");
    assert_eq!(claim["app.kubernetes.io/instance"], "partner-license-exporter");
}
