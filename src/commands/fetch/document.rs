//! Writes the rows of all accounts as a table for people, as CSV, and as JSON, each with what there is to know about the
//! figures.
//!
//! Rows are written one by one, since all of them as text take several times the memory that they have.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use crate::config::{Prices, Thresholds};
use crate::domain::collection::{Collected, Collection};
use crate::domain::customers::{Customers, Limits};
use crate::domain::products::CustomerProduct;
use crate::domain::row::{Rows, listing};
use crate::domain::text::changes_direction;
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

/// Writes the table, and under it what there is to know about the figures of each account.
pub(super) fn write_table(
    mut out: impl Write,
    all: &[Fetched],
    view: &View<'_>,
    has_colour: bool,
    now: Timestamp,
) -> io::Result<()> {
    write_aligned(&mut out, &view.columns(has_accounts(all)), || lines(all, view), has_colour)?;
    out.write_all(notes(all, view, now).as_bytes())
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

/// Writes lines below the titles of their columns, which are omitted if there is no line. `lines` returns the same ones
/// each time.
fn write_aligned<'a, L: Iterator<Item = Line<'a>>>(
    mut out: impl Write,
    columns: &[Column],
    lines: impl Fn() -> L,
    has_colour: bool,
) -> io::Result<()> {
    // The width of each column, and whether it has numbers.
    let mut form: Vec<_> = columns.iter().map(|column| (column.title.width(), false)).collect();
    let mut is_empty = true;
    for line in lines() {
        is_empty = false;
        for ((width, is_number), cell) in form.iter_mut().zip(&line.cells) {
            *width = shown(cell).width().max(*width);
            *is_number |= cell.is_number();
        }
    }
    if is_empty {
        return Ok(());
    }
    writeln!(out, "{}", aligned(columns.iter().map(|column| column.title.into()), &form))?;
    for line in lines() {
        let text = aligned(line.cells.iter().map(|cell| shown(cell).into()), &form);
        match line.is_low {
            true if has_colour => writeln!(out, "{RED}{text}  low{PLAIN}"),
            true => writeln!(out, "{text}  low"),
            false => writeln!(out, "{text}"),
        }?;
    }
    Ok(())
}

/// Texts in columns of these widths, of which those with numbers are aligned to the right.
fn aligned<'a>(texts: impl Iterator<Item = Cow<'a, str>>, form: &[(usize, bool)]) -> String {
    let cells = texts.zip(form).map(|(text, (width, is_number))| {
        let space = " ".repeat(width - text.width());
        if *is_number { format!("{space}{text}") } else { format!("{text}{space}") }
    });
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

/// How many rows there are, where they come from, what was dropped, how old the figures are, and what the metrics would
/// not have.
fn about(collected: &Collected, limits: Limits, view: &View<'_>, now: Timestamp) -> String {
    let count = |number: u64, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let products = view.products(collected);
    let mut text = count(products.map_or(collected.len(), |products| products.rows().len()) as u64, "row");
    if let Some(customers) = collected.customers() {
        text += &format!(", {}", count(customers.count() as u64, "customer"));
    }
    text += &format!(" from {}", collected.source().as_str());
    if !collected.rejected().is_empty() {
        text += &format!(", dropped: {}", listing(collected.rejected()));
    }
    let without_product = products.map_or(0, Rows::without_label);
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
    text.chars().map(|c| if c.is_control() || changes_direction(c) { '\u{fffd}' } else { c }).collect()
}

// === For programs ===

/// Writes the rows as CSV.
pub(super) fn write_csv(mut out: impl Write, all: &[Fetched], view: &View<'_>) -> io::Result<()> {
    sheet::write_csv_keys(&mut out, &view.columns(has_accounts(all)))?;
    sheet::write_csv_lines(out, lines(all, view))
}

/// Writes one object with the rows of each account, or why there are none.
pub(super) fn write_json(
    mut out: impl Write,
    all: &[Fetched],
    view: &View<'_>,
    now: Timestamp,
) -> io::Result<()> {
    let columns = view.columns(false);
    let account = |fetched| AccountDocument {
        about: about_account(fetched, view),
        rows: fetched.outcome.is_ok().then_some(RowDocuments { columns: &columns, fetched, view }),
    };
    let document = Document {
        collection: view.collection.as_str(),
        fetched_at: now.to_string(),
        explanation: EXPLANATION,
        accounts: all.iter().map(account).collect(),
    };
    serde_json::to_writer_pretty(&mut out, &document)?;
    writeln!(out)
}

#[derive(Serialize)]
struct Document<'a> {
    collection: &'static str,
    fetched_at: String,
    explanation: &'static str,
    accounts: Vec<AccountDocument<'a>>,
}

#[derive(Serialize)]
struct AccountDocument<'a> {
    #[serde(flatten)]
    about: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<RowDocuments<'a>>,
}

/// The rows of an account, which become objects one by one.
struct RowDocuments<'a> {
    columns: &'a [Column],
    fetched: &'a Fetched,
    view: &'a View<'a>,
}

/// A row as an object.
struct RowDocument<'a> {
    columns: &'a [Column],
    line: Line<'a>,
}

impl Serialize for RowDocuments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let lines = self.view.lines(std::slice::from_ref(self.fetched));
        serializer.collect_seq(lines.map(|(_, line)| RowDocument { columns: self.columns, line }))
    }
}

impl Serialize for RowDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let cells = self.columns.iter().zip(&self.line.cells);
        serializer.collect_map(cells.map(|(column, cell)| (column.key, value(cell))))
    }
}

/// What there is to know about an account besides its rows.
fn about_account(fetched: &Fetched, view: &View<'_>) -> Value {
    let collected = match &fetched.outcome {
        Ok(collected) => collected,
        Err(failure) => {
            return json!({
                "account": fetched.account,
                "error": {
                    "reason": failure.reason.as_str(),
                    "message": failure.text,
                    "remedy": failure.remedy,
                },
            });
        }
    };
    let rejected = collected.rejected().iter().map(|(error, count)| (error.as_str(), count));
    let mut about = json!({
        "account": fetched.account,
        "source": collected.source().as_str(),
        "rejected": rejected.collect::<BTreeMap<_, _>>(),
        "oldest_processed_at": collected.processed().map(|(oldest, _)| oldest.to_string()),
    });
    if let Some(withheld) = view.withheld(collected, fetched.limits) {
        about["withheld"] = json!(withheld);
    }
    if let Some(summary) = view.summary(collected) {
        let costs = summary.costs.iter();
        let costs = costs.map(|it| (it.currency.as_str().to_owned(), it.amount.to_string()));
        about["costs_per_month"] = json!(costs.collect::<BTreeMap<_, _>>());
        about["products_without_price"] = json!(summary.without_price);
    }
    about
}

fn value(cell: &Cell<'_>) -> Value {
    match cell {
        Cell::Text(text) => json!(text),
        Cell::Count(number) => json!(number),
        Cell::Percent(percent) => json!(percent),
        // As a text, since a number may lose decimals.
        Cell::Amount(amount) => json!(amount.to_string()),
        Cell::Currency(currency) => json!(currency.as_str()),
        Cell::Time(at) => json!(at.to_string()),
        Cell::Missing => Value::Null,
    }
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
    use std::sync::Arc;

    use super::*;
    use crate::domain::customers::{CustomerUsage, Names};
    use crate::domain::row::Source;

    /// An account with these rows of customers, which were processed when the epoch began.
    fn fetched(account: &str, rows: Vec<CustomerUsage>, series: usize) -> Fetched {
        let usage = Rows::collect_from(Source::Commercial, rows.into_iter().map(Ok));
        let customers = Customers::new(usage, Rows::default(), Names::new());
        let limits = Limits { series, min_licenses: 25 };
        Fetched { account: Some(account.to_owned()), limits, outcome: Ok(Arc::new(customers.into())) }
    }

    fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn shown(all: &[Fetched], now: Timestamp) -> [String; 3] {
        let (thresholds, prices) = (Thresholds::default(), Prices::default());
        let (collection, by_product) = (Collection::Customers, false);
        let view = View { collection, by_product, thresholds: &thresholds, prices: &prices };
        [
            written(|out| write_table(out, all, &view, false, now)),
            written(|out| write_csv(out, all, &view)),
            written(|out| write_json(out, all, &view, now)),
        ]
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
                "x: 3 rows, 3 customers from commercial, figures at most {age} old, of which the \
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
        let rows = [("雲\u{1b}[2J\u{202e}", 7, true), ("Contoso", 12_345_678, false)];
        let aligned = |rows: &[(&'static str, u64, bool)], has_colour| {
            let lines = || rows.iter().map(|row| line(row.0, row.1, row.2));
            written(|out| write_aligned(out, &columns, lines, has_colour))
        };
        let expected = "Name       Unused  Threshold\n\
                        \u{1b}[31m雲\u{fffd}[2J\u{fffd}         7  low\u{1b}[0m\n\
                        Contoso  12345678\n";
        assert_eq!(aligned(&rows, true), expected);
        assert!(!aligned(&rows, false).contains('\u{1b}'));
        assert_eq!(aligned(&[], false), "");
    }
}
