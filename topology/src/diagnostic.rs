//! What is wrong with a topology file, where, and what was expected instead.
//!
//! [`Diagnostic`] carries the position and the source line as data, so that a binary can draw it
//! in its own colours; [`Diagnostic::render`] draws it in plain text.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// Longest source line kept in a diagnostic, in characters: it is shown, not parsed again.
const SOURCE_LINE_CHARS_MAX: usize = 200;

/// Why a topology could not be loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// The file could not be opened or read.
    #[error("cannot read the topology file `{}`: {source}", path.display())]
    #[non_exhaustive]
    Read {
        /// The file as it was named.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file was read, and what it says cannot be used.
    #[error(transparent)]
    Invalid(#[from] Box<Diagnostic>),
}

impl TopologyError {
    /// The position and the help, if the file could be read at all.
    pub fn diagnostic(&self) -> Option<&Diagnostic> {
        match self {
            Self::Invalid(diagnostic) => Some(diagnostic),
            Self::Read { .. } => None,
        }
    }
}

/// One mistake in a topology file.
///
/// `Display` is one line, `file:line:column: message (help)`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// Name of the file as given to the parser.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters from `column` on are at fault; at least 1.
    pub width: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it, where that is known.
    pub help: Option<String>,
    /// The line at fault, tabs as single spaces, so that columns count characters. Cut at 200.
    pub source_line: String,
}

impl std::error::Error for Diagnostic {}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl Diagnostic {
    /// The mistake drawn under its source line, in plain text, with a newline after each line.
    ///
    /// ```text
    /// error: unknown site `dehli`
    ///   --> geo-topology.yaml:7:23
    ///    |
    ///  7 |   - between: [mumbai, dehli]
    ///    |                       ^^^^^
    ///    = help: did you mean `delhi`?
    /// ```
    pub fn render(&self) -> String {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len().max(2));
        let padding = " ".repeat(self.column.saturating_sub(1).min(SOURCE_LINE_CHARS_MAX));
        let mut drawn = format!(
            "error: {}\n{gutter}--> {}:{}:{}\n{gutter} |\n\
             {number:>2} | {}\n{gutter} | {padding}{}\n",
            self.message,
            self.file,
            self.line,
            self.column,
            self.source_line,
            "^".repeat(self.width),
        );
        if let Some(help) = &self.help {
            drawn.push_str(&format!("{gutter} = help: {help}\n"));
        }
        drawn
    }
}

/// A place in the text: what a diagnostic points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Length in characters; a diagnostic clips it to the line.
    pub width: usize,
}

impl Position {
    /// The start of the text: for mistakes that have no better place.
    pub const START: Self = Self { line: 1, column: 1, width: 1 };
}

/// The text under examination and the name it goes by.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What diagnostics call it.
    pub name: &'a str,
    /// The text itself.
    pub text: &'a str,
}

impl Source<'_> {
    /// A mistake at `at`. An empty `help` means none.
    pub fn mistake(
        &self,
        at: Position,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Box<Diagnostic> {
        // A parser may point just past the end; the last line is then the one to show.
        let lines = self.text.lines().count().max(1);
        let line = at.line.clamp(1, lines);
        let source_line: String = self
            .text
            .lines()
            .nth(line - 1)
            .unwrap_or_default()
            .chars()
            .take(SOURCE_LINE_CHARS_MAX)
            .map(printable)
            .collect();
        let chars = source_line.chars().count();
        let column = if at.line > lines { chars + 1 } else { at.column.max(1) };
        let room = chars.saturating_sub(column - 1);
        let help: String = help.into();
        Box::new(Diagnostic {
            file: self.name.to_owned(),
            line,
            column,
            width: at.width.min(room).max(1),
            message: message.into(),
            help: (!help.is_empty()).then_some(help),
            source_line,
        })
    }
}

/// A hostile file must not steer the terminal that shows the diagnostic.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// `text` with every control character replaced.
pub(crate) fn without_controls(text: &str) -> String {
    text.chars().map(printable).collect()
}

/// `text` in backquotes, short and without control characters.
pub fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    let mut shown: String = text.chars().take(CHARS_MAX).map(printable).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}
