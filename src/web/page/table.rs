//! The rows of one account, lowest first, each with a bar against its threshold.

use crate::config::Thresholds;
use crate::domain::usage::LicenseUsage;

use super::text::{Count, Day, Escaped, Share, add};

/// How many rows of a collection there are, and how many of them stand out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) rows: usize,
    /// Below their threshold.
    pub(super) low: usize,
    /// Without a threshold.
    pub(super) muted: usize,
}

impl Tally {
    pub(super) fn of(rows: &[LicenseUsage], thresholds: &Thresholds) -> Self {
        let mut tally = Self { rows: rows.len(), ..Self::default() };
        for row in rows {
            match thresholds.applying_to(row) {
                Some(threshold) if row.percent.get() < threshold => tally.low += 1,
                Some(_) => {}
                None => tally.muted += 1,
            }
        }
        tally
    }

    pub(super) fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.low += other.low;
        self.muted += other.muted;
    }
}

/// What a bar's full length stands for, in percent: there is room above 100, and its mark is at four fifths.
const SCALE: f64 = 125.0;

/// Writes the `most` lowest rows. `tally` is that of all of them.
pub(super) fn write(
    out: &mut String,
    rows: &[LicenseUsage],
    thresholds: &Thresholds,
    tally: Tally,
    most: usize,
) {
    let Tally { rows: count, low, muted } = tally;
    add!(out, "<table>\n<caption>{}, lowest first", Count(count, "row"));
    for (count, word) in [(low, "low"), (muted, "muted")] {
        if count > 0 {
            add!(out, " · {count} {word}");
        }
    }
    if count > most {
        add!(out, ". Only the lowest {most} are shown; the metrics have all of them");
    }
    add!(
        out,
        ".</caption>\n<thead><tr><th scope=\"col\">Workload</th><th scope=\"col\">Service</th><th scope=\"col\">Channel</th>\
         <th scope=\"col\">Usage</th><th scope=\"col\">Threshold</th><th scope=\"col\">Data of</th></tr></thead>\n<tbody>\n",
    );
    for row in lowest(rows, most) {
        write_row(out, row, thresholds.applying_to(row));
    }
    add!(out, "</tbody>\n</table>\n");
}

/// The lowest rows; of equals the first by name.
fn lowest(rows: &[LicenseUsage], most: usize) -> impl Iterator<Item = &LicenseUsage> {
    let mut order: Vec<(f64, usize)> =
        rows.iter().enumerate().map(|(n, row)| (row.percent.get(), n)).collect();
    let by_percent = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    if order.len() > most {
        order.select_nth_unstable_by(most, by_percent);
        order.truncate(most);
    }
    order.sort_unstable_by(by_percent);
    order.into_iter().map(|(_, n)| &rows[n])
}

fn write_row(out: &mut String, row: &LicenseUsage, threshold: Option<f64>) {
    let percent = row.percent.get();
    let (class, word) = match threshold {
        Some(threshold) if percent < threshold => (" class=\"low\"", " <b>low</b>"),
        Some(_) => ("", ""),
        None => (" class=\"muted\"", ""),
    };
    add!(
        out,
        "<tr{class}><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>",
        Escaped(&row.workload),
        Escaped(&row.service),
        Escaped(&row.channel),
    );
    add!(out, "<span>{}</span>", Share { percent, low_below: threshold });
    write_bar(out, percent, threshold);
    add!(out, "{word}</td><td>");
    match threshold {
        Some(threshold) => add!(out, "{threshold} %"),
        None => add!(out, "muted"),
    }
    add!(out, "</td><td>{}</td></tr>\n", Day(row.processed_at));
}

/// The picture of what the text beside it says, hence hidden from whoever is read to. Attributes and no style,
/// which the content security policy would refuse.
fn write_bar(out: &mut String, percent: f64, threshold: Option<f64>) {
    let share = |percent: f64| (percent / SCALE * 100.0).min(100.0);
    let length = share(percent);
    add!(
        out,
        "<svg class=\"bar\" width=\"160\" height=\"10\" aria-hidden=\"true\"><rect width=\"{length:.1}%\" height=\"100%\"/>"
    );
    if percent > SCALE {
        // Broken, as it would be longer.
        add!(out, "<rect class=\"gap\" x=\"92%\" width=\"3\" height=\"100%\"/>");
    }
    if let Some(threshold) = threshold {
        add!(
            out,
            "<rect class=\"mark\" x=\"{:.1}%\" width=\"2\" height=\"100%\"/>",
            share(threshold).min(99.0)
        );
    }
    add!(out, "</svg>");
}
