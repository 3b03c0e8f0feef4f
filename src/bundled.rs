//! Files of the repository that the program carries: dashboards, and rules with their runbooks. `export` writes them, and
//! the status page links to them. Which there are, build.rs finds out.

/// A file: its path below wherever it is put, and what is in it.
pub type Bundled = (&'static str, &'static str);

include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

const RUNBOOKS: &str = "docs/runbooks/";

/// The names of the alerts and their runbooks, in Markdown.
pub fn runbooks() -> impl Iterator<Item = Bundled> {
    ALERTS.iter().filter_map(|(path, text)| Some((path.strip_prefix(RUNBOOKS)?.strip_suffix(".md")?, *text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_three_dashboards_and_a_runbook_for_what_fails() {
        assert_eq!(DASHBOARDS.len(), 3);
        let (_, text) = runbooks().find(|(name, _)| *name == "PartnerLicenseScrapeFailing").unwrap();
        assert!(text.starts_with("# PartnerLicenseScrapeFailing"), "{text}");
    }
}
