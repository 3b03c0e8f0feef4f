//! How a row of the table is written, and which facts about an account it stands for.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::RangeInclusive;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};

/// An answer, and what has to come of it.
pub(crate) struct Row {
    /// What the answer is like. It is the account's name as well.
    pub(crate) name: &'static str,
    /// What the simulator is told about the account's tenant: keys of a scenario, in YAML.
    pub(crate) scenario: String,
    outcome: Outcome,
    rejected: Counts,
    wire: Counts,
    mfa_compliant: Option<bool>,
    asked: Option<RangeInclusive<u64>>,
    lifetime: u64,
    stored: Option<bool>,
    warning: Option<&'static str>,
    for_a_person: Option<bool>,
}

enum Outcome {
    Good(Vec<Usage>),
    Failed { reason: &'static str, text: String },
}

/// Service, workload, channel, percentage, and when it was processed in seconds since 1970.
pub(crate) type Usage = (&'static str, &'static str, &'static str, f64, i64);

/// Everything that is known of an account, each as a name and a value.
pub(crate) type Facts = BTreeMap<String, String>;

/// What occurred, and how often.
pub(crate) type Counts = BTreeMap<String, u64>;

/// How often the program under test polls, in seconds.
pub(crate) const POLL_INTERVAL: u64 = 3600;

/// Reasons that only a person can mend, as a rule.
const FOR_A_PERSON: [&str; 4] = ["consent", "credentials", "mfa", "forbidden"];

/// A row whose poll succeeds and brings `usage`.
pub(crate) fn good(name: &'static str, scenario: impl Into<String>, usage: &[Usage]) -> Row {
    Row::new(name, scenario.into(), Outcome::Good(usage.to_vec()))
}

/// A row whose poll fails for `reason`. The log says `text`, which is only how it begins if it ends in a colon.
pub(crate) fn failed(
    name: &'static str,
    scenario: impl Into<String>,
    reason: &'static str,
    text: impl Into<String>,
) -> Row {
    Row::new(name, scenario.into(), Outcome::Failed { reason, text: text.into() })
}

/// A row whose poll fails because the answer of 200 cannot be used, for `what`.
pub(crate) fn unusable(name: &'static str, scenario: impl Into<String>, what: &str) -> Row {
    failed(name, scenario, "payload", format!("the API answered 200 OK: {what}"))
}

impl Row {
    fn new(name: &'static str, scenario: String, outcome: Outcome) -> Self {
        let wire = counts("token 200: 1, usage 200: 1");
        Self {
            name,
            scenario,
            outcome,
            rejected: Counts::new(),
            wire,
            mfa_compliant: Some(true),
            asked: None,
            lifetime: 3600,
            stored: None,
            warning: None,
            for_a_person: None,
        }
    }

    /// Requests by endpoint and code, retries and throttled ones by endpoint; one sign-in and one good answer of
    /// the API unless this says otherwise.
    pub(crate) fn wire(self, wire: &str) -> Self {
        Self { wire: counts(wire), ..self }
    }

    /// Rows that were dropped, by reason; none unless this says otherwise.
    pub(crate) fn rejected(self, rejected: &str) -> Self {
        Self { rejected: counts(rejected), ..self }
    }

    /// What is known about multi-factor authentication; the simulator's answers say that all is well.
    pub(crate) fn mfa_compliant(self, mfa_compliant: Option<bool>) -> Self {
        Self { mfa_compliant, ..self }
    }

    /// The next poll comes so many seconds later, plus up to a tenth; not as after any such poll.
    pub(crate) fn asked(self, seconds: u64) -> Self {
        self.asked_between(seconds..=seconds)
    }

    /// Likewise.
    pub(crate) fn asked_between(self, seconds: RangeInclusive<u64>) -> Self {
        Self { asked: Some(seconds), ..self }
    }

    /// Whether only a person can mend it, where the reason says otherwise.
    pub(crate) fn for_a_person(self, only: bool) -> Self {
        Self { for_a_person: Some(only), ..self }
    }

    /// Whether such polls are repeated rarely, and logged as errors.
    fn is_for_a_person(&self, reason: &str) -> bool {
        self.for_a_person.unwrap_or_else(|| FOR_A_PERSON.contains(&reason))
    }

    /// The access token is held to live for so many seconds; an hour unless this says otherwise.
    pub(crate) fn lifetime(self, seconds: u64) -> Self {
        Self { lifetime: seconds, ..self }
    }

    /// Whether a new refresh token was stored; it is where an access token came along.
    pub(crate) fn stored(self, stored: bool) -> Self {
        Self { stored: Some(stored), ..self }
    }

    /// A warning besides the line about the poll.
    pub(crate) fn warning(self, warning: &'static str) -> Self {
        Self { warning: Some(warning), ..self }
    }

    /// The beginning that the text of the log line is compared with, where not the whole text is.
    pub(crate) fn beginning(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Failed { text, .. } => {
                (text.ends_with(':') || text.ends_with(" column")).then_some(text)
            }
            Outcome::Good(_) => None,
        }
    }

    /// What has to be known of the account after its first poll.
    pub(crate) fn facts(&self) -> Facts {
        let mut facts = Facts::new();
        let mut add = |name: &str, value: String| drop(facts.insert(name.to_owned(), value));
        let mut log: Vec<_> = self.warning.iter().map(|warning| format!("WARN {warning}")).collect();
        add("partner_license_scrapes_total", "1".into());
        add("partner_license_poll_interval_seconds", POLL_INTERVAL.to_string());
        for name in ["scrape_duration", "last_scrape_timestamp", "next_scrape_timestamp"] {
            add(&format!("partner_license_{name}_seconds"), PRESENT.into());
        }
        match &self.outcome {
            Outcome::Good(usage) => {
                add("partner_license_up", "1".into());
                add("partner_license_last_success_timestamp_seconds", PRESENT.into());
                add("partner_license_usage_rows", usage.len().to_string());
                for (service, workload, channel, percent, processed) in usage {
                    let labels = [("channel", *channel), ("service", *service), ("workload", *workload)];
                    let mut of_row = |name: &str, value| add(&series(name, labels), value);
                    of_row("partner_license_usage_percent", percent.to_string());
                    of_row("partner_license_usage_processed_timestamp_seconds", processed.to_string());
                    of_row("partner_license_usage_threshold_percent", "40".into());
                }
                if !self.rejected.is_empty() {
                    log.push("WARN Rows of the collection were dropped".into());
                }
            }
            Outcome::Failed { reason, text } => {
                add("partner_license_up", "0".into());
                let series = series("partner_license_scrape_failures_total", [("reason", *reason)]);
                add(&series, "1".into());
                let level = if self.is_for_a_person(reason) { "ERROR" } else { "WARN" };
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
            let series = series("partner_license_usage_rows_rejected_total", [("reason", reason.as_str())]);
            add(&series, count.to_string());
        }
        self.add_traffic(&mut add);
        add("next poll", format!("in {:?} s", self.pause()));
        facts
    }

    fn add_traffic(&self, add: &mut impl FnMut(&str, String)) {
        let mut totals = Counts::new();
        for (what, count) in &self.wire {
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
        add("the simulator saw", listing(&seen(&self.wire)));
        let is_answer =
            |what: &String| what.strip_prefix("usage ").is_some_and(|code| code.parse::<u16>().is_ok());
        let signed_in = totals.contains_key("usage");
        if signed_in {
            add("partner_license_access_token_expiry_timestamp_seconds", PRESENT.into());
            add("access token", format!("lives {:?} s", self.token_lifetime()));
        }
        if self.stored.unwrap_or(signed_in) {
            for name in ["issued", "expiry"] {
                add(&format!("partner_license_refresh_token_{name}_timestamp_seconds"), PRESENT.into());
            }
        }
        if let Some(compliant) = self.mfa_compliant.filter(|_| self.wire.keys().any(is_answer)) {
            add("partner_license_mfa_compliant", u8::from(compliant).to_string());
        }
    }

    /// How long the pause after the poll may be, in seconds.
    pub(crate) fn pause(&self) -> RangeInclusive<u64> {
        let regular = POLL_INTERVAL * 95 / 100..=POLL_INTERVAL * 105 / 100;
        match (&self.outcome, &self.asked) {
            (_, Some(asked)) => *asked.start()..=asked.end() + asked.end() / 10,
            (Outcome::Good(_), _) => regular,
            (Outcome::Failed { reason, .. }, _) if self.is_for_a_person(reason) => regular,
            (Outcome::Failed { reason: "throttled", .. }, _) => 30..=33,
            (Outcome::Failed { .. }, _) => 15..=30,
        }
    }

    /// How long the access token is held to live, in seconds.
    pub(crate) fn token_lifetime(&self) -> RangeInclusive<u64> {
        self.lifetime..=self.lifetime
    }
}

/// In the place of a value that is different each time.
pub(crate) const PRESENT: &str = "present";

/// The ids of a request, and with them those of an answer.
pub(crate) const OWN_IDS: &[&str] = &["MS-RequestId", "MS-CorrelationId"];
pub(crate) const ALL_IDS: &[&str] = &["MS-RequestId", "MS-CorrelationId", "MS-CV", "MS-ServerId"];

/// A series, as a fact is named.
pub(crate) fn series<'a>(name: &str, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let labels: Vec<_> = labels.into_iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}

/// What a server can see of `wire`: all requests, and its own statuses. One that came to nothing was a 200 there.
fn seen(wire: &Counts) -> Counts {
    let mut seen = Counts::new();
    for (what, count) in wire {
        if !what.ends_with("retries") && !what.ends_with("throttled") {
            *seen.entry(what.replace("error", "200")).or_default() += count;
        }
    }
    seen
}

/// Reads `a: 1, b: 2`.
fn counts(text: &str) -> Counts {
    let count = |part: &str| {
        let (what, count) = part.split_once(": ").expect("a count");
        (what.to_owned(), count.parse().expect("a number"))
    };
    text.split(", ").map(count).collect()
}

/// Writes it.
pub(crate) fn listing(counts: &Counts) -> String {
    let parts: Vec<_> = counts.iter().map(|(what, count)| format!("{what}: {count}")).collect();
    parts.join(", ")
}

// === bodies ===

/// 2026-11-20 00:00:00 UTC, when all of `item` was processed.
pub(crate) const DAY: i64 = 1_795_132_800;

/// An item of a collection: Exchange at 50 %, except for `changes`, which are raw JSON by field; an empty one
/// leaves the field out.
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

/// What becomes of `item`.
pub(crate) const fn exchange(percent: f64) -> Usage {
    ("o365", "Exchange", "reseller", percent, DAY)
}

/// A collection as the API writes it.
pub(crate) fn collection<S: AsRef<str>>(items: &[S]) -> String {
    let (count, items) = (items.len(), items.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(","));
    format!(
        "\u{feff}{{\"totalCount\":{count},\"items\":[{items}],\"attributes\":{{\"objectType\":\"Collection\"}}}}"
    )
}

/// The scenario in which the API answers with `body`.
pub(crate) fn usage_body(body: &str) -> String {
    format!("usage: {{ body: {} }}", quoted(body))
}

/// The scenario in which the API answers with a collection of `items`.
pub(crate) fn usage_items<S: AsRef<str>>(items: &[S]) -> String {
    usage_body(&collection(items))
}

/// The scenario in which the API answers with bytes that are no text.
pub(crate) fn usage_bytes(bytes: &[u8]) -> String {
    format!("usage: {{ body_base64: {} }}", base64(bytes))
}

/// The scenario in which the API answers with a body that is too large for a scenario, in gzip.
pub(crate) fn usage_gzip(body: &str) -> String {
    format!("usage: {{ {} }}", gzip_body(body))
}

/// Such a body.
pub(crate) fn gzip_body(body: &str) -> String {
    format!("headers: {{ content-encoding: gzip }}, body_base64: {}", base64(&gzip(body.as_bytes())))
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Text as YAML quotes it: as JSON does, without the control characters that JSON lets pass.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    for c in serde_json::Value::from(text).to_string().chars() {
        if c.is_control() { quoted += &format!("\\u{:04x}", u32::from(c)) } else { quoted.push(c) }
    }
    quoted
}
