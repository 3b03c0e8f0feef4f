//! Tests of the status page and other pages in a real browser: its content, its safety, its accessibility.
//!
//! The exporter is real and polls the simulator. Browser and axe-core come from `scripts/fetch-tools --browser`. With
//! `PICTURES=docs/images`, which scripts/screenshots sets, screenshots of the page are written there.

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

const DESKTOP: Screen = Screen { width: 1100, height: 800, dark: false };
const DARK_DESKTOP: Screen = Screen { dark: true, ..DESKTOP };
const PHONE: Screen = Screen { width: 360, height: 640, dark: false };
const DARK_PHONE: Screen = Screen { dark: true, ..PHONE };
const SCREENS: [(&str, Screen); 4] =
    [("desktop", DESKTOP), ("dark desktop", DARK_DESKTOP), ("phone", PHONE), ("dark phone", DARK_PHONE)];

mod customers;

type Case = (&'static str, fn(&Fixture));

const CASES: [Case; 16] = [
    ("the_summary_counts_accounts_and_rows_and_leads_to_each_account", summary),
    ("an_account_that_works_shows_ages_credentials_and_its_rows_lowest_first", working),
    ("an_account_that_fails_shows_why_and_what_to_do_and_its_last_good_rows", failing),
    ("accounts_without_rows_say_so", without_rows),
    ("hostile_names_are_text_and_harmless_even_without_the_policy", hostile),
    ("the_browser_reports_no_problem_and_fetches_nothing_else", no_problems),
    ("nothing_is_wider_than_the_screen_of_a_phone", narrow),
    ("every_text_and_every_bar_has_enough_contrast", contrast),
    ("axe_finds_no_problem_on_any_screen", axe),
    ("what_is_doubtful_is_marked_and_explained", doubtful),
    ("runbooks_are_readable_pages", runbooks),
    ("customers_are_sorted_filtered_and_turned_by_the_keyboard_without_a_script", customers::keyboard),
    ("hostile_names_of_customers_and_products_are_text", customers::hostile),
    ("pages_about_customers_are_accessible_on_any_screen", customers::every_screen),
    ("the_worst_customers_lead_to_all_their_rows", customers::worst),
    ("pictures_are_small", pictures),
];

pub(crate) fn run(arguments: &Arguments) -> Conclusion {
    // The tests share one browser.
    let arguments = Arguments { test_threads: Some(1), ..arguments.clone() };
    let missing: Vec<PathBuf> = [chromium(), axe_core()].into_iter().filter(|path| !path.exists()).collect();
    for path in &missing {
        eprintln!("not found: {} (scripts/fetch-tools --browser downloads it)", path.display());
    }
    let skipped = !missing.is_empty() && std::env::var_os("REQUIRE_TOOLS").is_none();
    let fixture = Arc::new(Fixture::default());
    let trials = CASES.map(|(name, case)| {
        let fixture = Arc::clone(&fixture);
        let test = move || {
            case(&fixture);
            Ok(())
        };
        Trial::test(name, test).with_ignored_flag(skipped)
    });
    let conclusion = libtest_mimic::run(&arguments, trials.into());
    if skipped {
        eprintln!("The tests in a browser were NOT run, because tools are missing: see above\n");
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

/// The browser and the exporter that all tests share; the first test starts them.
#[derive(Default)]
struct Fixture {
    browser: OnceLock<Mutex<Browser>>,
    exporter: OnceLock<(Simulator, Exporter)>,
    customers: OnceLock<(Simulator, Exporter)>,
}

impl Fixture {
    fn browser(&self) -> MutexGuard<'_, Browser> {
        let browser = self.browser.get_or_init(|| Browser::start(&chromium()).into());
        browser.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn url(&self) -> &str {
        &self.exporter.get_or_init(every_kind_of_account).1.url
    }

    fn customers(&self) -> &str {
        &self.customers.get_or_init(customers::exporter).1.url
    }
}

// === accounts of every kind ===

const HOSTILE_NAME: &str = "<b>Eve</b> \"'&\u{202e}";
/// Names that would have an effect if they were markup: run a script, set an attribute, reverse the text around them,
/// or break the layout.
const HOSTILE_WORKLOADS: [&str; 6] = [
    "<script>document.title='harmed'</script>",
    "</th></table><img src=x onerror=\"document.title='harmed'\">",
    "\" onmouseover=\"document.title='harmed'\" x='",
    "\u{202e}egnahcxE\u{2066}",
    "nul \u{0} escape \u{1b}[31m end",
    "&lt;&amp;",
];

/// A name as the page shows it: what has no place in a page, or changes the direction of writing, is replaced.
fn shown(name: &str) -> String {
    name.replace(['\0', '\u{1b}', '\u{202e}', '\u{2066}'], "\u{fffd}")
}

fn long_name() -> String {
    "W".repeat(1_023)
}

/// The date some days before the first call, so that it does not change if the tests run past midnight.
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

/// Starts a simulator and an exporter with an account for each of these tenants.
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

fn every_kind_of_account() -> (Simulator, Exporter) {
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
        .chain([with(with(row(&long_name(), 60.0), "service", long_name()), "channel", "x".repeat(1_023))])
        // An old figure.
        .map(|row| if row["percent"] == 60.0 { with(row, "processed", processed(17)) } else { row })
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
    // fabrikam has its rows; its next polls fail. A reload polls accounts at once that have changed.
    let file = exporter.directory.path().join("config.yml");
    let changed = format!("poll_timeout: 3m\n{}", fs::read_to_string(&file).unwrap());
    fs::write(&file, changed).unwrap();
    assert_eq!(exporter.reload(), 200);
    wait(2.0);
    support::write_config(exporter.directory.path(), "colour: blue\naccounts: []\n");
    assert_eq!(exporter.reload(), 500);
    (simulator, exporter)
}

/// A JavaScript expression for the section of an account.
fn section(account: &str) -> String {
    format!(
        "[...document.querySelectorAll('main > section')].find(section => section.querySelector('h2').textContent === {})",
        Value::from(shown(account))
    )
}

/// The visible text of an account, with single spaces.
fn visible_text(tab: &mut Tab<'_>, account: &str) -> String {
    let text = tab.text(&format!("{}.innerText", section(account)));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn list(tab: &mut Tab<'_>, expression: &str) -> Vec<String> {
    serde_json::from_value(tab.evaluate(expression)).unwrap()
}

fn assert_contains(text: &str, expected: &[&str]) {
    for expected in expected {
        assert!(text.contains(expected), "{expected:?} is not in {text:?}");
    }
}

// === content ===

fn summary(fixture: &Fixture) {
    let mut browser = fixture.browser();
    let mut tab = browser.open(fixture.url(), DESKTOP);
    assert_eq!(tab.text("document.title"), "2 of 6 failing · Partner license exporter");
    let totals = "[...document.querySelectorAll('.totals li')].map(item => item.textContent)";
    let expected = [
        "2 failing",
        "1 no rows",
        "1 old figures",
        "1 not polled yet",
        "1 working",
        "4 of 15 rows low",
        "1 muted",
    ];
    assert_eq!(list(&mut tab, totals), expected);
    let accounts = "[...document.querySelectorAll('.accounts li')].map(item => item.textContent)";
    let hostile = format!("{} old figures", shown(HOSTILE_NAME));
    let expected = [
        "fabrikam failing: mfa, 1 low",
        "tailspin failing: consent",
        "northwind no rows",
        &hostile,
        "woodgrove not polled yet",
        "contoso working, 3 low",
    ];
    assert_eq!(list(&mut tab, accounts), expected);
    // Each link leads to the heading of its own account.
    let leads = "[...document.querySelectorAll('.accounts a')].every(link => \
                 document.getElementById(link.hash.slice(1)).textContent === link.textContent)";
    assert_eq!(tab.evaluate(leads), true);
    let links = "[...document.querySelectorAll('header a')].map(link => link.getAttribute('href'))";
    for path in list(&mut tab, links) {
        let path = path.strip_prefix('.').expect("the links are relative");
        let status = support::agent().get(&format!("{}{path}", fixture.url())).call().unwrap().status();
        assert!(status == 200 || path == "/-/ready" && status == 503, "{path} answers {status}");
    }
}

fn working(fixture: &Fixture) {
    let mut browser = fixture.browser();
    let mut tab = browser.open(fixture.url(), DESKTOP);
    let text = visible_text(&mut tab, "contoso");
    assert_contains(
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
    // The length of each bar matches its number: 100 % is at four fifths, and no bar exceeds its track.
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

fn failing(fixture: &Fixture) {
    let mut browser = fixture.browser();
    let mut tab = browser.open(fixture.url(), DESKTOP);
    assert_contains(
        &visible_text(&mut tab, "fabrikam"),
        &[
            "fabrikam failing since 20",
            "Reason: mfa · last tried ",
            "UTC What happened: the API answered 401 ",
            "What to do: sign in again with partner-license-exporter login --config.file=/",
            "/config.yml --account fabrikam, using multi-factor authentication.",
            "The rows are those of the last good poll. Unless another one succeeds, they vanish in 1 d 23 h",
            "1 row, lowest first · 1 low.",
            "Exchange o365 reseller 38.00 %",
        ],
    );
    assert_contains(
        &visible_text(&mut tab, "tailspin"),
        &["Reason: consent · 2 times in a row · last tried ", "What to do: ", "Rows fetched never"],
    );
}

fn without_rows(fixture: &Fixture) {
    let mut browser = fixture.browser();
    let mut tab = browser.open(fixture.url(), DESKTOP);
    let empty = visible_text(&mut tab, "northwind");
    assert_contains(
        &empty,
        &[
            "northwind no rows",
            "The last good collection is empty: Partner Center sent no rows. What to do: check whether",
            "MFA not compliant sign in again",
        ],
    );
    let waiting = visible_text(&mut tab, "woodgrove");
    assert_contains(&waiting, &["woodgrove not polled yet", "Rows fetched never", "Next poll under way"]);
    let tables = "[...document.querySelectorAll('main > section')].filter(section => section.querySelector('table')).length";
    assert_eq!(tab.evaluate(tables), 3);
}

// === safety ===

fn hostile(fixture: &Fixture) {
    let mut browser = fixture.browser();
    for policy in [true, false] {
        let mut tab = browser.blank(DESKTOP);
        tab.call("Page.setBypassCSP", &json!({ "enabled": !policy }));
        tab.load(fixture.url());
        let expected: Vec<String> = HOSTILE_WORKLOADS.map(shown).into();
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
        let unexpected = "[...document.body.querySelectorAll('*')].filter(element => \
                         !/^(header|h1|nav|ul|li|a|main|section|h2|p|strong|time|dl|div|dt|dd|small|span|bdi|table|caption|\
                         thead|tbody|tr|th|td|svg|rect|b|code|pre|footer|details|summary)$/.test(element.localName) || \
                         [...element.attributes].some(attribute => /^(on|style)/.test(attribute.name))).length";
        assert_eq!(tab.evaluate(unexpected), 0);
        assert_eq!(tab.evaluate("document.title.includes('harmed')"), false);
        assert_eq!(tab.problems(), [""; 0]);
    }
}

fn no_problems(fixture: &Fixture) {
    let mut browser = fixture.browser();
    for (_, screen) in SCREENS {
        let mut tab = browser.open(fixture.url(), screen);
        assert_eq!(tab.problems(), [""; 0]);
        let requests = tab.requests();
        let fetched: Vec<&String> = requests.iter().filter(|url| !url.starts_with("data:")).collect();
        assert_eq!(fetched, [&format!("{}/", fixture.url())]);
    }
    // Counter-check: the policy forbids these elements, and the browser reports them.
    let mut tab = browser.open(fixture.url(), DESKTOP);
    tab.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\"><img src=/x><style>p{}</style>')");
    let problems = tab.problems();
    for directive in ["style-src", "img-src"] {
        assert!(problems.iter().any(|problem| problem.contains(directive)), "{problems:?}");
    }
}

// === accessibility ===

fn narrow(fixture: &Fixture) {
    let mut browser = fixture.browser();
    for width in [320, 360, 832, 833, 1100] {
        let mut tab = browser.open(fixture.url(), Screen { width, ..PHONE });
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
        // For a screen reader a table remains a table, even where its parts are laid out differently.
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

/// A script that measures the contrast of every text with its background, and of every bar with its track.
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

fn contrast(fixture: &Fixture) {
    let mut browser = fixture.browser();
    for (name, screen) in SCREENS {
        let mut tab = browser.open(fixture.url(), screen);
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

fn axe(fixture: &Fixture) {
    let script = fs::read_to_string(axe_core()).unwrap();
    let mut browser = fixture.browser();
    for (name, screen) in SCREENS {
        let mut tab = browser.open(fixture.url(), screen);
        tab.evaluate(&format!("{script}\n0"));
        let result = tab.evaluate(
            "axe.run().then(found => ({ passes: found.passes.length, \
               open: [...found.violations, ...found.incomplete].map(rule => [rule.id, rule.nodes.map(node => node.html)]) }))",
        );
        assert_eq!(result["open"], json!([]), "{name}");
        assert!(result["passes"].as_u64().unwrap() > 20, "{name}: {result}");
    }
}

// === other pages and states ===

fn doubtful(fixture: &Fixture) {
    let mut browser = fixture.browser();
    let mut tab = browser.open(fixture.url(), DESKTOP);
    assert_contains(
        &visible_text(&mut tab, HOSTILE_NAME),
        &[
            "old figures · polls have succeeded since",
            "1 row with figures older than 16 days: Microsoft no longer updates them.",
            "7 rows, lowest first · 1 old.",
            &format!("{} old", day(17)),
        ],
    );
    assert_contains(
        &visible_text(&mut tab, "The configuration was not reloaded"),
        &["The previous configuration remains in use", "colour: unknown key", "Runbook"],
    );
    let color = "getComputedStyle(document.querySelector('.state.doubtful')).color";
    assert_eq!(tab.text(color), "rgb(122, 75, 0)", "amber");
    for link in
        list(&mut tab, "[...document.querySelectorAll('main a[href*=runbooks]')].map(link => link.href)")
    {
        assert_eq!(support::agent().get(&link).call().unwrap().status(), 200, "{link}");
    }
}

fn runbooks(fixture: &Fixture) {
    let script = fs::read_to_string(axe_core()).unwrap();
    let mut browser = fixture.browser();
    let url = format!("{}/runbooks/PartnerLicenseUsageLow.md", fixture.url());
    for (name, screen) in SCREENS {
        let mut tab = browser.open(&url, screen);
        assert_eq!(tab.problems(), [""; 0]);
        assert_eq!(tab.text("document.title"), "PartnerLicenseUsageLow · Runbook");
        let headings =
            "[...document.querySelectorAll('main h1, main h2')].map(heading => heading.textContent)";
        let expected = ["PartnerLicenseUsageLow", "Meaning", "Impact", "Diagnosis", "Remedy", "Muting"];
        assert_eq!(list(&mut tab, headings), expected);
        assert_eq!(tab.evaluate("document.scrollingElement.scrollWidth"), screen.width, "{name}");
        tab.evaluate(&format!("{script}\n0"));
        let open = tab.evaluate(
            "axe.run().then(found => [...found.violations, ...found.incomplete].map(rule => \
               [rule.id, rule.nodes.map(node => node.html)]))",
        );
        assert_eq!(open, json!([]), "{name}");
    }
    let mut tab = browser.open(&url, DESKTOP);
    let link = tab.text("document.querySelector('header a').href");
    tab.load(&link);
    support::eventually("the status page", || {
        let heading = tab.text("document.querySelector('h1')?.textContent ?? ''");
        (heading == "Partner license exporter").then_some(())
    });
}

// === screenshots ===

/// A scenario of the demo whose account `portfolio` fails.
const PORTFOLIO_FAILS: &str = "tenants: { 00000000-0000-0000-0000-00000000f011: \
                               { rows: portfolio, usage: { answer: mfa_required } } }";

/// Takes screenshots of the page that `demo` serves, first after its start and then with an account that fails.
fn pictures(fixture: &Fixture) {
    let demo = Process::start(&mut program(&[
        "demo",
        "--web.listen-address=127.0.0.1:0",
        "--simulator.listen-address=127.0.0.1:0",
    ]));
    let url = format!("http://{}", support::listening_on(&demo.stderr));
    let wait_for_polls = |up: [f64; 2]| {
        support::eventually("polls of both accounts", || {
            let metrics = support::exposition::parse(&support::get(&format!("{url}/metrics")));
            let of = |account| metrics.of_usage("partner_license_up", &[("account", account)]);
            (["portfolio", "documented"].map(of) == up.map(Some)).then_some(())
        });
    };
    let elsewhere = tempfile::tempdir().unwrap();
    let directory = std::env::var_os("PICTURES").map_or(elsewhere.path().to_owned(), |to| root().join(to));
    let mut browser = fixture.browser();
    wait_for_polls([1.0, 1.0]);
    support::eventually("the customers", || {
        let metrics = support::exposition::parse(&support::get(&format!("{url}/metrics")));
        metrics.value("partner_license_customers", &[("account", "portfolio")])
    });
    let screen = |width, height| Screen { width, height, dark: false };
    for (name, path, screen) in [
        ("customers-page-light", "/customers", screen(1160, 860)),
        ("customers-page-dark", "/customers", Screen { dark: true, ..screen(1160, 860) }),
        ("customers-by-product", "/customers?by=product", screen(1160, 860)),
        ("status-page-light", "/", screen(1000, 1070)),
        ("status-page-dark", "/", Screen { dark: true, ..screen(1000, 1070) }),
        ("status-page-phone", "/", screen(360, 1300)),
        ("status-page-failing", "/", screen(1000, 1000)),
    ] {
        if name.ends_with("failing") {
            let simulator = demo.stdout.wait_for("address of the simulator", |line| {
                Some(line.trim().strip_prefix("simulator")?.trim().trim_end_matches('/').to_owned())
            });
            support::put_scenario(&simulator, PORTFOLIO_FAILS);
            wait_for_polls([0.0, 1.0]);
        }
        let mut tab = browser.open(&format!("{url}{path}"), screen);
        let screenshot = base64::prelude::BASE64_STANDARD.decode(tab.screenshot()).unwrap();
        assert!(screenshot.starts_with(b"\x89PNG"), "not a PNG");
        assert!((10_000..150_000).contains(&screenshot.len()), "{name}: {} bytes", screenshot.len());
        fs::write(directory.join(format!("{name}.png")), screenshot).unwrap();
    }
}
