//! Prints to stdout what the user asked for.

use std::io::{self, ErrorKind, Write as _};

/// Prints a line. A reader that has closed the pipe, such as `head`, is no error.
///
/// # Errors
/// If writing fails for another reason, such as a full disk.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
