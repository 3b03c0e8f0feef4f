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
    pub(crate) groupby: Vec<String>,
    pub(crate) day: Option<Date>,
    /// The parameters as sent, without `skip`.
    others: Vec<(String, String)>,
}

impl Query {
    /// Parses a query, or returns `None` if a value is invalid; `fields` can be filtered and grouped by.
    pub(crate) fn parse(text: &str, fields: &[&str]) -> Option<Self> {
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
                    let names = value.split(',').map(|name| field(name.trim(), fields).map(str::to_owned));
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
        self.groupby.iter().any(|field| named(field))
            || self.filter.as_ref().is_some_and(|filter| filter.names(&named))
    }
}

/// Finds a field by its name, in any case.
fn field<'a>(name: &str, fields: &[&'a str]) -> Option<&'a str> {
    fields.iter().copied().find(|field| field.eq_ignore_ascii_case(name))
}

/// A condition on the properties of a row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    Or(Box<Self>, Box<Self>),
    And(Box<Self>, Box<Self>),
    Equal(String, String),
    NotEqual(String, String),
}

impl Filter {
    fn parse(text: &str, fields: &[&str]) -> Option<Self> {
        // Parentheses are parsed by recursion.
        let words = words(text).filter(|_| text.matches('(').count() <= 100)?;
        let mut parser = Parser { words: &words, fields };
        let filter = parser.any()?;
        parser.words.is_empty().then_some(filter)
    }

    /// Whether a row passes, given its properties by name; texts are compared without regard to case.
    pub(crate) fn passes<'a>(&self, property: &impl Fn(&str) -> Option<Cow<'a, str>>) -> bool {
        let is =
            |name: &str, text: &str| property(name).is_some_and(|value| value.eq_ignore_ascii_case(text));
        match self {
            Self::Or(left, right) => left.passes(property) || right.passes(property),
            Self::And(left, right) => left.passes(property) && right.passes(property),
            Self::Equal(name, text) => is(name, text),
            Self::NotEqual(name, text) => !is(name, text),
        }
    }

    fn names(&self, named: &impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Or(left, right) | Self::And(left, right) => left.names(named) || right.names(named),
            Self::Equal(name, _) | Self::NotEqual(name, _) => named(name),
        }
    }
}

/// A word of a filter; only a quoted one is a text.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Text(String),
    Other(String),
}

/// Splits a filter into words, or returns `None` if a quotation has no end.
fn words(text: &str) -> Option<Vec<Word>> {
    let (mut words, mut characters) = (Vec::new(), text.chars().peekable());
    while let Some(first) = characters.next() {
        match first {
            ' ' => {}
            '(' | ')' => words.push(Word::Other(first.into())),
            '\'' => {
                let mut quoted = String::new();
                loop {
                    match characters.next()? {
                        '\'' if characters.next_if_eq(&'\'').is_none() => break,
                        character => quoted.push(character),
                    }
                }
                words.push(Word::Text(quoted));
            }
            _ => {
                let mut word = String::from(first);
                while let Some(next) = characters.next_if(|next| !" ()'".contains(*next)) {
                    word.push(next);
                }
                words.push(Word::Other(word));
            }
        }
    }
    Some(words)
}

/// Reads a filter from the rest of its words.
struct Parser<'a> {
    words: &'a [Word],
    fields: &'a [&'a str],
}

impl Parser<'_> {
    fn any(&mut self) -> Option<Filter> {
        let mut filter = self.all()?;
        while self.take("or") {
            filter = Filter::Or(Box::new(filter), Box::new(self.all()?));
        }
        Some(filter)
    }

    fn all(&mut self) -> Option<Filter> {
        let mut filter = self.one()?;
        while self.take("and") {
            filter = Filter::And(Box::new(filter), Box::new(self.one()?));
        }
        Some(filter)
    }

    fn one(&mut self) -> Option<Filter> {
        if self.take("(") {
            let filter = self.any()?;
            return self.take(")").then_some(filter);
        }
        let [Word::Other(name), Word::Other(operator), Word::Text(text), rest @ ..] = self.words else {
            return None;
        };
        self.words = rest;
        let name = field(name, self.fields)?.to_owned();
        match operator.as_str() {
            "eq" => Some(Filter::Equal(name, text.clone())),
            "ne" => Some(Filter::NotEqual(name, text.clone())),
            _ => None,
        }
    }

    fn take(&mut self, word: &str) -> bool {
        match self.words {
            [Word::Other(first), rest @ ..] if first == word => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }
}
