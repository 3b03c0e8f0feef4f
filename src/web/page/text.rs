//! How texts, moments, lengths of time and shares are written in HTML. Knows nothing of accounts.

use std::fmt::{self, Display, Formatter, Write};

use jiff::Timestamp;

/// Writes to a page.
macro_rules! add {
    ($out:expr, $($part:tt)*) => {
        std::fmt::Write::write_fmt($out, format_args!($($part)*)).expect("a string takes everything")
    };
}
pub(super) use add;

/// Text from anywhere, safe inside elements and quoted attributes.
pub(super) struct Escaped<'a>(pub(super) &'a str);

/// A remedy: what stands between backticks is a command.
pub(super) struct WithCommands<'a>(pub(super) &'a str);

/// A moment, to the minute for people and to the second for programs.
pub(super) struct Moment(pub(super) Timestamp);

/// A day.
pub(super) struct Day(pub(super) Timestamp);

/// A length of time in its two largest units; nothing is shorter than 0 s.
#[derive(Clone, Copy)]
pub(super) struct Length(i64);

/// A percentage with two digits, or with all of them where two would hide that it is low, or is not nothing.
pub(super) struct Share {
    pub(super) percent: f64,
    pub(super) low_below: Option<f64>,
}

/// A number of things.
pub(super) struct Count<N>(pub(super) N, pub(super) &'static str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // HTML has no place for these, and nobody would see that they are there.
                c if c.is_control() && c != '\n' && c != '\t' => f.write_char(char::REPLACEMENT_CHARACTER)?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

impl Display for WithCommands<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (n, part) in self.0.split('`').enumerate() {
            let part = Escaped(part);
            if n % 2 == 0 { write!(f, "{part}")? } else { write!(f, "<code>{part}</code>")? }
        }
        Ok(())
    }
}

impl Display for Moment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // More than three digits of a second would be no valid datetime.
        let (exact, shown) = (self.0.strftime("%Y-%m-%dT%H:%M:%SZ"), self.0.strftime("%Y-%m-%d %H:%M"));
        write!(f, "<time datetime=\"{exact}\">{shown} UTC</time>")
    }
}

impl Display for Day {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (exact, shown) = (self.0.strftime("%Y-%m-%dT%H:%M:%SZ"), self.0.strftime("%Y-%m-%d"));
        write!(f, "<time datetime=\"{exact}\">{shown}</time>")
    }
}

impl Length {
    /// From `earlier` to `later`.
    pub(super) fn between(earlier: Timestamp, later: Timestamp) -> Self {
        Self(later.duration_since(earlier).as_secs().max(0))
    }
}

impl Display for Length {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const UNITS: [(i64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
        let largest = UNITS.iter().position(|(unit, _)| self.0 >= *unit).unwrap_or(UNITS.len() - 1);
        let (unit, name) = UNITS[largest];
        write!(f, "{} {name}", self.0 / unit)?;
        match UNITS.get(largest + 1) {
            Some((smaller, name)) if self.0 % unit >= *smaller => {
                write!(f, " {} {name}", self.0 % unit / smaller)
            }
            _ => Ok(()),
        }
    }
}

impl Display for Share {
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
    fn lengths_are_written_in_their_two_largest_units() {
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
    fn a_share_has_two_digits_unless_they_would_mislead() {
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
            assert_eq!(Share { percent, low_below }.to_string(), text);
        }
    }

    #[test]
    fn moments_are_in_utc_and_readable_by_programs() {
        let moment = Moment("2026-11-23T07:11:50.123456789+02:00".parse().unwrap()).to_string();
        assert_eq!(moment, "<time datetime=\"2026-11-23T05:11:50Z\">2026-11-23 05:11 UTC</time>");
    }

    #[test]
    fn what_html_has_no_place_for_can_be_seen() {
        let text = "<a href='\"'>&\u{0}\u{1b}\u{9b}\n\t✓ é";
        let expected = "&lt;a href=&#39;&quot;&#39;&gt;&amp;\u{fffd}\u{fffd}\u{fffd}\n\t✓ é";
        assert_eq!(Escaped(text).to_string(), expected);
    }

    #[test]
    fn a_command_in_a_remedy_is_marked_as_one() {
        let text = WithCommands("run `login --account <a>`, then wait").to_string();
        assert_eq!(text, "run <code>login --account &lt;a&gt;</code>, then wait");
    }
}
