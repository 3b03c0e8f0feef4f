//! The pages of customers in the browser: sorted, filtered and turned without a script, by the keyboard, on any screen.

use serde_json::{Value, json};

use super::{CONTRAST, DESKTOP, Fixture, PHONE, SCREENS, axe_core, fs, list, row, start, support};
use crate::support::browser::{Screen, Tab};
use crate::support::{Exporter, Simulator};

/// Names that would have an effect if they were markup.
const HOSTILE: &str = "<img src=x onerror=\"document.title='harmed'\">";

/// An exporter of two accounts with customers, of which one has hostile names.
pub(super) fn exporter() -> (Simulator, Exporter) {
    let of_product = |customer: &str, product: &str, active: u32| {
        json!({
            "customerTenantId": customer, "customerName": HOSTILE, "productName": product, "serviceCode": HOSTILE,
            "workloadName": HOSTILE, "channel": "reseller", "licensesActive": active, "licensesQualified": 100,
            "processedDateTime": super::day(2),
        })
    };
    let hostile = json!({
        "rows": [row("Exchange", 92.0)],
        "commercial_usage": { "rows": [of_product("a", HOSTILE, 1), of_product("b", "Free", 90)] },
        "commercial_deployment": { "answer": "not_found" },
    });
    let settings = "collections: { customers: { enabled: true } }\n\
                    prices:\n  \
                      - { product: OFFICE 365 PLAN E1, per_month: 9.40, currency: EUR }\n  \
                      - { product: DYNAMICS 365 PLAN 1, per_month: 95, currency: USD }\n  \
                      - { product: Free, per_month: 0, currency: EUR }\n";
    let (simulator, exporter) =
        start(&[("portfolio", json!({ "rows": "portfolio" })), ("hostile", hostile)], settings);
    for account in ["portfolio", "hostile"] {
        exporter.wait_for("the customers", |metrics| {
            metrics.value("partner_license_customers", &[("account", account)])
        });
    }
    (simulator, exporter)
}

const PATHS: [&str; 4] = ["/", "/customers", "/customers?by=product", "/concepts/the-numbers"];

/// The text of each cell of a column, which has this title.
fn column(tab: &mut Tab<'_>, title: &str) -> Vec<String> {
    let cells = format!(
        "(() => {{ const at = [...document.querySelectorAll('thead th')].findIndex(cell => cell.textContent === {}); \
           return [...document.querySelectorAll('tbody tr')].map(row => row.cells[at].innerText); }})()",
        Value::from(title)
    );
    list(tab, &cells)
}

fn press(tab: &mut Tab<'_>, key: &str, code: u32) {
    for kind in ["keyDown", "keyUp"] {
        let text = if kind == "keyDown" && key == "Enter" { "\r" } else { "" };
        let event =
            json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
        tab.call("Input.dispatchKeyEvent", &event);
    }
}

/// Presses Tab until the focus is on what `wanted`, an expression about `it`, describes.
fn tab_to(tab: &mut Tab<'_>, wanted: &str) {
    for _ in 0..200 {
        press(tab, "Tab", 9);
        if tab.evaluate(&format!("(it => {wanted})(document.activeElement)")) == true {
            let outline = tab.text("getComputedStyle(document.activeElement).outlineStyle");
            assert_ne!(outline, "none", "the focus is visible");
            return;
        }
    }
    panic!("no number of tabs leads to {wanted}");
}

/// Presses Enter, and waits for the page with this query.
fn enter(tab: &mut Tab<'_>, query: &str) {
    press(tab, "Enter", 13);
    support::eventually(query, || {
        let arrived =
            format!("document.readyState === 'complete' && location.search === {}", Value::from(query));
        (tab.evaluate(&arrived) == true).then_some(())
    });
}

pub(super) fn keyboard(fixture: &Fixture) {
    let mut browser = fixture.browser();
    let mut tab = browser.blank(DESKTOP);
    tab.call("Emulation.setScriptExecutionDisabled", &json!({ "value": true }));
    tab.load(&format!("{}/customers", fixture.customers()));
    assert_eq!(column(&mut tab, "Customer").len(), 50);
    tab_to(&mut tab, "it.textContent === 'Qualified'");
    enter(&mut tab, "?sort=qualified");
    let numbers = |cells: Vec<String>| cells.iter().map(|cell| cell.parse().unwrap()).collect::<Vec<u64>>();
    assert!(numbers(column(&mut tab, "Qualified")).is_sorted_by(|a, b| a >= b));
    assert_eq!(
        list(&mut tab, "[...document.querySelectorAll('[aria-sort]')].map(it => it.innerText)"),
        ["Qualified"]
    );
    tab_to(&mut tab, "it.rel === 'next'");
    enter(&mut tab, "?sort=qualified&page=2");
    assert!(tab.text("document.querySelector('[aria-current=page]').innerText").starts_with("Page 2 of "));
    tab_to(&mut tab, "it.name === 'customer'");
    tab.call("Input.insertText", &json!({ "text": "BAKERY" }));
    enter(&mut tab, "?customer=BAKERY&account=&service=&workload=&channel=&sort=qualified");
    let names = column(&mut tab, "Customer");
    assert!(!names.is_empty() && names.iter().all(|name| name.contains("Bakery")), "{names:?}");
    tab_to(&mut tab, "it.textContent === 'By product'");
    enter(&mut tab, "?by=product");
    let costs = column(&mut tab, "Unused cost a month");
    assert!(costs[0].ends_with(" EUR") && costs.len() == 50, "{costs:?}");
}

pub(super) fn hostile(fixture: &Fixture) {
    let mut browser = fixture.browser();
    for path in ["/customers?account=hostile", "/customers?by=product&account=hostile"] {
        let mut tab = browser.blank(DESKTOP);
        tab.call("Page.setBypassCSP", &json!({ "enabled": true }));
        tab.load(&format!("{}{path}", fixture.customers()));
        let title = if path.contains("product") { "Product" } else { "Workload" };
        assert!(column(&mut tab, title).contains(&HOSTILE.to_owned()), "{path}");
        assert!(column(&mut tab, "Customer").iter().all(|name| name.starts_with(HOSTILE)), "{path}");
        assert_eq!(tab.evaluate("document.querySelectorAll('img, script').length"), 0);
        assert_eq!(tab.text("document.title"), "Customers · Partner license exporter");
    }
}

pub(super) fn every_screen(fixture: &Fixture) {
    let script = fs::read_to_string(axe_core()).unwrap();
    let mut browser = fixture.browser();
    for path in PATHS {
        let url = format!("{}{path}", fixture.customers());
        for (name, screen) in SCREENS {
            let mut tab = browser.open(&url, screen);
            assert_eq!(tab.problems(), [""; 0], "{path}");
            let others = tab.requests().iter().filter(|it| !it.starts_with("data:")).count();
            assert_eq!(others, 1, "{path} fetches nothing else");
            assert_eq!(tab.evaluate("document.scrollingElement.scrollWidth"), screen.width, "{path}, {name}");
            let found = tab.evaluate(CONTRAST);
            let lowest = found.as_array().unwrap().iter().min_by(|a, b| {
                let ratio = |found: &Value| found["ratio"].as_f64().unwrap();
                ratio(a).total_cmp(&ratio(b))
            });
            let lowest = lowest.unwrap();
            let least = if lowest["kind"] == "bar" { 3.0 } else { 4.5 };
            assert!(lowest["ratio"].as_f64().unwrap() >= least, "{path}, {name}: {lowest}");
            tab.evaluate(&format!("{script}\n0"));
            // axe cannot tell the contrast of what is scrolled out of sight; it is measured above.
            let open = tab.evaluate(
                "axe.run().then(found => [...found.violations, \
                   ...found.incomplete.filter(rule => rule.id !== 'color-contrast')].map(rule => \
                   [rule.id, rule.nodes.map(node => node.html).slice(0, 3)]))",
            );
            assert_eq!(open, json!([]), "{path}, {name}");
        }
    }
}

pub(super) fn worst(fixture: &Fixture) {
    let mut browser = fixture.browser();
    for screen in [DESKTOP, Screen { width: 320, ..PHONE }] {
        let mut tab = browser.open(&format!("{}/", fixture.customers()), screen);
        let rows = "[...document.querySelector('.worst tbody').rows].map(row => row.cells[0].innerText)";
        let worst = list(&mut tab, rows);
        assert_eq!(worst.len(), 10);
        let link = tab.text("document.querySelector('.worst a').href");
        tab.load(&link);
        let names = column(&mut tab, "Customer");
        assert!(names.iter().all(|name| name.starts_with(&worst[0])), "{worst:?}: {names:?}");
    }
}
