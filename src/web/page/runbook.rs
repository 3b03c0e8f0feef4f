//! Renders a runbook, which is Markdown, as a page in the style of the status page.

use axum::response::Response;
use maud::{Markup, PreEscaped, html};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::bundled::runbooks;

use super::document;

/// Answers with the runbook `text` of an alert; `has_status_page` allows a link to that.
pub(crate) fn respond(alert: &str, text: &str, has_status_page: bool) -> Response {
    let body = html! {
        header {
            p { strong { "Runbook" } " of partner-license-exporter " (env!("CARGO_PKG_VERSION")) }
            @if has_status_page { nav { a href="../" { "Status page" } } }
        }
        main { section.text { (markdown(text)) } }
        footer {
            details {
                summary { "All runbooks" }
                ul.files { @for (alert, _) in runbooks() { li { a href=(alert) { (alert) } } } }
            }
        }
    };
    document::respond(document::render(&format!("{alert} · Runbook"), &body))
}

/// Renders Markdown. HTML within it is shown as text. Headings get ids, such as `remedy`.
fn markdown(text: &str) -> Markup {
    let mut events: Vec<Event<'_>> = Parser::new_ext(text, Options::ENABLE_TABLES).collect();
    let mut heading = None;
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
