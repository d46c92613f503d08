//! A YAML document as a tree that remembers where everything stood.
//!
//! Deriving the file's types with serde would be shorter, but its errors speak of Rust types
//! ("invalid f64") and cannot say which key of which pair is meant. So the parser reads this tree
//! instead, and every complaint can name its key, its place and what was expected there.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{
    DefaultMessageFormatter, Error, Location, MessageFormatter, NonFiniteFloatPolicy, Spanned,
};

use crate::diagnostic::{Diagnostic, Position, Source, quoted, without_controls};

/// Deepest nesting accepted; the file needs four.
const DEPTH_MAX: usize = 16;
/// Most YAML nodes. The full table of 256 sites needs about half of it; the text itself is limited
/// by the caller.
const NODES_MAX: usize = 1_000_000;
/// Most parser events repeated by aliases (`*name`): what an alias bomb runs into.
const ALIASED_EVENTS_MAX: usize = 10_000;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it begins.
    pub at: Position,
    /// What it is.
    pub value: Value,
}

/// A mapping key and where it stands.
#[derive(Clone, Debug)]
pub struct Key {
    /// Where it stands.
    pub at: Position,
    /// The key itself.
    pub text: String,
}

/// What YAML can say. Mappings keep the order of the file.
#[derive(Clone, Debug)]
pub enum Value {
    /// No value at all.
    Nothing,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping.
    Map(Vec<(Key, Node)>),
}

impl Value {
    /// For "expected …, found …".
    pub fn describe(&self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Bool(b) => format!("`{b}`"),
            Self::Number(n) => format!("the number {n}"),
            Self::Text(text) => format!("the text {}", quoted(text)),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a mapping".to_owned(),
        }
    }
}

/// Reads one YAML document.
///
/// # Errors
/// If it is no YAML, or too much of it.
pub fn read(source: &Source<'_>) -> Result<Node, Box<Diagnostic>> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            max_nodes: NODES_MAX,
            // Up to two events per node: the limit above is met first.
            max_events: 3 * NODES_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: ALIASED_EVENTS_MAX,
        },
        // `no` is a word here, as in a country code; only true and false are truth values.
        strict_booleans: true,
        // So that the complaint about NaN can name its key.
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        emit_comments: false,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(source.text, options).map_err(|e| complain(source, &e))
}

fn complain(source: &Source<'_>, error: &Error) -> Box<Diagnostic> {
    let at = error.location().map_or(Position::START, position);
    let mut cause = error;
    while let Error::AliasError { error, .. } = cause {
        cause = error;
    }
    match cause {
        Error::DuplicateMappingKey { key: Some(key), .. } => source.mistake(
            at,
            format!("duplicate key {}", quoted(key)),
            "each key may stand once in a mapping; remove or rename one of the two",
        ),
        Error::MultipleDocuments { .. } => source.mistake(
            at,
            "a second YAML document begins here",
            "a file is one document; remove the `---`",
        ),
        // Keys are the only texts the tree asks for; values are taken as they come.
        Error::NullIntoString { .. }
        | Error::TaggedScalarCannotDeserializeIntoString { .. }
        | Error::Unexpected { expected: "string scalar", .. } => {
            source.mistake(at, "a key must be a plain text", "")
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            let help = format!(
                "at most {NODES_MAX} values, {DEPTH_MAX} levels deep, and {ALIASED_EVENTS_MAX} of \
                 them repeated by aliases"
            );
            source.mistake(at, "too much for one file", help)
        }
        _ => {
            let text = DefaultMessageFormatter.format_message(cause);
            source.mistake(at, format!("not valid YAML: {}", without_controls(&text)), "")
        }
    }
}

fn position(location: Location) -> Position {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).max(1);
    Position {
        line: number(location.line()),
        column: number(location.column()),
        width: usize::try_from(location.span().len()).unwrap_or(1).max(1),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        let mut at = position(spanned.referenced);
        if matches!(spanned.value, Value::List(_) | Value::Map(_)) {
            // The span of a collection is only its opening mark, or empty: point at its start.
            at.width = 1;
        }
        Ok(Self { at, value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<String>::deserialize(deserializer)?;
        Ok(Self { at: position(spanned.referenced), text: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    // Whole numbers beyond 2^53 lose digits here; every number of the file is limited far below.
    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(Value::Number(n as f64))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(Value::Number(n as f64))
    }

    fn visit_i128<E>(self, n: i128) -> Result<Value, E> {
        Ok(Value::Number(n as f64))
    }

    fn visit_u128<E>(self, n: u128) -> Result<Value, E> {
        Ok(Value::Number(n as f64))
    }

    fn visit_f64<E>(self, n: f64) -> Result<Value, E> {
        Ok(Value::Number(n))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Value::Map(map))
    }
}
