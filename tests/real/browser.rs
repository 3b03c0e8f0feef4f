//! The status page in a real browser: what it says, that nothing on it does harm, that everybody can read it.
//!
//! The exporter is the real one, on the simulator. Browser and axe-core come from `scripts/fetch-tools --browser`.
//! Where they are missing these tests are reported as ignored, with the reason; with `REQUIRE_TOOLS=1`, as
//! scripts/test sets it, they fail instead. With `PICTURES=docs/images`, as scripts/screenshots sets it, the pictures of
//! the page are written there.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};

use base64::Engine;
use jiff::{SignedDuration, Timestamp};
use libtest_mimic::{Arguments, Conclusion, Trial};
use partner_license_exporter::domain::clock::Clock;
use serde_json::{Value, json};

use crate::support;
use crate::support::browser::{Browser, Screen, Tab};
use crate::support::{Exporter, Process, Simulator, program};

const DESK: Screen = Screen { width: 1100, height: 800, dark: false };
const NIGHT: Screen = Screen { dark: true, ..DESK };
const PHONE: Screen = Screen { width: 360, height: 640, dark: false };
const PHONE_AT_NIGHT: Screen = Screen { dark: true, ..PHONE };
const SCREENS: [(&str, Screen); 4] =
    [("desk", DESK), ("desk at night", NIGHT), ("phone", PHONE), ("phone at night", PHONE_AT_NIGHT)];

type Case = (&'static str, fn(&Stage));

const CASES: [Case; 10] = [
    ("the_summary_counts_accounts_and_rows_and_leads_to_each_account", summary),
    ("an_account_that_works_shows_ages_credentials_and_its_rows_lowest_first", working),
    ("an_account_that_fails_shows_why_and_what_to_do_and_its_last_good_rows", failing),
    ("accounts_without_rows_say_so", without_rows),
    ("hostile_names_are_text_and_harmless_even_without_the_policy", hostile),
    ("the_browser_has_nothing_to_complain_of_and_nothing_to_fetch", quiet),
    ("nothing_is_wider_than_a_phone", narrow),
    ("every_text_has_contrast_and_every_bar_too", contrast),
    ("axe_finds_nothing_on_any_screen", axe),
    ("pictures_are_small", pictures),
];

pub(crate) fn run(arguments: &Arguments) -> Conclusion {
    // They share one browser.
    let arguments = Arguments { test_threads: Some(1), ..arguments.clone() };
    let missing: Vec<PathBuf> = [chromium(), axe_core()].into_iter().filter(|path| !path.exists()).collect();
    for path in &missing {
        eprintln!("not found: {} (scripts/fetch-tools --browser brings it)", path.display());
    }
    let skipped = !missing.is_empty() && std::env::var_os("REQUIRE_TOOLS").is_none();
    let stage = Arc::new(Stage::default());
    let trials = CASES.map(|(name, case)| {
        let stage = Arc::clone(&stage);
        let test = move || {
            case(&stage);
            Ok(())
        };
        Trial::test(name, test).with_ignored_flag(skipped)
    });
    let conclusion = libtest_mimic::run(&arguments, trials.into());
    if skipped {
        eprintln!("The tests in a browser were NOT run: it is missing, see above\n");
    }
    conclusion
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn chromium() -> PathBuf {
    root().join("target/tools/bin/chromium")
}

fn axe_core() -> PathBuf {
    root().join("target/tools/axe/axe.min.js")
}

/// What the tests have in common, started with the first of them.
#[derive(Default)]
struct Stage {
    browser: OnceLock<Mutex<Browser>>,
    site: OnceLock<(Simulator, Exporter)>,
}

impl Stage {
    fn browser(&self) -> MutexGuard<'_, Browser> {
        let browser = self.browser.get_or_init(|| Browser::start(&chromium()).into());
        browser.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn url(&self) -> &str {
        &self.site.get_or_init(site).1.url
    }
}

// === accounts of every kind ===

const HOSTILE_NAME: &str = "<b>Eve</b> \"'&\u{202e}";
/// Each would do something if it were markup: run a script, set an attribute, turn the text around it, or push
/// the page out of shape.
const HOSTILE_WORKLOADS: [&str; 6] = [
    "<script>document.title='harmed'</script>",
    "</th></table><img src=x onerror=\"document.title='harmed'\">",
    "\" onmouseover=\"document.title='harmed'\" x='",
    "\u{202e}egnahcxE\u{2066}",
    "nul \u{0} escape \u{1b}[31m end",
    "&lt;&amp;",
];

fn long_name() -> String {
    "W".repeat(1_024)
}

/// The day so many days ago. It stays the same when the tests run past midnight.
fn day(days: i64) -> String {
    static NOW: LazyLock<Timestamp> = LazyLock::new(|| Clock::system().now());
    (*NOW - SignedDuration::from_hours(24 * days)).strftime("%Y-%m-%d").to_string()
}

fn processed(days: i64) -> String {
    day(days) + "T00:00:00+00:00"
}

fn row(workload: &str, percent: f64) -> Value {
    json!({
        "service": "o365", "workload": workload, "channel": "reseller", "percent": percent, "processed": processed(2),
    })
}

fn with(mut row: Value, key: &str, value: impl Into<Value>) -> Value {
    row[key] = value.into();
    row
}

fn tenant(number: usize) -> String {
    format!("{number:08}-1111-1111-1111-111111111111")
}

/// A simulator and an exporter with an account for each of these tenants.
fn start(tenants: &[(&str, Value)], settings: &str) -> (Simulator, Exporter) {
    let scenarios: Value =
        tenants.iter().enumerate().map(|(n, (_, scenario))| (tenant(n), scenario.clone())).collect();
    let simulator = Simulator::start(&json!({ "tenants": scenarios }).to_string());
    let accounts = tenants.iter().enumerate().map(|(n, (name, _))| {
        let quoted = Value::from(*name).to_string();
        simulator.account(Some(quoted.trim_matches('"')), &tenant(n))
    });
    let config = format!("{settings}accounts:\n{}", accounts.collect::<String>());
    let exporter = Exporter::start(&config, &[]);
    (simulator, exporter)
}

fn site() -> (Simulator, Exporter) {
    let rows = json!([
        row("Exchange", 92.0),
        row("Teams", 58.25),
        row("SharePoint", 31.15),
        with(row("Microsoft Dynamics CRM", 12.0), "service", "crm"),
        with(row("Yammer", 106.8), "processed", processed(5)),
        row("Skype For Business", 0.0),
        row("OneDrive", 1_234_567.5),
        { "service": "o365", "workload": "Without a number", "channel": "reseller", "processed": processed(2) },
    ]);
    let hostile: Vec<Value> = HOSTILE_WORKLOADS
        .iter()
        .map(|name| with(with(row(name, 50.0), "service", *name), "channel", *name))
        .chain([with(with(row(&long_name(), 60.0), "service", long_name()), "channel", "x".repeat(1_024))])
        .collect();
    let (simulator, exporter) = start(
        &[
            ("contoso", json!({ "rows": rows })),
            (
                "fabrikam",
                json!({ "usage": { "answer": "mfa_required", "skip": 1 }, "rows": [row("Exchange", 38.0)] }),
            ),
            ("tailspin", json!({ "token": { "answer": "consent_revoked" } })),
            ("northwind", json!({ "rows": [], "mfa": false })),
            ("woodgrove", json!({ "usage": { "delay": "1h" } })),
            (HOSTILE_NAME, json!({ "rows": hostile })),
        ],
        "poll_interval: 5h 30m\n\
         thresholds: { overrides: [ { service: crm, mute: true }, { workload: Teams, percent: 60.5 } ] }\n",
    );
    let wait = |polls| {
        for account in ["contoso", "fabrikam", "tailspin", "northwind", HOSTILE_NAME] {
            exporter.wait_for_polls(Some(account), polls);
        }
    };
    wait(1.0);
    // fabrikam has its rows; from now on it fails.
    assert_eq!(exporter.reload(), 200);
    wait(2.0);
    (simulator, exporter)
}

/// The section of an account, as an expression.
fn section(account: &str) -> String {
    format!(
        "[...document.querySelectorAll('main > section')].find(section => section.querySelector('h2').textContent === {})",
        Value::from(account)
    )
}

/// What a person sees of an account, with single spaces.
fn seen(tab: &mut Tab<'_>, account: &str) -> String {
    let text = tab.text(&format!("{}.innerText", section(account)));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn list(tab: &mut Tab<'_>, expression: &str) -> Vec<String> {
    serde_json::from_value(tab.evaluate(expression)).unwrap()
}

fn assert_seen(text: &str, expected: &[&str]) {
    for expected in expected {
        assert!(text.contains(expected), "{expected:?} is not in {text:?}");
    }
}

// === what it says ===

fn summary(stage: &Stage) {
    let mut browser = stage.browser();
    let mut tab = browser.open(stage.url(), DESK);
    assert_eq!(tab.text("document.title"), "2 of 6 failing · Partner license exporter");
    let totals = "[...document.querySelectorAll('.totals li')].map(item => item.textContent)";
    let expected = ["2 failing", "1 not polled yet", "3 working", "4 of 15 rows low", "1 muted"];
    assert_eq!(list(&mut tab, totals), expected);
    let accounts = "[...document.querySelectorAll('.accounts li')].map(item => item.textContent)";
    let hostile = format!("{HOSTILE_NAME} working");
    let expected = [
        "fabrikam failing: mfa, 1 low",
        "tailspin failing: consent",
        "woodgrove not polled yet",
        "contoso working, 3 low",
        "northwind working",
        &hostile,
    ];
    assert_eq!(list(&mut tab, accounts), expected);
    // Each link leads to the heading of its own account.
    let leads = "[...document.querySelectorAll('.accounts a')].every(link => \
                 document.getElementById(link.hash.slice(1)).textContent === link.textContent)";
    assert_eq!(tab.evaluate(leads), true);
    let links = "[...document.querySelectorAll('header a')].map(link => link.getAttribute('href'))";
    for path in list(&mut tab, links) {
        let status = support::agent().get(&format!("{}{path}", stage.url())).call().unwrap().status();
        assert!(status == 200 || path == "/-/ready" && status == 503, "{path} answers {status}");
    }
}

fn working(stage: &Stage) {
    let mut browser = stage.browser();
    let mut tab = browser.open(stage.url(), DESK);
    let text = seen(&mut tab, "contoso");
    assert_seen(
        &text,
        &[
            "contoso working since 20",
            "Rows fetched ",
            "Data processed ",
            &format!("{}, oldest {}", day(2), day(5)),
            "Next poll in 5 h ",
            "Refresh token expires in 89 d 23 h",
            "MFA compliant",
            "Dropped from the last good collection: 1 row (1 missing_value).",
            "7 rows, lowest first · 3 low · 1 muted.",
        ],
    );
    let rows = format!(
        "[...{}.querySelectorAll('tbody tr')].map(row => [...row.cells].map(cell => cell.textContent).join(' | '))",
        section("contoso")
    );
    let (recent, older) = (day(2), day(5));
    let expected = [
        format!("Skype For Business | o365 | reseller | 0.00 % low | 40 % | {recent}"),
        format!("Microsoft Dynamics CRM | crm | reseller | 12.00 % | muted | {recent}"),
        format!("SharePoint | o365 | reseller | 31.15 % low | 40 % | {recent}"),
        format!("Teams | o365 | reseller | 58.25 % low | 60.5 % | {recent}"),
        format!("Exchange | o365 | reseller | 92.00 % | 40 % | {recent}"),
        format!("Yammer | o365 | reseller | 106.80 % | 40 % | {older}"),
        format!("OneDrive | o365 | reseller | 1234567.50 % | 40 % | {recent}"),
    ];
    assert_eq!(list(&mut tab, &rows), expected);
    // The bars are as long as the numbers say: 100 % is at four fifths, and none leaves its place.
    let bars = format!(
        "[...{}.querySelectorAll('.bar')].map(bar => {{ \
           const box = bar.getBoundingClientRect(), fill = bar.firstElementChild.getBoundingClientRect(); \
           return (fill.width / box.width * 125).toFixed(0) + (bar.querySelector('.gap') ? ' broken' : ''); }})",
        section("contoso")
    );
    assert_eq!(list(&mut tab, &bars), ["0", "12", "31", "58", "92", "107", "125 broken"]);
    let times = "[...document.querySelectorAll('time')].every(time => \
                 /^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ$/.test(time.dateTime) && !isNaN(new Date(time.dateTime)))";
    assert_eq!(tab.evaluate(times), true);
}

fn failing(stage: &Stage) {
    let mut browser = stage.browser();
    let mut tab = browser.open(stage.url(), DESK);
    assert_seen(
        &seen(&mut tab, "fabrikam"),
        &[
            "fabrikam failing since 20",
            "Reason: mfa · last tried ",
            "UTC What happened: the API answered 401 ",
            "What to do: sign in again with partner-license-exporter login, using multi-factor authentication.",
            "The rows are those of the last good poll. Unless another one succeeds, they vanish in 1 d 23 h",
            "1 row, lowest first · 1 low.",
            "Exchange o365 reseller 38.00 %",
        ],
    );
    assert_seen(
        &seen(&mut tab, "tailspin"),
        &["Reason: consent · 2 times in a row · last tried ", "What to do: ", "Rows fetched never"],
    );
}

fn without_rows(stage: &Stage) {
    let mut browser = stage.browser();
    let mut tab = browser.open(stage.url(), DESK);
    let empty = seen(&mut tab, "northwind");
    assert_seen(
        &empty,
        &[
            "The last good collection was empty: Partner Center sent no rows.",
            "MFA not compliant sign in again",
        ],
    );
    let waiting = seen(&mut tab, "woodgrove");
    assert_seen(&waiting, &["woodgrove not polled yet", "Rows fetched never", "Next poll under way"]);
    let tables = "[...document.querySelectorAll('main > section')].filter(section => section.querySelector('table')).length";
    assert_eq!(tab.evaluate(tables), 3);
}

// === that it does no harm ===

fn hostile(stage: &Stage) {
    let mut browser = stage.browser();
    for policy in [true, false] {
        let mut tab = browser.blank(DESK);
        tab.call("Page.setBypassCSP", &json!({ "enabled": !policy }));
        tab.load(stage.url());
        let expected: Vec<String> =
            HOSTILE_WORKLOADS.map(|name| name.replace(['\0', '\u{1b}'], "\u{fffd}")).into();
        let cells = |cell: usize| {
            format!(
                "[...{}.querySelectorAll('tbody tr')].slice(0, {}).map(row => row.cells[{cell}].textContent).sort()",
                section(HOSTILE_NAME),
                expected.len()
            )
        };
        let mut sorted = expected.clone();
        sorted.sort_by_key(|name| name.encode_utf16().collect::<Vec<_>>());
        for cell in 0..3 {
            assert_eq!(list(&mut tab, &cells(cell)), sorted, "policy: {policy}");
        }
        let strangers = "[...document.body.querySelectorAll('*')].filter(element => \
                         !/^(header|h1|nav|ul|li|a|main|section|h2|p|strong|time|dl|div|dt|dd|small|span|bdi|table|caption|\
                         thead|tbody|tr|th|td|svg|rect|b|code|footer|details|summary)$/.test(element.localName) || \
                         [...element.attributes].some(attribute => /^(on|style)/.test(attribute.name))).length";
        assert_eq!(tab.evaluate(strangers), 0);
        assert_eq!(tab.evaluate("document.title.includes('harmed')"), false);
        assert_eq!(tab.complaints(), [""; 0]);
    }
}

fn quiet(stage: &Stage) {
    let mut browser = stage.browser();
    for (_, screen) in SCREENS {
        let mut tab = browser.open(stage.url(), screen);
        assert_eq!(tab.complaints(), [""; 0]);
        let requests = tab.requests();
        let asked: Vec<&String> = requests.iter().filter(|url| !url.starts_with("data:")).collect();
        assert_eq!(asked, [&format!("{}/", stage.url())]);
    }
    // What is held against complaints above is worth something: the policy forbids, and this would be seen.
    let mut tab = browser.open(stage.url(), DESK);
    tab.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\"><img src=/x><style>p{}</style>')");
    let complaints = tab.complaints();
    for directive in ["style-src", "img-src"] {
        assert!(complaints.iter().any(|complaint| complaint.contains(directive)), "{complaints:?}");
    }
}

// === that everybody can read it ===

fn narrow(stage: &Stage) {
    let mut browser = stage.browser();
    for width in [320, 360, 832, 833, 1100] {
        let mut tab = browser.open(stage.url(), Screen { width, ..PHONE });
        let too_wide = list(
            &mut tab,
            "[...document.querySelectorAll('body *')].filter(element => { \
               const box = element.getBoundingClientRect(); \
               return !element.closest('thead') && (box.right > innerWidth + .5 || box.left < -.5); \
             }).map(element => element.outerHTML.slice(0, 100)).slice(0, 5)",
        );
        assert_eq!(too_wide, [""; 0], "at {width}");
        let widest = tab.evaluate("document.scrollingElement.scrollWidth");
        assert_eq!(widest, width, "the page is {widest} wide");
        // A table whose parts are laid out in another way is one for those who are read to all the same.
        let nodes = tab.accessibility();
        let count = |role: &str| nodes.iter().filter(|node| node.0 == role).count();
        let (tables, rows) = (count("table"), count("row"));
        assert_eq!((tables, count("columnheader"), rows), (3, 18, 15 + tables), "at {width}");
        assert_eq!((count("rowheader"), count("cell")), (15, 75), "at {width}");
        for (role, name) in
            [("heading", "contoso"), ("navigation", "Accounts"), ("rowheader", "Skype For Business")]
        {
            assert!(nodes.contains(&(role.to_owned(), name.to_owned())), "no {role} {name} at {width}");
        }
    }
}

/// Every text against what is behind it, and every bar against its track.
const CONTRAST: &str = r"(() => {
  const parse = text => {
    const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
    return { rgb: [r, g, b], a };
  };
  const luminance = rgb => rgb.map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const ratio = (a, b) => {
    const [light, dark] = [luminance(a), luminance(b)].sort((a, b) => b - a);
    return (light + .05) / (dark + .05);
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.a === 1) return color.rgb;
      if (color.a > 0) throw new Error('half transparent: ' + at.outerHTML);
    }
    throw new Error('nothing is behind ' + element.outerHTML);
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim()) continue;
    const style = getComputedStyle(element);
    found.push({ what: texts.currentNode.data, kind: 'text', ratio: ratio(parse(style.color).rgb, behind(element)) });
    for (const part of ['::before', '::after']) {
      const style = getComputedStyle(element, part);
      if (style.content !== 'none') {
        found.push({ what: part + ' of ' + element.outerHTML, kind: 'text', ratio: ratio(parse(style.color).rgb, behind(element)) });
      }
    }
  }
  for (const bar of document.querySelectorAll('.bar')) {
    const track = parse(getComputedStyle(bar).backgroundImage).rgb;
    for (const part of bar.querySelectorAll('rect:not(.gap)')) {
      const fill = parse(getComputedStyle(part).fill).rgb;
      found.push({ what: 'bar ' + bar.closest('tr').className, kind: 'bar', ratio: Math.min(ratio(fill, track), ratio(fill, behind(bar))) });
    }
  }
  return found;
})()";

fn contrast(stage: &Stage) {
    let mut browser = stage.browser();
    for (name, screen) in SCREENS {
        let mut tab = browser.open(stage.url(), screen);
        let found = tab.evaluate(CONTRAST);
        for (kind, least, many) in [("text", 4.5, 100), ("bar", 3.0, 20)] {
            let found: Vec<&Value> =
                found.as_array().unwrap().iter().filter(|found| found["kind"] == kind).collect();
            assert!(found.len() > many, "only {} were measured", found.len());
            let ratio = |found: &&Value| found["ratio"].as_f64().unwrap();
            let lowest = found.into_iter().min_by(|a, b| ratio(a).total_cmp(&ratio(b))).unwrap();
            eprintln!("{name}, {kind}: the lowest contrast is {:.2}, of {}", ratio(&lowest), lowest["what"]);
            assert!(ratio(&lowest) >= least, "{name}: {lowest}");
        }
    }
}

fn axe(stage: &Stage) {
    let script = fs::read_to_string(axe_core()).unwrap();
    let mut browser = stage.browser();
    for (name, screen) in SCREENS {
        let mut tab = browser.open(stage.url(), screen);
        tab.evaluate(&format!("{script}\n0"));
        let result = tab.evaluate(
            "axe.run().then(found => ({ passes: found.passes.length, \
               open: [...found.violations, ...found.incomplete].map(rule => [rule.id, rule.nodes.map(node => node.html)]) }))",
        );
        assert_eq!(result["open"], json!([]), "{name}");
        assert!(result["passes"].as_u64().unwrap() > 20, "{name}: {result}");
    }
}

// === pictures ===

/// A scenario of the demo whose account `portfolio` fails.
const PORTFOLIO_FAILS: &str = "tenants: { 00000000-0000-0000-0000-00000000f011: \
                               { rows: portfolio, usage: { answer: mfa_required } } }";

/// Takes pictures of the page that `demo` serves, first as it starts and then with an account that fails.
fn pictures(stage: &Stage) {
    let demo = Process::start(&mut program(&[
        "demo",
        "--web.listen-address=127.0.0.1:0",
        "--simulator.listen-address=127.0.0.1:0",
    ]));
    let url = format!("http://{}", support::listening_on(&demo.stderr));
    let wait_for_polls = |up: [f64; 2]| {
        support::eventually("polls of both accounts", || {
            let metrics = support::exposition::parse(&support::get(&format!("{url}/metrics")));
            let of = |account| metrics.value("partner_license_up", &[("account", account)]);
            (["portfolio", "documented"].map(of) == up.map(Some)).then_some(())
        });
    };
    let elsewhere = tempfile::tempdir().unwrap();
    let directory = std::env::var_os("PICTURES").map_or(elsewhere.path().to_owned(), |to| root().join(to));
    let mut browser = stage.browser();
    wait_for_polls([1.0, 1.0]);
    for (name, screen) in [
        ("light", Screen { width: 1000, height: 1070, dark: false }),
        ("dark", Screen { width: 1000, height: 1070, dark: true }),
        ("phone", Screen { width: 360, height: 1300, dark: false }),
        ("failing", Screen { width: 1000, height: 1000, dark: false }),
    ] {
        if name == "failing" {
            let simulator = demo.stdout.wait_for("address of the simulator", |line| {
                Some(line.trim().strip_prefix("simulator")?.trim().trim_end_matches('/').to_owned())
            });
            support::put_scenario(&simulator, PORTFOLIO_FAILS);
            // A reload polls at once.
            support::agent().post(&format!("{url}/-/reload")).send_empty().unwrap();
            wait_for_polls([0.0, 1.0]);
        }
        let mut tab = browser.open(&url, screen);
        let picture = base64::prelude::BASE64_STANDARD.decode(tab.picture()).unwrap();
        assert!(picture.starts_with(b"\x89PNG"), "no picture");
        assert!((10_000..150_000).contains(&picture.len()), "{name}: {} bytes", picture.len());
        fs::write(directory.join(format!("status-page-{name}.png")), picture).unwrap();
    }
}
