//! Prints what the user asked for to stdout, and warnings and errors to stderr.

use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, Write};

/// The number of bytes that are passed to the system at a time.
const PIECE: usize = 64 << 10;

/// Prints a line. A reader that has closed the pipe, such as `head`, is no error.
///
/// # Errors
/// If writing fails for another reason, such as a full disk.
pub(super) fn print(text: &str) -> io::Result<()> {
    print_document(&format!("{text}\n"))
}

/// Prints a text that ends in a line break, or is empty. A closed pipe is no error either.
///
/// # Errors
/// As for [`print()`].
pub(super) fn print_document(text: &str) -> io::Result<()> {
    print_pieces(|out| out.write_all(text.as_bytes()))
}

/// Prints what `write` writes piece by piece, so that a long document is never in memory as a whole. A closed pipe ends
/// it, and is no error either.
///
/// # Errors
/// As for [`print()`].
pub(super) fn print_pieces(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(PIECE, io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

#[expect(clippy::print_stderr, reason = "people read it")]
pub(super) fn print_warning(warning: impl Display) {
    eprintln!("warning: {warning}");
}

/// Prints how a command ended that neither failed nor finished.
#[expect(clippy::print_stderr, reason = "people read it")]
pub(super) fn print_notice(notice: impl Display) {
    eprintln!("{notice}");
}

/// Prints an error with its causes.
#[expect(clippy::print_stderr, reason = "people read it")]
pub(super) fn print_error(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
