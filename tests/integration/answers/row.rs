//! A row of the tables, and the facts about an account that it expects.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// A response, and its expected effects.
pub(crate) struct Row {
    /// A description of the response, which is also the name of the account.
    pub(crate) name: &'static str,
    /// The keys of the simulator's scenario for the account's tenant, in YAML.
    pub(crate) scenario: String,
    /// The account's collections, in YAML.
    pub(crate) collections: &'static str,
    /// What is expected of the first poll of each collection, of which the last one is the row's subject.
    pub(crate) polls: Vec<Poll>,
    traffic: Counts,
    mfa_compliant: Option<bool>,
    lifetime: u64,
    stored: Option<bool>,
    refused_later: bool,
}

/// The expected effects of the first poll of a collection.
pub(crate) struct Poll {
    pub(crate) collection: &'static str,
    outcome: Outcome,
    /// The endpoint whose ids the log has after a failure.
    pub(crate) answered_by: &'static str,
    /// How many requests to that endpoint follow.
    pub(crate) then: usize,
    rejected: Counts,
    /// Whether the log has a line about the dropped rows.
    pub(crate) tells_dropped: bool,
    delay: Option<RangeInclusive<u64>>,
    warnings: Vec<String>,
    needs_person: Option<bool>,
}

enum Outcome {
    Good(Yield),
    Failed { reason: &'static str, text: String },
}

/// What a good poll yields: a number of rows, and series with their values.
pub(crate) struct Yield {
    rows: usize,
    series: Facts,
}

/// Service, workload, channel, percentage, and the time of processing in seconds since 1970.
pub(crate) type Usage = (&'static str, &'static str, &'static str, f64, i64);

/// Usage with its active and qualified licences, which the successor has.
pub(crate) type Counted = (Usage, u64, u64);

/// Service, channel, percentage, the licences sold, those deployed, which only the successor has, and the time of
/// processing in seconds since 1970.
pub(crate) type Deployed = (&'static str, &'static str, f64, Option<u64>, Option<u64>, f64);

/// A customer with its published rows.
#[derive(Clone, Copy, Default)]
pub(crate) struct Customer {
    pub(crate) id: &'static str,
    pub(crate) name: Option<&'static str>,
    /// Service, workload, channel, active and qualified licences, and the time of processing in seconds since 1970.
    pub(crate) usage: &'static [(&'static str, &'static str, &'static str, u64, u64, i64)],
    /// Service, channel, and licences deployed and sold.
    pub(crate) deployment: &'static [(&'static str, &'static str, u64, u64)],
}

/// Everything that is observed of an account, by name.
pub(crate) type Facts = BTreeMap<String, String>;

/// The numbers of occurrences, by name.
pub(crate) type Counts = BTreeMap<String, u64>;

/// The poll interval of the program under test, in seconds.
pub(crate) const POLL_INTERVAL: u64 = 3600;

/// The reasons of failures that usually only a person can fix.
const NEEDS_PERSON: [&str; 4] = ["consent", "credentials", "mfa", "forbidden"];

impl Yield {
    /// Adds a series.
    pub(crate) fn and(mut self, series: String, value: i64) -> Self {
        self.series.insert(series, value.to_string());
        self
    }
}

/// Returns a row whose poll succeeds and yields `usage`.
pub(crate) fn good(name: &'static str, scenario: impl Into<String>, usage: &[Usage]) -> Row {
    Row::new(name, scenario.into(), Outcome::Good(of_usage(usage)))
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

/// Returns what a good poll of the old source of usage yields.
fn of_usage(usage: &[Usage]) -> Yield {
    let mut series = of_source("usage", "licenses");
    for usage in usage {
        series.extend(series_of_usage(usage));
    }
    Yield { rows: usage.len(), series }
}

/// Returns what a good poll of the successor of usage yields.
pub(crate) fn of_successor(usage: &[Counted]) -> Yield {
    let mut facts = of_source("usage", "commercial");
    for (usage, active, qualified) in usage {
        facts.extend(series_of_usage(usage));
        let (service, workload, channel, ..) = *usage;
        let labels = [("channel", channel), ("service", service), ("workload", workload)];
        for (name, count) in [("active", active), ("qualified", qualified)] {
            facts
                .insert(series(&format!("partner_license_usage_{name}_licenses"), labels), count.to_string());
        }
    }
    Yield { rows: usage.len(), series: facts }
}

/// Returns what a good poll of the deployment collection yields.
pub(crate) fn of_deployment(rows: &[Deployed]) -> Yield {
    let mut facts = Facts::new();
    for &(service, channel, percent, sold, deployed, processed) in rows {
        let labels = [("channel", channel), ("service", service)];
        let mut add = |name: &str, value: Option<String>| {
            let name = series(&format!("partner_license_deployment_{name}"), labels);
            facts.extend(value.map(|value| (name, value)));
        };
        add("percent", Some(percent.to_string()));
        add("sold_licenses", sold.map(|count| count.to_string()));
        add("deployed_licenses", deployed.map(|count| count.to_string()));
        add("processed_timestamp_seconds", Some(processed.to_string()));
    }
    Yield { rows: rows.len(), series: facts }
}

/// Returns what a good poll of the customers collection yields, which has the customers of the rows and `others`, and
/// withholds the rows of these.
pub(crate) fn of_customers(published: &[Customer], withheld: usize, others: usize) -> Yield {
    let of_customer = |name: &str| format!("partner_license_customer_{name}");
    let (mut facts, mut rows, mut oldest) = (Facts::new(), 0, BTreeMap::new());
    for customer in published {
        let id = ("customer", customer.id);
        let info = [id, ("customer_name", customer.name.unwrap_or_default())];
        facts.extend(customer.name.map(|_| (series(&of_customer("info"), info), "1".into())));
        for &(service, workload, channel, active, qualified, processed) in customer.usage {
            let labels = [("channel", channel), id, ("service", service), ("workload", workload)];
            let mut add = |name: &str, value: u64| {
                facts.insert(series(&of_customer(name), labels), value.to_string());
            };
            add("active_licenses", active);
            add("qualified_licenses", qualified);
            if qualified >= 25 {
                add("threshold_percent", 40);
            }
            let oldest = oldest.entry(service).or_insert(processed);
            *oldest = processed.min(*oldest);
            rows += 1;
        }
        for &(service, channel, deployed, sold) in customer.deployment {
            let labels = [("channel", channel), id, ("service", service)];
            facts.insert(series(&of_customer("deployed_licenses"), labels), deployed.to_string());
            facts.insert(series(&of_customer("sold_licenses"), labels), sold.to_string());
        }
    }
    for (service, oldest) in oldest {
        facts.insert(
            series(&of_customer("processed_timestamp_seconds"), [("service", service)]),
            oldest.to_string(),
        );
    }
    facts.insert("partner_license_customers".into(), (published.len() + others).to_string());
    for (state, count) in [("published", rows), ("withheld", withheld)] {
        facts.insert(series(&of_customer("rows"), [("state", state)]), count.to_string());
    }
    Yield { rows: rows + withheld, series: facts }
}

fn of_source(collection: &str, source: &str) -> Facts {
    Facts::from([(
        series(&format!("partner_license_{collection}_source_info"), [("source", source)]),
        "1".into(),
    )])
}

fn series_of_usage(&(service, workload, channel, percent, processed): &Usage) -> Facts {
    let labels = [("channel", channel), ("service", service), ("workload", workload)];
    let of_row =
        |name: &str, value: String| (series(&format!("partner_license_usage_{name}"), labels), value);
    Facts::from([
        of_row("percent", percent.to_string()),
        of_row("processed_timestamp_seconds", processed.to_string()),
        of_row("threshold_percent", "40".into()),
    ])
}

impl Row {
    fn new(name: &'static str, scenario: String, outcome: Outcome) -> Self {
        let traffic = counts("token 200: 1, usage 200: 1");
        Self {
            name,
            scenario,
            collections: "usage: { source: licenses }",
            polls: vec![Poll::new("usage", outcome)],
            traffic,
            mfa_compliant: Some(true),
            lifetime: 3600,
            stored: None,
            refused_later: false,
        }
    }

    /// Sets the account's collections, in YAML. The default is usage from the old source.
    pub(crate) fn collections(self, collections: &'static str) -> Self {
        Self { collections, ..self }
    }

    /// Adds a collection whose poll succeeds with this yield; it becomes the subject of the row.
    pub(crate) fn and_good(mut self, collection: &'static str, found: Yield) -> Self {
        self.polls.push(Poll::new(collection, Outcome::Good(found)));
        self
    }

    /// Adds a collection whose poll fails, see [`failed`]; it becomes the subject of the row.
    pub(crate) fn and_failed(
        mut self,
        collection: &'static str,
        reason: &'static str,
        text: impl Into<String>,
    ) -> Self {
        self.polls.push(Poll::new(collection, Outcome::Failed { reason, text: text.into() }));
        self
    }

    /// Replaces what a good poll of the subject yields.
    pub(crate) fn yields(self, found: Yield) -> Self {
        self.subject(|poll| poll.outcome = Outcome::Good(found))
    }

    fn subject(mut self, change: impl FnOnce(&mut Poll)) -> Self {
        change(self.polls.last_mut().expect("a row has a subject"));
        self
    }

    /// Sets the numbers of requests by endpoint and code, and of retries and throttled requests by endpoint. The
    /// default is one successful request to each of the sign-in service and the API.
    pub(crate) fn traffic(self, traffic: &str) -> Self {
        Self { traffic: counts(traffic), ..self }
    }

    /// Sets the numbers of dropped rows, by reason. The default is none.
    pub(crate) fn rejected(self, rejected: &str) -> Self {
        self.subject(|poll| poll.rejected = counts(rejected))
    }

    /// Sets the numbers of rows of a second source that was not used, by reason. The log tells them with its failure.
    pub(crate) fn rejected_by_second_source(self, rejected: &str) -> Self {
        self.rejected(rejected).subject(|poll| poll.tells_dropped = false)
    }

    /// Sets the endpoint that gave the last answer before a failure. The default is the old source of the collection.
    pub(crate) fn answered_by(self, endpoint: &'static str) -> Self {
        self.subject(|poll| poll.answered_by = endpoint)
    }

    /// Sets how many requests to the endpoint follow the answer whose ids the log has. The default is none.
    pub(crate) fn then_requests(self, count: usize) -> Self {
        self.subject(|poll| poll.then = count)
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
        self.subject(|poll| poll.delay = Some(seconds))
    }

    /// Sets whether only a person can fix the failure. The default depends on its reason.
    pub(crate) fn needs_person(self, only: bool) -> Self {
        self.subject(|poll| poll.needs_person = Some(only))
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

    /// Adds a warning that is logged before the line about the poll.
    pub(crate) fn warning(self, warning: impl Into<String>) -> Self {
        let warning = warning.into();
        self.subject(|poll| poll.warnings.push(warning))
    }

    /// Returns what is expected of the account after its first polls.
    pub(crate) fn facts(&self) -> Facts {
        let mut facts = Facts::new();
        for poll in &self.polls {
            poll.add_facts(&mut facts);
        }
        self.add_traffic(&mut |name: &str, value: String| drop(facts.insert(name.to_owned(), value)));
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
        let is_answer = |what: &String| {
            what.split_once(' ')
                .is_some_and(|(endpoint, code)| endpoint != "token" && code.parse::<u16>().is_ok())
        };
        let signed_in = totals.keys().any(|endpoint| endpoint != "token");
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

    /// Returns the expected lifetime of the access token, in seconds.
    pub(crate) fn token_lifetime(&self) -> RangeInclusive<u64> {
        self.lifetime..=self.lifetime
    }
}

impl Poll {
    fn new(collection: &'static str, outcome: Outcome) -> Self {
        Self {
            collection,
            outcome,
            answered_by: collection,
            then: 0,
            rejected: Counts::new(),
            tells_dropped: true,
            delay: None,
            warnings: Vec::new(),
            needs_person: None,
        }
    }

    /// Returns whether the poll succeeds without a row.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(&self.outcome, Outcome::Good(Yield { rows: 0, .. }))
    }

    /// Returns the series that a good poll yields, or the reason and the text of a failure.
    pub(crate) fn expected(&self) -> Result<&Facts, (&'static str, &str)> {
        match &self.outcome {
            Outcome::Good(found) => Ok(&found.series),
            Outcome::Failed { reason, text } => Err((reason, text)),
        }
    }

    /// Returns the numbers of dropped rows, by reason.
    pub(crate) fn rejected(&self) -> &Counts {
        &self.rejected
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

    /// Returns whether only a person can fix the failure, which is then logged as an error and polled again only after
    /// the regular interval.
    fn only_person_can_fix(&self, reason: &str) -> bool {
        self.needs_person.unwrap_or_else(|| NEEDS_PERSON.contains(&reason))
    }

    fn add_facts(&self, facts: &mut Facts) {
        let collection = ("collection", self.collection);
        let of_polls = |name: &str| series(&format!("partner_license_{name}"), [collection]);
        let mut add = |name: String, value: String| drop(facts.insert(name, value));
        let mut log: Vec<_> = self.warnings.iter().map(|warning| format!("WARN {warning}")).collect();
        add(of_polls("scrapes_total"), "1".into());
        add(of_polls("poll_interval_seconds"), POLL_INTERVAL.to_string());
        for name in ["scrape_duration", "last_scrape_timestamp", "next_scrape_timestamp"] {
            add(of_polls(&format!("{name}_seconds")), PRESENT.into());
        }
        match &self.outcome {
            Outcome::Good(Yield { rows, series }) => {
                add(of_polls("up"), "1".into());
                add(of_polls("last_success_timestamp_seconds"), PRESENT.into());
                add(of_polls("rows"), rows.to_string());
                for (name, value) in series {
                    add(name.clone(), value.clone());
                }
                if self.is_empty() {
                    log.push(format!("WARN {NO_ROWS}"));
                }
                if !self.rejected.is_empty() && self.tells_dropped {
                    log.push("WARN Rows of the collection were dropped".into());
                }
            }
            Outcome::Failed { reason, text } => {
                add(of_polls("up"), "0".into());
                let labels = [collection, ("reason", *reason)];
                add(series("partner_license_scrape_failures_total", labels), "1".into());
                let level = if self.only_person_can_fix(reason) { "ERROR" } else { "WARN" };
                log.push(format!("{level} {reason}: {text}"));
                if text.contains("the API") {
                    let answered = if text.starts_with("the API answered") { ALL_IDS } else { OWN_IDS };
                    add(format!("ids in the log of {}", self.collection), answered.join(", "));
                }
            }
        }
        if !log.is_empty() {
            add(format!("log of {}", self.collection), log.join("; "));
        }
        for (reason, count) in &self.rejected {
            let labels = [collection, ("reason", reason.as_str())];
            add(series("partner_license_rows_rejected_total", labels), count.to_string());
        }
        add(format!("next poll of {}", self.collection), format!("in {:?} s", self.pause()));
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
}

/// The warning about a collection without rows.
pub(crate) const NO_ROWS: &str = "The collection has no rows";

/// Stands for a value that differs from run to run.
pub(crate) const PRESENT: &str = "present";

/// The ids of a request.
pub(crate) const OWN_IDS: &[&str] = &["MS-RequestId", "MS-CorrelationId"];
/// The ids of a request and of its response.
pub(crate) const ALL_IDS: &[&str] = &["MS-RequestId", "MS-CorrelationId", "MS-CV", "MS-ServerId"];

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
