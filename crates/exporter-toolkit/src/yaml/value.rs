//! Parses YAML into a tree whose scalars keep their spelling: `yes` is a boolean where one is expected, and the text
//! `yes` where a string is.
//!
//! Of the parser's errors only the position is kept, since the rest may quote a secret.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Error, Location, Spanned};

use crate::plain_text;

use super::layout::{Mistake, first_mistake, tab_before_the_first_key};
use super::problem::{Problem, shorten};

/// One value of a document.
pub(super) enum Value {
    Null,
    Bool { value: bool, written: String },
    Number { value: f64, written: String },
    Text(String),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

impl Value {
    /// Returns what it is, for a message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool { .. } => "true or false",
            Self::Number { .. } => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }

    /// Returns a scalar as it is written, which is empty for null; a list or a mapping comes back as the error.
    pub(super) fn into_written(self) -> Result<String, Self> {
        match self {
            Self::Null => Ok(String::new()),
            Self::Text(text) => Ok(text),
            Self::Bool { written, .. } | Self::Number { written, .. } => Ok(written),
            other => Err(other),
        }
    }
}

/// The deepest nesting of lists and mappings.
const MAX_DEPTH: usize = 32;
/// The most bytes of all values, each as often as aliases repeat it.
const MAX_SCALAR_BYTES: usize = 32 << 20;
/// The most values and keys that aliases may expand to.
const MAX_EXPANDED: usize = 100_000;

/// Parses a document.
pub(super) fn parse(text: &str) -> Result<Value, Problem> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        leading_zero_numbers_as_strings: true,
        // `.nan` becomes a problem at its path instead of an error of the whole document.
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::AsString,
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_total_scalar_bytes: MAX_SCALAR_BYTES,
            // Many accounts may share one anchor. What they expand to is limited below.
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_EXPANDED },
    };
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Value::Map(Vec::new()));
    }
    let placed = |mistake: Mistake| Problem {
        path: String::new(),
        text: format!("line {}, column {}: {}", mistake.line, mistake.column, mistake.what),
    };
    if let Some(mistake) = tab_before_the_first_key(text) {
        return Err(placed(mistake));
    }
    let parsed = serde_saphyr::from_str_with_options::<Spanned<Node>>(text, options);
    parsed.map(|node| build(node, text)).map_err(|error| {
        let place = error.location().map(|at| format!("line {}, column {}", at.line(), at.column()));
        let at = place.as_ref().map(|place| format!(" at {place}")).unwrap_or_default();
        let what = match error.without_snippet() {
            Error::DuplicateMappingKey { key: Some(key), .. } => {
                format!("{} occurs twice", shorten(key, "key"))
            }
            other => {
                if let Some(what) = alias_or_limit(other) {
                    let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
                    return Problem { path: String::new(), text: format!("{place}{what}") };
                }
                if let Some(flaw) = plain_text::control_character(text) {
                    return Problem { path: String::new(), text: format!("{flaw}; remove it") };
                }
                let line = other
                    .location()
                    .map_or(usize::MAX, |at| usize::try_from(at.line()).unwrap_or(usize::MAX));
                if let Some(mistake) = first_mistake(text, line) {
                    return placed(mistake);
                }
                "this is not YAML".to_owned()
            }
        };
        Problem { path: String::new(), text: format!("{what}{at}") }
    })
}

/// Returns what is wrong with an alias, or too much in the document, and what to do.
fn alias_or_limit(error: &Error) -> Option<&'static str> {
    use BudgetBreach::{Aliases, Anchors, Depth, MergeKeys, RecordedAnchorBytes, RecordedAnchorEvents};
    match error {
        Error::AliasError { error, .. } => alias_or_limit(error),
        Error::UnknownAnchor { .. } => Some(
            "this alias has no anchor: name one above it with &, or put a value that starts with * in quotes",
        ),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            Some("this alias stands within what it repeats; write the value instead")
        }
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. }
        | Error::Budget {
            breach:
                Aliases { .. }
                | Anchors { .. }
                | MergeKeys { .. }
                | RecordedAnchorBytes { .. }
                | RecordedAnchorEvents { .. },
            ..
        } => Some("the aliases repeat too many values; write the values instead of *name"),
        Error::Budget { breach: Depth { .. }, .. } => {
            Some("too many levels of lists and mappings; check brackets and indentation")
        }
        Error::Budget { .. } => Some("too many values, or too long ones; remove what is not needed"),
        _ => None,
    }
}

/// A value as the parser gives it, without its spelling.
enum Node {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(String, Spanned<Self>)>),
}

fn build(node: Spanned<Node>, text: &str) -> Value {
    let at = node.defined;
    match node.value {
        Node::Null => Value::Null,
        Node::Bool(value) => Value::Bool { value, written: written(at, text, &value) },
        Node::Number(value) => Value::Number { value, written: written(at, text, &value) },
        Node::Text(text) => Value::Text(text),
        Node::List(items) => Value::List(items.into_iter().map(|item| build(item, text)).collect()),
        Node::Map(entries) => {
            Value::Map(entries.into_iter().map(|(key, value)| (key, build(value, text))).collect())
        }
    }
}

/// Returns the spelling of a scalar, or `fallback` if the parser does not know its position.
fn written(at: Location, text: &str, fallback: &dyn fmt::Display) -> String {
    let span = at.span();
    let bytes = span.byte_offset().zip(span.byte_len()).and_then(|(start, length)| {
        let start = usize::try_from(start).ok()?;
        text.get(start..start.checked_add(usize::try_from(length).ok()?)?)
    });
    bytes.map_or_else(|| fallback.to_string(), |spelling| spelling.trim().to_owned())
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "no number of a configuration is that large")]
    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "no number of a configuration is that large")]
    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "no number of a configuration is that large")]
    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "no number of a configuration is that large")]
    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree as one line, scalars with their spelling.
    fn shown(text: &str) -> String {
        fn show(tree: Value) -> String {
            let all = |parts: Vec<String>| parts.join(" ");
            match tree {
                Value::List(items) => format!("[{}]", all(items.into_iter().map(show).collect())),
                Value::Map(entries) => {
                    let entries = entries.into_iter().map(|(key, value)| format!("{key}={}", show(value)));
                    format!("{{{}}}", all(entries.collect()))
                }
                scalar => {
                    let kind = scalar.kind().rsplit(' ').next().unwrap().to_owned();
                    let written = scalar.into_written().unwrap_or_else(|_| unreachable!("it is a scalar"));
                    format!("{kind}:{written}")
                }
            }
        }
        parse(text).map_or_else(|problem| problem.to_string(), show)
    }

    #[test]
    fn scalars_keep_their_spelling() {
        for (yaml, expected) in [
            ("a: 1", "{a=number:1}"),
            ("a: 1.10", "{a=number:1.10}"),
            ("a: 0x1F  # hex", "{a=number:0x1F}"),
            ("a: -5", "{a=number:-5}"),
            ("a: 0755", "{a=string:0755}"),
            ("a: yes", "{a=false:yes}"),
            ("a: Off", "{a=false:Off}"),
            ("a: [y, n, on, TRUE]", "{a=[false:y false:n false:on false:TRUE]}"),
            ("a: 'yes'", "{a=string:yes}"),
            ("a: ~", "{a=nothing:}"),
            ("a:", "{a=nothing:}"),
            ("a: ''", "{a=string:}"),
            ("on: 1\n2: b", "{on=number:1 2=string:b}"),
            ("ä: [é, 12, ö, 13]", "{ä=[string:é number:12 string:ö number:13]}"),
            ("\u{feff}a: 12", "{a=number:12}"),
            ("a: &x 007.50\nb: *x", "{a=number:007.50 b=number:007.50}"),
            ("x: &x { a: 1.0 }\ny: { <<: *x, b: no }", "{x={a=number:1.0} y={b=false:no a=number:1.0}}"),
            ("a: .nan", "{a=string:.nan}"),
            ("# only this\n", "{}"),
            ("---\n", "nothing:"),
            ("a: 1\na: 2", "a occurs twice at line 2, column 1"),
            ("a: [", "this is not YAML at line 1, column 4"),
        ] {
            assert_eq!(shown(yaml), expected, "{yaml:?}");
        }
    }
}
