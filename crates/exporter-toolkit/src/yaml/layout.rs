//! Finds what a person got wrong in a document that the parser refuses, from its lines alone.
//!
//! A finding quotes nothing of the document, since any part of it may be a secret.

use crate::plain_text::is_typographic_quote;

/// A mistake and the place where it begins, both counted from 1.
#[derive(Debug, PartialEq)]
pub(super) struct Mistake {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) what: &'static str,
}

/// A level of indentation.
#[derive(Clone, Copy, PartialEq)]
struct Level {
    indent: usize,
    /// Whether its last entry is a key with a value of its own on the same line.
    has_value: bool,
    /// Whether its entries are list items, each with its dash.
    is_list: bool,
}

const TAB: &str = "tabs are not allowed for indentation; use spaces";

/// Returns a tab before the first key, which the parser accepts as long as no other key follows.
pub(super) fn tab_before_the_first_key(text: &str) -> Option<Mistake> {
    let lines = text.trim_start_matches('\u{feff}').lines().zip(1..);
    let mut lines = lines.map(|(line, number)| (line, line.trim_start_matches([' ', '\t']), number));
    let (line, body, number) =
        lines.find(|(_, body, _)| !(body.trim().is_empty() || body.starts_with('#') || is_document(body)))?;
    let tab = line.find('\t').filter(|tab| *tab < line.len() - body.len())?;
    Some(Mistake { line: number, column: tab + 1, what: TAB })
}

/// Whether a line without its indentation begins a document.
fn is_document(body: &str) -> bool {
    body.trim_end() == "---" || body.starts_with("--- ")
}

/// Returns the first mistake up to the line at which the parser gave up. A flow collection over several lines ends the
/// examination.
pub(super) fn first_mistake(text: &str, gave_up_at: usize) -> Option<Mistake> {
    let mut levels: Vec<Level> = Vec::new();
    // The indentation of the key of a block scalar, whose lines are not examined.
    let mut block: Option<usize> = None;
    let mut has_content = false;
    for (index, raw) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = index + 1;
        let found = |column: usize, what| Some(Mistake { line, column: column + 1, what });
        let body = raw.trim_start_matches([' ', '\t']);
        let indent = raw.len() - body.len();
        if body.trim().is_empty() || body.starts_with('#') {
            continue;
        }
        if let Some(key) = block {
            if indent > key {
                continue;
            }
            block = None;
        }
        if let Some(tab) = raw.find('\t').filter(|tab| *tab < indent) {
            return found(tab, TAB);
        }
        if indent == 0 && is_document(body) {
            if has_content {
                return found(0, "a second document starts here; remove this line, or everything after it");
            }
            continue;
        }
        // The parser gives up before a tab, and after every other mistake.
        if line > gave_up_at {
            break;
        }
        has_content = true;
        let (content, start) = after_dashes(body, indent);
        let deepest = levels.len();
        while levels.last().is_some_and(|level| level.indent > indent) {
            levels.pop();
        }
        let closes = levels.len() < deepest;
        match levels.last() {
            Some(level) if level.indent == indent && level.is_list && start == indent => {
                return found(
                    indent,
                    "wrong indentation: a key of a list item starts below its first key, not below the dash",
                );
            }
            Some(level) if level.indent == indent => {}
            _ if closes => {
                return found(indent, "wrong indentation: no line above starts in this column");
            }
            // Without a key it continues the value above.
            Some(level) if level.has_value && value_of(content).is_none() => continue,
            Some(level) if level.has_value => {
                return found(
                    indent,
                    "wrong indentation: deeper than the key above, which has a value already",
                );
            }
            _ => levels.push(Level { indent, has_value: false, is_list: start > indent }),
        }
        let value = value_of(content);
        if let Some(mistake) = value.and_then(|(offset, value)| {
            wrong_value(value).map(|(at, what)| Mistake { line, column: start + offset + at + 1, what })
        }) {
            return Some(mistake);
        }
        if value.is_none() && start == indent && is_glued(content) {
            return found(start, "a space is missing after the colon: write `key: value`");
        }
        if value.is_none()
            && start == indent
            && !content.starts_with(['[', '{', '"', '\'', '-', '&', '*', '!', '?', '%', '}', ']', '|', '>'])
        {
            return found(
                start,
                "this line is no `key: value`; a colon is missing, or the value above goes on here",
            );
        }
        if start > indent {
            if let Some(level) = levels.last_mut() {
                level.has_value = false;
            }
            levels.push(Level { indent: start, has_value: false, is_list: false });
        }
        let value = value.map_or("", |(_, value)| value);
        if value.starts_with(['|', '>']) {
            block = Some(indent);
        } else if value.starts_with(['[', '{']) && !value.trim_end().ends_with([']', '}']) {
            return None;
        }
        if let Some(level) = levels.last_mut() {
            level.has_value = !value.is_empty() && !value.starts_with('#');
        }
    }
    None
}

/// Returns what follows the dashes of list items, and the column in which it starts.
fn after_dashes(body: &str, indent: usize) -> (&str, usize) {
    let (mut rest, mut start) = (body, indent);
    while let Some(after) = rest.strip_prefix("- ") {
        let trimmed = after.trim_start_matches(' ');
        start += rest.len() - trimmed.len();
        rest = trimmed;
    }
    (rest, start)
}

/// Returns the value of `key: value` and its offset; `None` if the line has no key.
fn value_of(content: &str) -> Option<(usize, &str)> {
    if content.starts_with(['[', '{', '"', '\'']) {
        return None;
    }
    let colon = content.find(": ").or_else(|| content.trim_end().strip_suffix(':').map(str::len))?;
    let (_, after) = content.split_at(colon + 1);
    let mut value = after.trim_start();
    // The anchor and the tag of the value.
    while value.starts_with(['&', '!']) {
        value = value.split_once(' ').map_or("", |(_, value)| value.trim_start());
    }
    Some((content.len() - value.len(), value.trim_end()))
}

/// Returns what is wrong with a value, and its offset.
fn wrong_value(value: &str) -> Option<(usize, &'static str)> {
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    if let Some(quote) = quote {
        let mut rest = value.chars();
        rest.next();
        while let Some(c) = rest.next() {
            if c == '\\' && quote == '"' {
                rest.next();
            } else if c == quote {
                if quote == '\'' && rest.as_str().starts_with('\'') {
                    rest.next();
                    continue;
                }
                let after = rest.as_str().trim_start();
                return (!after.is_empty() && !after.starts_with('#'))
                    .then_some((0, "text follows the closing quote; put the whole value in quotes"));
            }
        }
        return Some((0, "the quote that opens here is not closed on this line"));
    }
    if value.starts_with(['[', '{', '|', '>', '#']) {
        return None;
    }
    if value.starts_with(['@', '`', '%']) {
        return Some((0, "a value cannot start with this character; put the value in quotes"));
    }
    if value.starts_with(is_typographic_quote) {
        return Some((0, "these are no quotes but typographic quotation marks; write \" instead"));
    }
    let plain = value.split(" #").next().unwrap_or_default();
    if plain.starts_with("- ") {
        return Some((0, "a list starts on the line after its key"));
    }
    let inner = plain.find(": ").or_else(|| plain.ends_with(':').then(|| plain.len() - 1))?;
    Some((inner, "a second colon in this value; put the value in quotes"))
}

/// Whether the line looks like `key:value`.
fn is_glued(content: &str) -> bool {
    content.split_once(':').is_some_and(|(key, value)| {
        !key.is_empty() && !value.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Problems, Section};

    /// The only problem about the form of a document.
    fn problem(text: &str) -> String {
        let mut problems = Problems::default();
        let section = Section::parse(text, &mut problems);
        if section.is_some() {
            return "accepted".to_owned();
        }
        drop(section);
        problems.into_vec().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_malformed_document_says_what_is_wrong_where_it_begins() {
        let tabs = "tabs are not allowed for indentation; use spaces";
        let column = "wrong indentation: no line above starts in this column";
        let item = "wrong indentation: a key of a list item starts below its first key, not below the dash";
        let deeper = "wrong indentation: deeper than the key above, which has a value already";
        let open = "the quote that opens here is not closed on this line";
        let after = "text follows the closing quote; put the whole value in quotes";
        let colon = "a second colon in this value; put the value in quotes";
        let glued = "a space is missing after the colon: write `key: value`";
        let second = "a second document starts here; remove this line, or everything after it";
        let start = "a value cannot start with this character; put the value in quotes";
        let typographic = "these are no quotes but typographic quotation marks; write \" instead";
        let anchor =
            "this alias has no anchor: name one above it with &, or put a value that starts with * in quotes";
        let line = "this line is no `key: value`; a colon is missing, or the value above goes on here";
        let mut wrong = Vec::new();
        for (text, place, what) in [
            ("a:\n\tb: 1\n", "line 2, column 1", tabs),
            ("a: 1\nb:\n  c: 1\n\td: 2\n", "line 4, column 1", tabs),
            ("a:\n  - b: 1\n  \tc: 2\n", "line 3, column 3", tabs),
            ("\ta: 1\n", "line 1, column 1", tabs),
            ("\u{feff}\ta: 1\n", "line 1, column 1", tabs),
            ("# first\n---\n\n  \ta: 1\n", "line 4, column 3", tabs),
            ("\t- a\n", "line 1, column 1", tabs),
            ("a:\n  b: 1\n c: 2\n", "line 3, column 2", column),
            ("a:\n  - b: 1\n   c: 2\n", "line 3, column 4", column),
            ("a:\n    b: 1\n  c: 2\nd: 3\n", "line 3, column 3", column),
            ("  a: 1\nb: 2\n", "line 2, column 1", column),
            ("a:\n  - b: 1\n  c: 2\n", "line 3, column 3", item),
            ("a: 1\n  b: 2\n", "line 2, column 3", deeper),
            ("a:\n  - b: 1\n      c: 2\n    d: 3\n", "line 3, column 7", deeper),
            ("a:\n  b: 1\n    c: 2\n", "line 3, column 5", deeper),
            ("a: \"x\nb: 1\n", "line 1, column 4", open),
            ("a: 'x\nb: 1\n", "line 1, column 4", open),
            ("a:\n  - b: \"x\n    c: 2\n", "line 2, column 8", open),
            ("a: \"x\" y\n", "line 1, column 4", after),
            ("a: 'it's'\n", "line 1, column 4", after),
            ("a: b: c\n", "line 1, column 5", colon),
            ("x: 1\na: client: secret\n", "line 2, column 10", colon),
            ("a: 1\nb:2\nc: 3\n", "line 2, column 1", glued),
            ("a:\n  b:2\n  c: 3\n", "line 2, column 3", glued),
            ("a: 1\n---\na: 2\n", "line 2, column 1", second),
            ("---\na: 1\n---\nb: 2\n", "line 3, column 1", second),
            ("a: @x\n", "line 1, column 4", start),
            ("a: `x`\n", "line 1, column 4", start),
            ("a: %x\n", "line 1, column 4", start),
            ("a: \u{201c}x: y\u{201d}\n", "line 1, column 4", typographic),
            ("a: &a !t @x\n", "line 1, column 10", start),
            ("a: &a x\n  b: 1\n", "line 2, column 3", deeper),
            ("a: *b\n", "line 1, column 4", anchor),
            (
                "a: &a [*a]\n",
                "line 1, column 8",
                "this alias stands within what it repeats; write the value instead",
            ),
            ("a: 1\nb\nc: 2\n", "line 2, column 1", line),
            ("a: - b\n", "line 1, column 4", "a list starts on the line after its key"),
            ("# first\n\na:\n  b: |\n    \ttext: x: y\n  c: \"x\n", "line 6, column 6", open),
        ] {
            let (found, expected) = (problem(text), format!("{place}: {what}"));
            if found != expected {
                wrong.push(format!("{text:?}\n  found    {found}\n  expected {expected}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn what_has_no_better_explanation_is_not_yaml_at_its_place() {
        for (text, expected) in [
            ("a: [\n", "this is not YAML at line 1, column 4"),
            ("a: {b: 1\nc: 2\n", "this is not YAML at line 2, column 2"),
            ("a: b\0\n", "contains a NUL (U+0000) at line 1, column 5; remove it"),
            ("a: 1\na: 2\n", "a occurs twice at line 2, column 1"),
        ] {
            assert_eq!(problem(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_tabs_and_anchors_may_do_is_accepted() {
        let shared = "  - { <<: *d }\n".repeat(500);
        for text in [
            "\t\na:\t1\t\n\t# comment\n",
            "---\na: |\n  \tx\n",
            "a: &a { b: 1 }\nc: *a\n",
            // As many accounts as share their settings.
            &format!("d: &d {{ x: 1, y: 2 }}\na:\n{shared}"),
        ] {
            assert_eq!(problem(text), "accepted", "{text:.40}");
        }
    }

    #[test]
    fn a_document_that_grows_without_bound_is_refused_with_its_kind() {
        // Each line repeats the line before nine times: nine to the power of thirty values.
        let bomb = |first: &str, line: fn(usize) -> String| {
            let lines = (1..30).map(|n| format!("a{n}: &a{n} {}\n", line(n - 1)));
            format!("a0: &a0 {first}\n{}", lines.collect::<String>())
        };
        let lists = bomb("[x]", |n| format!("[{}]", vec![format!("*a{n}"); 9].join(", ")));
        let maps = bomb("{ x: 1 }", |n| {
            let keys: Vec<_> = (0..9).map(|key| format!("k{key}: *a{n}")).collect();
            format!("{{ {} }}", keys.join(", "))
        });
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 40].join(", "));
        let aliases = "the aliases repeat too many values; write the values instead of *name";
        let many = "too many values, or too long ones; remove what is not needed";
        let levels = "too many levels of lists and mappings; check brackets and indentation";
        let deep: Vec<_> = (0..2000).map(|level| " ".repeat(level) + "a:\n").collect();
        let brackets = format!("a: {}{}\n", "[".repeat(100), "]".repeat(100));
        for (text, what) in
            [(lists, aliases), (maps, aliases), (long, many), (deep.concat(), levels), (brackets, levels)]
        {
            let found = problem(&text);
            assert!(found.starts_with("line ") && found.ends_with(what), "{text:.40}: {found}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_examined_without_a_panic(text in "([ \\t]{0,4}(- )?[a-zé]{0,2}:? ?[\"'#|\\[{é\\\\]{0,2}\\r?\n){0,6}") {
            if let Some(mistake) = super::first_mistake(&text, usize::MAX) {
                let line = text.lines().nth(mistake.line - 1).unwrap();
                assert!(mistake.column <= line.len() + 1, "{mistake:?} in {text:?}");
            }
        }
    }
}
