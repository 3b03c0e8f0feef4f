//! `PromQL` as far as the shipped rules use it, parsed into a tree whose nodes know where in the text they are.
//!
//! Real parsers exist, and promtool applies one in tests/e2e.rs. Here the places are wanted: a lint names them and a
//! mutant is the text with one of them changed. What this does not know, it refuses.

use std::ops::Range;

/// A part of the text, in bytes.
pub(crate) type Span = Range<usize>;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expr {
    pub(crate) span: Span,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Number(f64),
    Text,
    /// `metric{label="value"}`
    Selector {
        metric: String,
        matchers: Vec<Matcher>,
    },
    /// `…[5m]`, or `…[5m:1m]`
    Window {
        of: Box<Expr>,
        length: Span,
    },
    /// `… offset 1w`
    Offset {
        of: Box<Expr>,
        by: Span,
    },
    Call {
        function: String,
        name: Span,
        arguments: Vec<Expr>,
    },
    /// `max by (…) (…)`
    Aggregate {
        operator: String,
        name: Span,
        by: Vec<Label>,
        of: Box<Expr>,
    },
    Binary {
        operator: String,
        symbol: Span,
        matching: Option<Matching>,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    Parentheses(Box<Expr>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Matcher {
    pub(crate) label: String,
    pub(crate) operator: String,
    pub(crate) value: String,
}

/// A label in a list, with where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Label {
    pub(crate) name: String,
    pub(crate) span: Span,
}

/// `on (…)`, with or without `group_left ()`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Matching {
    pub(crate) span: Span,
    pub(crate) on: Vec<Label>,
    pub(crate) grouped: bool,
}

pub(crate) const COMPARISONS: [&str; 6] = ["==", "!=", "<=", "<", ">=", ">"];
pub(crate) const SET_OPERATORS: [&str; 3] = ["and", "or", "unless"];
const AGGREGATIONS: [&str; 6] = ["avg", "count", "group", "max", "min", "sum"];

/// How tightly an operator binds.
fn precedence(operator: &str) -> Option<u8> {
    Some(match operator {
        "or" => 1,
        "and" | "unless" => 2,
        "+" | "-" => 4,
        "*" | "/" | "%" => 5,
        other if COMPARISONS.contains(&other) => 3,
        _ => return None,
    })
}

pub(crate) fn parse(text: &str) -> Result<Expr, String> {
    let tokens = tokens(text)?;
    let mut parser = Parser { text, tokens, at: 0 };
    let expr = parser.binary(1)?;
    match parser.peek() {
        None => Ok(expr),
        Some(rest) => Err(format!("{rest:?} comes unexpected in {text:?}")),
    }
}

impl Expr {
    /// This node and all below it, from the top down and from left to right.
    pub(crate) fn nodes(&self) -> Vec<&Self> {
        let below: Vec<&Self> = match &self.kind {
            Kind::Number(_) | Kind::Text | Kind::Selector { .. } => Vec::new(),
            Kind::Window { of, .. }
            | Kind::Offset { of, .. }
            | Kind::Aggregate { of, .. }
            | Kind::Parentheses(of) => vec![of],
            Kind::Call { arguments, .. } => arguments.iter().collect(),
            Kind::Binary { left, right, .. } => vec![left, right],
        };
        std::iter::once(self).chain(below.into_iter().flat_map(Self::nodes)).collect()
    }

    /// The metrics that it reads, with what it asks of their labels.
    pub(crate) fn selectors(&self) -> Vec<(&str, &[Matcher])> {
        let nodes = self.nodes().into_iter();
        nodes
            .filter_map(|node| match &node.kind {
                Kind::Selector { metric, matchers } => Some((metric.as_str(), matchers.as_slice())),
                _ => None,
            })
            .collect()
    }
}

// === reading ===

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Span>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.text.get(self.tokens.get(self.at)?.clone())
    }

    fn next(&mut self) -> Result<Span, String> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token.ok_or_else(|| format!("{:?} ends too early", self.text))
    }

    fn word(&mut self) -> Result<(&'a str, Span), String> {
        let span = self.next()?;
        Ok((&self.text[span.clone()], span))
    }

    /// Takes the next token if it is this one.
    fn take(&mut self, token: &str) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, token: &str) -> Result<usize, String> {
        let (found, span) = self.word()?;
        if found == token {
            return Ok(span.end);
        }
        Err(format!("{found:?} instead of {token:?} in {:?}", self.text))
    }

    fn binary(&mut self, least: u8) -> Result<Expr, String> {
        let mut left = self.postfix()?;
        while let Some((operator, binds)) = self.peek().and_then(|word| Some((word, precedence(word)?)))
            && binds >= least
        {
            let symbol = self.next()?;
            let matching = self.matching()?;
            let right = self.binary(binds + 1)?;
            left = Expr {
                span: left.span.start..right.span.end,
                kind: Kind::Binary {
                    operator: operator.to_owned(),
                    symbol,
                    matching,
                    left: left.into(),
                    right: right.into(),
                },
            };
        }
        Ok(left)
    }

    fn matching(&mut self) -> Result<Option<Matching>, String> {
        let Some(start) = self.tokens.get(self.at).map(|span| span.start) else { return Ok(None) };
        if !self.take("on") {
            return Ok(None);
        }
        let (on, mut end) = self.labels()?;
        let grouped = self.take("group_left");
        if grouped {
            end = self.labels()?.1;
        }
        Ok(Some(Matching { span: start..end, on, grouped }))
    }

    /// `(a, b)`, and where it ends.
    fn labels(&mut self) -> Result<(Vec<Label>, usize), String> {
        self.expect("(")?;
        let mut labels = Vec::new();
        loop {
            let (name, span) = self.word()?;
            match name {
                ")" => return Ok((labels, span.end)),
                "," => {}
                name => labels.push(Label { name: name.to_owned(), span }),
            }
        }
    }

    fn postfix(&mut self) -> Result<Expr, String> {
        let mut expr = self.primary()?;
        loop {
            let start = expr.span.start;
            if self.take("[") {
                let length = self.next()?;
                if self.take(":") {
                    self.next()?;
                }
                let end = self.expect("]")?;
                expr = Expr { span: start..end, kind: Kind::Window { of: expr.into(), length } };
            } else if self.take("offset") {
                let by = self.next()?;
                expr = Expr { span: start..by.end, kind: Kind::Offset { of: expr.into(), by } };
            } else {
                return Ok(expr);
            }
        }
    }

    fn primary(&mut self) -> Result<Expr, String> {
        let (word, span) = self.word()?;
        let start = span.start;
        if word == "(" {
            let inner = self.binary(1)?;
            let end = self.expect(")")?;
            return Ok(Expr { span: start..end, kind: Kind::Parentheses(inner.into()) });
        }
        if word.starts_with('"') {
            return Ok(Expr { span, kind: Kind::Text });
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            let number = word.parse().map_err(|_| format!("{word:?} is no number in {:?}", self.text))?;
            return Ok(Expr { span, kind: Kind::Number(number) });
        }
        if !word.starts_with(is_name) {
            return Err(format!("{word:?} begins nothing that is known in {:?}", self.text));
        }
        if AGGREGATIONS.contains(&word) {
            let by = if self.take("by") { self.labels()?.0 } else { Vec::new() };
            self.expect("(")?;
            let of = self.binary(1)?.into();
            let end = self.expect(")")?;
            let kind = Kind::Aggregate { operator: word.to_owned(), name: span, by, of };
            return Ok(Expr { span: start..end, kind });
        }
        if self.take("(") {
            let mut arguments = Vec::new();
            while self.peek() != Some(")") {
                arguments.push(self.binary(1)?);
                self.take(",");
            }
            let end = self.expect(")")?;
            let kind = Kind::Call { function: word.to_owned(), name: span, arguments };
            return Ok(Expr { span: start..end, kind });
        }
        let mut end = span.end;
        let mut matchers = Vec::new();
        if self.take("{") {
            while !self.take("}") {
                let (label, operator, value) = (self.word()?.0, self.word()?.0, self.word()?.0);
                let value = value.trim_matches('"').to_owned();
                matchers.push(Matcher { label: label.to_owned(), operator: operator.to_owned(), value });
                self.take(",");
            }
            end = self.tokens[self.at - 1].end;
        }
        Ok(Expr { span: start..end, kind: Kind::Selector { metric: word.to_owned(), matchers } })
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// Words, numbers, durations, texts in double quotes and symbols.
fn tokens(text: &str) -> Result<Vec<Span>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.char_indices().peekable();
    while let Some((start, c)) = rest.next() {
        let mut end = start + c.len_utf8();
        // A number may have a point in it, a duration has letters behind its digits.
        let number = c.is_ascii_digit();
        let goes_on = |c: char| if number { c.is_ascii_alphanumeric() || c == '.' } else { is_name(c) };
        if c.is_whitespace() {
            continue;
        }
        if c == '"' {
            end = text_end(text, &mut rest)?;
        } else if is_name(c) && c != ':' {
            while let Some((at, c)) = rest.next_if(|(_, c)| goes_on(*c)) {
                end = at + c.len_utf8();
            }
        } else if "=!<>".contains(c)
            && let Some((at, c)) = rest.next_if(|(_, c)| "=~".contains(*c))
        {
            end = at + c.len_utf8();
        }
        tokens.push(start..end);
    }
    Ok(tokens)
}

/// Where a text ends whose first quote has been read.
fn text_end(text: &str, rest: &mut impl Iterator<Item = (usize, char)>) -> Result<usize, String> {
    let mut escaped = false;
    for (at, c) in rest {
        if c == '"' && !escaped {
            return Ok(at + 1);
        }
        escaped = c == '\\' && !escaped;
    }
    Err(format!("a text does not end in {text:?}"))
}

// === durations ===

/// Seconds of a duration such as `1h30m`.
pub(crate) fn seconds(duration: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 6] =
        [("w", 604_800), ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1), ("y", 31_536_000)];
    let (mut total, mut digits) = (0, String::new());
    for c in duration.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let (_, unit) = UNITS.into_iter().find(|(letter, _)| letter.starts_with(c))?;
        total += digits.parse::<u64>().ok()? * unit;
        digits.clear();
    }
    (digits.is_empty() && !duration.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree with every node in parentheses.
    fn shape(text: &str, expr: &Expr) -> String {
        match &expr.kind {
            Kind::Number(_) | Kind::Text | Kind::Selector { .. } => text[expr.span.clone()].to_owned(),
            Kind::Window { of, length } => format!("{}[{}]", shape(text, of), &text[length.clone()]),
            Kind::Offset { of, by } => format!("({} offset {})", shape(text, of), &text[by.clone()]),
            Kind::Call { function, arguments, .. } => {
                let arguments: Vec<_> = arguments.iter().map(|argument| shape(text, argument)).collect();
                format!("{function}({})", arguments.join(", "))
            }
            Kind::Aggregate { operator, by, of, .. } => {
                let by: Vec<_> = by.iter().map(|label| label.name.as_str()).collect();
                format!("{operator}<{}>({})", by.join(","), shape(text, of))
            }
            Kind::Binary { operator, matching, left, right, .. } => {
                let on = matching.as_ref().map_or_else(String::new, |matching| {
                    let labels: Vec<_> = matching.on.iter().map(|label| label.name.as_str()).collect();
                    format!("<{}{}>", labels.join(","), if matching.grouped { "+" } else { "" })
                });
                format!("({} {operator}{on} {})", shape(text, left), shape(text, right))
            }
            Kind::Parentheses(of) => shape(text, of),
        }
    }

    #[test]
    fn operators_bind_as_in_prometheus() {
        for (text, expected) in [
            ("a - b * 2 > 15 and c", "(((a - (b * 2)) > 15) and c)"),
            ("a unless b unless on (x, y) c or d", "(((a unless b) unless<x,y> c) or d)"),
            (
                "max by (x) (last_over_time(a:b:c[15m] offset 1w)) == 0",
                "(max<x>(last_over_time((a:b:c[15m] offset 1w))) == 0)",
            ),
            ("a * 0 + on (x) group_left () (b)", "((a * 0) +<x+> b)"),
            ("clamp_max(a{x=\"1\\\"\",y!~\"b\"}, 1.5)", "clamp_max(a{x=\"1\\\"\",y!~\"b\"}, 1.5)"),
            ("up == 0 and on () absent(a)", "((up == 0) and<> absent(a))"),
        ] {
            let parsed = parse(text).unwrap();
            assert_eq!(shape(text, &parsed), expected);
            assert_eq!(parsed.span, 0..text.len());
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for text in ["", "a +", "a b", "max(", "a[5m", "\"x", "-a", "a{x}", "a @ 5"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn durations_are_counted_in_seconds() {
        assert_eq!(
            ["15m", "1h30m", "1w", "3d"].map(seconds),
            [Some(900), Some(5400), Some(604_800), Some(259_200)]
        );
        assert_eq!(["", "5", "m5", "5x"].map(seconds), [None; 4]);
    }
}
