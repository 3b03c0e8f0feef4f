//! Renders a name and a value in a list of facts.

use maud::{Markup, Render, html};

/// Renders an item of a `dl`, with a detail below the value.
pub(super) fn fact(name: &str, value: impl Render, detail: Option<Markup>) -> Markup {
    html! {
        div {
            dt { (name) }
            dd { (value) @if let Some(detail) = detail { " " small { (detail) } } }
        }
    }
}
