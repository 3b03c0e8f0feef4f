//! The query of a request to a commercial endpoint: paging, filter, grouping and day.
//!
//! It does not know what the rows are.

use std::borrow::Cow;

use jiff::civil::Date;

/// The largest number of rows on a page, and the default.
pub(crate) const MOST_ROWS: u64 = 10_000;

/// What a caller asks a commercial endpoint for.
pub(crate) struct Query {
    pub(crate) top: u64,
    pub(crate) skip: u64,
    pub(crate) filter: Option<Filter>,
    pub(crate) groupby: Vec<&'static str>,
    pub(crate) day: Option<Date>,
    /// The parameters as sent, without `skip`.
    others: Vec<(String, String)>,
}

impl Query {
    /// Parses a query, or returns `None` if a value is invalid; `fields` can be filtered and grouped by.
    pub(crate) fn parse(text: &str, fields: &[&'static str]) -> Option<Self> {
        let mut query = Self {
            top: MOST_ROWS,
            skip: 0,
            filter: None,
            groupby: Vec::new(),
            day: None,
            others: Vec::new(),
        };
        for (name, value) in form_urlencoded::parse(text.as_bytes()).into_owned() {
            match name.to_ascii_lowercase().as_str() {
                "top" => query.top = value.parse().ok().filter(|top| (1..=MOST_ROWS).contains(top))?,
                "skip" => query.skip = value.parse().ok()?,
                "filter" => query.filter = Some(Filter::parse(&value, fields)?),
                "groupby" => {
                    let names = value.split(',').map(|name| field(name.trim(), fields));
                    query.groupby = names.collect::<Option<_>>()?;
                }
                // A time of day is accepted and ignored.
                "processeddatetime" => query.day = Some(value.get(..10)?.parse().ok()?),
                _ => {}
            }
            if !name.eq_ignore_ascii_case("skip") {
                query.others.push((name, value));
            }
        }
        Some(query)
    }

    /// The query of the page that starts after `skip` rows.
    pub(crate) fn of_page(&self, skip: u64) -> String {
        let mut serializer = form_urlencoded::Serializer::new(String::new());
        serializer.extend_pairs(&self.others).append_pair("skip", &skip.to_string()).finish()
    }

    /// Whether the filter or the grouping names one of these fields.
    pub(crate) fn names(&self, fields: &[&str]) -> bool {
        let named = |field: &str| fields.contains(&field);
        self.groupby.iter().copied().any(named)
            || self
                .filter
                .iter()
                .flat_map(|filter| &filter.0)
                .any(|word| matches!(word, Word::Field(field) if named(field)))
    }
}

/// Finds a field by its name, in any case.
fn field(name: &str, fields: &[&'static str]) -> Option<&'static str> {
    fields.iter().copied().find(|field| field.eq_ignore_ascii_case(name))
}

/// A condition on the properties of a row, as its words.
pub(crate) struct Filter(Vec<Word>);

#[derive(PartialEq, Eq)]
enum Word {
    Field(&'static str),
    /// A text in quotation marks.
    Text(String),
    Other(String),
}

impl Filter {
    fn parse(text: &str, fields: &[&'static str]) -> Option<Self> {
        let words = words(text, fields)?;
        // Parentheses are evaluated by recursion.
        let is_shallow = words.iter().filter(|word| is(word, "(")).count() <= 100;
        let mut rest = &*words;
        let is_valid = is_shallow && any(&mut rest, &|_| None).is_some() && rest.is_empty();
        is_valid.then_some(Self(words))
    }

    /// Whether a row passes, given its properties by name; texts are compared without regard to case.
    pub(crate) fn passes<'a>(&self, property: &impl Fn(&str) -> Option<Cow<'a, str>>) -> bool {
        any(&mut &*self.0, property).unwrap_or_default()
    }
}

/// Splits a filter into words, or returns `None` if a quotation has no end.
fn words(text: &str, fields: &[&'static str]) -> Option<Vec<Word>> {
    let (mut words, mut characters) = (Vec::new(), text.chars().peekable());
    while let Some(first) = characters.next() {
        let mut word = String::new();
        match first {
            ' ' => {}
            '(' | ')' => words.push(Word::Other(first.into())),
            '\'' => {
                loop {
                    match characters.next()? {
                        '\'' if characters.next_if_eq(&'\'').is_none() => break,
                        character => word.push(character),
                    }
                }
                words.push(Word::Text(word));
            }
            _ => {
                word.push(first);
                while let Some(next) = characters.next_if(|next| !" ()'".contains(*next)) {
                    word.push(next);
                }
                words.push(field(&word, fields).map_or(Word::Other(word), Word::Field));
            }
        }
    }
    Some(words)
}

// Each of these evaluates the start of the words and leaves the rest; `None` stands for a filter that is invalid.

fn any<'a>(words: &mut &[Word], property: &impl Fn(&str) -> Option<Cow<'a, str>>) -> Option<bool> {
    let mut passes = all(words, property)?;
    while take(words, "or") {
        passes |= all(words, property)?;
    }
    Some(passes)
}

fn all<'a>(words: &mut &[Word], property: &impl Fn(&str) -> Option<Cow<'a, str>>) -> Option<bool> {
    let mut passes = one(words, property)?;
    while take(words, "and") {
        passes &= one(words, property)?;
    }
    Some(passes)
}

fn one<'a>(words: &mut &[Word], property: &impl Fn(&str) -> Option<Cow<'a, str>>) -> Option<bool> {
    if take(words, "(") {
        let passes = any(words, property)?;
        return take(words, ")").then_some(passes);
    }
    let [Word::Field(name), Word::Other(operator), Word::Text(text), rest @ ..] = words else { return None };
    *words = rest;
    let is_equal = property(name).is_some_and(|value| value.eq_ignore_ascii_case(text));
    match operator.as_str() {
        "eq" => Some(is_equal),
        "ne" => Some(!is_equal),
        _ => None,
    }
}

fn take(words: &mut &[Word], word: &str) -> bool {
    let is_next = words.first().is_some_and(|first| is(first, word));
    if is_next {
        *words = &words[1..];
    }
    is_next
}

fn is(word: &Word, text: &str) -> bool {
    matches!(word, Word::Other(other) if other == text)
}
