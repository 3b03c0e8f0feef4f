//! A row of the tables, and the facts about an account that it expects.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::RangeInclusive;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};

/// A response, and its expected effects.
pub(crate) struct Row {
    /// A description of the response, which is also the name of the account.
    pub(crate) name: &'static str,
    /// The keys of the simulator's scenario for the account's tenant, in YAML.
    pub(crate) scenario: String,
    outcome: Outcome,
    rejected: Counts,
    traffic: Counts,
    mfa_compliant: Option<bool>,
    delay: Option<RangeInclusive<u64>>,
    lifetime: u64,
    stored: Option<bool>,
    warning: Option<&'static str>,
    refused_later: bool,
    needs_person: Option<bool>,
}

enum Outcome {
    Good(Vec<Usage>),
    Failed { reason: &'static str, text: String },
}

/// Service, workload, channel, percentage, and the time of processing in seconds since 1970.
pub(crate) type Usage = (&'static str, &'static str, &'static str, f64, i64);

/// Everything that is observed of an account, by name.
pub(crate) type Facts = BTreeMap<String, String>;

/// The numbers of occurrences, by name.
pub(crate) type Counts = BTreeMap<String, u64>;

/// The poll interval of the program under test, in seconds.
pub(crate) const POLL_INTERVAL: u64 = 3600;

/// The label of series about polls of the usage collection.
const USAGE: (&str, &str) = ("collection", "usage");

/// The reasons of failures that usually only a person can fix.
const NEEDS_PERSON: [&str; 4] = ["consent", "credentials", "mfa", "forbidden"];

/// Returns a row whose poll succeeds and yields `usage`.
pub(crate) fn good(name: &'static str, scenario: impl Into<String>, usage: &[Usage]) -> Row {
    Row::new(name, scenario.into(), Outcome::Good(usage.to_vec()))
}

/// Returns a row whose poll fails for `reason` with the error `text` in the log. If `text` ends in a colon, it is only
/// the beginning of the error.
pub(crate) fn failed(
    name: &'static str,
    scenario: impl Into<String>,
    reason: &'static str,
    text: impl Into<String>,
) -> Row {
    Row::new(name, scenario.into(), Outcome::Failed { reason, text: text.into() })
}

/// Returns a row whose poll fails because the response with status 200 cannot be used, for the reason `what`.
pub(crate) fn unusable(name: &'static str, scenario: impl Into<String>, what: &str) -> Row {
    failed(name, scenario, "payload", format!("the API answered 200 OK: {what}"))
}

impl Row {
    fn new(name: &'static str, scenario: String, outcome: Outcome) -> Self {
        let traffic = counts("token 200: 1, usage 200: 1");
        Self {
            name,
            scenario,
            outcome,
            rejected: Counts::new(),
            traffic,
            mfa_compliant: Some(true),
            delay: None,
            lifetime: 3600,
            stored: None,
            warning: None,
            refused_later: false,
            needs_person: None,
        }
    }

    /// Sets the numbers of requests by endpoint and code, and of retries and throttled requests by endpoint. The
    /// default is one successful request to each of the sign-in service and the API.
    pub(crate) fn traffic(self, traffic: &str) -> Self {
        Self { traffic: counts(traffic), ..self }
    }

    /// Sets the numbers of dropped rows, by reason. The default is none.
    pub(crate) fn rejected(self, rejected: &str) -> Self {
        Self { rejected: counts(rejected), ..self }
    }

    /// Sets what the exporter knows about multi-factor authentication. By default the simulator reports compliance.
    pub(crate) fn mfa_compliant(self, mfa_compliant: Option<bool>) -> Self {
        Self { mfa_compliant, ..self }
    }

    /// Sets the time until the next poll, in seconds, to which up to a tenth is added. The default depends on the
    /// outcome of the poll.
    pub(crate) fn delay(self, seconds: u64) -> Self {
        self.delay_between(seconds..=seconds)
    }

    /// Sets the time until the next poll to a range, as [`Self::delay`] does.
    pub(crate) fn delay_between(self, seconds: RangeInclusive<u64>) -> Self {
        Self { delay: Some(seconds), ..self }
    }

    /// Sets whether only a person can fix the failure. The default depends on its reason.
    pub(crate) fn needs_person(self, only: bool) -> Self {
        Self { needs_person: Some(only), ..self }
    }

    /// Returns whether only a person can fix the failure, which is then logged as an error and polled again only after
    /// the regular interval.
    fn only_person_can_fix(&self, reason: &str) -> bool {
        self.needs_person.unwrap_or_else(|| NEEDS_PERSON.contains(&reason))
    }

    /// Sets the lifetime of the access token as the exporter records it, in seconds. The default is an hour.
    pub(crate) fn lifetime(self, seconds: u64) -> Self {
        Self { lifetime: seconds, ..self }
    }

    /// Sets whether a new refresh token is stored. The default is that it is stored if an access token was issued.
    pub(crate) fn stored(self, stored: bool) -> Self {
        Self { stored: Some(stored), ..self }
    }

    /// Expects no expiry of the refresh token, since the sign-in service refused it after it was stored.
    pub(crate) fn refused_later(self) -> Self {
        Self { refused_later: true, ..self }
    }

    /// Returns whether the poll succeeds without a row.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(&self.outcome, Outcome::Good(usage) if usage.is_empty())
    }

    /// Sets a warning that is logged besides the line about the poll.
    pub(crate) fn warning(self, warning: &'static str) -> Self {
        Self { warning: Some(warning), ..self }
    }

    /// Returns the expected beginning of the logged error, unless the whole text is compared.
    pub(crate) fn beginning(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Failed { text, .. } => {
                (text.ends_with(':') || text.ends_with(" column")).then_some(text)
            }
            Outcome::Good(_) => None,
        }
    }

    /// Returns what is expected of the account after its first poll.
    pub(crate) fn facts(&self) -> Facts {
        let mut facts = Facts::new();
        let mut add = |name: &str, value: String| drop(facts.insert(name.to_owned(), value));
        let mut log: Vec<_> = self.warning.iter().map(|warning| format!("WARN {warning}")).collect();
        add(&of_usage("scrapes_total"), "1".into());
        add(&of_usage("poll_interval_seconds"), POLL_INTERVAL.to_string());
        for name in ["scrape_duration", "last_scrape_timestamp", "next_scrape_timestamp"] {
            add(&of_usage(&format!("{name}_seconds")), PRESENT.into());
        }
        match &self.outcome {
            Outcome::Good(usage) => {
                add(&of_usage("up"), "1".into());
                add(&of_usage("last_success_timestamp_seconds"), PRESENT.into());
                add(&of_usage("rows"), usage.len().to_string());
                add(&series("partner_license_usage_source_info", [("source", "licenses")]), "1".into());
                for (service, workload, channel, percent, processed) in usage {
                    let labels = [("channel", *channel), ("service", *service), ("workload", *workload)];
                    let mut of_row = |name: &str, value| add(&series(name, labels), value);
                    of_row("partner_license_usage_percent", percent.to_string());
                    of_row("partner_license_usage_processed_timestamp_seconds", processed.to_string());
                    of_row("partner_license_usage_threshold_percent", "40".into());
                }
                if self.is_empty() {
                    log.push(format!("WARN {NO_ROWS}"));
                }
                if !self.rejected.is_empty() {
                    log.push("WARN Rows of the collection were dropped".into());
                }
            }
            Outcome::Failed { reason, text } => {
                add(&of_usage("up"), "0".into());
                let labels = [USAGE, ("reason", *reason)];
                add(&series("partner_license_scrape_failures_total", labels), "1".into());
                let level = if self.only_person_can_fix(reason) { "ERROR" } else { "WARN" };
                log.push(format!("{level} {reason}: {text}"));
                if text.contains("the API") {
                    let answered = if text.starts_with("the API answered") { ALL_IDS } else { OWN_IDS };
                    add("ids in the log", answered.join(", "));
                }
            }
        }
        if !log.is_empty() {
            add("log", log.join("; "));
        }
        for (reason, count) in &self.rejected {
            let labels = [USAGE, ("reason", reason.as_str())];
            add(&series("partner_license_rows_rejected_total", labels), count.to_string());
        }
        self.add_traffic(&mut add);
        add("next poll", format!("in {:?} s", self.pause()));
        facts
    }

    fn add_traffic(&self, add: &mut impl FnMut(&str, String)) {
        let mut totals = Counts::new();
        for (what, count) in &self.traffic {
            let (endpoint, what) = what.split_once(' ').expect("endpoint and code");
            let of_endpoint = |name: &str| series(name, [("endpoint", endpoint)]);
            let series = match what {
                "retries" => of_endpoint("partner_license_api_retries_total"),
                "throttled" => of_endpoint("partner_license_api_throttled_total"),
                code => {
                    *totals.entry(endpoint.to_owned()).or_default() += count;
                    series("partner_license_api_requests_total", [("code", code), ("endpoint", endpoint)])
                }
            };
            add(&series, count.to_string());
        }
        for (endpoint, total) in &totals {
            let name = "partner_license_api_request_duration_seconds_count";
            add(&series(name, [("endpoint", endpoint.as_str())]), total.to_string());
        }
        add("the simulator saw", listing(&seen(&self.traffic)));
        let is_answer =
            |what: &String| what.strip_prefix("usage ").is_some_and(|code| code.parse::<u16>().is_ok());
        let signed_in = totals.contains_key("usage");
        if signed_in {
            add("partner_license_access_token_expiry_timestamp_seconds", PRESENT.into());
            add("access token", format!("lives {:?} s", self.token_lifetime()));
        }
        if self.stored.unwrap_or(signed_in) {
            let names = if self.refused_later { &["issued"][..] } else { &["issued", "expiry"] };
            for name in names {
                add(&format!("partner_license_refresh_token_{name}_timestamp_seconds"), PRESENT.into());
            }
        }
        if let Some(compliant) = self.mfa_compliant.filter(|_| self.traffic.keys().any(is_answer)) {
            add("partner_license_mfa_compliant", u8::from(compliant).to_string());
        }
    }

    /// Returns the expected pause after the poll, in seconds.
    pub(crate) fn pause(&self) -> RangeInclusive<u64> {
        let regular = POLL_INTERVAL * 95 / 100..=POLL_INTERVAL * 105 / 100;
        match (&self.outcome, &self.delay) {
            (_, Some(delay)) => *delay.start()..=delay.end() + delay.end() / 10,
            (Outcome::Good(_), _) => regular,
            (Outcome::Failed { reason, .. }, _) if self.only_person_can_fix(reason) => regular,
            (Outcome::Failed { reason: "throttled", .. }, _) => 30..=33,
            (Outcome::Failed { .. }, _) => 15..=30,
        }
    }

    /// Returns the expected lifetime of the access token, in seconds.
    pub(crate) fn token_lifetime(&self) -> RangeInclusive<u64> {
        self.lifetime..=self.lifetime
    }
}

/// The warning about a collection without rows.
pub(crate) const NO_ROWS: &str = "The collection has no rows";

/// Stands for a value that differs from run to run.
pub(crate) const PRESENT: &str = "present";

/// The ids of a request.
pub(crate) const OWN_IDS: &[&str] = &["MS-RequestId", "MS-CorrelationId"];
/// The ids of a request and of its response.
pub(crate) const ALL_IDS: &[&str] = &["MS-RequestId", "MS-CorrelationId", "MS-CV", "MS-ServerId"];

/// Returns a series about polls of the usage collection that has no other labels.
fn of_usage(name: &str) -> String {
    series(&format!("partner_license_{name}"), [USAGE])
}

/// Returns the name of the fact about a series.
pub(crate) fn series<'a>(name: &str, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let labels: Vec<_> = labels.into_iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}

/// Returns the part of `traffic` that a server sees: all requests with its own statuses. A request whose response was
/// lost has status 200 there.
fn seen(traffic: &Counts) -> Counts {
    let mut seen = Counts::new();
    for (what, count) in traffic {
        if !what.ends_with("retries") && !what.ends_with("throttled") {
            *seen.entry(what.replace("error", "200")).or_default() += count;
        }
    }
    seen
}

/// Parses counts such as `a: 1, b: 2`.
fn counts(text: &str) -> Counts {
    let count = |part: &str| {
        let (what, count) = part.split_once(": ").expect("a count");
        (what.to_owned(), count.parse().expect("a number"))
    };
    text.split(", ").map(count).collect()
}

/// Formats counts as [`counts`] parses them.
pub(crate) fn listing(counts: &Counts) -> String {
    let parts: Vec<_> = counts.iter().map(|(what, count)| format!("{what}: {count}")).collect();
    parts.join(", ")
}

// === bodies ===

/// 2026-11-20 00:00:00 UTC, the time of processing of every [`item`].
pub(crate) const DAY: i64 = 1_795_132_800;

/// Returns an item of a collection: Exchange at 50 %, except for `changes`, which are raw JSON by field. An empty
/// change leaves the field out.
pub(crate) fn item(changes: &[(&str, &str)]) -> String {
    let usual = [
        ("proratedLicensesUsagePercent", "50.0"),
        ("workloadName", r#""Exchange""#),
        ("processedDateTime", r#""2026-11-20T00:00:00+00:00""#),
        ("serviceName", r#""o365""#),
        ("channel", r#""reseller""#),
    ];
    let fields = usual.map(|(name, value)| {
        let change = changes.iter().find(|(changed, _)| name.starts_with(changed));
        (name, change.map_or(value, |(_, value)| value))
    });
    let fields = fields.iter().filter(|(_, value)| !value.is_empty());
    let fields: Vec<_> = fields.map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
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
