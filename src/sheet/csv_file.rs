//! Writes lines as CSV.

use std::io;

use super::line::{Cell, Column, Line};

/// Writes CSV (RFC 4180), with a line of keys.
///
/// # Errors
/// If `out` cannot be written.
pub fn write_csv<'a>(
    out: impl io::Write,
    columns: &[Column],
    lines: impl Iterator<Item = Line<'a>>,
) -> csv::Result<()> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    writer.write_record(columns.iter().map(|column| column.key))?;
    for line in lines {
        for cell in &line.cells {
            write_cell(&mut writer, cell)?;
        }
        // Ends the record.
        writer.write_record(None::<&[u8]>)?;
    }
    writer.flush()?;
    Ok(())
}

fn write_cell(writer: &mut csv::Writer<impl io::Write>, cell: &Cell<'_>) -> csv::Result<()> {
    match cell {
        // A spreadsheet would take it for a formula.
        Cell::Text(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => {
            writer.write_field(format!("'{text}"))
        }
        Cell::Text(text) => writer.write_field(text),
        Cell::Count(number) => writer.write_field(number.to_string()),
        Cell::Percent(percent) => writer.write_field(percent.to_string()),
        Cell::Amount(amount) => writer.write_field(amount.to_string()),
        Cell::Currency(currency) => writer.write_field(currency.as_str()),
        Cell::Time(at) => writer.write_field(at.to_string()),
        Cell::Missing => writer.write_field(""),
    }
}
