//! Tests of the Helm chart: what the real helm makes of it with the values of each feature, as Kubernetes, the
//! Prometheus operator, Prometheus and the program itself read it. There is no cluster.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests fail by panicking")]

mod page;
mod rendered;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::{Arguments, Conclusion, Trial};
use serde_json::{Value, json};

use crate::support::real::{SUITES, root, run_tool, tool};
use crate::support::{
    Process, Simulator, TENANT, agent, eventually, get, listening_on, program, run as run_program,
};
use rendered::{CHART, Objects, Pod, feature, features, helm, named, run_helm, template, texts};

/// Where `kubectl apply` stores an object: the annotation may have this many bytes.
const LIMIT: usize = 256 * 1024;

const CASES: [(&str, fn()); 21] = [
    ("the_chart_has_the_version_of_the_program", versions_are_equal),
    ("helm_lints_and_renders_the_values_of_each_feature", every_feature_is_clean),
    ("the_schema_has_every_default_and_no_other_value", schema_and_defaults_agree),
    ("the_schema_knows_the_keys_of_the_configuration", schema_and_configuration_agree),
    ("a_wrong_value_is_refused_with_its_path", wrong_values_are_refused),
    ("values_that_contradict_each_other_or_show_a_secret_are_refused", contradictions_are_refused),
    ("values_with_which_something_would_fail_later_are_refused", what_would_fail_later_is_refused),
    ("every_object_is_valid_for_kubernetes", objects_are_valid),
    ("every_object_of_the_operator_is_valid_for_its_models", operator_objects_are_valid),
    ("selectors_match_the_pods_of_the_exporter_only", selectors_match),
    ("the_program_takes_arguments_and_configuration_of_every_pod", program_takes_arguments),
    ("a_pod_on_the_simulator_answers_its_probes_and_is_scraped", pod_runs),
    ("a_pod_with_passwords_answers_its_probes_without_one", pod_with_passwords_runs),
    ("a_label_that_several_values_set_has_the_most_particular_one", labels_are_merged),
    ("rules_and_dashboards_are_those_of_the_repository", files_are_those_of_the_repository),
    ("the_network_policy_lets_out_dns_https_and_what_is_named", network_policy_is_narrow),
    ("the_values_and_objects_of_the_page_are_valid", page::values_and_objects_are_valid),
    ("the_commands_of_the_page_are_valid", page::commands_are_valid),
    ("the_notes_have_commands_that_the_program_takes", notes_have_valid_commands),
    ("the_notes_say_what_the_values_need", notes_fit_the_values),
    ("a_parent_chart_turns_it_on_and_off", parent_chart_decides),
];

pub(crate) fn run(arguments: &Arguments) -> Conclusion {
    let arguments = Arguments { test_threads: arguments.test_threads.or(Some(2)), ..arguments.clone() };
    let promtools = SUITES.map(|suite| tool(suite, "promtool"));
    let tools = [helm(), models().join("node_modules"), python()].into_iter().chain(promtools);
    let missing: Vec<PathBuf> = tools.filter(|path| !path.exists()).collect();
    for path in &missing {
        eprintln!("not found: {} (scripts/fetch-tools downloads it)", path.display());
    }
    let required = std::env::var_os("REQUIRE_TOOLS").is_some();
    let trials = CASES.iter().map(|(name, case)| {
        let trial = Trial::test(format!("chart::{name}"), move || {
            case();
            Ok(())
        });
        trial.with_ignored_flag(!missing.is_empty() && !required)
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if conclusion.num_ignored > 0 {
        eprintln!(
            "{} tests of the chart were NOT run, because tools are missing: see above\n",
            conclusion.num_ignored
        );
    }
    conclusion
}

fn models() -> PathBuf {
    root().join("target/tools/chart")
}

fn python() -> PathBuf {
    root().join("target/tools/python/bin/python")
}

fn yaml(path: impl AsRef<Path>) -> Value {
    let path = root().join(path);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn keys(map: &Value) -> BTreeSet<&str> {
    map.as_object().unwrap().keys().map(String::as_str).collect()
}

// === the chart itself ===

fn versions_are_equal() {
    let chart = yaml(format!("{CHART}/Chart.yaml"));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!((&chart["version"], &chart["appVersion"]), (&json!(version), &json!(version)));
}

fn every_feature_is_clean() {
    for values in features() {
        let (clean, said, _) = run_helm(&["lint", "--strict", CHART, "--values", values.to_str().unwrap()]);
        assert!(clean, "{}: {said}", values.display());
        assert!(!Objects::of(&values).workloads().is_empty(), "{}", values.display());
    }
    let (clean, said, _) = run_helm(&["lint", "--strict", CHART]);
    assert!(clean, "without values: {said}");
}

fn schema_and_defaults_agree() {
    let schema: Value =
        serde_json::from_str(&fs::read_to_string(root().join(CHART).join("values.schema.json")).unwrap())
            .unwrap();
    let defaults = yaml(format!("{CHART}/values.yaml"));
    let resolved = |property: &Value| {
        let name = property["$ref"].as_str().and_then(|path| path.strip_prefix('#'));
        name.map_or(property.clone(), |pointer| schema.pointer(pointer).unwrap().clone())
    };
    // These are for a parent chart.
    let known = keys(&schema["properties"]).into_iter().filter(|key| !["enabled", "global"].contains(key));
    assert_eq!(keys(&defaults), known.collect::<BTreeSet<_>>());
    for (key, property) in schema["properties"].as_object().unwrap() {
        let property = resolved(property);
        if property["properties"].is_object() && key != "config" {
            assert_eq!(property["additionalProperties"], json!(false), "{key} takes any key");
            assert_eq!(keys(&defaults[key]), keys(&property["properties"]), "{key}");
        }
    }
}

fn schema_and_configuration_agree() {
    let schema: Value =
        serde_json::from_str(&fs::read_to_string(root().join(CHART).join("values.schema.json")).unwrap())
            .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yml");
    let text = "nope: 1
accounts: [{ nope: 1 }]
prices: [{ nope: 1 }]
thresholds: { nope: 1, overrides: [{ nope: 1 }] }
collections: { nope: 1, usage: { nope: 1 }, deployment: { nope: 1 }, customers: { nope: 1 } }
";
    fs::write(&file, text).unwrap();
    let (_, _, said) = run_program(&["check", "--config.file", file.to_str().unwrap()]);
    let known = |path: &str| {
        let line = format!("{path}nope: unknown key; known here: ");
        let list = said
            .lines()
            .find_map(|it| it.trim_start().strip_prefix(&line))
            .unwrap_or_else(|| panic!("{said}"));
        list.split(", ").map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let in_schema = |pointer: &str| -> BTreeSet<String> {
        keys(schema.pointer(pointer).unwrap()).into_iter().map(str::to_owned).collect()
    };
    let mut of_file = known("");
    assert!(of_file.remove("state_directory"), "the chart sets it");
    assert_eq!(in_schema("/properties/config/properties"), of_file);
    for (pointer, path) in [
        ("account", "accounts[0]."),
        ("prices/items", "prices[0]."),
        ("thresholds", "thresholds."),
        ("thresholds/properties/overrides/items", "thresholds.overrides[0]."),
        ("collections", "collections."),
        ("collections/properties/usage", "collections.usage."),
        ("collections/properties/deployment", "collections.deployment."),
        ("collections/properties/customers", "collections.customers."),
    ] {
        assert_eq!(in_schema(&format!("/definitions/{pointer}/properties")), known(path), "{path}");
    }
}

fn wrong_values_are_refused() {
    for (value, said) in [
        ("replica=2", "at '': additional properties 'replica' not allowed"),
        ("replicas=0", "at '/replicas': minimum: got 0, want 1"),
        ("replicas=\"two\"", "at '/replicas': got string, want integer"),
        ("kind=\"DaemonSet\"", "at '/kind': value must be one of 'StatefulSet', 'Deployment'"),
        ("sharding={\"shards\":2}", "at '/sharding': additional properties 'shards' not allowed"),
        ("image={\"repo\":\"x\"}", "at '/image': additional properties 'repo' not allowed"),
        ("image={\"digest\":\"latest\"}", "at '/image/digest': 'latest' does not match pattern"),
        ("config={\"account\":[]}", "at '/config': additional properties 'account' not allowed"),
        ("config={\"poll_interval\":6}", "at '/config/poll_interval': got number, want string"),
        (
            "config={\"state_directory\":\"/x\"}",
            "at '/config': additional properties 'state_directory' not allowed",
        ),
        (
            "config={\"accounts\":[{\"tenant_id\":\"a\"}]}",
            "at '/config/accounts/0': missing property 'client_id'",
        ),
        (
            "config={\"accounts\":[{\"tenant_id\":\"a\",\"client_id\":\"b\",\"cloud\":\"mars\"}]}",
            "at '/config/accounts/0/cloud': value must be one of",
        ),
        (
            "config={\"poll_interval\":\"often\"}",
            "at '/config/poll_interval': 'often' does not match pattern",
        ),
        (
            "config={\"thresholds\":{\"percent\":1}}",
            "at '/config/thresholds': additional properties 'percent' not allowed",
        ),
        (
            "config={\"thresholds\":{\"overrides\":[{\"percents\":1}]}}",
            "at '/config/thresholds/overrides/0': additional properties 'percents' not allowed",
        ),
        (
            "config={\"prices\":[{\"product\":\"E3\"}]}",
            "at '/config/prices/0': missing properties 'per_month'",
        ),
        (
            "config={\"collections\":{\"customers\":{\"series\":-1}}}",
            "at '/config/collections/customers/series': minimum: got -1, want 0",
        ),
        (
            "config={\"accounts\":[{\"tenant_id\":\"a\",\"client_id\":\"b\",\"collections\":{\"usages\":{}}}]}",
            "at '/config/accounts/0/collections': additional properties 'usages' not allowed",
        ),
        ("nameOverride=\"1my\"", "at '/nameOverride': '1my' does not match pattern"),
        ("fullnameOverride=\"my.app\"", "at '/fullnameOverride': 'my.app' does not match pattern"),
        ("podDisruptionBudget={\"minAvailable\":\"half\"}", "'half' does not match pattern"),
        (
            "networkPolicy={\"microsoft\":[{\"cidr\":\"banana\"}]}",
            "at '/networkPolicy/microsoft/0/cidr': 'banana' does not match pattern",
        ),
        (
            "networkPolicy={\"microsoft\":[{\"cidr\":\"999.1.1.1/8\"}]}",
            "at '/networkPolicy/microsoft/0/cidr': '999.1.1.1/8' does not match pattern",
        ),
        (
            "service={\"loadBalancerSourceRanges\":[\"::/129\"]}",
            "at '/service/loadBalancerSourceRanges/0': '::/129' does not match pattern",
        ),
        ("networkPolicy={\"dnsPorts\":[0]}", "at '/networkPolicy/dnsPorts/0': minimum: got 0, want 1"),
        ("service={\"clusterIP\":\"none\"}", "at '/service/clusterIP': 'none' does not match pattern"),
        ("existingSecrets=[\"A\"]", "at '/existingSecrets/0'"),
        ("existingSecrets=[\"a\",\"a\"]", "at '/existingSecrets': items at 0 and 1 are equal"),
        ("persistence={\"size\":\"1.5.2\"}", "at '/persistence/size': '1.5.2' does not match pattern"),
        ("persistence={\"accessModes\":[\"Any\"]}", "at '/persistence/accessModes/0': value must be one of"),
        ("service={\"port\":0}", "at '/service/port': minimum: got 0, want 1"),
        (
            "serviceMonitor={\"honorLabels\":\"yes\"}",
            "at '/serviceMonitor/honorLabels': got string, want boolean",
        ),
        ("podMonitor={\"interval\":\"often\"}", "at '/podMonitor/interval': 'often' does not match pattern"),
        ("podMonitor={\"interval\":\"1s1m\"}", "at '/podMonitor/interval': '1s1m' does not match pattern"),
        ("podMonitor={\"interval\":\"\"}", "at '/podMonitor/interval': minLength: got 0, want 1"),
        (
            "prometheusRule={\"grafanaUrl\":\"x\"}",
            "at '/prometheusRule/grafanaUrl': 'x' does not match pattern",
        ),
        (
            "dashboards={\"labels\":{\"grafana_dashboard\":1}}",
            "at '/dashboards/labels/grafana_dashboard': got number",
        ),
        ("workloadIdentity={\"expirationSeconds\":60}", "at '/workloadIdentity/expirationSeconds': minimum"),
        ("extraArgs=[\"log.level=debug\"]", "at '/extraArgs/0': 'log.level=debug' does not match pattern"),
        ("extraEnv=[{\"value\":\"b\"}]", "at '/extraEnv/0': missing property 'name'"),
        ("extraEnv=[{\"name\":\"A\",\"value\":1}]", "at '/extraEnv/0/value': got number, want string"),
        ("enabled=\"no\"", "at '/enabled': got string, want boolean"),
        ("extraVolumeMounts=[{\"name\":\"a\"}]", "at '/extraVolumeMounts/0': missing property 'mountPath'"),
        ("extraEnv={\"A\":\"b\"}", "at '/extraEnv': got object, want array"),
    ] {
        refused(&["--set-json", value], said);
    }
}

fn contradictions_are_refused() {
    let account =
        |more: &str| format!("config={{\"accounts\":[{{\"tenant_id\":\"a\",\"client_id\":\"b\"{more}}}]}}");
    let valid = account("");
    for (values, said) in [
        (&[][..], "there is no account: set config.accounts"),
        (&["config={\"poll_interval\":\"6h\"}"], "config.accounts is missing"),
        (
            &[&valid, "existingConfigMap=\"a\""],
            "only one of config, existingConfigMap and existingConfigSecret",
        ),
        (&[&account(",\"client_secret\":\"s\"")], "config.accounts[0].client_secret would be in a ConfigMap"),
        (&[&account(",\"refresh_token\":\"s\"")], "set refresh_token_file to /var/run/secrets/"),
        (&[&account(",\"proxy_url\":\"http://u:p@proxy:1\"")], "config.accounts[0].proxy_url has a password"),
        (&[&account(",\"proxy_url\":\"u:p@proxy:1\"")], "config.accounts[0].proxy_url has a password"),
        (
            &["config={\"accounts\":[{\"name\":\"n\",\"tenant_id\":\"a\",\"client_id\":\"b\"},\
               {\"name\":\"n\",\"tenant_id\":\"c\",\"client_id\":\"d\"}]}"],
            "config.accounts[1].name is that of an account before it, or missing",
        ),
        (
            &[
                &account(",\"client_secret_file\":\"/var/run/secrets/partner-license-exporter/b/key\""),
                "existingSecrets=[\"a\"]",
            ],
            "config.accounts[0].client_secret_file is /var/run/secrets/partner-license-exporter/b/key, but \
             existingSecrets has no b",
        ),
        (
            &[&valid, "extraEnv=[{\"name\":\"AZURE_CLIENT_SECRET\",\"value\":\"s\"}]"],
            "extraEnv[0].value is a secret",
        ),
        (
            &[&valid, "extraEnv=[{\"name\":\"PARTNER_CENTER_REFRESH_TOKEN\",\"value\":\"s\"}]"],
            "extraEnv[0].value is a secret",
        ),
        (
            &[&valid, "extraEnv=[{\"name\":\"https_proxy\",\"value\":\"http://u:p@proxy:1\"}]"],
            "extraEnv[0].value is a secret",
        ),
        (
            &[&valid, "extraEnv=[{\"name\":\"STATE_DIRECTORY\",\"value\":\"/x\"}]"],
            "extraEnv[0] sets STATE_DIRECTORY",
        ),
        (
            &[&valid, "extraEnv=[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"A\",\"value\":\"2\"}]"],
            "extraEnv[1] sets A, which the chart or an entry before it sets",
        ),
        (
            &[
                &valid,
                "workloadIdentity={\"enabled\":true}",
                "extraEnv=[{\"name\":\"AZURE_FEDERATED_TOKEN_FILE\",\"value\":\"/x\"}]",
            ],
            "extraEnv[0] sets AZURE_FEDERATED_TOKEN_FILE",
        ),
        (
            &[&valid, "extraArgs=[\"--log.level=debug\",\"--web.telemetry-path=/m\"]"],
            "extraArgs[1] sets --web.telemetry-path, on which the chart relies",
        ),
        (&[&valid, "extraArgs=[\"--config.file\"]"], "extraArgs[0] sets --config.file"),
        (&[&valid, "webConfig={\"tls\":true}"], "webConfig.tls needs webConfig.existingSecret"),
        (
            &[&valid, "persistence={\"enabled\":false,\"existingClaim\":\"a\"}"],
            "persistence.existingClaim needs persistence.enabled",
        ),
        (
            &[&valid, "kind=\"Deployment\"", "replicas=2", "persistence={\"enabled\":false}"],
            "kind Deployment needs persistence.existingClaim",
        ),
        (&[&valid, "service={\"port\":80}"], "service.port needs service.clusterIP \"\""),
        (
            &[&valid, "serviceMonitor={\"enabled\":true}", "podMonitor={\"enabled\":true}"],
            "would scrape each pod twice",
        ),
        (
            &[&valid, "podDisruptionBudget={\"enabled\":true,\"maxUnavailable\":\"\"}"],
            "podDisruptionBudget needs minAvailable or maxUnavailable",
        ),
        (&[&valid, "kind=\"Deployment\""], "kind Deployment needs persistence.existingClaim"),
        (&[&valid, "sharding={\"totalShards\":2}"], "sharding.totalShards needs persistence.existingClaim"),
        (
            &[
                &valid,
                "sharding={\"totalShards\":2}",
                "kind=\"Deployment\"",
                "persistence={\"existingClaim\":\"a\"}",
            ],
            "sharding.totalShards needs kind StatefulSet",
        ),
    ] {
        refused(&set(values), said);
    }
    let name = ["--name-template", "1st", "--set-json", &valid];
    refused(&name, "\"1st-partner-license-exporter\" cannot be the name of a Service");
}

/// Values that the chart could render, with which a pod, the API server or the operator would fail.
fn what_would_fail_later_is_refused() {
    let valid = r#"config={"accounts":[{"tenant_id":"a","client_id":"b"}]}"#;
    for (values, said) in [
        (&["extraArgs=[\"--version\"]"][..], "extraArgs[0] is --version, with which the program ends"),
        (&["extraVolumes=[{\"name\":\"state\"}]"], "extraVolumes has the name state, which the chart"),
        (
            &["existingSecrets=[\"a\"]", "extraVolumes=[{\"name\":\"secret-0\"}]"],
            "extraVolumes has the name secret-0",
        ),
        (
            &["persistence={\"existingClaim\":\"a\"}", "extraVolumes=[{\"name\":\"b\"},{\"name\":\"b\"}]"],
            "extraVolumes has the name b, which the chart or an entry before it has",
        ),
        (
            &["extraVolumeMounts=[{\"name\":\"b\",\"mountPath\":\"/etc/partner-license-exporter/\"}]"],
            "extraVolumeMounts has the mountPath /etc/partner-license-exporter, which the chart",
        ),
        (
            &["serviceMonitor={\"enabled\":true,\"scrapeTimeout\":\"1m1ms\"}"],
            "serviceMonitor.scrapeTimeout is longer than its interval",
        ),
        (
            &["podMonitor={\"enabled\":true,\"interval\":\"1h\",\"scrapeTimeout\":\"1d\"}"],
            "podMonitor.scrapeTimeout is longer than its interval",
        ),
    ] {
        refused(&set(&[&[valid], values].concat()), said);
    }
}

/// The flags that set these values.
fn set<'a>(values: &[&'a str]) -> Vec<&'a str> {
    values.iter().flat_map(|value| ["--set-json", value]).collect()
}

/// Expects that helm refuses the release whose values these are.
fn refused(arguments: &[&str], expected: &str) {
    let arguments = [&["template", CHART, "--name-template", "release"], arguments].concat();
    let (succeeded, _, said) = run_helm(&arguments);
    assert!(!succeeded && said.contains(expected), "{arguments:?} lacks {expected:?}: {said}");
}

// === the objects ===

fn objects_are_valid() {
    let directory = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for values in features() {
        let file = directory.path().join(values.file_name().unwrap());
        fs::write(&file, template(Path::new(CHART), &values, &[])).unwrap();
        files.push(file);
    }
    let (is_valid, said) = kubernetes_takes(&files);
    assert!(is_valid, "{said}");
    assert!(said.matches("passed for resource").count() > 4 * files.len(), "{said}");
    for (name, from, to) in [
        ("default", "containerPort: 10365", "containerPort: ten"),
        ("default", "serviceName:", "serviceNames:"),
        ("network-policy", "policyTypes:", "types:"),
    ] {
        let text = template(Path::new(CHART), &feature(name), &[]);
        assert!(text.contains(from), "{from}");
        let file = directory.path().join("faulty.yaml");
        fs::write(&file, text.replace(from, to)).unwrap();
        assert!(!kubernetes_takes(&[file]).0, "{to} is not found in {name}");
    }
}

/// Whether the schema of Kubernetes takes the objects in these files, and what its validator says.
fn kubernetes_takes(files: &[PathBuf]) -> (bool, String) {
    let output = Command::new(python())
        .args(["-m", "kubernetes_validate", "--kubernetes-version=1.35.0", "--strict", "--no-warn"])
        .args(files)
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn operator_objects_are_valid() {
    let rendered: Vec<Objects> = features().iter().map(|values| Objects::of(values)).collect();
    let is_operators = |object: &&Value| object["apiVersion"] == "monitoring.coreos.com/v1";
    let objects: Vec<&Value> = rendered.iter().flat_map(|it| &it.0).filter(is_operators).collect();
    let kinds: BTreeSet<&str> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, BTreeSet::from(["PodMonitor", "PrometheusRule", "ServiceMonitor"]));
    let valid = |objects: &[&Value]| {
        let mut node = Command::new("node")
            .arg(root().join("tools/chart/validate.mjs"))
            .arg(models())
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        node.stdin.take().unwrap().write_all(json!(objects).to_string().as_bytes()).unwrap();
        let output = node.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(valid(&objects), (true, String::new()));
    for object in &objects {
        let endpoints =
            ["endpoints", "podMetricsEndpoints"].map(|name| object["spec"][name][0]["honorLabels"].clone());
        let is_rule = object["kind"] == "PrometheusRule";
        assert!(is_rule || endpoints.contains(&json!(true)), "labels are not honoured: {object:#}");
    }
    for (kind, pointer, fault) in [
        ("ServiceMonitor", "/spec/endpoints/0/interval", json!("often")),
        ("PodMonitor", "/spec/podMetricsEndpoints/0/honorLabels", json!("yes")),
        ("PrometheusRule", "/spec/groups/0/rules/0/expr", json!(["up"])),
    ] {
        let object = objects.iter().find(|object| object["kind"] == kind).unwrap();
        let mut faulty = Value::clone(object);
        *faulty.pointer_mut(pointer).unwrap() = fault;
        assert!(!valid(&[&faulty]).0, "{pointer} of {kind} may be anything");
    }
}

fn selectors_match() {
    for values in features() {
        let objects = Objects::of(&values);
        let pods: Vec<_> =
            objects.workloads().into_iter().map(|it| texts(it, "/spec/template/metadata/labels")).collect();
        let selects = |selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>| {
            selector.iter().all(|(name, value)| labels.get(name) == Some(value))
        };
        let test_pod = texts(objects.only("Pod"), "/metadata/labels");
        let service = texts(objects.only("Service"), "/metadata/labels");
        for (kind, pointer) in [
            ("Service", "/spec/selector"),
            ("NetworkPolicy", "/spec/podSelector/matchLabels"),
            ("PodDisruptionBudget", "/spec/selector/matchLabels"),
            ("PodMonitor", "/spec/selector/matchLabels"),
            ("ServiceMonitor", "/spec/selector/matchLabels"),
        ] {
            for object in objects.of_kind(kind) {
                let selector = texts(object, pointer);
                assert!(
                    pods.iter().all(|labels| selects(&selector, labels)),
                    "{kind} of {}",
                    values.display()
                );
                assert!(selects(&selector, &service), "{kind} of {}", values.display());
                assert!(!selects(&selector, &test_pod), "{kind} of {} selects the test", values.display());
            }
        }
        let selectors: Vec<_> =
            objects.workloads().into_iter().map(|it| texts(it, "/spec/selector/matchLabels")).collect();
        for (n, selector) in selectors.iter().enumerate() {
            let owned: Vec<usize> = (0..pods.len()).filter(|pod| selects(selector, &pods[*pod])).collect();
            assert_eq!(owned, [n], "workloads of {} share pods", values.display());
            // What cannot change must not follow the version.
            let claims = objects.workloads()[n]["spec"]["volumeClaimTemplates"].clone();
            assert!(!claims.to_string().contains(env!("CARGO_PKG_VERSION")), "{claims}");
            assert!(
                !selector.contains_key("helm.sh/chart")
                    && !selector.contains_key("app.kubernetes.io/version")
            );
        }
    }
}

// === what the program takes ===

fn program_takes_arguments() {
    let certificate = fs::read_to_string(root().join("tests/fixtures/client-certificates/rsa.pem")).unwrap();
    let mut sharded = Vec::new();
    for values in features() {
        let objects = Objects::of(&values);
        for workload in objects.workloads() {
            let pods = usize::try_from(workload["spec"]["replicas"].as_u64().unwrap()).unwrap();
            for ordinal in 0..pods {
                let secret = |path: &str| match path.rsplit_once('/').unwrap().1 {
                    "ca.pem" => certificate.split_once("-----END PRIVATE KEY-----\n").unwrap().1.to_owned(),
                    "contoso.pem" => certificate.clone(),
                    _ => "a-secret".to_owned(),
                };
                let pod = Pod::of(&objects, workload, ordinal, secret);
                let output = program(&["--config.check"])
                    .args(&pod.arguments)
                    .envs(pod.environment.clone())
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
                assert!(
                    output.status.success() && said.contains(": valid, "),
                    "{}: {said}",
                    values.display()
                );
                assert_eq!(pod.root.path().join("var/lib/partner-license-exporter").to_str(), state_of(&pod));
                let shards = pod.arguments.iter().filter(|it| it.contains("shard")).cloned();
                sharded.extend(Some(shards.collect::<Vec<_>>().join(" ")).filter(|flags| !flags.is_empty()));
            }
        }
    }
    let expected: Vec<_> = (0..6).map(|n| format!("--shard={} --total-shards=3", n % 3)).collect();
    assert_eq!(sharded, expected, "two replicas of three shards");
}

fn state_of(pod: &Pod) -> Option<&str> {
    pod.environment.iter().find(|(name, _)| name == "STATE_DIRECTORY").map(|(_, path)| path.as_str())
}

fn labels_are_merged() {
    let objects = Objects::of(&feature("names"));
    let team = |object: &Value, pointer: &str| texts(object, pointer)["example.com/team"].clone();
    for (kind, expected) in [
        ("StatefulSet", "common"),
        ("Service", "service"),
        ("ServiceMonitor", "monitor"),
        ("PrometheusRule", "rule"),
    ] {
        assert_eq!(team(objects.only(kind), "/metadata/labels"), expected, "{kind}");
    }
    let workload = objects.only("StatefulSet");
    let pod = texts(workload, "/spec/template/metadata/labels");
    let taken = ["app.kubernetes.io/name", "app.kubernetes.io/instance", "example.com/team"];
    let name = yaml(feature("names"))["nameOverride"].clone();
    assert_eq!(taken.map(|label| &*pod[label]), [name.as_str().unwrap(), "release", "pod"]);
    let test = texts(objects.only("Pod"), "/metadata/labels");
    let longest = pod.values().chain(test.values()).map(String::len).max();
    assert_eq!(longest, Some(63), "the most that Kubernetes takes");
}

/// A pod that runs on a simulator.
struct RunningPod {
    objects: Objects,
    pod: Pod,
    address: String,
    _process: Process,
    _simulator: Simulator,
}

impl RunningPod {
    fn container(&self) -> &Value {
        &self.objects.only("StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    }
}

/// Starts the pod of a feature, with credentials in this Secret.
fn running(name: &str, secret: &str) -> RunningPod {
    let simulator = Simulator::start("");
    let secrets = format!("/var/run/secrets/partner-license-exporter/{secret}");
    let config = json!({ "accounts": [{
        "tenant_id": TENANT, "client_id": partner_center_simulator::CLIENT_ID, "cloud": "custom",
        "client_secret_file": format!("{secrets}/secret"), "refresh_token_file": format!("{secrets}/token"),
        "api_base_url": simulator.url, "login_base_url": simulator.url,
    }] });
    let values = ["--set-json", &format!("config={config}")];
    let objects = Objects::parse(&template(Path::new(CHART), &feature(name), &values));
    let pod =
        Pod::of(&objects, objects.only("StatefulSet"), 0, |path| match path.rsplit_once('/').unwrap().1 {
            "secret" => partner_center_simulator::CLIENT_SECRET.to_owned(),
            _ => partner_center_simulator::REFRESH_TOKEN.to_owned(),
        });
    let mut command = program(&["--web.listen-address=127.0.0.1:0"]);
    let process = Process::start(command.args(&pod.arguments).envs(pod.environment.clone()));
    let address = listening_on(&process.stderr);
    RunningPod { objects, pod, address, _process: process, _simulator: simulator }
}

fn pod_runs() {
    let running = running("default", "contoso");
    let (pod, container) = (&running.pod, running.container());
    let url = format!("http://{}", running.address);
    eventually("rows", || {
        get(&format!("{url}/metrics")).contains("\npartner_license_usage_percent{").then_some(())
    });
    for probe in ["livenessProbe", "readinessProbe"] {
        get(&format!("{url}{}", container[probe]["httpGet"]["path"].as_str().unwrap()));
        assert_eq!(container[probe]["httpGet"]["port"], "metrics");
    }
    let test = running.objects.only("Pod");
    let arguments = &test["spec"]["containers"][0]["args"];
    let service = running.objects.only("Service");
    let (name, port) = (service["metadata"]["name"].as_str().unwrap(), &service["spec"]["ports"][0]["port"]);
    assert_eq!(arguments[1], format!("--web.listen-address={name}:{port}"));
    assert_eq!(pod.health_check(arguments, &running.address), (0, String::new(), String::new()));
    assert_eq!(pod.health_check(arguments, "127.0.0.1:1").0, 1);
    // Where the probes, the Service and the monitors look for it.
    let (_, help, _) = run_program(&["serve", "--help"]);
    assert!(help.contains("[default: :10365]"), "{help}");
    let port = named(&container["ports"], "metrics").unwrap();
    assert_eq!(port["containerPort"], 10365);
    let token = pod.root.path().join("var/lib/partner-license-exporter");
    assert!(fs::read_dir(token).unwrap().count() > 0, "the state is in the volume");
}

fn pod_with_passwords_runs() {
    let running = running("names", "12");
    let address = format!("http://{}/-/ready", running.address);
    let status = agent().get(&address).call().unwrap().status();
    assert_eq!(status, 401, "the kubelet would be refused");
    let container = running.container();
    for probe in ["livenessProbe", "readinessProbe"] {
        let command = container[probe]["exec"]["command"].as_array().unwrap();
        assert_eq!(command[0], "partner-license-exporter");
        let answer = running.pod.health_check(&json!(command[1..]), &running.address);
        assert_eq!(answer, (0, String::new(), String::new()), "{probe}");
    }
    let arguments = &running.objects.only("Pod")["spec"]["containers"][0]["args"];
    let answer = running.pod.health_check(arguments, &running.address);
    assert_eq!(answer, (0, String::new(), String::new()), "the pod of helm test");
}

fn notes_have_valid_commands() {
    let mut found = 0;
    for values in features() {
        let values = values.to_str().unwrap();
        let (succeeded, printed, said) =
            run_helm(&["install", "release", CHART, "--dry-run=client", "--values", values]);
        assert!(succeeded, "{said}");
        let (_, notes) = printed.split_once("\nNOTES:\n").unwrap();
        let objects = Objects::of(Path::new(values));
        for line in notes.lines() {
            let Some((kubectl, rest)) = line.split_once(" -- partner-license-exporter ") else { continue };
            let arguments: Vec<String> =
                rest.split(' ').map(|word| word.trim_matches('\'').to_owned()).collect();
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(["--help"]).collect();
            let (code, _, said) = run_program(&arguments);
            assert_eq!(code, 0, "{line}: {said}");
            let target = kubectl.rsplit(' ').next().unwrap();
            let (kind, name) = target.split_once('/').unwrap();
            let exists = |object: &Value| {
                object["metadata"]["name"] == name && object["kind"].as_str().unwrap().to_lowercase() == kind
            };
            assert!(objects.0.iter().any(exists), "there is no {target}: {line}");
            found += 1;
        }
        assert!(notes.contains("login"), "{notes}");
    }
    assert!(found >= 2 * features().len(), "only {found} commands");
}

fn notes_fit_the_values() {
    let notes = |values: &[&str]| {
        let arguments = [&["install", "release", CHART, "--dry-run=client"], &*set(values)].concat();
        let (succeeded, printed, said) = run_helm(&arguments);
        assert!(succeeded, "{said}");
        printed.split_once("\nNOTES:\n").unwrap().1.to_owned()
    };
    let several = "config={\"accounts\":[{\"name\":\"it's\",\"tenant_id\":\"a\",\"client_id\":\"b\"},\
                   {\"name\":\"b\",\"tenant_id\":\"c\",\"client_id\":\"d\"}]}";
    let said = notes(&[several, "webConfig={\"existingSecret\":\"web\",\"tls\":true}"]);
    assert!(said.contains(r"--account 'it'\''s'") && said.contains("https://127.0.0.1:10365/"), "{said}");
    assert!(!said.contains("--account NAME"), "{said}");
    let said = notes(&["existingConfigSecret=\"accounts\""]);
    assert!(said.contains("--account NAME") && said.contains(" http://127.0.0.1:10365/"), "{said}");
}

fn parent_chart_decides() {
    let directory = tempfile::tempdir().unwrap();
    let name = "partner-license-exporter";
    let chart = format!(
        "{{ apiVersion: v2, name: parent, version: 1.0.0, dependencies: [{{ name: {name}, version: {}, \
         condition: {name}.enabled }}] }}",
        env!("CARGO_PKG_VERSION"),
    );
    fs::write(directory.path().join("Chart.yaml"), chart).unwrap();
    fs::create_dir(directory.path().join("charts")).unwrap();
    std::os::unix::fs::symlink(root().join(CHART), directory.path().join("charts").join(name)).unwrap();
    let values = directory.path().join("values.yaml");
    for (enabled, workloads) in [(true, 1), (false, 0)] {
        fs::write(&values, format!("{name}: {{ enabled: {enabled}, existingConfigMap: accounts }}\n"))
            .unwrap();
        let objects = Objects::parse(&template(directory.path(), &values, &[]));
        assert_eq!(objects.workloads().len(), workloads, "enabled: {enabled}");
    }
}

// === files of the repository ===

fn files_are_those_of_the_repository() {
    // A packaged chart has files in the place of links.
    let directory = tempfile::tempdir().unwrap();
    let (succeeded, _, said) =
        run_helm(&["package", CHART, "--destination", directory.path().to_str().unwrap()]);
    assert!(succeeded, "{said}");
    let archive =
        directory.path().join(format!("partner-license-exporter-{}.tgz", env!("CARGO_PKG_VERSION")));
    for values in [feature("prometheus-rule"), feature("dashboards")] {
        assert!(
            template(&archive, &values, &[]) == template(Path::new(CHART), &values, &[]),
            "{}",
            values.display()
        );
    }

    let objects = Objects::of(&feature("dashboards"));
    let maps: BTreeMap<String, String> = objects
        .of_kind("ConfigMap")
        .into_iter()
        .filter(|map| map["metadata"]["labels"]["grafana_dashboard"] == "1")
        .flat_map(|map| {
            assert!(map.to_string().len() < LIMIT, "{} is too large", map["metadata"]["name"]);
            texts(map, "/data")
        })
        .collect();
    let dashboards: BTreeMap<String, String> = fs::read_dir(root().join("dashboards"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .map(|path| {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap())
        })
        .collect();
    assert!(maps == dashboards, "{:?} differ from {:?}", maps.keys(), dashboards.keys());

    let exported = directory.path().join("exported");
    let links = ["--grafana-url=https://grafana.example/", "--runbook-url=https://wiki.example/runbooks"];
    let output = ["--output", exported.to_str().unwrap()];
    let (code, _, said) = run_program(&[&["export", "alerts"][..], &output, &links].concat());
    assert_eq!(code, 0, "{said}");
    let objects = Objects::of(&feature("prometheus-rule"));
    let groups = objects.only("PrometheusRule")["spec"]["groups"].as_array().unwrap();
    let (own, shipped) = groups.split_last().unwrap();
    assert_eq!(own["rules"][0]["alert"], "LicenceRowsGone");
    assert_eq!(json!(shipped), yaml(exported.join("partner-license.rules.yml"))["groups"]);
    let file = directory.path().join("rules.yml");
    fs::write(&file, json!({ "groups": groups }).to_string()).unwrap();
    for suite in SUITES {
        let said = run_tool(suite, "promtool", &["check", "rules", file.to_str().unwrap()], "");
        assert!(said.contains("SUCCESS"), "{said}");
    }
}

fn network_policy_is_narrow() {
    let objects = Objects::of(&feature("network-policy"));
    let policy = objects.only("NetworkPolicy");
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    let rules = policy["spec"]["egress"].as_array().unwrap();
    let ports = |rule: &Value| {
        let ports = rule["ports"].as_array().unwrap().iter();
        ports
            .map(|it| (it["port"].as_u64().unwrap(), it["protocol"].as_str().unwrap().to_owned()))
            .collect::<Vec<_>>()
    };
    let expected = [
        [53, 5353]
            .into_iter()
            .flat_map(|port| [(port, "UDP".to_owned()), (port, "TCP".to_owned())])
            .collect(),
        vec![(443, "TCP".to_owned())],
        vec![(3128, "TCP".to_owned())],
    ];
    assert_eq!(rules.iter().map(ports).collect::<Vec<_>>(), expected);
    for block in rules[1]["to"].as_array().unwrap() {
        let except = block["ipBlock"]["except"].to_string();
        assert!(["10.0.0.0/8", "fc00::/7"].iter().any(|private| except.contains(private)), "{block}");
    }
    let [ingress] = &policy["spec"]["ingress"].as_array().unwrap()[..] else { panic!("{policy:#}") };
    assert_eq!(ingress["ports"], json!([{ "port": "metrics", "protocol": "TCP" }]));
    let [_, test] = &ingress["from"].as_array().unwrap()[..] else { panic!("{ingress:#}") };
    let selected = texts(test, "/podSelector/matchLabels");
    let labels = texts(objects.only("Pod"), "/metadata/labels");
    assert!(selected.iter().all(|(name, value)| labels.get(name) == Some(value)), "{selected:?}");
}
