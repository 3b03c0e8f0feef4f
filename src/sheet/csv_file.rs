//! Writes lines as CSV (RFC 4180).

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
