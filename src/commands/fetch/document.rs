//! Renders a sheet as a table for people, as CSV, and as JSON.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use unicode_width::UnicodeWidthStr as _;

use crate::config::Thresholds;
use crate::domain::collection::{Collected, Collection};
use crate::domain::row::listing;

use super::sheet::{Cell, Fetched, Line, Sheet};

const RED: &str = "\u{1b}[31m";
const PLAIN: &str = "\u{1b}[0m";

// === For people ===

/// The table, and under it what there is to know about the figures of each account.
pub(super) fn table(sheet: &Sheet, all: &[Fetched], has_colour: bool, now: Timestamp) -> String {
    let titles = sheet.columns.iter().map(|column| column.title.to_owned()).collect();
    let lines = sheet.lines.iter().map(|line| line.cells.iter().map(shown).collect());
    let texts: Vec<Vec<String>> = std::iter::once(titles).chain(lines).collect();
    let width = |column: usize| texts.iter().map(|line| line[column].width()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..sheet.columns.len()).map(width).collect();
    let mut out = String::new();
    for (n, line) in texts.iter().enumerate().filter(|_| !sheet.lines.is_empty()) {
        let of_sheet = n.checked_sub(1).map(|n| &sheet.lines[n]);
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (text, width))| {
            let is_number = sheet.lines.iter().any(|line| line.cells[column].is_number());
            let space = " ".repeat(width - text.width());
            if is_number { format!("{space}{text}") } else { format!("{text}{space}") }
        });
        let text = cells.collect::<Vec<_>>().join("  ");
        let text = text.trim_end();
        let is_red = has_colour && of_sheet.is_some_and(|line| line.is_low);
        let low = if of_sheet.is_some_and(|line| line.is_low) { "  low" } else { "" };
        if is_red {
            out += &format!("{RED}{text}{low}{PLAIN}\n");
        } else {
            out += &format!("{text}{low}\n");
        }
    }
    let footers = all.iter().filter_map(|fetched| {
        let collected = fetched.outcome.as_ref().ok()?;
        let account =
            fetched.account.as_ref().map_or_else(String::new, |name| format!("{}: ", visible(name)));
        Some(account + &footer(collected, now))
    });
    footers.fold(out, |out, footer| out + &footer + "\n")
}

/// How many rows there are, where they come from, what was dropped, and how old the figures are.
fn footer(collected: &Collected, now: Timestamp) -> String {
    let mut text = format!("{} rows", collected.len());
    if let Some(customers) = collected.customers() {
        text += &format!(" of {} customers", customers.count());
    }
    text += &format!(" from {}", collected.source().as_str());
    if !collected.rejected().is_empty() {
        text += &format!(", dropped: {}", listing(collected.rejected()));
    }
    if let Some((oldest, _)) = collected.processed() {
        let days = now.duration_since(oldest).as_hours() / 24;
        text += &format!(", figures at most {days} days old");
    }
    text
}

fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => visible(text),
        Cell::Count(number) => number.to_string(),
        Cell::Percent(percent) => format!("{percent:.2} %"),
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

/// The sheet as CSV (RFC 4180), with a line of keys.
pub(super) fn csv(sheet: &Sheet) -> anyhow::Result<String> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(sheet.columns.iter().map(|column| column.key))?;
    for line in &sheet.lines {
        writer.write_record(line.cells.iter().map(written))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn written(cell: &Cell) -> String {
    match cell {
        // A spreadsheet would take it for a formula.
        Cell::Text(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
        Cell::Text(text) => text.clone(),
        Cell::Count(number) => number.to_string(),
        Cell::Percent(percent) => percent.to_string(),
        Cell::Time(at) => at.to_string(),
        Cell::Missing => String::new(),
    }
}

/// One object with the rows of each account, or why there are none.
pub(super) fn json(
    collection: Collection,
    all: &[Fetched],
    thresholds: &Thresholds,
    now: Timestamp,
) -> String {
    let account = |fetched: &Fetched| match &fetched.outcome {
        Ok(collected) => {
            let sheet = Sheet::of(collection, fetched, thresholds);
            let rejected = collected.rejected().iter().map(|(error, count)| (error.as_str(), count));
            json!({
                "account": fetched.account,
                "source": collected.source().as_str(),
                "rejected": rejected.collect::<BTreeMap<_, _>>(),
                "rows": sheet.lines.iter().map(|line| object(&sheet, line)).collect::<Vec<_>>(),
            })
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
        "collection": collection.as_str(),
        "fetched_at": now.to_string(),
        "accounts": accounts,
    });
    format!("{document:#}\n")
}

fn object(sheet: &Sheet, line: &Line) -> Value {
    let value = |cell: &Cell| match cell {
        Cell::Text(text) => json!(text),
        Cell::Count(number) => json!(number),
        Cell::Percent(percent) => json!(percent),
        Cell::Time(at) => json!(at.to_string()),
        Cell::Missing => Value::Null,
    };
    let cells = sheet.columns.iter().zip(&line.cells);
    Value::Object(cells.map(|(column, cell)| (column.key.to_owned(), value(cell))).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::super::sheet::Column;
    use super::*;

    #[test]
    fn columns_are_aligned_whatever_the_width_of_characters_and_low_rows_are_red() {
        let column = |title| Column { key: "", title };
        let line = |text: &str, number, is_low| Line {
            cells: vec![Cell::Text(text.to_owned()), Cell::Count(number), Cell::Missing],
            is_low,
        };
        let sheet = Sheet {
            columns: vec![column("Name"), column("Unused"), column("Threshold")],
            lines: vec![line("雲\u{1b}[2J\u{202e}", 7, true), line("Contoso", 12_345_678, false)],
        };
        let expected = "Name       Unused  Threshold\n\
                        \u{1b}[31m雲\u{fffd}[2J\u{fffd}         7  low\u{1b}[0m\n\
                        Contoso  12345678\n";
        assert_eq!(table(&sheet, &[], true, Timestamp::UNIX_EPOCH), expected);
        assert!(!table(&sheet, &[], false, Timestamp::UNIX_EPOCH).contains('\u{1b}'));
    }
}
