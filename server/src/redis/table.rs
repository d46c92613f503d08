//! Every command there is.
//!
//! The number of a command is agreed data: it stands in journals and messages. New ones are added at
//! the end with a number of their own; none is ever changed.

use std::sync::OnceLock;

use super::spec::Run::{Connection, Read, Write};
use super::spec::{Keys, Run, Spec};
use super::{
    expiry, hashes, keys, lists, scan, set_algebra, sets, sorted_set_ranges, sorted_set_stores,
    sorted_sets, strings, visible,
};

/// Longest name of a command.
const NAME_BYTES_MAX: usize = 20;

const fn data(id: u8, name: &'static str, arity: i8, keys: Keys, run: Run) -> Spec {
    Spec { id, name, arity, keys, run }
}

/// What is about the connection is never replicated, and has no number.
const fn connection(name: &'static str, arity: i8) -> Spec {
    Spec { id: 0, name, arity, keys: Keys::None, run: Connection }
}

#[rustfmt::skip]
static SPECS: &[Spec] = &[
    data(1, "GET", 2, Keys::First(1), Read(strings::get)),
    data(2, "SET", -3, Keys::First(1), Write(strings::set)),
    data(3, "SETNX", 3, Keys::First(1), Write(strings::setnx)),
    data(4, "SETEX", 4, Keys::First(1), Write(strings::setex)),
    data(5, "PSETEX", 4, Keys::First(1), Write(strings::psetex)),
    data(6, "GETSET", 3, Keys::First(1), Write(strings::getset)),
    data(7, "GETDEL", 2, Keys::First(1), Write(strings::getdel)),
    data(8, "GETEX", -2, Keys::First(1), Write(strings::getex)),
    data(9, "MGET", -2, Keys::All, Read(strings::mget)),
    data(10, "MSET", -3, Keys::Alternate, Write(strings::mset)),
    data(11, "MSETNX", -3, Keys::Alternate, Write(strings::msetnx)),
    data(12, "APPEND", 3, Keys::First(1), Write(strings::append)),
    data(13, "STRLEN", 2, Keys::First(1), Read(strings::strlen)),
    data(14, "GETRANGE", 4, Keys::First(1), Read(strings::getrange)),
    data(15, "SUBSTR", 4, Keys::First(1), Read(strings::getrange)),
    data(16, "SETRANGE", 4, Keys::First(1), Write(strings::setrange)),
    data(17, "INCR", 2, Keys::First(1), Write(strings::incr)),
    data(18, "DECR", 2, Keys::First(1), Write(strings::decr)),
    data(19, "INCRBY", 3, Keys::First(1), Write(strings::incrby)),
    data(20, "DECRBY", 3, Keys::First(1), Write(strings::decrby)),
    data(21, "INCRBYFLOAT", 3, Keys::First(1), Write(strings::incrbyfloat)),
    data(22, "DEL", -2, Keys::All, Write(keys::del)),
    data(23, "UNLINK", -2, Keys::All, Write(keys::del)),
    data(24, "EXISTS", -2, Keys::All, Read(keys::exists)),
    data(25, "TOUCH", -2, Keys::All, Read(keys::exists)),
    data(26, "TYPE", 2, Keys::First(1), Read(keys::type_of)),
    data(27, "RENAME", 3, Keys::First(2), Write(keys::rename)),
    data(28, "RENAMENX", 3, Keys::First(2), Write(keys::renamenx)),
    data(29, "COPY", -3, Keys::First(2), Write(keys::copy)),
    data(30, "EXPIRE", -3, Keys::First(1), Write(expiry::expire)),
    data(31, "PEXPIRE", -3, Keys::First(1), Write(expiry::pexpire)),
    data(32, "EXPIREAT", -3, Keys::First(1), Write(expiry::expireat)),
    data(33, "PEXPIREAT", -3, Keys::First(1), Write(expiry::pexpireat)),
    data(34, "TTL", 2, Keys::First(1), Read(expiry::ttl)),
    data(35, "PTTL", 2, Keys::First(1), Read(expiry::pttl)),
    data(36, "EXPIRETIME", 2, Keys::First(1), Read(expiry::expiretime)),
    data(37, "PEXPIRETIME", 2, Keys::First(1), Read(expiry::pexpiretime)),
    data(38, "PERSIST", 2, Keys::First(1), Write(expiry::persist)),
    data(39, "KEYS", 2, Keys::Everything, Read(keys::keys)),
    data(40, "SCAN", -2, Keys::Everything, Read(scan::scan)),
    data(41, "RANDOMKEY", 1, Keys::Everything, Read(keys::randomkey)),
    data(42, "DBSIZE", 1, Keys::Everything, Read(keys::dbsize)),
    data(43, "FLUSHDB", -1, Keys::Everything, Write(keys::flush)),
    data(44, "FLUSHALL", -1, Keys::Everything, Write(keys::flush)),
    data(45, "HSET", -4, Keys::First(1), Write(hashes::hset)),
    data(46, "HSETNX", 4, Keys::First(1), Write(hashes::hsetnx)),
    data(47, "HMSET", -4, Keys::First(1), Write(hashes::hmset)),
    data(48, "HGET", 3, Keys::First(1), Read(hashes::hget)),
    data(49, "HMGET", -3, Keys::First(1), Read(hashes::hmget)),
    data(50, "HGETALL", 2, Keys::First(1), Read(hashes::hgetall)),
    data(51, "HDEL", -3, Keys::First(1), Write(hashes::hdel)),
    data(52, "HEXISTS", 3, Keys::First(1), Read(hashes::hexists)),
    data(53, "HLEN", 2, Keys::First(1), Read(hashes::hlen)),
    data(54, "HKEYS", 2, Keys::First(1), Read(hashes::hkeys)),
    data(55, "HVALS", 2, Keys::First(1), Read(hashes::hvals)),
    data(56, "HINCRBY", 4, Keys::First(1), Write(hashes::hincrby)),
    data(57, "HINCRBYFLOAT", 4, Keys::First(1), Write(hashes::hincrbyfloat)),
    data(58, "HSTRLEN", 3, Keys::First(1), Read(hashes::hstrlen)),
    data(59, "HSCAN", -3, Keys::First(1), Read(scan::hscan)),
    data(60, "HRANDFIELD", -2, Keys::First(1), Read(hashes::hrandfield)),
    data(61, "LPUSH", -3, Keys::First(1), Write(lists::lpush)),
    data(62, "RPUSH", -3, Keys::First(1), Write(lists::rpush)),
    data(63, "LPUSHX", -3, Keys::First(1), Write(lists::lpushx)),
    data(64, "RPUSHX", -3, Keys::First(1), Write(lists::rpushx)),
    data(65, "LPOP", -2, Keys::First(1), Write(lists::lpop)),
    data(66, "RPOP", -2, Keys::First(1), Write(lists::rpop)),
    data(67, "LLEN", 2, Keys::First(1), Read(lists::llen)),
    data(68, "LRANGE", 4, Keys::First(1), Read(lists::lrange)),
    data(69, "LINDEX", 3, Keys::First(1), Read(lists::lindex)),
    data(70, "LSET", 4, Keys::First(1), Write(lists::lset)),
    data(71, "LREM", 4, Keys::First(1), Write(lists::lrem)),
    data(72, "LTRIM", 4, Keys::First(1), Write(lists::ltrim)),
    data(73, "LINSERT", 5, Keys::First(1), Write(lists::linsert)),
    data(74, "LPOS", -3, Keys::First(1), Read(lists::lpos)),
    data(75, "RPOPLPUSH", 3, Keys::First(2), Write(lists::rpoplpush)),
    data(76, "LMOVE", 5, Keys::First(2), Write(lists::lmove)),
    data(77, "SADD", -3, Keys::First(1), Write(sets::sadd)),
    data(78, "SREM", -3, Keys::First(1), Write(sets::srem)),
    data(79, "SMEMBERS", 2, Keys::First(1), Read(sets::smembers)),
    data(80, "SISMEMBER", 3, Keys::First(1), Read(sets::sismember)),
    data(81, "SMISMEMBER", -3, Keys::First(1), Read(sets::smismember)),
    data(82, "SCARD", 2, Keys::First(1), Read(sets::scard)),
    data(83, "SPOP", -2, Keys::First(1), Write(sets::spop)),
    data(84, "SRANDMEMBER", -2, Keys::First(1), Read(sets::srandmember)),
    data(85, "SMOVE", 4, Keys::First(2), Write(sets::smove)),
    data(86, "SSCAN", -3, Keys::First(1), Read(scan::sscan)),
    data(87, "SINTER", -2, Keys::All, Read(set_algebra::sinter)),
    data(88, "SUNION", -2, Keys::All, Read(set_algebra::sunion)),
    data(89, "SDIFF", -2, Keys::All, Read(set_algebra::sdiff)),
    data(90, "SINTERSTORE", -3, Keys::All, Write(set_algebra::sinterstore)),
    data(91, "SUNIONSTORE", -3, Keys::All, Write(set_algebra::sunionstore)),
    data(92, "SDIFFSTORE", -3, Keys::All, Write(set_algebra::sdiffstore)),
    data(93, "SINTERCARD", -3, Keys::Counted, Read(set_algebra::sintercard)),
    data(94, "ZADD", -4, Keys::First(1), Write(sorted_sets::zadd)),
    data(95, "ZREM", -3, Keys::First(1), Write(sorted_sets::zrem)),
    data(96, "ZSCORE", 3, Keys::First(1), Read(sorted_sets::zscore)),
    data(97, "ZMSCORE", -3, Keys::First(1), Read(sorted_sets::zmscore)),
    data(98, "ZINCRBY", 4, Keys::First(1), Write(sorted_sets::zincrby)),
    data(99, "ZCARD", 2, Keys::First(1), Read(sorted_sets::zcard)),
    data(100, "ZCOUNT", 4, Keys::First(1), Read(sorted_set_ranges::zcount)),
    data(101, "ZLEXCOUNT", 4, Keys::First(1), Read(sorted_set_ranges::zlexcount)),
    data(102, "ZRANGE", -4, Keys::First(1), Read(sorted_set_ranges::zrange)),
    data(103, "ZREVRANGE", -4, Keys::First(1), Read(sorted_set_ranges::zrevrange)),
    data(104, "ZRANGEBYSCORE", -4, Keys::First(1), Read(sorted_set_ranges::zrangebyscore)),
    data(105, "ZREVRANGEBYSCORE", -4, Keys::First(1), Read(sorted_set_ranges::zrevrangebyscore)),
    data(106, "ZRANGEBYLEX", -4, Keys::First(1), Read(sorted_set_ranges::zrangebylex)),
    data(107, "ZREVRANGEBYLEX", -4, Keys::First(1), Read(sorted_set_ranges::zrevrangebylex)),
    data(108, "ZRANGESTORE", -5, Keys::First(2), Write(sorted_set_ranges::zrangestore)),
    data(109, "ZRANK", 3, Keys::First(1), Read(sorted_sets::zrank)),
    data(110, "ZREVRANK", 3, Keys::First(1), Read(sorted_sets::zrevrank)),
    data(111, "ZPOPMIN", -2, Keys::First(1), Write(sorted_sets::zpopmin)),
    data(112, "ZPOPMAX", -2, Keys::First(1), Write(sorted_sets::zpopmax)),
    data(113, "ZREMRANGEBYRANK", 4, Keys::First(1), Write(sorted_set_ranges::zremrangebyrank)),
    data(114, "ZREMRANGEBYSCORE", 4, Keys::First(1), Write(sorted_set_ranges::zremrangebyscore)),
    data(115, "ZREMRANGEBYLEX", 4, Keys::First(1), Write(sorted_set_ranges::zremrangebylex)),
    data(116, "ZUNIONSTORE", -4, Keys::FirstAndCounted, Write(sorted_set_stores::zunionstore)),
    data(117, "ZINTERSTORE", -4, Keys::FirstAndCounted, Write(sorted_set_stores::zinterstore)),
    data(118, "ZSCAN", -3, Keys::First(1), Read(scan::zscan)),
    data(119, "WATCH", -2, Keys::All, Read(keys::versions)),
    data(120, "OBJECT|ENCODING", 2, Keys::First(1), Read(keys::object_encoding)),
    data(121, "PANCHAYAT|DUE", 2, Keys::Everything, Read(keys::due)),
    data(122, "PANCHAYAT|KEYSPACE", 1, Keys::Everything, Read(keys::keyspace)),
    data(123, "PANCHAYAT|CAS", 4, Keys::First(1), Write(strings::compare_and_set)),
    data(124, "PANCHAYAT|KEYS", -3, Keys::Everything, Read(visible::keys)),
    data(125, "PANCHAYAT|SCAN", -3, Keys::Everything, Read(visible::scan)),
    data(126, "PANCHAYAT|RANDOMKEY", -2, Keys::Everything, Read(visible::randomkey)),
    data(127, "PANCHAYAT|DBSIZE", -2, Keys::Everything, Read(visible::dbsize)),
    connection("PING", -1),
    connection("ECHO", 2),
    connection("HELLO", -1),
    connection("AUTH", -2),
    connection("SELECT", 2),
    connection("CLIENT", -2),
    connection("COMMAND", -1),
    connection("INFO", -1),
    connection("CONFIG", -2),
    connection("MULTI", 1),
    connection("EXEC", 1),
    connection("DISCARD", 1),
    connection("UNWATCH", 1),
    connection("RESET", 1),
    connection("QUIT", -1),
    connection("READONLY", -1),
    connection("READWRITE", 1),
    connection("OBJECT", -2),
    connection("TIME", 1),
    connection("LASTSAVE", 1),
    connection("WAIT", 3),
    connection("MEMORY", -2),
];

/// Every command.
pub(crate) fn specs() -> &'static [Spec] {
    SPECS
}

/// The command called `name`, in whatever case.
pub(crate) fn find(name: &[u8]) -> Option<&'static Spec> {
    static BY_NAME: OnceLock<Vec<(&[u8], &Spec)>> = OnceLock::new();
    let by_name = BY_NAME.get_or_init(|| {
        let mut by_name: Vec<_> = SPECS.iter().map(|spec| (spec.name.as_bytes(), spec)).collect();
        by_name.sort_unstable_by_key(|(name, _)| *name);
        by_name
    });
    let mut capitals = [0; NAME_BYTES_MAX];
    let capitals = capitals.get_mut(..name.len())?;
    capitals.copy_from_slice(name);
    capitals.make_ascii_uppercase();
    let at = by_name.binary_search_by_key(&&*capitals, |(name, _)| *name).ok()?;
    Some(by_name[at].1)
}

/// The command with that number.
pub(super) fn by_id(id: u8) -> Option<&'static Spec> {
    static BY_ID: OnceLock<[Option<&Spec>; 256]> = OnceLock::new();
    let by_id = BY_ID.get_or_init(|| {
        let mut by_id = [None; 256];
        for spec in SPECS.iter().filter(|spec| spec.is_data()) {
            by_id[usize::from(spec.id)] = Some(spec);
        }
        by_id
    });
    by_id[usize::from(id)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_names_are_found_in_any_case() {
        let data: Vec<_> = SPECS.iter().filter(|spec| spec.is_data()).collect();
        for (at, spec) in data.iter().enumerate() {
            assert_eq!(usize::from(spec.id), at + 1, "{}", spec.name);
            assert_eq!(by_id(spec.id).unwrap().name, spec.name);
        }
        for spec in SPECS {
            assert_eq!(find(spec.name.to_lowercase().as_bytes()).unwrap().name, spec.name);
        }
        assert!(find(b"").is_none() && find(b"nonsense").is_none() && find(&[b'A'; 99]).is_none());
        assert!(by_id(0).is_none() && by_id(255).is_none());
    }

    #[test]
    fn the_numbers_of_some_commands_are_what_they_were_in_the_first_version() {
        let expected = [("GET", 1), ("SET", 2), ("DEL", 22), ("HSET", 45), ("ZADD", 94)];
        for (name, id) in expected {
            assert_eq!(find(name.as_bytes()).unwrap().id, id, "{name}");
        }
    }
}
