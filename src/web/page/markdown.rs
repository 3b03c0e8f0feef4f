//! Renders a bundled document, which is Markdown, as a page in the style of the status page.

use axum::response::Response;
use maud::{Markup, PreEscaped, html};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::bundled::{Bundled, concepts, runbooks};

use super::document;

/// What a bundled document is.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// The runbook of an alert.
    Runbook,
    /// A document about a concept.
    Concept,
}

impl Kind {
    /// All documents of this kind, each with its name.
    pub(crate) fn all(self) -> Box<dyn Iterator<Item = Bundled>> {
        match self {
            Self::Runbook => Box::new(runbooks()),
            Self::Concept => Box::new(concepts()),
        }
    }

    const fn titles(self) -> (&'static str, &'static str) {
        match self {
            Self::Runbook => ("Runbook", "All runbooks"),
            Self::Concept => ("Documentation", "More of the documentation"),
        }
    }
}

/// Answers with a document; `has_status_page` allows a link to that.
pub(crate) fn respond(kind: Kind, (name, text): Bundled, has_status_page: bool) -> Response {
    let (title, all) = kind.titles();
    let body = html! {
        header {
            p { strong { (title) } " of partner-license-exporter " (env!("CARGO_PKG_VERSION")) }
            @if has_status_page { nav { a href="../" { "Status page" } } }
        }
        main { section.text { (markdown(text)) } }
        footer {
            details {
                summary { (all) }
                ul.files { @for (name, _) in kind.all() { li { a href=(name) { (name) } } } }
            }
        }
    };
    document::respond(document::render(&format!("{name} · {title}"), &body))
}

/// Renders Markdown. HTML within it is shown as text, and so are links to documents that the program does not have.
/// Headings get ids, such as `remedy`.
fn markdown(text: &str) -> Markup {
    let mut events: Vec<Event<'_>> = Parser::new_ext(text, Options::ENABLE_TABLES).collect();
    let (mut heading, mut is_unknown) = (None, false);
    for n in 0..events.len() {
        match &events[n] {
            Event::Start(Tag::Heading { .. }) => heading = Some((n, String::new())),
            Event::Text(text) | Event::Code(text) => {
                if let Some((_, title)) = &mut heading {
                    title.push_str(text);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                if let Some((start, title)) = heading.take()
                    && let Event::Start(Tag::Heading { id, .. }) = &mut events[start]
                {
                    *id = Some(title.to_lowercase().replace(' ', "-").into());
                }
            }
            Event::Start(Tag::Link { dest_url, .. })
                if dest_url.starts_with("../")
                    && !["../runbooks/", "../concepts/"]
                        .iter()
                        .any(|served| dest_url.starts_with(served)) =>
            {
                (is_unknown, events[n]) = (true, Event::Text("".into()));
            }
            Event::End(TagEnd::Link) if is_unknown => {
                (is_unknown, events[n]) = (false, Event::Text("".into()));
            }
            Event::Html(html) | Event::InlineHtml(html) => events[n] = Event::Text(html.clone()),
            _ => {}
        }
    }
    let mut html = String::new();
    pulldown_cmark::html::push_html(&mut html, events.into_iter());
    PreEscaped(html)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_html_and_html_in_it_becomes_text() {
        for (text, html) in [
            ("## What to do\n", "<h2 id=\"what-to-do\">What to do</h2>\n"),
            ("a <b>`<c>` & \"d\"", "<p>a &lt;b&gt;<code>&lt;c&gt;</code> &amp; \"d\"</p>\n"),
            ("<script>x</script>\n", "&lt;script&gt;x&lt;/script&gt;\n"),
            ("[that](Other.md#remedy)", "<p><a href=\"Other.md#remedy\">that</a></p>\n"),
            ("[a](../concepts/b.md)", "<p><a href=\"../concepts/b.md\">a</a></p>\n"),
            ("[here](../guide/x.md) and [there](b.md)", "<p>here and <a href=\"b.md\">there</a></p>\n"),
            ("```sh\na < b\n```\n", "<pre><code class=\"language-sh\">a &lt; b\n</code></pre>\n"),
            (
                "| a |\n|---|\n| b |\n",
                "<table><thead><tr><th>a</th></tr></thead><tbody>\n<tr><td>b</td></tr>\n</tbody></table>\n",
            ),
        ] {
            assert_eq!(markdown(text).into_string(), html);
        }
    }
}
