//! Reads a few members of a JSON object, and skips the others without keeping anything of them.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON value, of which only a number or a text is kept.
#[derive(Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    Null,
    Number(f64),
    Text(Cow<'a, str>),
    Other,
}

/// Reads the members with these names, each the last of its name; `None` if the value is not an object.
///
/// # Errors
/// If the value has a number out of range, too deep a nesting or half of a surrogate pair, also in what is skipped.
pub(super) fn members<'de, V: Deserialize<'de>, const N: usize>(
    json: &'de RawValue,
    names: [&'static str; N],
) -> serde_json::Result<Option<[Option<V>; N]>> {
    Members::named(names).deserialize(&mut serde_json::Deserializer::from_str(json.get()))
}

/// What [`members`] reads, as a part of a larger value.
pub(super) struct Members<V, const N: usize> {
    names: [&'static str; N],
    values: PhantomData<V>,
}

impl<V, const N: usize> Members<V, N> {
    /// The members with these names.
    pub(super) const fn named(names: [&'static str; N]) -> Self {
        Self { names, values: PhantomData }
    }
}

impl<'de, V: Deserialize<'de>, const N: usize> DeserializeSeed<'de> for Members<V, N> {
    type Value = Option<[Option<V>; N]>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, V: Deserialize<'de>, const N: usize> Visitor<'de> for Members<V, N> {
    type Value = Option<[Option<V>; N]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let (mut found, mut expected) = ([const { None }; N], 0);
        while let Some(name) = members.next_key::<Scalar<'_>>()? {
            let Scalar::Text(name) = name else { unreachable!("names are texts") };
            // Objects of one list have their members in the same order, as have the names if that is known.
            let mut places = (expected..N).chain(0..expected);
            match places.find(|place| name == self.names[*place]) {
                Some(place) => {
                    found[place] = Some(members.next_value()?);
                    expected = place + 1;
                }
                None => drop(members.next_value::<Scalar<'_>>()?),
            }
        }
        Ok(Some(found))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        ScalarVisitor.visit_seq(list).map(|_| None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Other)
    }

    #[expect(clippy::cast_precision_loss, reason = "a percentage is not that large")]
    fn visit_i64<E>(self, number: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Number(number as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "a percentage is not that large")]
    fn visit_u64<E>(self, number: u64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Scalar<'de>, A::Error> {
        while list.next_element::<Scalar<'_>>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Scalar<'de>, A::Error> {
        while members.next_entry::<Scalar<'_>, Scalar<'_>>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn read(json: &str) -> Result<Option<[Option<Scalar<'_>>; 2]>, serde_json::Error> {
        members(serde_json::from_str(json).unwrap(), ["a", "b"])
    }

    #[test]
    fn the_last_member_of_a_name_is_read_and_its_kind_is_known() {
        use Scalar::{Null, Number, Other, Text};
        let text = |text: &'static str| Text(Cow::Borrowed(text));
        for (json, a, b) in [
            ("{}", None, None),
            (r#"{"c":[{"a":7}],"a":1,"b":"x"}"#, Some(Number(1.0)), Some(text("x"))),
            (r#"{"a":1,"a":"y","b":"x","b":null}"#, Some(text("y")), Some(Null)),
            (r#"{"\u0061":-2,"b":"\u0078"}"#, Some(Number(-2.0)), Some(text("x"))),
            (r#"{"a":[1],"b":{"b":1}}"#, Some(Other), Some(Other)),
            (r#"{"a":true,"b":18446744073709551616}"#, Some(Other), Some(Number(2f64.powi(64)))),
        ] {
            assert_eq!(read(json).unwrap(), Some([a, b]), "{json}");
        }
        for json in ["7", "null", "[]", r#"["a"]"#, r#""a""#, "true", "1.5"] {
            assert_eq!(read(json).unwrap(), None, "{json}");
        }
    }

    #[test]
    fn what_is_skipped_is_refused_where_a_parser_that_keeps_it_would_refuse_it() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let values = ["1e400", r#""\ud800""#, r#"{"\ud800":1}"#, "-0", "1e308", r#""\ud83d\ude00""#];
        for value in values.map(str::to_owned).into_iter().chain([126, 127, 128, 10_000].map(nested)) {
            for json in [value.clone(), format!("[{value}]"), format!(r#"{{"c":{value}}}"#)] {
                let expected = serde_json::from_str::<Value>(&json).is_ok();
                assert_eq!(read(&json).is_ok(), expected, "{json:.40}");
            }
        }
    }

    #[test]
    fn what_is_skipped_or_has_no_escape_is_not_copied() {
        let json = r#"{"unknown":"x","a":"borrowed","list":["y",{"z":"w"}]}"#;
        let Some([Some(Scalar::Text(text)), None]) = read(json).unwrap() else { panic!("it is a text") };
        assert!(matches!(text, Cow::Borrowed("borrowed")));
    }
}
