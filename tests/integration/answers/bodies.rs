//! The bodies of responses, and the scenarios in which the simulator answers with them.

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};

use super::row::{Counted, Usage};

/// The member of an item with its percentage.
pub(crate) const PERCENT: &str = "proratedLicensesUsagePercent";
/// The member of a row with the time at which it was processed.
pub(crate) const PROCESSED: &str = "processedDateTime";

/// 2026-11-20 00:00:00 UTC, the time of processing of every [`item`].
pub(crate) const DAY: i64 = 1_795_132_800;

/// Returns an item of a collection: Exchange at 50 %, except for `changes`, which are raw JSON by field. An empty
/// change leaves the field out.
pub(crate) fn item(changes: &[(&str, &str)]) -> String {
    let usual = [
        (PERCENT, "50.0"),
        ("workloadName", r#""Exchange""#),
        (PROCESSED, r#""2026-11-20T00:00:00+00:00""#),
        ("serviceName", r#""o365""#),
        ("channel", r#""reseller""#),
    ];
    object(&usual, changes)
}

/// Returns a JSON object with the usual members, some of which are changed, left out or added.
fn object(usual: &[(&str, &str)], changes: &[(&str, &str)]) -> String {
    let changed = |name: &str| changes.iter().find(|(changed, _)| *changed == name).map(|(_, value)| *value);
    let members = usual.iter().map(|&(name, value)| (name, changed(name).unwrap_or(value)));
    let is_new = |(name, _): &&(&str, &str)| !usual.iter().any(|(usual, _)| usual == name);
    let members =
        members.chain(changes.iter().filter(is_new).copied()).filter(|(_, value)| !value.is_empty());
    let members: Vec<_> = members.map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

/// Returns the usage that an [`item`] with this percentage yields.
pub(crate) const fn exchange(percent: f64) -> Usage {
    ("o365", "Exchange", "reseller", percent, DAY)
}

/// Returns a collection as the API writes it.
pub(crate) fn collection<S: AsRef<str>>(items: &[S]) -> String {
    let (count, items) = (items.len(), items.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(","));
    format!(
        "\u{feff}{{\"totalCount\":{count},\"items\":[{items}],\"attributes\":{{\"objectType\":\"Collection\"}}}}"
    )
}

/// Returns the scenario in which the API answers with `body`.
pub(crate) fn usage_body(body: &str) -> String {
    format!("usage: {{ body: {} }}", quoted(body))
}

/// Returns the scenario in which the API answers with a collection of `items`.
pub(crate) fn usage_items<S: AsRef<str>>(items: &[S]) -> String {
    usage_body(&collection(items))
}

/// Returns the scenario in which the API answers with bytes that need not be text.
pub(crate) fn usage_bytes(bytes: &[u8]) -> String {
    format!("usage: {{ body_base64: {} }}", base64(bytes))
}

/// Returns the scenario in which the API answers with `body` in gzip, for bodies that are too large for a scenario.
pub(crate) fn usage_gzip(body: &str) -> String {
    format!("usage: {{ {} }}", gzip_body(body))
}

/// Returns the key of a scenario for such a body.
pub(crate) fn gzip_body(body: &str) -> String {
    format!("headers: {{ content-encoding: gzip }}, body_base64: {}", base64(&gzip(body.as_bytes())))
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("writes to memory succeed");
    encoder.finish().expect("writes to memory succeed")
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Quotes text for YAML: as JSON does, and with escapes for the control characters that JSON does not escape.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    for c in serde_json::Value::from(text).to_string().chars() {
        if c.is_control() { quoted += &format!("\\u{:04x}", u32::from(c)) } else { quoted.push(c) }
    }
    quoted
}

// === the successor ===

/// The members of the envelope besides its rows, if all rows are on the page.
pub(crate) fn whole(rows: usize) -> String {
    format!(r#""@nextLink":null,"TotalCount":{rows}"#)
}

/// Returns a row of the successor: 40 of 80 licences of a customer are active in Exchange, except for `changes`, which
/// are raw JSON by member. An empty change leaves the member out, and other members are added.
pub(crate) fn licenses(changes: &[(&str, &str)]) -> String {
    let usual = [
        (PROCESSED, r#""2026-11-20T00:00:00""#),
        ("workloadCode", r#""EXO""#),
        ("workloadName", r#""Exchange""#),
        ("serviceCode", r#""o365""#),
        ("serviceName", r#""Microsoft Office 365""#),
        ("channel", r#""reseller""#),
        ("customerTenantId", r#""0112A436-B14E-4888-967B-CA4BB2CF1234""#),
        ("customerName", r#""TEST COMPANY""#),
        ("productId", r#""6FD2C87F-B296-42F0-B197-1E91E994B900""#),
        ("productName", r#""OFFICE 365 ENTERPRISE E3""#),
        ("licensesActive", "40"),
        ("licensesQualified", "80"),
    ];
    object(&usual, changes)
}

/// Returns a row of the successor of deployment: 90 of 120 licences of a customer are deployed, except for `changes`, as
/// in [`licenses`].
pub(crate) fn deployed(changes: &[(&str, &str)]) -> String {
    let usual = [
        (PROCESSED, r#""2026-11-20T00:00:00""#),
        ("serviceCode", r#""o365""#),
        ("serviceName", r#""Microsoft Office 365""#),
        ("channel", r#""reseller""#),
        ("customerTenantId", r#""0112A436-B14E-4888-967B-CA4BB2CF1234""#),
        ("customerName", r#""TEST COMPANY""#),
        ("productId", r#""D3B4FE1F-9992-4930-8ACB-CA6EC609365E""#),
        ("productName", r#""OFFICE 365 ENTERPRISE E3""#),
        ("licensesDeployed", "90"),
        ("licensesSold", "120"),
    ];
    object(&usual, changes)
}

/// Returns the usage that [`licenses`] yields with these numbers.
pub(crate) const fn exchange_of(active: u64, qualified: u64, percent: f64) -> Counted {
    (exchange(percent), active, qualified)
}

/// Returns the page of the successor with these rows and other members.
pub(crate) fn envelope<S: AsRef<str>>(rows: &[S], rest: &str) -> String {
    let rows = rows.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(",");
    format!("\u{feff}{{\"Value\":[{rows}],{rest}}}")
}

/// Returns the scenario in which an endpoint answers with `body`.
pub(crate) fn body_of(endpoint: &str, body: &str) -> String {
    format!("{endpoint}: {{ body: {} }}", quoted(body))
}

/// Returns the scenario in which the successor of usage answers with all of these rows on one page.
pub(crate) fn successor_rows<S: AsRef<str>>(rows: &[S]) -> String {
    body_of("commercial_usage", &envelope(rows, &whole(rows.len())))
}
