//! Writes lines as CSV (RFC 4180).

use std::borrow::Cow;
use std::io;

use super::line::{Cell, Column, Line};

/// Writes the line of keys, which comes first.
///
/// # Errors
/// If `out` cannot be written.
pub fn write_csv_keys(out: impl io::Write, columns: &[Column]) -> io::Result<()> {
    write(out, |writer| writer.write_record(columns.iter().map(|column| column.key)))
}

/// Writes lines, which may be a part of all lines.
///
/// # Errors
/// If `out` cannot be written.
pub fn write_csv_lines<'a>(out: impl io::Write, lines: impl Iterator<Item = Line<'a>>) -> io::Result<()> {
    write(out, |writer| {
        for line in lines {
            for cell in &line.cells {
                write_cell(writer, cell)?;
            }
            // Ends the record.
            writer.write_record(None::<&[u8]>)?;
        }
        Ok(())
    })
}

fn write<W: io::Write>(
    out: W,
    records: impl FnOnce(&mut csv::Writer<W>) -> csv::Result<()>,
) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    records(&mut writer).map_err(|error| match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    })?;
    writer.flush()
}

/// A text of which a spreadsheet takes no part for a formula: neither its beginning nor what follows a character at which
/// a spreadsheet of another country would begin a cell.
fn defused(text: &str) -> Cow<'_, str> {
    let begins_a_formula = |c: char| matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r');
    if !text.starts_with(begins_a_formula) && !text.contains([';', '\t']) {
        return text.into();
    }
    let mut before = ';';
    let mut defused = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if matches!(before, ';' | '\t') && begins_a_formula(c) {
            defused.push('\'');
        }
        defused.push(c);
        before = c;
    }
    defused.into()
}

fn write_cell(writer: &mut csv::Writer<impl io::Write>, cell: &Cell<'_>) -> csv::Result<()> {
    match cell {
        Cell::Text(text) => writer.write_field(defused(text).as_bytes()),
        Cell::Count(number) => writer.write_field(number.to_string()),
        Cell::Percent(percent) => writer.write_field(percent.to_string()),
        Cell::Amount(amount) => writer.write_field(amount.to_string()),
        Cell::Currency(currency) => writer.write_field(currency.as_str()),
        Cell::Time(at) => writer.write_field(at.to_string()),
        Cell::Missing => writer.write_field(""),
    }
}
