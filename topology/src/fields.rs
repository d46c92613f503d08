//! Reading values out of the document tree, with complaints that name the key.

use std::ops::RangeInclusive;

use crate::diagnostic::{Diagnostic, Position, Source, quoted};
use crate::document::{Key, Node, Value};
use crate::suggest::nearest;

/// Longest name of a site, a set or a profile, in characters.
const NAME_CHARS_MAX: usize = 63;

/// The result of reading a part of the file.
pub type Read<T> = Result<T, Box<Diagnostic>>;

/// A mapping whose keys are known in advance, such as a pair or a profile.
#[derive(Debug)]
pub struct Fields<'a> {
    source: &'a Source<'a>,
    what: String,
    at: Position,
    entries: Vec<(Key, Node)>,
}

impl<'a> Fields<'a> {
    /// Opens `what`, a mapping that may have the keys `known` and no other.
    ///
    /// Unknown keys are reported before missing ones: a misspelt key is both.
    ///
    /// # Errors
    /// If it is no mapping, or has other keys.
    pub fn open(
        source: &'a Source<'a>,
        what: impl Into<String>,
        node: Node,
        known: &[&str],
    ) -> Read<Self> {
        let what = what.into();
        let entries = match node.value {
            Value::Map(entries) => entries,
            other => {
                let found = other.describe();
                let message = format!("{what} must be a mapping, found {found}");
                return Err(source.mistake(node.at, message, keys_help(known)));
            }
        };
        for (key, _) in &entries {
            if !known.contains(&key.text.as_str()) {
                let message = format!("unknown key {} in {what}", quoted(&key.text));
                let help = match nearest(&key.text, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => keys_help(known),
                };
                return Err(source.mistake(key.at, message, help));
            }
        }
        Ok(Self { source, what, at: node.at, entries })
    }

    /// The value of `key`, if it is there and not empty.
    pub fn optional(&mut self, key: &str) -> Option<Node> {
        let index = self.entries.iter().position(|(k, _)| k.text == key)?;
        let (_, node) = self.entries.swap_remove(index);
        (!matches!(node.value, Value::Nothing)).then_some(node)
    }

    /// The value of `key`, or a complaint that says `expected`.
    ///
    /// # Errors
    /// If it is missing.
    pub fn required(&mut self, key: &str, expected: &str) -> Read<Node> {
        let at = self.entries.iter().find(|(k, _)| k.text == key).map_or(self.at, |(k, _)| k.at);
        self.optional(key).ok_or_else(|| {
            let message = format!("{} has no `{key}`", self.what);
            self.source.mistake(at, message, format!("expected `{key}:` with {expected}"))
        })
    }

    /// A number that must be there.
    ///
    /// # Errors
    /// If it is missing, no number, or outside `range`.
    pub fn number(
        &mut self,
        key: &str,
        unit: &str,
        range: RangeInclusive<f64>,
    ) -> Read<(f64, Position)> {
        let expected = expected_number(unit, &range);
        let node = self.required(key, &expected)?;
        number(self.source, key, &node, unit, &range)
    }

    /// A number that may be missing.
    ///
    /// # Errors
    /// If it is no number, or outside `range`.
    pub fn optional_number(
        &mut self,
        key: &str,
        unit: &str,
        range: RangeInclusive<f64>,
    ) -> Read<Option<(f64, Position)>> {
        self.optional(key).map(|node| number(self.source, key, &node, unit, &range)).transpose()
    }

    /// A text that must be there and not be blank.
    ///
    /// # Errors
    /// If it is missing, no text, or blank.
    pub fn text(&mut self, key: &str, expected: &str) -> Read<String> {
        let node = self.required(key, expected)?;
        text(self.source, key, node)
    }

    /// A text that may be missing.
    ///
    /// # Errors
    /// If it is no text, or blank.
    pub fn optional_text(&mut self, key: &str) -> Read<Option<String>> {
        self.optional(key).map(|node| text(self.source, key, node)).transpose()
    }
}

fn keys_help(known: &[&str]) -> String {
    format!("the keys here are {}", known.join(", "))
}

fn expected_number(unit: &str, range: &RangeInclusive<f64>) -> String {
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    format!("a number between {} and {}{unit}", range.start(), range.end())
}

/// `node` as a number inside `range`. NaN is inside no range.
///
/// # Errors
/// If it is none.
pub fn number(
    source: &Source<'_>,
    key: &str,
    node: &Node,
    unit: &str,
    range: &RangeInclusive<f64>,
) -> Read<(f64, Position)> {
    match node.value {
        Value::Number(n) if range.contains(&n) => Ok((n, node.at)),
        ref other => {
            let found = match other {
                Value::Number(n) => n.to_string(),
                other => other.describe(),
            };
            let expected = expected_number(unit, range);
            Err(source.mistake(node.at, format!("`{key}` must be {expected}, found {found}"), ""))
        }
    }
}

/// `node` as a text that is not blank.
///
/// # Errors
/// If it is none.
pub fn text(source: &Source<'_>, key: &str, node: Node) -> Read<String> {
    match node.value {
        Value::Text(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Value::Text(_) => Err(source.mistake(node.at, format!("`{key}` must not be blank"), "")),
        other => {
            let message = format!("`{key}` must be a text, found {}", other.describe());
            let help = match other {
                Value::Number(_) | Value::Bool(_) => "put it in quotes",
                _ => "",
            };
            Err(source.mistake(node.at, message, help))
        }
    }
}

/// The entries of `section`, a mapping from names to things: sites, sets, profiles.
///
/// # Errors
/// If it is no mapping, is empty, has too many entries, or a name that is none.
pub fn named_entries(
    source: &Source<'_>,
    section: &str,
    node: Node,
    count_max: usize,
) -> Read<Vec<(Key, Node)>> {
    let entries = match node.value {
        Value::Map(entries) => entries,
        other => {
            let found = other.describe();
            let message = format!("`{section}` must be a mapping from names, found {found}");
            return Err(source.mistake(node.at, message, ""));
        }
    };
    if entries.is_empty() {
        let message = format!("`{section}` must name at least one");
        return Err(source.mistake(node.at, message, ""));
    }
    if let Some((key, _)) = entries.get(count_max) {
        let message = format!("`{section}` has more than {count_max} entries");
        return Err(source.mistake(key.at, message, ""));
    }
    for (key, _) in &entries {
        check_name(source, key)?;
    }
    Ok(entries)
}

/// Names are typed on command lines, and become metric labels and host names.
fn check_name(source: &Source<'_>, key: &Key) -> Read<()> {
    let ordinary = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let starts = key.text.starts_with(ordinary);
    let fits = key.text.len() <= NAME_CHARS_MAX
        && key.text.chars().all(|c| ordinary(c) || matches!(c, '-' | '_' | '.'));
    if starts && fits {
        return Ok(());
    }
    let help = format!(
        "a name is 1 to {NAME_CHARS_MAX} of a–z, 0–9, '-', '_' and '.', and begins with a letter \
         or a digit"
    );
    Err(source.mistake(key.at, format!("{} cannot be a name", quoted(&key.text)), help))
}
