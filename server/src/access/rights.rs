//! Which keys a user may read and write, by what they begin with.

use bytes::Bytes;

use super::modes::mode;
use crate::redis::{Call, Keys, Reply, narrowed};

const NO_KEY: &str =
    "NOPERM this user has no permissions to access one of the keys used as arguments";

/// What somebody may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    read: Prefixes,
    write: Prefixes,
    /// Whether it may look at, and end, other connections.
    pub(crate) admin: bool,
}

/// Keys that begin with one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Prefixes(Vec<Bytes>);

impl Prefixes {
    fn new(prefixes: Vec<Bytes>) -> Self {
        // The empty one stands for all keys, and alone.
        let all = prefixes.iter().any(Bytes::is_empty);
        Self(if all { vec![Bytes::new()] } else { prefixes })
    }

    fn all(&self) -> bool {
        matches!(&self.0[..], [all] if all.is_empty())
    }

    fn has(&self, key: &[u8]) -> bool {
        self.0.iter().any(|prefix| key.starts_with(prefix))
    }
}

impl Rights {
    /// Everything.
    pub(crate) fn all() -> Self {
        Self::new(vec![Bytes::new()], vec![Bytes::new()], true)
    }

    /// The keys that begin so; an empty prefix means all.
    pub(crate) fn new(read: Vec<Bytes>, write: Vec<Bytes>, admin: bool) -> Self {
        Self { read: Prefixes::new(read), write: Prefixes::new(write), admin }
    }

    /// Whether every key may be read.
    pub(crate) fn reads_all(&self) -> bool {
        self.read.all()
    }

    /// What is to be executed of `call`: itself if it touches nothing that it may not; what looks at
    /// all keys is made to see only those that may be read.
    pub(crate) fn admit(&self, call: Call) -> Result<Call, Reply> {
        if self.read.all() && self.write.all() {
            return Ok(call);
        }
        if call.spec.keys == Keys::Everything {
            return match call.spec.writes() {
                true if self.write.all() => Ok(call),
                false if self.read.all() => Ok(call),
                false => narrowed(&call, &self.read.0).ok_or_else(|| no_command(call.spec.name)),
                true => Err(no_command(call.spec.name)),
            };
        }
        let may = |(at, key): (usize, &Bytes)| {
            let mode = mode(&call, at);
            (!mode.reads || self.read.has(key)) && (!mode.writes || self.write.has(key))
        };
        if call.keys().enumerate().all(may) { Ok(call) } else { Err(Reply::error(NO_KEY)) }
    }
}

/// The error of a command that somebody may not use at all; `name` as in `config|get`.
pub(crate) fn no_command(name: &str) -> Reply {
    let name = name.to_lowercase();
    Reply::error(format!("NOPERM this user has no permissions to run the '{name}' command"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::{find, specs};

    fn call(words: &str) -> Call {
        let mut words = words.split(' ');
        let spec = find(words.next().unwrap().as_bytes()).unwrap();
        Call::new(spec, words.map(|word| word.to_owned().into()).collect()).unwrap()
    }

    fn rights(read: &[&'static str], write: &[&'static str]) -> Rights {
        let prefixes = |texts: &[&'static str]| texts.iter().map(|text| (*text).into()).collect();
        Rights::new(prefixes(read), prefixes(write), false)
    }

    #[test]
    fn every_key_of_a_command_is_looked_at() {
        let rights = rights(&["item:", "order:"], &["order:"]);
        for (words, may) in [
            ("GET item:1", true),
            ("GET secret", false),
            ("GET ite", false),
            ("MGET item:1 order:1", true),
            ("MGET item:1 order:1 secret", false),
            ("SET item:1 x", false),
            ("SET order:1 x GET", true),
            ("COPY item:1 order:1", true),
            ("COPY order:1 item:1", false),
            ("RENAME item:1 order:1", false),
            ("MSET order:1 secret order:2 x", true),
            ("MSET order:1 x secret x", false),
            ("SINTERCARD 2 item:1 secret", false),
            ("ZUNIONSTORE order:z 2 item:1 secret", false),
            ("ZUNIONSTORE order:z 2 item:1 item:2", true),
            ("FLUSHALL", false),
            ("WATCH secret", false),
            ("OBJECT|ENCODING secret", false),
        ] {
            assert_eq!(rights.admit(call(words)).is_ok(), may, "{words}");
        }
        let blind = self::rights(&[], &["log:"]);
        assert!(blind.admit(call("RPUSH log:1 x")).is_ok());
        assert!(blind.admit(call("SET log:1 x GET")).is_err());
        assert!(blind.admit(call("GET log:1")).is_err());
        assert_eq!(blind.admit(call("KEYS *")).unwrap().args[0], "0", "no prefix: no key");
    }

    /// Whatever command there is: without any right it comes to no key, named or not.
    #[test]
    fn nobody_without_rights_comes_to_a_key() {
        let rights = rights(&[], &[]);
        for spec in specs().iter().filter(|spec| spec.is_data()) {
            let least = usize::from(spec.arity.unsigned_abs()) - 1;
            let args = vec![Bytes::from_static(b"1"); least.max(3)];
            let args = if spec.arity < 0 { args } else { args[..least].to_vec() };
            let Some(call) = Call::new(spec, args) else { continue };
            match rights.admit(call) {
                Err(_) => {}
                Ok(call) => {
                    assert_eq!(call.spec.keys, Keys::Everything, "{}", spec.name);
                    assert!(call.spec.name.starts_with("PANCHAYAT|"), "{}", spec.name);
                    assert_eq!(call.args[0], "0", "{}", spec.name);
                }
            }
        }
    }
}
