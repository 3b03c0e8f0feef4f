//! A real Prometheus on a directory of blocks, and a client for its API.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::real::{prometheus, run_prometheus};
use crate::support::{self, Process};

pub(crate) struct Prometheus {
    pub(crate) url: String,
    _process: Process,
}

/// One series of a result: its labels, and its samples as pairs of time and value.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) samples: Vec<(f64, f64)>,
}

impl Series {
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

impl Prometheus {
    /// Starts Prometheus in a directory, on the blocks in `data` if there are any.
    pub(crate) fn start(suite: &str, directory: &Path, config: &str) -> Self {
        Self::run(prometheus(suite, directory, config).arg("--storage.tsdb.retention.time=400d"))
    }

    /// Runs a command that starts Prometheus.
    pub(crate) fn run(command: &mut Command) -> Self {
        let (process, url) = run_prometheus(command);
        Self { url, _process: process }
    }

    /// The syntax tree of a query, from Prometheus' own parser; versions before 3 do not return one.
    pub(crate) fn parse(&self, query: &str) -> Result<Value, String> {
        self.request("parse_query", &[("query", query)])
    }

    pub(crate) fn query(&self, query: &str, at: f64) -> Result<Vec<Series>, String> {
        self.request("query", &[("query", query), ("time", &at.to_string())]).map(|data| series(&data))
    }

    pub(crate) fn query_range(
        &self,
        query: &str,
        (from, to): (f64, f64),
        step: u64,
    ) -> Result<Vec<Series>, String> {
        let (from, to, step) = (from.to_string(), to.to_string(), step.to_string());
        let parameters = [("query", query), ("start", &from), ("end", &to), ("step", &step)];
        self.request("query_range", &parameters).map(|data| series(&data))
    }

    /// The values that a label has in the series that a selector matches within a time range.
    pub(crate) fn label_values(
        &self,
        label: &str,
        selector: &str,
        (from, to): (f64, f64),
    ) -> Result<Vec<String>, String> {
        let (from, to) = (from.to_string(), to.to_string());
        let path = format!("label/{label}/values");
        let data = self.request(&path, &[("match[]", selector), ("start", &from), ("end", &to)])?;
        Ok(serde_json::from_value(data).unwrap())
    }

    /// Whether an alert fires now, by the loaded rules and not by the stored history.
    pub(crate) fn fires(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        let data = self.request("alerts", &[]).unwrap();
        let fires = |alert: &Value| {
            let has = |(label, value): &(&str, &str)| alert["labels"][*label] == **value;
            alert["labels"]["alertname"] == name && labels.iter().all(has) && alert["state"] == "firing"
        };
        data["alerts"].as_array().unwrap().iter().any(fires)
    }

    fn request(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let url = format!("{}/api/v1/{path}", self.url);
        let request = parameters
            .iter()
            .fold(support::agent().get(&url), |request, (name, value)| request.query(*name, *value));
        let mut answer = request.call().unwrap();
        let body = answer.body_mut().read_to_string().unwrap();
        let mut answer: Value = serde_json::from_str(&body).unwrap();
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(answer["error"].as_str().unwrap_or(&body).to_owned()),
        }
    }
}

fn series(data: &Value) -> Vec<Series> {
    let number = |value: &Value| value.as_str().unwrap().parse::<f64>().unwrap();
    let sample = |pair: &Value| (pair[0].as_f64().unwrap(), number(&pair[1]));
    let result = data["result"].as_array().unwrap();
    if data["resultType"] == "scalar" {
        return vec![Series { labels: Vec::new(), samples: vec![sample(&data["result"])] }];
    }
    let one = |series: &Value| Series {
        labels: series["metric"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect(),
        samples: match series["values"].as_array() {
            Some(pairs) => pairs.iter().map(sample).collect(),
            None => vec![sample(&series["value"])],
        },
    };
    result.iter().map(one).collect()
}
