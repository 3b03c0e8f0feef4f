//! Reads the text of a configuration file.

use std::io;
use std::path::Path;

use crate::{files, plain_text};

/// Reads a regular file of at most `max_bytes`, without its byte order mark.
///
/// # Errors
/// Why it cannot be read, or what is wrong with its encoding and what to do.
pub fn read(path: &Path, max_bytes: u64) -> io::Result<String> {
    let bytes = files::read(path, max_bytes)?;
    let text = plain_text::decode(&bytes)
        .map_err(|what| io::Error::new(io::ErrorKind::InvalidData, format!("the file {what}")))?;
    Ok(text.to_owned())
}
