//! Renders the rows of all accounts as a table for people, as CSV, and as JSON, each with what there is to know about the
//! figures.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use unicode_width::UnicodeWidthStr as _;

use crate::config::{Prices, Thresholds};
use crate::domain::collection::{Collected, Collection};
use crate::domain::customers::{Customers, Limits};
use crate::domain::products::CustomerProduct;
use crate::domain::row::{Rows, listing};
use crate::sheet::{self, AccountRows, Cell, Column, Line, Lines, ProductRow, ProductSummary};

use super::fetched::Fetched;

/// What rows are about, and the settings that they are compared with.
pub(super) struct View<'a> {
    pub(super) collection: Collection,
    /// Whether the rows of customers are about products.
    pub(super) by_product: bool,
    pub(super) thresholds: &'a Thresholds,
    pub(super) prices: &'a Prices,
}

impl View<'_> {
    fn columns(&self, has_accounts: bool) -> Vec<Column> {
        if self.by_product {
            sheet::product_columns(has_accounts)
        } else {
            sheet::columns(self.collection, has_accounts)
        }
    }

    /// The rows of all accounts that have some.
    fn lines<'a>(&'a self, all: &'a [Fetched]) -> Lines<'a> {
        let rows = |fetched: &'a Fetched| {
            let collected = fetched.outcome.as_ref().ok()?;
            Some(AccountRows { account: fetched.account.as_deref(), collected, limits: fetched.limits })
        };
        let accounts: Vec<_> = all.iter().filter_map(rows).collect();
        if self.by_product {
            sheet::product_lines(&accounts, self.prices)
        } else {
            sheet::lines(self.collection, &accounts, self.thresholds)
        }
    }

    /// The products of customers, if the rows are about these.
    fn products<'a>(&self, collected: &'a Collected) -> Option<&'a Rows<CustomerProduct>> {
        collected.customers().filter(|_| self.by_product).and_then(Customers::products)
    }

    /// What the products of customers cost together, if the rows are about these.
    fn summary<'a>(&'a self, collected: &'a Collected) -> Option<ProductSummary<'a>> {
        let customers = collected.customers().filter(|_| self.by_product)?;
        Some(ProductSummary::of(ProductRow::all(customers, self.prices)))
    }

    /// How many rows the setting `series` would withhold from the metrics, if the rows can be withheld.
    fn withheld(&self, collected: &Collected, limits: Limits) -> Option<usize> {
        let customers = collected.customers().filter(|_| !self.by_product)?;
        Some(limits.withheld(customers.rows().len()))
    }
}

/// The document that explains the figures.
const EXPLANATION: &str = "docs/concepts/the-numbers.md";

const RED: &str = "\u{1b}[31m";
const PLAIN: &str = "\u{1b}[0m";

// === For people ===

/// The table, and under it what there is to know about the figures of each account.
pub(super) fn table(all: &[Fetched], view: &View<'_>, has_colour: bool, now: Timestamp) -> String {
    let columns = view.columns(has_accounts(all));
    aligned(&columns, &lines(all, view).collect::<Vec<_>>(), has_colour) + &notes(all, view, now)
}

/// What there is to know about the figures of each account, which is nothing if no poll succeeded.
pub(super) fn notes(all: &[Fetched], view: &View<'_>, now: Timestamp) -> String {
    let mut out = String::new();
    for fetched in all {
        let Ok(collected) = &fetched.outcome else { continue };
        let account =
            fetched.account.as_ref().map_or_else(String::new, |name| format!("{}: ", visible(name)));
        out += &format!("{account}{}\n", about(collected, fetched.limits, view, now));
        let Some(summary) = view.summary(collected) else { continue };
        if !summary.costs.is_empty() {
            out += &format!(
                "{account}licences of which no workload is used cost at most {} a month\n",
                summary.costs
            );
        }
        if !summary.without_price.is_empty() {
            let products: Vec<_> = summary.without_price.iter().map(|product| visible(product)).collect();
            out += &format!("{account}without a price in the configuration: {}\n", products.join(", "));
        }
    }
    if !out.is_empty() {
        out += &format!("what the numbers mean: {EXPLANATION}, or /concepts/the-numbers of an exporter\n");
    }
    out
}

/// The lines below the titles of their columns, which are omitted if there is no line.
fn aligned(columns: &[Column], lines: &[Line<'_>], has_colour: bool) -> String {
    let titles = columns.iter().map(|column| column.title.to_owned()).collect();
    let cells = lines.iter().map(|line| line.cells.iter().map(shown).collect());
    let texts: Vec<Vec<String>> = std::iter::once(titles).chain(cells).collect();
    let width = |column: usize| texts.iter().map(|line| line[column].width()).max().unwrap_or(0);
    let is_number = |column: usize| lines.iter().any(|line| line.cells[column].is_number());
    let form: Vec<_> = (0..columns.len()).map(|column| (width(column), is_number(column))).collect();
    let mut out = String::new();
    for (n, line) in texts.iter().enumerate().filter(|_| !lines.is_empty()) {
        let cells = line.iter().zip(&form).map(|(text, (width, is_number))| {
            let space = " ".repeat(width - text.width());
            if *is_number { format!("{space}{text}") } else { format!("{text}{space}") }
        });
        let text = cells.collect::<Vec<_>>().join("  ");
        let text = text.trim_end();
        out += &match n.checked_sub(1).map(|n| lines[n].is_low) {
            Some(true) if has_colour => format!("{RED}{text}  low{PLAIN}\n"),
            Some(true) => format!("{text}  low\n"),
            _ => format!("{text}\n"),
        };
    }
    out
}

/// How many rows there are, where they come from, what was dropped, how old the figures are, and what the metrics would
/// not have.
fn about(collected: &Collected, limits: Limits, view: &View<'_>, now: Timestamp) -> String {
    let count = |number: u64, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let products = view.products(collected);
    let mut text = count(products.map_or(collected.len(), |products| products.rows().len()) as u64, "row");
    if let Some(customers) = collected.customers() {
        text += &format!(" of {}", count(customers.count() as u64, "customer"));
    }
    text += &format!(" from {}", collected.source().as_str());
    if !collected.rejected().is_empty() {
        text += &format!(", dropped: {}", listing(collected.rejected()));
    }
    let without_product = products.map_or(0, |products| products.rejected().values().sum());
    if without_product > 0 {
        text += &format!(", without a product: {} of usage", count(without_product, "row"));
    }
    if let Some((oldest, _)) = collected.processed() {
        let seconds = u64::try_from(now.duration_since(oldest).as_secs()).unwrap_or(0);
        text += &format!(", figures at most {} old", count(seconds.div_ceil(86_400), "day"));
    }
    if let Some(withheld) = view.withheld(collected, limits).filter(|withheld| *withheld > 0) {
        text += &format!(
            ", of which the setting series withholds {} from the metrics",
            count(withheld as u64, "row")
        );
    }
    text
}

fn shown(cell: &Cell<'_>) -> String {
    match cell {
        Cell::Text(text) => visible(text),
        Cell::Count(number) => number.to_string(),
        Cell::Percent(percent) => format!("{percent:.2} %"),
        Cell::Amount(amount) => amount.to_string(),
        Cell::Currency(currency) => currency.as_str().to_owned(),
        Cell::Time(at) => at.strftime("%Y-%m-%d").to_string(),
        Cell::Missing => String::new(),
    }
}

/// A text without characters that a terminal would obey.
fn visible(text: &str) -> String {
    let is_direction = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || is_direction(c) { '\u{fffd}' } else { c }).collect()
}

// === For programs ===

/// The rows as CSV.
pub(super) fn csv(all: &[Fetched], view: &View<'_>) -> anyhow::Result<String> {
    let mut out = Vec::new();
    sheet::write_csv(&mut out, &view.columns(has_accounts(all)), lines(all, view))?;
    Ok(String::from_utf8(out)?)
}

/// One object with the rows of each account, or why there are none.
pub(super) fn json(all: &[Fetched], view: &View<'_>, now: Timestamp) -> String {
    let columns = view.columns(false);
    let account = |fetched: &Fetched| match &fetched.outcome {
        Ok(collected) => {
            let rejected = collected.rejected().iter().map(|(error, count)| (error.as_str(), count));
            let mut account = json!({
                "account": fetched.account,
                "source": collected.source().as_str(),
                "rejected": rejected.collect::<BTreeMap<_, _>>(),
                "oldest_processed_at": collected.processed().map(|(oldest, _)| oldest.to_string()),
            });
            if let Some(withheld) = view.withheld(collected, fetched.limits) {
                account["withheld"] = json!(withheld);
            }
            if let Some(summary) = view.summary(collected) {
                let costs = summary.costs.iter();
                let costs = costs.map(|it| (it.currency.as_str().to_owned(), it.amount.to_string()));
                account["costs_per_month"] = json!(costs.collect::<BTreeMap<_, _>>());
                account["products_without_price"] = json!(summary.without_price);
            }
            let lines = view.lines(std::slice::from_ref(fetched));
            account["rows"] = lines.map(|(_, line)| object(&columns, &line)).collect();
            account
        }
        Err(failure) => json!({
            "account": fetched.account,
            "error": {
                "reason": failure.reason.as_str(),
                "message": failure.text,
                "remedy": failure.remedy,
            },
        }),
    };
    let accounts: Vec<Value> = all.iter().map(account).collect();
    let document = json!({
        "collection": view.collection.as_str(),
        "fetched_at": now.to_string(),
        "explanation": EXPLANATION,
        "accounts": accounts,
    });
    format!("{document:#}\n")
}

fn object(columns: &[Column], line: &Line<'_>) -> Value {
    let value = |cell: &Cell<'_>| match cell {
        Cell::Text(text) => json!(text),
        Cell::Count(number) => json!(number),
        Cell::Percent(percent) => json!(percent),
        // As a text, since a number may lose decimals.
        Cell::Amount(amount) => json!(amount.to_string()),
        Cell::Currency(currency) => json!(currency.as_str()),
        Cell::Time(at) => json!(at.to_string()),
        Cell::Missing => Value::Null,
    };
    let cells = columns.iter().zip(&line.cells);
    Value::Object(cells.map(|(column, cell)| (column.key.to_owned(), value(cell))).collect::<Map<_, _>>())
}

// === Both ===

/// Whether any account has a name.
fn has_accounts(all: &[Fetched]) -> bool {
    all.iter().any(|fetched| fetched.account.is_some())
}

/// The rows of all accounts together, with the names of the accounts if any has one.
fn lines<'a>(all: &'a [Fetched], view: &'a View<'a>) -> impl Iterator<Item = Line<'a>> {
    let has_accounts = has_accounts(all);
    let lines = view.lines(all);
    lines.map(move |(account, line)| if has_accounts { sheet::of_account(account, line) } else { line })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::customers::{CustomerUsage, Names};
    use crate::domain::row::Source;

    /// An account with these rows of customers, which were processed when the epoch began.
    fn fetched(account: &str, rows: Vec<CustomerUsage>, series: usize) -> Fetched {
        let usage = Rows::collect_from(Source::Commercial, rows.into_iter().map(Ok));
        let customers = Customers::new(usage, Rows::default(), Names::new());
        let limits = Limits { series, min_licenses: 25 };
        Fetched { account: Some(account.to_owned()), limits, outcome: Ok(customers.into()) }
    }

    fn shown(all: &[Fetched], now: Timestamp) -> [String; 3] {
        let (thresholds, prices) = (Thresholds::default(), Prices::default());
        let (collection, by_product) = (Collection::Customers, false);
        let view = View { collection, by_product, thresholds: &thresholds, prices: &prices };
        [table(all, &view, false, now), csv(all, &view).unwrap(), json(all, &view, now)]
    }

    #[test]
    fn the_rows_of_all_accounts_are_sorted_together() {
        let rows = [("a", 90, 1_000), ("b", 5, 30)]
            .map(|(id, active, qualified)| CustomerUsage::of(id, "Teams", active, qualified));
        let other = CustomerUsage::of("c", "Teams", 0, 500);
        let all = [fetched("first", rows.to_vec(), 500), fetched("second", vec![other], 500)];
        let [table, csv, _] = shown(&all, Timestamp::UNIX_EPOCH);
        for text in [table, csv] {
            let accounts = text.lines().skip(1).take(3).map(|line| line.starts_with("second"));
            assert_eq!(accounts.collect::<Vec<_>>(), [false, true, false], "{text}");
        }
    }

    #[test]
    fn the_age_of_figures_is_rounded_up_and_withheld_rows_are_counted() {
        let row = |id: &str| CustomerUsage::of(id, "Teams", 1, 100);
        for (hours, age) in [(0, "0 days"), (1, "1 day"), (24, "1 day"), (25, "2 days"), (263, "11 days")] {
            let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(hours);
            let [table, _, json] = shown(&[fetched("x", vec![row("a"), row("b"), row("c")], 1)], now);
            let text = format!(
                "x: 3 rows of 3 customers from commercial, figures at most {age} old, of which the \
                                setting series withholds 2 rows from the metrics\nwhat the numbers mean: docs/"
            );
            assert!(table.contains(&text), "{text}: {table}");
            let document: Value = serde_json::from_str(&json).unwrap();
            assert_eq!(document["explanation"], "docs/concepts/the-numbers.md");
            let account = &document["accounts"][0];
            let found = (&account["oldest_processed_at"], &account["withheld"]);
            assert_eq!(found, (&json!("1970-01-01T00:00:00Z"), &json!(2)));
        }
        let [table, ..] = shown(&[fetched("x", vec![row("a")], 1)], Timestamp::UNIX_EPOCH);
        assert!(!table.contains("withholds"), "{table}");
    }

    #[test]
    fn columns_are_aligned_whatever_the_width_of_characters_and_low_rows_are_red() {
        let column = |title| Column { key: "", title };
        let line = |text: &'static str, number, is_low| Line {
            cells: vec![Cell::Text(text), Cell::Count(number), Cell::Missing],
            is_low,
        };
        let columns = [column("Name"), column("Unused"), column("Threshold")];
        let lines = [line("雲\u{1b}[2J\u{202e}", 7, true), line("Contoso", 12_345_678, false)];
        let expected = "Name       Unused  Threshold\n\
                        \u{1b}[31m雲\u{fffd}[2J\u{fffd}         7  low\u{1b}[0m\n\
                        Contoso  12345678\n";
        assert_eq!(aligned(&columns, &lines, true), expected);
        assert!(!aligned(&columns, &lines, false).contains('\u{1b}'));
        assert_eq!(aligned(&columns, &[], false), "");
    }
}
