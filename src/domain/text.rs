//! Characters of foreign text that change how it is shown.

/// Whether a character changes the direction of writing, so that what follows it is read in another order.
pub fn changes_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
