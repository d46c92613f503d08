//! What looks at all keys, for somebody who may see some of them only.
//!
//! Names are left out where the rows are walked, not from a finished reply: a cursor that stood at a key
//! that may not be seen would tell where its hash is, and a count of all keys that there are others.

use bytes::Bytes;

use super::batch::Call;
use super::db::{Context, Db};
use super::error::SYNTAX;
use super::number::parse_integer;
use super::spec::Ran;
use super::{keys, scan, table};

/// What the names of such commands begin with; clients cannot send them.
const INTERNAL: &str = "PANCHAYAT|";

/// Keys that may be seen.
#[derive(Clone, Copy)]
pub(super) struct Visible<'a> {
    /// What they begin with; `None` for all keys.
    prefixes: Option<&'a [Bytes]>,
}

impl<'a> Visible<'a> {
    pub(super) const ALL: Visible<'static> = Visible { prefixes: None };

    pub(super) fn shows(&self, key: &[u8]) -> bool {
        self.prefixes.is_none_or(|prefixes| prefixes.iter().any(|p| key.starts_with(p)))
    }

    pub(super) fn shows_all(&self) -> bool {
        self.prefixes.is_none()
    }

    /// Takes them off the front of arguments: how many prefixes, the prefixes, then the command's own.
    fn split(args: &'a [Bytes]) -> Result<(Self, &'a [Bytes]), super::Reply> {
        let own = own_args(args).ok_or(SYNTAX)?;
        Ok((Self { prefixes: Some(&args[1..own]) }, &args[own..]))
    }
}

/// Where the command's own arguments begin.
fn own_args(args: &[Bytes]) -> Option<usize> {
    let count = parse_integer(args.first()?)?;
    let own = usize::try_from(count).ok()?.checked_add(1)?;
    (own <= args.len()).then_some(own)
}

/// A command that does what `call` does as far as keys are concerned that begin with one of `prefixes`;
/// `None` if there is no such command.
pub(crate) fn narrowed(call: &Call, prefixes: &[Bytes]) -> Option<Call> {
    let spec = table::find(format!("{INTERNAL}{}", call.spec.name).as_bytes())?;
    let count = prefixes.len().to_string().into();
    let args = std::iter::once(count).chain(prefixes.iter().cloned());
    Call::new(spec, args.chain(call.args.iter().cloned()).collect())
}

impl Call {
    /// The name that a client knows it by, and where in its arguments the client's own begin.
    pub(crate) fn as_asked(&self) -> (&'static str, usize) {
        match self.spec.name.strip_prefix(INTERNAL) {
            Some(name) => (name, own_args(&self.args).unwrap_or(0)),
            None => (self.spec.name, 0),
        }
    }
}

pub(super) fn keys(db: &Db, context: &Context, args: &[Bytes]) -> Ran {
    let (visible, args) = Visible::split(args)?;
    keys::visible_keys(db, context, visible, args.first().ok_or(SYNTAX)?)
}

pub(super) fn scan(db: &Db, context: &Context, args: &[Bytes]) -> Ran {
    let (visible, args) = Visible::split(args)?;
    if args.is_empty() {
        return Err(SYNTAX);
    }
    scan::visible_scan(db, context, visible, args)
}

pub(super) fn randomkey(db: &Db, context: &Context, args: &[Bytes]) -> Ran {
    keys::visible_randomkey(db, context, Visible::split(args)?.0)
}

pub(super) fn dbsize(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    keys::visible_dbsize(db, Visible::split(args)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_narrowed_keeps_its_own_arguments() {
        let scan = table::find(b"SCAN").unwrap();
        let call = Call::new(scan, vec!["7".into(), "COUNT".into(), "3".into()]).unwrap();
        let narrow = narrowed(&call, &["a:".into(), "b:".into()]).unwrap();
        assert_eq!(narrow.args, ["2", "a:", "b:", "7", "COUNT", "3"]);
        assert_eq!(narrow.as_asked(), ("SCAN", 3));
        assert_eq!(call.as_asked(), ("SCAN", 0));
        let flush = Call::new(table::find(b"FLUSHALL").unwrap(), vec![]).unwrap();
        assert!(narrowed(&flush, &[]).is_none());
        for args in [vec![], vec!["-1"], vec!["2", "a"], vec!["x"], vec!["9223372036854775807"]] {
            let args: Vec<Bytes> = args.into_iter().map(Bytes::from).collect();
            assert!(Visible::split(&args).is_err(), "{args:?}");
        }
    }
}
