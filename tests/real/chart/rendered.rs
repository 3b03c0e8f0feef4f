//! What helm makes of the chart and some values.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bcrypt::hash;
use serde_json::Value;

use crate::support::real::root;
use crate::support::run;

/// The chart, below the root of the repository.
pub(super) const CHART: &str = "charts/partner-license-exporter";

pub(super) fn helm() -> PathBuf {
    root().join("target/tools/bin/helm")
}

/// The values below `ci/`, each for one feature.
pub(super) fn features() -> Vec<PathBuf> {
    let directory = root().join(CHART).join("ci");
    let mut files: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 15, "only {} in {}", files.len(), directory.display());
    files
}

/// The values of a feature, such as `sharding`.
pub(super) fn feature(name: &str) -> PathBuf {
    root().join(CHART).join("ci").join(format!("{name}-values.yaml"))
}

/// Runs helm on a directory or archive with the chart; returns whether it succeeded, and all that it printed.
pub(super) fn run_helm(arguments: &[&str]) -> (bool, String, String) {
    let output =
        Command::new(helm()).args(arguments).current_dir(root()).stdin(Stdio::null()).output().unwrap();
    let [printed, said] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.success(), printed, said)
}

/// The text of all objects, as `helm template` prints it.
pub(super) fn template(chart: &Path, values: &Path, more: &[&str]) -> String {
    let (chart, values) = (chart.to_str().unwrap(), values.to_str().unwrap());
    let arguments = ["template", "release", chart, "--namespace=apps", "--values", values];
    let (succeeded, printed, said) = run_helm(&[&arguments, more].concat());
    assert!(succeeded, "{values}: {said}");
    printed
}

/// Objects of Kubernetes.
pub(super) struct Objects(pub(super) Vec<Value>);

impl Objects {
    /// Renders the chart of the repository with the values of a feature.
    pub(super) fn of(values: &Path) -> Self {
        Self::parse(&template(Path::new(CHART), values, &[]))
    }

    pub(super) fn parse(text: &str) -> Self {
        let documents = format!("\n{text}");
        let documents = documents.split("\n---\n").filter(|text| text.lines().any(|line| line.contains(':')));
        let parse =
            |text: &str| serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
        Self(documents.map(parse).collect())
    }

    pub(super) fn of_kind(&self, kind: &str) -> Vec<&Value> {
        self.0.iter().filter(|object| object["kind"] == kind).collect()
    }

    pub(super) fn only(&self, kind: &str) -> &Value {
        let found = self.of_kind(kind);
        assert_eq!(found.len(), 1, "{kind}: {found:?}");
        found[0]
    }

    pub(super) fn workloads(&self) -> Vec<&Value> {
        [self.of_kind("StatefulSet"), self.of_kind("Deployment")].concat()
    }
}

/// The labels, arguments or the like at a pointer, as a map of texts.
pub(super) fn texts(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    let found = object.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {object:#}"));
    serde_json::from_value(found.clone()).unwrap()
}

/// A pod in a directory that stands for the root of its file system.
pub(super) struct Pod {
    pub(super) root: tempfile::TempDir,
    /// The arguments of the exporter, with paths below that directory.
    pub(super) arguments: Vec<String>,
    /// The variables that have a value.
    pub(super) environment: Vec<(String, String)>,
}

impl Pod {
    /// Mounts the volumes of the pod of `workload`, where `secrets` has the content of the files that its configuration
    /// names. The pod is the one with this ordinal.
    pub(super) fn of(
        objects: &Objects,
        workload: &Value,
        ordinal: usize,
        secret: impl Fn(&str) -> String,
    ) -> Self {
        let root = tempfile::tempdir().unwrap();
        let below = |path: &str| root.path().join(path.trim_start_matches('/'));
        let moved = |text: &str| moved(root.path(), text);
        let spec = &workload["spec"]["template"]["spec"];
        let container = &spec["containers"][0];
        let mounts = container["volumeMounts"].as_array().unwrap();
        let mounted: Vec<&str> = mounts.iter().map(|mount| mount["mountPath"].as_str().unwrap()).collect();
        for path in &mounted {
            fs::create_dir_all(below(path)).unwrap();
        }
        // What the chart renders, or what an existing object would have.
        if let Some(volume) = named(&spec["volumes"], "config") {
            let name = volume.pointer("/configMap/name");
            let rendered =
                objects.of_kind("ConfigMap").into_iter().find(|it| Some(&it["metadata"]["name"]) == name);
            let text = rendered.map_or(
                "accounts: [{ tenant_id: a.example, client_id: 00000000-0000-0000-0000-000000000001 }]\n",
                |map| map["data"]["config.yml"].as_str().unwrap(),
            );
            for path in text.split_whitespace().filter(|word| word.starts_with("/var/")) {
                let mount = mounted.iter().any(|mount| path.starts_with(&format!("{mount}/")));
                assert!(mount, "{path} is in no volume of {mounted:?}");
                fs::write(below(path), secret(path)).unwrap();
            }
            fs::write(below("/etc/partner-license-exporter/config.yml"), moved(text)).unwrap();
        }
        if named(&spec["volumes"], "web-config").is_some() {
            let file = below("/etc/partner-license-exporter-web/web-config.yml");
            fs::write(
                file,
                format!("basic_auth_users: {{ prometheus: '{}' }}\n", hash("sesame", 4).unwrap()),
            )
            .unwrap();
        }
        let ordinal = ordinal.to_string();
        let arguments = container["args"].as_array().into_iter().flatten();
        let arguments = arguments.map(|it| moved(&it.as_str().unwrap().replace("$(POD_INDEX)", &ordinal)));
        let variables = container["env"].as_array().unwrap().iter();
        let environment = variables.filter_map(|it| {
            let value = it["value"].as_str().or(it.pointer("/valueFrom/secretKeyRef").map(|_| "a-secret"))?;
            Some((it["name"].as_str().unwrap().to_owned(), moved(value)))
        });
        Self { arguments: arguments.collect(), environment: environment.collect(), root }
    }

    /// Runs a health check of this pod, or of the one of `helm test`, on the exporter at an address.
    pub(super) fn health_check(&self, arguments: &Value, address: &str) -> (i32, String, String) {
        let arguments = arguments.as_array().unwrap().iter().map(|it| it.as_str().unwrap());
        let arguments = arguments.filter(|it| !it.starts_with("--web.listen-address="));
        let arguments: Vec<String> = arguments.map(|it| moved(self.root.path(), it)).collect();
        let address = format!("--web.listen-address={address}");
        run(&arguments.iter().map(String::as_str).chain([&*address]).collect::<Vec<_>>())
    }
}

/// Text in which paths of the pod are below this directory.
fn moved(root: &Path, text: &str) -> String {
    ["/var/", "/etc/"].iter().fold(text.to_owned(), |text, directory| {
        text.replace(directory, &format!("{}{directory}", root.display()))
    })
}

/// The item of a list that has this name.
pub(super) fn named<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|item| item["name"] == name)
}
