//! The dashboards, alert rules, runbooks and documents about concepts that build.rs embeds in the program.

/// A file: its relative path and its content.
pub type Bundled = (&'static str, &'static str);

include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

const RUNBOOKS: &str = "docs/runbooks/";

/// The runbooks in Markdown, each with the name of its alert.
pub fn runbooks() -> impl Iterator<Item = Bundled> {
    ALERTS.iter().filter_map(|(path, text)| Some((path.strip_prefix(RUNBOOKS)?.strip_suffix(".md")?, *text)))
}

/// The documents about concepts in Markdown, each with its name, such as `the-numbers`.
pub fn concepts() -> impl Iterator<Item = Bundled> {
    CONCEPTS.iter().filter_map(|(path, text)| Some((path.strip_suffix(".md")?, *text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_four_dashboards_and_a_runbook_for_failing_scrapes() {
        assert_eq!(DASHBOARDS.len(), 4);
        let (_, text) = runbooks().find(|(name, _)| *name == "PartnerLicenseScrapeFailing").unwrap();
        assert!(text.starts_with("# PartnerLicenseScrapeFailing"), "{text}");
    }
}
