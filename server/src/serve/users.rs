//! `users:` of the configuration: who may read and write which keys.

use bytes::Bytes;
use panchayat::topology::Diagnostic;
use panchayat::topology::yaml::{Fields, Node, Position, Read, Source, Value};

use super::clients::flag;
use super::config::{list, plain};
use crate::access::{Access, Account, DEFAULT_USER, Password, Rights};

/// Most users.
const USERS_MAX: usize = 1_024;
/// Most passwords of one: the old and the new one while they change, say.
const PASSWORDS_MAX: usize = 4;
/// Most prefixes of keys that one may read, or write.
const PREFIXES_MAX: usize = 256;
/// Longest name.
const NAME_BYTES_MAX: usize = 64;
/// Where a line that is not shown begins at most.
const COLUMNS_MAX: usize = 200;

/// Reads the section; without it everybody may do everything.
pub(super) fn read(source: &Source<'_>, node: Option<Node>) -> Read<Access> {
    let Some(node) = node else { return Ok(Access::open()) };
    users(source, node).map_err(hidden)
}

/// What is shown in the place of a line.
const NOT_SHOWN: &str = "(not shown)";

/// The same without the line at fault: a password may stand there.
fn hidden(mut mistake: Box<Diagnostic>) -> Box<Diagnostic> {
    let before = mistake.column.clamp(1, COLUMNS_MAX) - 1;
    mistake.source_line = " ".repeat(before) + NOT_SHOWN;
    mistake.width = NOT_SHOWN.len();
    mistake
}

/// The same for a mistake of the text itself, before it is known what is in it: without the line if that
/// looks like one of the users.
pub(super) fn hidden_in_users(source: &Source<'_>, mistake: Box<Diagnostic>) -> Box<Diagnostic> {
    let lines = source.text.lines().take(mistake.line);
    let section =
        |line: &&str| line.starts_with(|c: char| !c.is_whitespace() && !"#-]}".contains(c));
    let last = lines.clone().last().unwrap_or_default();
    let within = lines.filter(section).last().is_some_and(|line| line.contains("users"));
    if within || last.contains("password") { hidden(mistake) } else { mistake }
}

fn users(source: &Source<'_>, node: Node) -> Read<Access> {
    let (mut accounts, mut anonymous): (Vec<Account>, Option<Account>) = (Vec::new(), None);
    for node in list(source, "users", node, USERS_MAX)? {
        let at = node.at;
        let (account, nameless) = user(source, node)?;
        if accounts.iter().chain(&anonymous).any(|other| other.name == account.name) {
            let message = format!("two users are called `{}`", account.name);
            return Err(source.mistake(at, message, ""));
        }
        if nameless {
            anonymous = Some(account);
        } else {
            accounts.push(account);
        }
    }
    Ok(Access::new(accounts, anonymous))
}

fn user(source: &Source<'_>, node: Node) -> Read<(Account, bool)> {
    let at = node.at;
    let known = ["name", "password", "anonymous", "read", "write", "admin"];
    let mut fields = Fields::open(source, "a user", node, &known)?;
    let name = fields.text("name", "what it gives AUTH")?;
    if name.len() > NAME_BYTES_MAX || name.bytes().any(|byte| !byte.is_ascii_graphic()) {
        let message = format!("`{name}` is no name of a user");
        return Err(source.mistake(at, message, "up to 64 letters, digits and signs"));
    }
    let passwords = match fields.optional("password") {
        None => Vec::new(),
        Some(Node { value: Value::List(items), at }) if items.len() > PASSWORDS_MAX => {
            let message = format!("a user may have {PASSWORDS_MAX} passwords");
            return Err(source.mistake(at, message, ""));
        }
        Some(Node { value: Value::List(items), .. }) => {
            items.into_iter().map(|item| password(source, item)).collect::<Read<_>>()?
        }
        Some(node) => vec![password(source, node)?],
    };
    let anonymous = flag(source, "anonymous", fields.optional("anonymous"))?;
    if anonymous && (name != DEFAULT_USER || !passwords.is_empty()) {
        let message = "only a user `default` without a password can be anonymous";
        return Err(source.mistake(at, message, "whoever has not said AUTH is that one"));
    }
    if !anonymous && passwords.is_empty() {
        let message = format!("`{name}` has no password");
        let help = "`panchayat user hash` makes the line from a password";
        return Err(source.mistake(at, message, help));
    }
    let read = prefixes(source, "read", fields.optional("read"))?;
    let write = prefixes(source, "write", fields.optional("write"))?;
    let admin = flag(source, "admin", fields.optional("admin"))?;
    Ok((Account { name, passwords, rights: Rights::new(read, write, admin) }, anonymous))
}

fn password(source: &Source<'_>, node: Node) -> Read<Password> {
    let (text, at): (String, Position) = plain(source, "password", node)?;
    Password::parse(text.trim()).map_err(|error| {
        let help = "`panchayat user hash` makes the line from a password";
        let mut mistake = source.mistake(at, format!("`password`: {error}"), help);
        mistake.column = 3;
        mistake
    })
}

/// What keys begin with; the empty text stands for all keys.
fn prefixes(source: &Source<'_>, key: &str, node: Option<Node>) -> Read<Vec<Bytes>> {
    let Some(node) = node else { return Ok(Vec::new()) };
    let items = list(source, key, node, PREFIXES_MAX)?;
    items.into_iter().map(|item| Ok(plain(source, key, item)?.0.into())).collect()
}
