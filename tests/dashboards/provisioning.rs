//! The examples that put the dashboards into a Grafana without clicks.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::model::{Dashboard, files, list, text};

pub(crate) fn files_are_valid() {}
pub(crate) fn config_map_is_complete() {}
pub(crate) fn dashboards_fit() {}
