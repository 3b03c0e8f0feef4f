//! The keys of a scenario about what Microsoft's documents leave open on the two commercial endpoints.
//!
//! It does not know how a response is written.

use serde::{Deserialize, Serialize};

/// What the two commercial endpoints have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Commercial {
    /// Which of the documented paths exist; another one is not found.
    pub paths: Paths,
    /// The form of `@nextLink` while there are more rows.
    pub next_link: NextLink,
    /// What `TotalCount` says.
    pub total_count: TotalCount,
    /// The name of the property for active licences, except in listed rows.
    pub active_property: ActiveProperty,
    /// What the parameter `groupby` does.
    pub groupby: Grouping,
    /// Whether the counts of a grouped response are texts.
    pub counts_as_text: bool,
    /// What happens to the rows between the first page and the others.
    pub between_pages: BetweenPages,
    /// How many days back `processedDateTime` reaches in the portfolio, if there is a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_days: Option<u32>,
}

/// Which of the documented paths exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Paths {
    /// Those below `/v1` and those below `/partner/v1`.
    #[default]
    Both,
    /// Those below `/v1`.
    V1,
    /// Those below `/partner/v1`.
    PartnerV1,
    /// None.
    None,
}

/// The form of `@nextLink` while there are more rows; on the last page it is null or absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NextLink {
    /// A URL with the origin that the caller addressed.
    #[default]
    Absolute,
    /// The path with its version, as the caller addressed it.
    Relative,
    /// The path without `/v1` or `/partner/v1`.
    RelativeWithoutVersion,
    /// Null on every page.
    Null,
    /// No such member on any page.
    Absent,
}

/// What `TotalCount` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TotalCount {
    /// The number of rows on all pages, as of the first page.
    #[default]
    Right,
    /// One more than the number of rows on the page.
    Wrong,
    /// Nothing: the member is absent.
    Absent,
}

/// The name of the property for active licences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ActiveProperty {
    /// As in Microsoft's sample.
    #[default]
    LicenseActive,
    /// As in Microsoft's table of properties.
    LicensesActive,
}

/// What the parameter `groupby` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grouping {
    /// Rows are grouped.
    #[default]
    Applied,
    /// The parameter is ignored.
    Ignored,
    /// 400 with code 3000.
    Refused,
}

/// What happens to the rows between the first page and the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BetweenPages {
    /// Nothing.
    #[default]
    Nothing,
    /// A row is inserted at the start: the second page repeats the last row of the first.
    Repeats,
    /// The first row disappears: one row is on no page.
    Skips,
}

impl ActiveProperty {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::LicenseActive => "licenseActive",
            Self::LicensesActive => "licensesActive",
        }
    }
}
