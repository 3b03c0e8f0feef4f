//! Tests of the files that provision the dashboards in Grafana.

use std::process::Command;

use serde_json::{Value, json};

use crate::dashboards::model::{files, list, text};

/// The directory in which the provider looks for dashboards, and to which the documents copy them.
const PATH: &str = "/var/lib/grafana/dashboards/partner-license";
const LABEL: &str = "grafana_dashboard";
/// The maximum size of a `ConfigMap` in Kubernetes, keys included.
const LIMIT: usize = 1024 * 1024;

pub(crate) fn provider_and_data_source_are_valid() {
    let provider = yaml("examples/grafana/dashboards.yml");
    let expected = json!({
        "name": "partner-license",
        "folder": "Partner licences",
        "type": "file",
        "disableDeletion": true,
        "allowUiUpdates": false,
        "options": { "path": PATH },
    });
    assert_eq!(provider, json!({ "apiVersion": 1, "providers": [expected] }));
    let guide = read("docs/guide/dashboards.md");
    for named in [PATH, "examples/grafana/dashboards.yml", "examples/grafana/datasource.yml"] {
        assert!(guide.contains(named), "docs/guide/dashboards.md does not name {named}");
    }

    let sources = yaml("examples/grafana/datasource.yml");
    let [source] = list(&sources["datasources"]) else { panic!("not one data source in {sources}") };
    assert_eq!((text(&source["type"]), text(&source["uid"])), ("prometheus", "prometheus"));
    let scraped = &yaml("examples/prometheus.yml")["global"]["scrape_interval"];
    assert_eq!(&source["jsonData"]["timeInterval"], scraped, "not the interval of examples/prometheus.yml");
}

pub(crate) fn kustomization_has_every_dashboard() {
    let kustomization = yaml("dashboards/kustomization.yml");
    let [map] = list(&kustomization["configMapGenerator"]) else {
        panic!("not one ConfigMap: {kustomization}")
    };
    let listed: Vec<_> = list(&map["files"]).iter().map(text).collect();
    assert_eq!(
        listed,
        files().iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect::<Vec<_>>()
    );
    assert_eq!(kustomization["generatorOptions"]["labels"], json!({ LABEL: "1" }));
    let size: u64 = files().iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(usize::try_from(size).unwrap() < LIMIT - 4096, "{size} bytes do not fit in a ConfigMap");
}

pub(crate) fn has_kubectl() -> bool {
    Command::new("kubectl").args(["version", "--client"]).output().is_ok()
}

/// Makes the `ConfigMap` with the real kubectl, which needs no cluster for that.
pub(crate) fn config_map_has_the_content_of_the_files() {
    let output = Command::new("kubectl")
        .args(["kustomize", "dashboards"])
        .current_dir(crate::dashboards::root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let map: Value = serde_saphyr::from_str(std::str::from_utf8(&output.stdout).unwrap()).unwrap();
    assert_eq!(
        (text(&map["kind"]), text(&map["metadata"]["name"])),
        ("ConfigMap", "partner-license-dashboards")
    );
    assert_eq!(map["metadata"]["labels"], json!({ LABEL: "1" }));
    let data = map["data"].as_object().unwrap();
    assert_eq!(data.len(), files().len());
    for path in files() {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(data[name] == std::fs::read_to_string(&path).unwrap(), "{name} differs in the ConfigMap");
    }
}

/// Checks that every run of the tools uses the same versions of packages, whatever registry they come from.
pub(crate) fn npm_packages_are_exact() {
    for directory in ["tools/dashboard-types", "tools/dashboard-pictures"] {
        let package: Value = serde_json::from_str(&read(&format!("{directory}/package.json"))).unwrap();
        for (name, version) in package["dependencies"].as_object().unwrap() {
            let is_exact = text(version).chars().all(|c| c.is_ascii_digit() || c == '.');
            assert!(is_exact, "{directory}: {name} may be {version}");
        }
        let lock = read(&format!("{directory}/package-lock.json"));
        assert!(
            lock.contains("\"integrity\"") && !lock.contains("\"resolved\""),
            "{directory}: addresses are locked"
        );
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(crate::dashboards::root().join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
