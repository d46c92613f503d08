//! Which of its keys a command reads and which it writes, as far as rights are concerned.
//!
//! As in Redis: a command that tells something of a value reads its key, one that only says how many
//! members there are now does not. Whatever is not listed here reads and writes all of its keys, so a new
//! command asks for too much rather than too little.

use crate::redis::Call;

/// What a command does to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mode {
    pub(super) reads: bool,
    pub(super) writes: bool,
}

const READS: Mode = Mode { reads: true, writes: false };
const WRITES: Mode = Mode { reads: false, writes: true };
const BOTH: Mode = Mode { reads: true, writes: true };

/// What `call` does to its key number `at`.
pub(super) fn mode(call: &Call, at: usize) -> Mode {
    if !call.spec.writes() {
        return READS;
    }
    let is = |arg: &[u8], name: &[u8]| arg.eq_ignore_ascii_case(name);
    match (call.spec.name, at) {
        // With GET it tells what was there before.
        ("SET", _) if call.args[2..].iter().any(|arg| is(arg, b"get")) => BOTH,
        // With INCR it tells the score; options stand before scores.
        ("ZADD", _) => {
            let option = |arg: &&bytes::Bytes| arg.first().is_some_and(u8::is_ascii_alphabetic);
            let mut options = call.args[1..].iter().take_while(option);
            if options.any(|arg| is(arg, b"incr")) { BOTH } else { WRITES }
        }
        (
            "SET" | "SETNX" | "SETEX" | "PSETEX" | "MSET" | "MSETNX" | "APPEND" | "SETRANGE"
            | "DEL" | "UNLINK" | "EXPIRE" | "PEXPIRE" | "EXPIREAT" | "PEXPIREAT" | "PERSIST"
            | "HSET" | "HSETNX" | "HMSET" | "HDEL" | "LPUSH" | "RPUSH" | "LPUSHX" | "RPUSHX"
            | "LSET" | "LREM" | "LTRIM" | "LINSERT" | "SADD" | "SREM" | "ZREM" | "ZREMRANGEBYRANK"
            | "ZREMRANGEBYSCORE" | "ZREMRANGEBYLEX",
            _,
        ) => WRITES,
        ("COPY", 0) => READS,
        ("COPY" | "RENAME" | "RENAMENX" | "RPOPLPUSH" | "LMOVE" | "SMOVE", 1) => WRITES,
        (
            "SINTERSTORE" | "SUNIONSTORE" | "SDIFFSTORE" | "ZRANGESTORE" | "ZUNIONSTORE"
            | "ZINTERSTORE",
            at,
        ) => {
            if at == 0 {
                WRITES
            } else {
                READS
            }
        }
        _ => BOTH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::find;

    fn modes(words: &str) -> Vec<Mode> {
        let mut words = words.split(' ');
        let spec = find(words.next().unwrap().as_bytes()).unwrap();
        let call = Call::new(spec, words.map(|word| word.to_owned().into()).collect()).unwrap();
        (0..call.keys().count()).map(|at| mode(&call, at)).collect()
    }

    #[test]
    fn what_tells_a_value_reads_its_key() {
        for (words, expected) in [
            ("GET a", vec![READS]),
            ("STRLEN a", vec![READS]),
            ("SET a get", vec![WRITES]),
            ("SET a x EX 10 gEt", vec![BOTH]),
            ("GETSET a x", vec![BOTH]),
            ("INCR a", vec![BOTH]),
            ("MSET a 1 b 2", vec![WRITES, WRITES]),
            ("RENAME a b", vec![BOTH, WRITES]),
            ("COPY a b", vec![READS, WRITES]),
            ("LMOVE a b LEFT LEFT", vec![BOTH, WRITES]),
            ("ZADD a 1 incr", vec![WRITES]),
            ("ZADD a xx InCr 1 m", vec![BOTH]),
            ("ZADD a inf incr", vec![BOTH]),
            ("SINTERSTORE d a b", vec![WRITES, READS, READS]),
            ("ZUNIONSTORE d 2 a b", vec![WRITES, READS, READS]),
            ("ZRANGESTORE d a 0 1", vec![WRITES, READS]),
            ("SPOP a", vec![BOTH]),
        ] {
            assert_eq!(modes(words), expected, "{words}");
        }
    }
}
