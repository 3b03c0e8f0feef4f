//! A parser for the text formats that shares no code with the program's encoder.

use std::collections::BTreeMap;

/// The name and the labels of a series.
pub type Series = (String, BTreeMap<String, String>);

/// One exposition: the value of every series.
#[derive(Clone, Debug)]
pub struct Exposition(pub BTreeMap<Series, f64>);

impl Exposition {
    /// The value of the series with exactly these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.0.get(&(name.to_owned(), labels)).copied()
    }

    /// The value of the series about polls of the usage collection with exactly these other labels.
    pub fn of_usage(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.value(name, &[labels, &[("collection", "usage")]].concat())
    }

    /// The series with this name: labels and value of each.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a BTreeMap<String, String>, f64)> {
        self.0
            .iter()
            .filter(move |((found, _), _)| found == name)
            .map(|((_, labels), value)| (labels, *value))
    }
}

/// Parses text 0.0.4 or OpenMetrics without timestamps and exemplars; panics at anything else.
pub fn parse(text: &str) -> Exposition {
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in {line:?}"));
        let value = value.parse().unwrap_or_else(|_| panic!("no number in {line:?}"));
        let (name, labels) = match series.split_once('{') {
            None => (series, BTreeMap::new()),
            Some((name, rest)) => (name, parse_labels(rest)),
        };
        let twice = samples.insert((name.to_owned(), labels), value);
        assert!(twice.is_none(), "this series occurs twice: {line}");
    }
    Exposition(samples)
}

fn parse_labels(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut chars = text.chars();
    loop {
        let name: String = chars.by_ref().take_while(|c| *c != '=').collect();
        assert_eq!(chars.next(), Some('"'), "no quote after {name}= in {text:?}");
        let mut value = String::new();
        loop {
            match chars.next().expect("a label value ends") {
                '"' => break,
                '\\' => value.push(match chars.next() {
                    Some('n') => '\n',
                    Some(c @ ('"' | '\\')) => c,
                    other => panic!("unknown escape {other:?} in {text:?}"),
                }),
                c => value.push(c),
            }
        }
        labels.insert(name, value);
        match chars.next() {
            Some(',') => {}
            Some('}') => return labels,
            other => panic!("{other:?} after a label in {text:?}"),
        }
    }
}
