//! Renders texts, times, durations and percentages as HTML.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

use jiff::Timestamp;
use maud::{Markup, html};

use crate::domain::text::changes_direction;

/// A duration in its two largest units.
#[derive(Clone, Copy)]
pub(super) struct Length {
    seconds: i64,
}

/// A percentage with two decimals, or with all of them where two would hide that it is low or not zero.
pub(super) struct Percentage {
    pub(super) percent: f64,
    pub(super) low_below: Option<f64>,
}

/// A number and its noun, such as `1 row` or `2 rows`.
pub(super) struct Count<N>(pub(super) N, pub(super) &'static str);

/// Returns the link from the page to a path of this program. It is relative, so that it leads there behind a proxy that
/// serves the program below a prefix; and it begins with a dot, so that a colon in the path is no scheme.
pub(super) fn link(path: &str) -> String {
    format!(".{path}")
}

/// Replaces the control characters that HTML does not allow and those that change the direction of writing, so that a
/// reader sees that there are some.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    let is_invalid = |c: char| c.is_control() && c != '\n' && c != '\t' || changes_direction(c);
    if text.contains(is_invalid) { text.replace(is_invalid, "\u{fffd}").into() } else { text.into() }
}

/// Renders a remedy, in which backticks enclose commands.
pub(super) fn with_commands(text: &str) -> Markup {
    html! {
        @for (n, part) in text.split('`').enumerate() {
            @if n % 2 == 0 { (part) } @else { code { (part) } }
        }
    }
}

/// Renders a time to the minute, with the seconds in the attribute.
pub(super) fn time(at: Timestamp) -> Markup {
    html! { time datetime=(exactly(at)) { (at.strftime("%Y-%m-%d %H:%M UTC")) } }
}

/// Renders the day of a time, with the time itself in the attribute.
pub(super) fn day(at: Timestamp) -> Markup {
    html! { time datetime=(exactly(at)) { (at.strftime("%Y-%m-%d")) } }
}

/// Formats a time as HTML wants it, which allows at most three decimals of a second.
fn exactly(at: Timestamp) -> impl Display {
    at.strftime("%Y-%m-%dT%H:%M:%SZ")
}

impl Length {
    /// The duration from `earlier` to `later`, and 0 s where `later` comes first.
    pub(super) fn between(earlier: Timestamp, later: Timestamp) -> Self {
        Self { seconds: later.duration_since(earlier).as_secs().max(0) }
    }
}

impl Display for Length {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const UNITS: [(i64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
        let largest = UNITS.iter().position(|(unit, _)| self.seconds >= *unit).unwrap_or(UNITS.len() - 1);
        let (unit, name) = UNITS[largest];
        write!(f, "{} {name}", self.seconds / unit)?;
        match UNITS.get(largest + 1) {
            Some((smaller, name)) if self.seconds % unit >= *smaller => {
                write!(f, " {} {name}", self.seconds % unit / smaller)
            }
            _ => Ok(()),
        }
    }
}

impl Display for Percentage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let percent = self.percent;
        if percent >= 1e9 {
            return write!(f, "{percent:.2e} %");
        }
        let short = format!("{percent:.2}");
        let rounded = short.parse().unwrap_or(percent);
        let is_low = |percent: f64| self.low_below.is_some_and(|threshold| percent < threshold);
        let misleads = is_low(percent) != is_low(rounded) || (percent > 0.0 && rounded <= 0.0);
        if !misleads {
            write!(f, "{short} %")
        } else if percent < 1e-6 {
            write!(f, "{percent:e} %")
        } else {
            write!(f, "{percent} %")
        }
    }
}

impl<N: Display + PartialEq + From<u8>> Display for Count<N> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == N::from(1) { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_has_its_two_largest_units() {
        let start: Timestamp = "2026-11-23T05:00:00Z".parse().unwrap();
        for (seconds, text) in [
            (-5, "0 s"),
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (754, "12 min 34 s"),
            (3_600, "1 h"),
            (3_659, "1 h"),
            (14_533, "4 h 2 min"),
            (86_399, "23 h 59 min"),
            (86_400, "1 d"),
            (90 * 86_400 - 1, "89 d 23 h"),
            (3_545 * 86_400 + 60, "3545 d"),
        ] {
            let later = start + jiff::SignedDuration::from_secs(seconds);
            assert_eq!(Length::between(start, later).to_string(), text, "{seconds}");
        }
    }

    #[test]
    fn a_percentage_has_two_decimals_unless_they_would_mislead() {
        for (percent, low_below, text) in [
            (0.0, Some(40.0), "0.00 %"),
            (91.5, Some(40.0), "91.50 %"),
            (31.15, None, "31.15 %"),
            (39.996, Some(40.0), "39.996 %"),
            (39.996, None, "40.00 %"),
            (40.001, Some(40.0), "40.00 %"),
            (0.004, Some(0.0), "0.004 %"),
            (4e-300, None, "4e-300 %"),
            (123_456.789, Some(40.0), "123456.79 %"),
            (f64::MAX, Some(40.0), "1.80e308 %"),
        ] {
            assert_eq!(Percentage { percent, low_below }.to_string(), text);
        }
    }

    #[test]
    fn a_time_is_in_utc_and_readable_by_programs() {
        let time = time("2026-11-23T07:11:50.123456789+02:00".parse().unwrap()).into_string();
        assert_eq!(time, "<time datetime=\"2026-11-23T05:11:50Z\">2026-11-23 05:11 UTC</time>");
    }

    #[test]
    fn a_control_character_that_html_does_not_allow_is_made_visible() {
        let text = "<a href='\"'>&\u{0}\u{1b}\u{9b}\n\t✓ é";
        assert_eq!(visible(text), "<a href='\"'>&\u{fffd}\u{fffd}\u{fffd}\n\t✓ é");
    }

    #[test]
    fn a_command_in_a_remedy_is_marked_up() {
        let text = with_commands("run `login --account <a>`, then wait").into_string();
        assert_eq!(text, "run <code>login --account &lt;a&gt;</code>, then wait");
    }
}
