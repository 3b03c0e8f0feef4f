//! Renders the rows of all accounts as a table for people, as CSV, and as JSON.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use unicode_width::UnicodeWidthStr as _;

use crate::config::{Prices, Thresholds};
use crate::domain::collection::{Collected, Collection};
use crate::domain::row::listing;
use crate::sheet::{self, Cell, Column, Line, ProductRow, ProductSummary};

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

    fn lines<'a>(&'a self, fetched: &'a Fetched) -> Box<dyn Iterator<Item = Line<'a>> + 'a> {
        let Ok(collected) = &fetched.outcome else { return Box::new(std::iter::empty()) };
        match collected.customers().filter(|_| self.by_product) {
            Some(customers) => Box::new(sheet::product_lines(customers, self.prices)),
            None => sheet::lines(collected, fetched.limits, self.thresholds),
        }
    }

    /// What the products of customers cost together, if the rows are about products.
    fn summary<'a>(&'a self, collected: &'a Collected) -> Option<ProductSummary<'a>> {
        let customers = collected.customers().filter(|_| self.by_product)?;
        let rows: Vec<_> = ProductRow::all(customers, self.prices).collect();
        Some(ProductSummary::of(&rows))
    }
}

const EXPLANATION: &str =
    "what the numbers mean: docs/concepts/the-numbers.md, or /concepts/the-numbers of an exporter\n";

const RED: &str = "\u{1b}[31m";
const PLAIN: &str = "\u{1b}[0m";

// === For people ===

/// The table, and under it what there is to know about the figures of each account.
pub(super) fn table(all: &[Fetched], view: &View<'_>, has_colour: bool, now: Timestamp) -> String {
    let columns = view.columns(has_accounts(all));
    let mut out = aligned(&columns, &lines(all, view).collect::<Vec<_>>(), has_colour);
    for fetched in all {
        let Ok(collected) = &fetched.outcome else { continue };
        let account =
            fetched.account.as_ref().map_or_else(String::new, |name| format!("{}: ", visible(name)));
        out += &format!("{account}{}\n", footer(collected, now));
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
    if out.is_empty() { out } else { out + EXPLANATION }
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

/// How many rows there are, where they come from, what was dropped, and how old the figures are.
fn footer(collected: &Collected, now: Timestamp) -> String {
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let mut text = count(collected.len(), "row");
    if let Some(customers) = collected.customers() {
        text += &format!(" of {}", count(customers.count(), "customer"));
    }
    text += &format!(" from {}", collected.source().as_str());
    if !collected.rejected().is_empty() {
        text += &format!(", dropped: {}", listing(collected.rejected()));
    }
    if let Some((oldest, _)) = collected.processed() {
        let days = now.duration_since(oldest).as_hours() / 24;
        let days = usize::try_from(days).unwrap_or(0);
        text += &format!(", figures at most {} old", count(days, "day"));
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
            });
            if let Some(summary) = view.summary(collected) {
                let costs = summary.costs.iter();
                let costs = costs.map(|it| (it.currency.as_str().to_owned(), it.amount.to_string()));
                account["costs_per_month"] = json!(costs.collect::<BTreeMap<_, _>>());
                account["products_without_price"] = json!(summary.without_price);
            }
            account["rows"] = view.lines(fetched).map(|line| object(&columns, &line)).collect();
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

/// The rows of all accounts, with the names of the accounts if any has one.
fn lines<'a>(all: &'a [Fetched], view: &'a View<'a>) -> impl Iterator<Item = Line<'a>> {
    let has_accounts = has_accounts(all);
    all.iter().flat_map(move |fetched| {
        let account = fetched.account.as_deref();
        view.lines(fetched)
            .map(move |line| if has_accounts { sheet::of_account(account, line) } else { line })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
