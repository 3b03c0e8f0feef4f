//! Reads the body of a page of a collection: its items one by one, and the link to the next page.
//!
//! Nothing of an item is kept but what the caller keeps, and unknown members are ignored.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::json_members::{Members, Scalar, members};
use super::json_object::JsonObject;

/// Why a body is not a page of a collection.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    /// The body is not JSON, or is JSON of another shape. Only the position is reported, because the parser's message
    /// may quote the body.
    #[error("the body is not a collection with a list named {}, see line {} column {}", .0.items, .1.line(), .1.column())]
    NotACollection(&'static Envelope, serde_json::Error),
    /// There is a further page, but its link is not one of Partner Center's collections.
    #[error("links.next is not a link")]
    NotALink,
}

/// The names of the members of a page.
#[derive(Debug)]
pub(super) struct Envelope {
    items: &'static str,
    links: &'static str,
    total: &'static str,
}

impl Envelope {
    /// Of `/v1/analytics/licenses`. Its `totalCount` is ignored, because Microsoft's own SDK computes it from the items.
    pub(super) const LICENSES: &Self = &Self { items: "items", links: "links", total: "" };
    /// Of `analytics/commercial`.
    pub(super) const COMMERCIAL: &Self = &Self { items: "Value", links: "@nextLink", total: "TotalCount" };
}

/// What is known of a page besides its items.
#[derive(Debug)]
pub(super) struct Page {
    /// What follows.
    pub(super) next: Next,
    /// The number of items of all pages, if the page says so and it is a number.
    pub(super) total: Option<u64>,
}

/// What follows a page.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing, as far as the page says.
    End,
    /// The page that a link leads to.
    Link(PageLink),
    /// The page that begins after this number of items.
    Skip(usize),
}

/// An item of a page.
pub(super) enum Item<'a, const N: usize> {
    /// The members that were asked for, each if it is there.
    Members([Option<Scalar<'a>>; N]),
    /// The item is not an object.
    NotAnObject,
    /// The item contains a number that is out of range, or is nested too deeply.
    Unreadable,
}

/// A link to another page, in the format of all Partner Center collections.
#[derive(Debug, serde::Deserialize)]
pub(super) struct PageLink {
    pub(super) uri: String,
    pub(super) method: Option<String>,
    #[serde(default)]
    pub(super) headers: Vec<LinkHeader>,
}

/// A header that a request for the linked page must have.
#[derive(Debug, serde::Deserialize)]
pub(super) struct LinkHeader {
    pub(super) key: String,
    pub(super) value: String,
}

/// Calls `each` for every item of a page, with its members of these names, and returns what else the page says. The body
/// has no byte order mark. Invalid UTF-8 becomes U+FFFD, so that it damages one name and not the collection.
pub(super) fn read_page<const N: usize>(
    envelope: &'static Envelope,
    json: &[u8],
    names: [&'static str; N],
    mut each: impl FnMut(Item<'_, N>),
) -> Result<Page, PageError> {
    // Faster than a conversion that looks for what is invalid.
    let json = str::from_utf8(json).map_or_else(|_| String::from_utf8_lossy(json), Cow::Borrowed);
    let mut read = 0;
    let count = |item: Item<'_, N>| {
        read += 1;
        each(item);
    };
    let rest = parse(&json, Body { envelope, names, each: count, apart_after: None })
        .or_else(|_| parse(&json, Body { envelope, names, each, apart_after: Some(read) }))
        .map_err(|error| PageError::NotACollection(envelope, error))?;
    let next = rest.links.map(|links| parse_next(envelope, links)).transpose();
    let next = next.map_err(|_| PageError::NotALink)?.flatten();
    // Counts of grouped answers are text.
    let total = rest.total.and_then(|total| total.get().trim_matches('"').parse().ok());
    Ok(Page { next: next.map_or(Next::End, Next::Link), total })
}

fn parse<'de, T: DeserializeSeed<'de>>(json: &'de str, seed: T) -> serde_json::Result<T::Value> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Returns the link to the next page, if there is one.
fn parse_next(envelope: &Envelope, links: &RawValue) -> serde_json::Result<Option<PageLink>> {
    if envelope.total.is_empty() {
        let next = members::<&RawValue, 1>(links, ["next"])?.and_then(|[next]| next);
        let next = next.filter(|next| next.get() != "null");
        return next.map(|next| serde_json::from_str(next.get()).map(|JsonObject(link)| link)).transpose();
    }
    // Microsoft shows no example. If it is neither an address nor a link, the rows are counted instead.
    let uri =
        serde_json::from_str(links.get()).map(|uri| PageLink { uri, method: None, headers: Vec::new() });
    let link = uri.or_else(|_| serde_json::from_str(links.get()).map(|JsonObject(link)| link));
    Ok(link.ok().filter(|link| !link.uri.is_empty()))
}

/// What a page has besides its items.
#[derive(Default)]
struct Rest<'a> {
    links: Option<&'a RawValue>,
    total: Option<&'a RawValue>,
}

/// The body of a page.
struct Body<F, const N: usize> {
    envelope: &'static Envelope,
    names: [&'static str; N],
    each: F,
    /// After this number of items, which are skipped, every item is parsed by itself. That takes a second look at each,
    /// and a number out of range or too deep a nesting costs one item only.
    apart_after: Option<usize>,
}

impl<'de, F: FnMut(Item<'de, N>), const N: usize> DeserializeSeed<'de> for Body<F, N> {
    type Value = Rest<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(Item<'de, N>), const N: usize> Visitor<'de> for Body<F, N> {
    type Value = Rest<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut body: A) -> Result<Rest<'de>, A::Error> {
        let Envelope { items, links, total } = *self.envelope;
        let (mut has_items, mut rest) = (false, Rest::default());
        while let Some(name) = body.next_key::<Cow<'_, str>>()? {
            if name == items {
                if has_items {
                    return Err(A::Error::duplicate_field(items));
                }
                has_items = true;
                body.next_value_seed(Items(&mut self))?;
            } else if name == links {
                if rest.links.is_some() {
                    return Err(A::Error::duplicate_field(links));
                }
                rest.links = body.next_value()?;
            } else if name == total {
                rest.total = body.next_value()?;
            } else {
                body.next_value::<IgnoredAny>()?;
            }
        }
        if has_items { Ok(rest) } else { Err(A::Error::missing_field(items)) }
    }
}

struct Items<'a, F, const N: usize>(&'a mut Body<F, N>);

impl<'de, F: FnMut(Item<'de, N>), const N: usize> DeserializeSeed<'de> for Items<'_, F, N> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(Item<'de, N>), const N: usize> Visitor<'de> for Items<'_, F, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self(Body { names, each, apart_after, .. }) = self;
        let item = |members: Option<_>| members.map_or(Item::NotAnObject, Item::Members);
        let Some(skipped) = *apart_after else {
            while let Some(members) = list.next_element_seed(Members::named(*names))? {
                each(item(members));
            }
            return Ok(());
        };
        for _ in 0..skipped {
            list.next_element::<IgnoredAny>()?;
        }
        while let Some(json) = list.next_element::<&RawValue>()? {
            each(members(json, *names).map_or(Item::Unreadable, item));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The items of a page, as the values of `a`.
    fn items(items: &str) -> Vec<String> {
        let mut read = Vec::new();
        let each = |item: Item<'_, 1>| {
            read.push(match item {
                Item::Members([Some(Scalar::Number(number))]) => number.to_string(),
                Item::Members(_) => "other".to_owned(),
                Item::NotAnObject => "not an object".to_owned(),
                Item::Unreadable => "unreadable".to_owned(),
            });
        };
        read_page(Envelope::LICENSES, format!(r#"{{"items":[{items}]}}"#).as_bytes(), ["a"], each).unwrap();
        read
    }

    #[test]
    fn each_item_is_read_once_whatever_stands_before_and_after_it() {
        let nested = format!(r#"{{"b":{}{}}}"#, "[".repeat(128), "]".repeat(128));
        let cases = [
            (r#"{"a":1}"#, "1"),
            (r#"{"b":1}"#, "other"),
            ("7", "not an object"),
            (r#"[{"a":1}]"#, "not an object"),
            (r#"{"a":1e400}"#, "unreadable"),
            ("1e400", "unreadable"),
            (r#"{"a":2,"b":"\ud800"}"#, "unreadable"),
            (&nested, "unreadable"),
        ];
        for (first, of_first) in cases {
            for (second, of_second) in cases {
                let page = format!(r#"{{"a":5}},{first},{{"a":6}},{second},{{"a":7}}"#);
                assert_eq!(items(&page), ["5", of_first, "6", of_second, "7"], "{page:.80}");
            }
        }
    }
}
