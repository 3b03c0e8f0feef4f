//! Which format a client gets. Total: whatever it sends, there is an answer.

use super::Format;

/// The format a client prefers, by the `q` values of its `Accept` header. Whoever asks for nothing we have
/// gets the classic text, which every Prometheus reads.
pub fn negotiate(accept: Option<&str>) -> Format {
    let mut best = (0, Format::Classic);
    for clause in accept.unwrap_or_default().split(',') {
        let mut parts = clause.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut version, mut quality) = (None, 1000);
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match key.trim().to_ascii_lowercase().as_str() {
                "version" => version = Some(value.trim().trim_matches('"')),
                "q" => quality = thousandths(value.trim()),
                _ => {}
            }
        }
        let format = match (media.as_str(), version) {
            // OpenMetrics 0.0.1, which `application/openmetrics-text` without a version asks for, is not served.
            ("application/openmetrics-text", Some("1.0.0")) => Format::OpenMetrics,
            ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => Format::Classic,
            _ => continue,
        };
        // Of equals the first wins.
        if quality > best.0 {
            best = (quality, format);
        }
    }
    best.1
}

/// A `q` value, 0–1, in thousandths; nonsense counts as 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=1000")]
fn thousandths(text: &str) -> u32 {
    text.parse::<f64>().map_or(0, |q| (q.clamp(0.0, 1.0) * 1000.0) as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prometheus_gets_the_format_it_prefers() {
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let text_only = "text/plain;version=0.0.4;q=0.8,*/*;q=0.2";
        assert_eq!(negotiate(Some(prometheus_3)), Format::OpenMetrics);
        assert_eq!(negotiate(Some(prometheus_2)), Format::OpenMetrics);
        assert_eq!(negotiate(Some(text_only)), Format::Classic);
    }

    #[test]
    fn whoever_does_not_ask_for_openmetrics_1_0_0_gets_the_classic_text() {
        for accept in
            [None, Some(""), Some("*/*"), Some("text/html"), Some("application/json;q=x"), Some(";;,,=")]
        {
            assert_eq!(negotiate(accept), Format::Classic, "{accept:?}");
        }
        for accept in ["application/openmetrics-text", "application/openmetrics-text;version=2.0.0"] {
            assert_eq!(negotiate(Some(accept)), Format::Classic, "{accept}");
        }
        assert_eq!(negotiate(Some("application/openmetrics-text;version=1.0.0;q=0")), Format::Classic);
    }

    proptest! {
        #[test]
        fn any_header_gets_an_answer(accept in ".{0,200}") {
            negotiate(Some(&accept));
        }
    }
}
