//! Unambiguous JSON: serde alone accepts a repeated key, null for a missing value, and an array for an
//! object.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Refuses JSON with null, with a key twice in one object, and with an array that is not the value of one of the keys `arrays`,
/// or in the array of such a key among `nested`.
pub(crate) fn check(text: &[u8], arrays: &[&str], nested: &[&str]) -> serde_json::Result<()> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    Value { arrays, nested, depth: 0 }.deserialize(&mut deserializer)?;
    deserializer.end()
}

/// A value, and what is refused in it.
#[derive(Clone, Copy)]
struct Value<'r> {
    arrays: &'r [&'r str],
    nested: &'r [&'r str],
    /// How many arrays may be in each other here.
    depth: u8,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value that is not null")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Some(depth) = self.depth.checked_sub(1) else {
            return Err(A::Error::custom("an array is not allowed here"));
        };
        while items.next_element_seed(Self { depth, ..self })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<(), A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = pairs.next_key::<String>()? {
            let depth =
                u8::from(self.arrays.contains(&key.as_str())) + u8::from(self.nested.contains(&key.as_str()));
            pairs.next_value_seed(Self { depth, ..self })?;
            if let Some(twice) = keys.replace(key) {
                return Err(A::Error::custom(format!("the key `{twice}` stands twice in one object")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ambiguous_json_is_refused() {
        let check =
            |text: &str| check(text.as_bytes(), &["a", "n"], &["n"]).map_err(|error| error.to_string());
        check(r#"{"a": [1, -1, 0.5, "x", true, {"b": {}}], "n": [["x"], {}]}"#).unwrap();
        assert!(check(r#"{"b": null}"#).unwrap_err().contains("not null"));
        assert!(check(r#"{"a": [null]}"#).unwrap_err().contains("not null"));
        assert!(check(r#"{"b": 1, "b": 2}"#).unwrap_err().contains("`b` stands twice"));
        for text in ["[]", r#"{"b": []}"#, r#"{"a": [[]]}"#, r#"{"n": [[[]]]}"#, r#"{"a": [{"b": []}]}"#] {
            assert!(check(text).unwrap_err().contains("is not allowed here"), "{text}");
        }
        assert!(check("{} {}").is_err() && check("").is_err());
    }
}
