//! The same commands to a Redis server and to a city of `panchayat up`: the bytes of the replies
//! must be the same.
//!
//! Needs `redis-server`; without one it says so and tests nothing.

mod common;

use common::Up;
use common::redis::Redis;
use common::resp::{Raw, words};

/// Both, and a connection to each.
struct Pair {
    theirs: Raw,
    ours: Raw,
    differences: Vec<String>,
    _redis: Redis,
    _up: Up,
    _dir: tempfile::TempDir,
}

impl Pair {
    fn start() -> Option<Self> {
        let redis = Redis::start(&[])?;
        let dir = tempfile::tempdir().unwrap();
        let up = Up::start(dir.path(), &["--profile=ideal", "--set=india3", "--durability=memory"]);
        let ours = Raw::connect(up.redis("mumbai"));
        Some(Self {
            theirs: Raw::connect(redis.addr),
            ours,
            differences: Vec::new(),
            _redis: redis,
            _up: up,
            _dir: dir,
        })
    }

    /// Sends commands to both at once and compares reply by reply.
    fn check(&mut self, commands: &[Vec<Vec<u8>>]) {
        for command in commands {
            self.theirs.command(command);
        }
        for command in commands {
            self.ours.command(command);
        }
        for command in commands {
            let (theirs, ours) = (self.theirs.reply(), self.ours.reply());
            let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let name = command.iter().map(|word| shown(word)).collect::<Vec<_>>().join(" ");
            let (theirs, ours) = (comparable(&name, &theirs), comparable(&name, &ours));
            if ours != theirs && !is_left(&name, &ours, &theirs) {
                self.differences.push(format!(
                    "`{name}`\n  ours:   {:?}\n  Redis': {:?}",
                    shown(&ours),
                    shown(&theirs)
                ));
            }
        }
    }

    fn assert_equal(&self, place: &str) {
        let differences = self.differences.join("\n");
        assert!(self.differences.is_empty(), "replies differ {place}:\n{differences}");
    }

    fn check_text(&mut self, script: &str) {
        let lines = script.lines().map(str::trim).filter(|line| !line.is_empty());
        for line in lines {
            self.check(&[words(line)]);
        }
    }
}

/// Whether both say how long a key is still there, asked at nearly the same time: the two servers
/// are asked one after the other, and a busy machine may take a second between.
fn is_left(command: &str, ours: &[u8], theirs: &[u8]) -> bool {
    let seconds = |reply: &[u8]| {
        let text = std::str::from_utf8(reply).ok()?.strip_prefix(':')?.trim_end().parse().ok();
        text.filter(|left: &i64| *left > 0)
    };
    let asked = command.to_lowercase().starts_with("ttl ");
    asked && seconds(ours).zip(seconds(theirs)).is_some_and(|(a, b)| (a - b).abs() <= 2)
}

/// A reply with what has no order put in order.
fn comparable(command: &str, reply: &[u8]) -> Vec<u8> {
    let name = command.split(' ').next().unwrap_or_default().to_lowercase();
    let unordered = ["smembers", "sinter", "sunion", "sdiff", "keys", "hgetall", "hkeys", "hvals"];
    if !unordered.contains(&&name[..]) {
        return reply.to_vec();
    }
    let text = String::from_utf8_lossy(reply).into_owned();
    let mut lines: Vec<_> = text.split("\r\n").collect();
    lines[1..].sort_unstable();
    lines.join("\r\n").into_bytes()
}

#[test]
fn replies_are_those_of_redis() {
    let Some(mut pair) = Pair::start() else { return };
    for script in [
        CONNECTION,
        STRINGS,
        KEYS,
        HASHES,
        LISTS,
        SETS,
        SORTED_SETS,
        TRANSACTIONS,
        ARITY,
        WRONG_TYPES,
    ] {
        pair.check_text("FLUSHALL");
        pair.check_text(script);
    }
    // The same in the newer protocol.
    pair.ours.ask("HELLO 3");
    pair.theirs.ask("HELLO 3");
    for script in [STRINGS, KEYS, HASHES, LISTS, SETS, SORTED_SETS, TRANSACTIONS, WRONG_TYPES] {
        pair.check_text("FLUSHALL");
        pair.check_text(script);
    }
    pair.assert_equal("in the scripts");
    for seed in 0..6 {
        pair.check_text("FLUSHALL");
        let mut draw = Draw(seed + 1);
        for _ in 0..25 {
            let commands: Vec<_> = (0..40).map(|_| draw.command()).collect();
            pair.check(&commands);
            // What differs once makes more replies differ.
            pair.assert_equal(&format!("with seed {seed}"));
        }
    }
}

/// Draws commands that Redis answers the same way every time.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }

    fn command(&mut self) -> Vec<Vec<u8>> {
        let templates = [
            "GET k",
            "SET k v",
            "SET k v NX",
            "SET k v XX GET",
            "SET k i",
            "SET k v EX 1000 KEEPTTL",
            "APPEND k v",
            "STRLEN k",
            "GETRANGE k i i",
            "SETRANGE k 3 v",
            "INCR k",
            "INCRBY k i",
            "DECRBY k i",
            "GETSET k v",
            "GETDEL k",
            "GETEX k PERSIST",
            "MSET k v k v",
            "MSETNX k v k v",
            "MGET k k k",
            "INCRBYFLOAT k 1.5",
            "SETNX k v",
            "DEL k",
            "DEL k k",
            "EXISTS k k",
            "TYPE k",
            "RENAME k k",
            "RENAMENX k k",
            "COPY k k",
            "COPY k k REPLACE",
            "TTL k",
            "EXPIRE k 1000",
            "EXPIRE k 2000 GT",
            "EXPIRE k -1",
            "EXPIRE k 100 NX",
            "PERSIST k",
            "HSET k v v",
            "HSET k v i v v",
            "HSETNX k v v",
            "HGET k v",
            "HMGET k v v",
            "HGETALL k",
            "HDEL k v",
            "HEXISTS k v",
            "HLEN k",
            "HKEYS k",
            "HINCRBY k v i",
            "HINCRBYFLOAT k v 0.25",
            "HSTRLEN k v",
            "LPUSH k v",
            "RPUSH k v v",
            "LPUSHX k v",
            "LPOP k",
            "RPOP k",
            "LPOP k 2",
            "RPOP k 0",
            "LLEN k",
            "LRANGE k i i",
            "LINDEX k i",
            "LSET k i v",
            "LREM k i v",
            "LTRIM k i i",
            "LINSERT k BEFORE v v",
            "LINSERT k AFTER v v",
            "LPOS k v",
            "LPOS k v RANK -1 COUNT 0",
            "RPOPLPUSH k k",
            "LMOVE k k LEFT RIGHT",
            "LMOVE k k RIGHT RIGHT",
            "SADD k v",
            "SADD k v v v",
            "SREM k v",
            "SMEMBERS k",
            "SISMEMBER k v",
            "SMISMEMBER k v v",
            "SCARD k",
            "SMOVE k k v",
            "SINTER k k",
            "SUNION k k",
            "SDIFF k k",
            "SINTERSTORE k k k",
            "SUNIONSTORE k k k",
            "SDIFFSTORE k k k",
            "SINTERCARD 2 k k",
            "ZADD k i v",
            "ZADD k i v i v",
            "ZADD k NX i v",
            "ZADD k XX CH i v",
            "ZADD k GT i v",
            "ZADD k LT CH i v",
            "ZADD k INCR i v",
            "ZREM k v",
            "ZSCORE k v",
            "ZMSCORE k v v",
            "ZINCRBY k i v",
            "ZCARD k",
            "ZCOUNT k i i",
            "ZRANGE k i i",
            "ZRANGE k i i WITHSCORES",
            "ZRANGE k i i REV",
            "ZRANGE k i i BYSCORE LIMIT 0 2",
            "ZRANGE k i i BYSCORE REV WITHSCORES",
            "ZREVRANGE k i i WITHSCORES",
            "ZRANGEBYSCORE k (i i",
            "ZREVRANGEBYSCORE k +inf -inf LIMIT 1 2",
            "ZRANK k v",
            "ZREVRANK k v",
            "ZPOPMIN k",
            "ZPOPMAX k 2",
            "ZREMRANGEBYRANK k i i",
            "ZREMRANGEBYSCORE k i i",
            "ZUNIONSTORE k 2 k k",
            "ZINTERSTORE k 2 k k WEIGHTS 2 1 AGGREGATE MAX",
            "ZRANGESTORE k k i i",
            "DBSIZE",
            "KEYS *",
        ];
        let template = templates[self.below(templates.len())];
        let word = |draw: &mut Self, word: &str| match word {
            "k" => format!("key{}", draw.below(12)),
            "v" => ["a", "b", "10", "3.5", "longer value", "c"][draw.below(6)].to_owned(),
            "i" => (draw.below(7) as i64 - 3).to_string(),
            "(i" => format!("({}", draw.below(3)),
            other => other.to_owned(),
        };
        template.split(' ').map(|part| word(self, part).into_bytes()).collect()
    }
}

const CONNECTION: &str = "
    PING
    PING hello
    PING a b
    ECHO hi
    SELECT 0
    SELECT 99
    SELECT x
    AUTH x
    AUTH default x
    AUTH nobody x
    AUTH a b c
    CLIENT GETNAME
    CLIENT SETNAME me
    CLIENT GETNAME
    CLIENT SETNAME a\nb
    CLIENT NO-EVICT on
    CLIENT NO-EVICT maybe
    CLIENT NONSENSE
    CLIENT SETNAME
    CLIENT
    CONFIG GET save
    CONFIG GET nothing-like-this
    CONFIG RESETSTAT
    COMMAND GETKEYS MSET a 1 b 2
    COMMAND GETKEYS GET
    NONSENSE a b c
    nonsense
    OBJECT NONSENSE a
    HELLO 9
    HELLO x
    HELLO 2 NONSENSE
    RESET
";

const STRINGS: &str = "
    GET none
    SET a 1
    GET a
    SET a 2 NX
    SET b 2 XX
    SET a 3 XX
    SET a 4 GET
    SET new 4 GET
    SET a 5 NX GET
    SET a 5 XX GET
    SET a 1 NX XX
    SET a 1 EX
    SET a 1 EX x
    SET a 1 EX 0
    SET a 1 PX -5
    SET a 1 EX 9223372036854775807
    SET a 1 EX 10 PX 10
    SET a 1 EX 10 KEEPTTL
    SET a 1 NONSENSE
    SET a 1 EX 100
    TTL a
    SET a 2 KEEPTTL
    TTL a
    SET a 3
    TTL a
    SET a 1 EXAT 33177117420
    EXPIRETIME a
    SET a 1 PXAT 33177117420123
    PEXPIRETIME a
    SET gone 1 EXAT 1
    GET gone
    SETNX a 2
    SETNX c 2
    SETEX d 100 v
    SETEX d 0 v
    SETEX d x v
    PSETEX d 100000 v
    PSETEX d -1 v
    TTL d
    GETSET d w
    TTL d
    GETDEL d
    GETDEL d
    SET e v
    GETEX e EX 100
    TTL e
    GETEX e PERSIST
    TTL e
    GETEX e EX 0
    GETEX e NONSENSE
    GETEX e EX 10 PX 10
    GETEX none EX 10
    MGET a none c
    MSET x 1 y 2
    MSET x 1 y
    MSETNX x 2 z 3
    MSETNX z 3 w 4
    MSETNX z 3 w
    GET z
    APPEND x 234
    APPEND fresh hello
    GET x
    STRLEN x
    STRLEN none
    GETRANGE x 0 2
    GETRANGE x -2 -1
    GETRANGE x -1 -2
    GETRANGE x 2 100
    GETRANGE x 5 3
    GETRANGE none 0 1
    GETRANGE x a 1
    SUBSTR x 1 2
    SETRANGE x 2 XY
    GET x
    SETRANGE far 5 ab
    GET far
    SETRANGE none 0 ''
    EXISTS none
    SETRANGE x -1 a
    SETRANGE x 536870912 a
    INCR n
    INCR n
    DECR n
    INCRBY n 10
    DECRBY n 3
    INCRBY n x
    INCR x
    INCRBY n 9223372036854775807
    DECRBY n -9223372036854775808
    SET n 9223372036854775807
    INCR n
    SET n 01
    INCR n
    SET n ''
    INCR n
    SET f 10.50
    INCRBYFLOAT f 0.1
    INCRBYFLOAT f -5
    INCRBYFLOAT whole 5.0e3
    INCRBYFLOAT whole 200
    INCRBYFLOAT f x
    INCRBYFLOAT x 1
    INCRBYFLOAT fnew 3
    SET f 3.0
    INCRBYFLOAT f 1.000000000000000000
    GET f
";

const KEYS: &str = "
    MSET a 1 b 2 c 3
    DEL a none
    DEL a
    UNLINK b none
    EXISTS c c none
    TOUCH c none
    TYPE c
    TYPE none
    SET x 1
    RENAME x y
    RENAME x y
    RENAME y y
    GET y
    SET z 2
    RENAMENX y z
    RENAMENX y free
    RENAMENX none free
    COPY z copy
    COPY z copy
    COPY z copy REPLACE
    COPY z z
    COPY none copy
    COPY z copy NONSENSE
    GET copy
    EXPIRE z 100
    TTL z
    EXPIRE none 100
    EXPIRE z x
    EXPIRE z 9223372036854775807
    EXPIRE z 200 NX
    EXPIRE z 200 XX
    EXPIRE z 100 GT
    EXPIRE z 300 GT
    EXPIRE z 400 LT
    EXPIRE z 100 LT
    EXPIRE z 100 NX GT
    EXPIRE z 100 GT LT
    EXPIRE z 100 WHAT
    PERSIST z
    PERSIST z
    EXPIRE z 100 GT
    EXPIRE z 100 LT
    TTL z
    TTL none
    PTTL none
    EXPIREAT z 33177117420
    EXPIRETIME z
    PEXPIREAT z 33177117420123
    PEXPIRETIME z
    EXPIRETIME none
    EXPIRE z -1
    EXISTS z
    SET old 1
    EXPIREAT old 1
    EXISTS old
    SET k 1
    PEXPIRE k 100000
    RENAME k kk
    TTL kk
    COPY kk k3
    TTL k3
    DBSIZE
    KEYS *
    KEYS c*
    KEYS k[k3]
    KEYS [^c]*
    KEYS nothing
    SCAN 0 COUNT 1000 MATCH nothing
    SCAN x
    SCAN 0 COUNT 0
    SCAN 0 COUNT x
    SCAN 0 NONSENSE
    FLUSHDB
    DBSIZE
    RANDOMKEY
    FLUSHALL SYNC
    FLUSHALL NONSENSE
    OBJECT ENCODING none
";

const HASHES: &str = "
    HSET h a 1 b 2
    HSET h a 3 c 4
    HSET h a
    HSET h a 1 b
    HSETNX h a 9
    HSETNX h d 9
    HMSET h e 1 f 2
    HMSET h e 1 f
    HGET h a
    HGET h none
    HGET none a
    HMGET h a none b
    HMGET none a b
    HGETALL h
    HGETALL none
    HKEYS h
    HVALS h
    HKEYS none
    HVALS none
    HLEN h
    HLEN none
    HEXISTS h a
    HEXISTS h none
    HSTRLEN h a
    HSTRLEN h none
    HDEL h a none
    HDEL h none
    HDEL none a
    HINCRBY h n 5
    HINCRBY h n -7
    HINCRBY h n x
    HSET h s text
    HINCRBY h s 1
    HINCRBY h n 9223372036854775807
    HINCRBY h n 9223372036854775807
    HINCRBYFLOAT h fl 10.5
    HINCRBYFLOAT h fl 0.1
    HINCRBYFLOAT h s 1
    HINCRBYFLOAT h fl x
    HINCRBYFLOAT h fl inf
    HSCAN h 0 MATCH b
    HSCAN none 0
    HSCAN h x
    HRANDFIELD none
    HRANDFIELD none 2
    HRANDFIELD h x
    HRANDFIELD h 1 NONSENSE
    HSET one f v
    HRANDFIELD one
    HRANDFIELD one 5
    HRANDFIELD one -2
    HRANDFIELD one 5 WITHVALUES
    HSCAN one 0
    HDEL one f
    EXISTS one
    TYPE h
";

const LISTS: &str = "
    LPUSH l a b c
    RPUSH l d e
    LRANGE l 0 -1
    LRANGE l 1 2
    LRANGE l -2 -1
    LRANGE l 5 10
    LRANGE l 3 1
    LRANGE none 0 -1
    LRANGE l x 1
    LLEN l
    LLEN none
    LPUSHX none a
    RPUSHX none a
    LPUSHX l x
    RPUSHX l y z
    LINDEX l 0
    LINDEX l -1
    LINDEX l 99
    LINDEX l x
    LINDEX none 0
    LSET l 0 first
    LSET l -1 last
    LSET l 99 x
    LSET l x x
    LSET none 0 x
    LINSERT l BEFORE a before
    LINSERT l AFTER a after
    LINSERT l BEFORE none x
    LINSERT none BEFORE a x
    LINSERT l NEAR a x
    LRANGE l 0 -1
    RPUSH r 1 2 1 3 1 4 1
    LPOS r 1
    LPOS r 1 RANK 2
    LPOS r 1 RANK -1
    LPOS r 1 COUNT 0
    LPOS r 1 COUNT 2
    LPOS r 1 RANK -2 COUNT 2
    LPOS r 1 MAXLEN 1 COUNT 0
    LPOS r 9
    LPOS r 9 COUNT 0
    LPOS none 1
    LPOS none 1 COUNT 0
    LPOS r 1 RANK 0
    LPOS r 1 COUNT -1
    LPOS r 1 MAXLEN -1
    LPOS r 1 NONSENSE 1
    LPOS r 1 RANK
    LREM r 2 1
    LRANGE r 0 -1
    LREM r -1 1
    LRANGE r 0 -1
    LREM r 0 1
    LREM r 0 none
    LREM none 0 a
    LREM r x a
    LRANGE r 0 -1
    LTRIM r 1 -1
    LRANGE r 0 -1
    LTRIM r 5 10
    EXISTS r
    LTRIM none 0 1
    RPUSH p 1 2 3 4 5 6
    LPOP p
    RPOP p
    LPOP p 2
    RPOP p 0
    LPOP p -1
    LPOP p x
    LPOP p 1 2
    RPOP p 9
    LPOP p
    LPOP p 2
    RPOP none
    EXISTS p
    RPUSH s 1 2 3
    RPOPLPUSH s t
    RPOPLPUSH s s
    RPOPLPUSH none t
    LRANGE s 0 -1
    LRANGE t 0 -1
    LMOVE s t LEFT RIGHT
    LMOVE s t RIGHT LEFT
    LMOVE s t RIGHT LEFT
    LMOVE none t LEFT LEFT
    LMOVE t t UP LEFT
    LMOVE t t LEFT RIGHT
    LRANGE t 0 -1
    RPUSH single a
    RPOPLPUSH single single
    LRANGE single 0 -1
    TYPE t
";

const SETS: &str = "
    SADD s a b c a
    SADD s a
    SCARD s
    SCARD none
    SMEMBERS s
    SMEMBERS none
    SISMEMBER s a
    SISMEMBER s x
    SISMEMBER none a
    SMISMEMBER s a x b
    SMISMEMBER none a
    SREM s a x
    SREM s x
    SREM none x
    SADD t b c d e
    SINTER s t
    SINTER s none
    SUNION s t none
    SDIFF t s
    SDIFF none s
    SINTERSTORE d s t
    SMEMBERS d
    SUNIONSTORE d s t
    SCARD d
    SDIFFSTORE d s t
    EXISTS d
    SINTERCARD 2 s t
    SINTERCARD 2 s t LIMIT 1
    SINTERCARD 0 s
    SINTERCARD 3 s t
    SINTERCARD 2 s t LIMIT -1
    SINTERCARD 2 s t NONSENSE 1
    SMOVE s t b
    SMOVE s t none
    SMOVE none t a
    SMOVE t t b
    SMEMBERS s
    SADD one x
    SPOP one 0
    SRANDMEMBER one
    SRANDMEMBER one 3
    SRANDMEMBER one -3
    SRANDMEMBER one x
    SRANDMEMBER none
    SRANDMEMBER none 2
    SPOP one
    SPOP one
    SPOP none 2
    SPOP none -1
    SPOP none x
    SPOP none 1 2
    SADD one x
    SPOP one 5
    EXISTS one
    SADD small m
    SSCAN small 0
    SSCAN none 0
    SSCAN small x
    TYPE s
";

const SORTED_SETS: &str = "
    ZADD z 1 a 2 b 3 c
    ZADD z 5 a
    ZADD z CH 6 a 7 d
    ZADD z NX 9 a 9 e
    ZADD z XX 9 a 9 f
    ZADD z GT CH 1 a 99 b
    ZADD z LT CH 100 a 3 b
    ZADD z INCR 2.5 c
    ZADD z NX INCR 1 c
    ZADD z XX INCR 1 none
    ZADD z NX XX 1 a
    ZADD z GT LT 1 a
    ZADD z NX GT 1 a
    ZADD z INCR 1 a 2 b
    ZADD z 1
    ZADD z x a
    ZADD z 1 a 2
    ZADD z nan a
    ZADD z inf i
    ZADD z -inf j
    ZINCRBY z -inf i
    ZSCORE z a
    ZSCORE z i
    ZSCORE z none
    ZSCORE none a
    ZMSCORE z a none c
    ZMSCORE none a
    ZCARD z
    ZCARD none
    ZINCRBY z 1.5 a
    ZINCRBY z 1 fresh
    ZINCRBY z x a
    ZRANGE z 0 -1
    ZRANGE z 0 -1 WITHSCORES
    ZRANGE z 1 2 REV
    ZRANGE z 0 -1 REV WITHSCORES
    ZRANGE z (1 5 BYSCORE
    ZRANGE z 1 (5 BYSCORE WITHSCORES
    ZRANGE z +inf 1 BYSCORE REV LIMIT 1 2
    ZRANGE z 0 -1 LIMIT 0 1
    ZRANGE z 0 -1 WITHSCORES BYLEX
    ZRANGE z x 1
    ZRANGE z x 1 BYSCORE
    ZRANGE z x 1 BYLEX
    ZRANGE z 0 1 NONSENSE
    ZRANGE none 0 -1
    ZRANGE z 2 1
    ZRANGE z -100 100
    ZREVRANGE z 0 1
    ZREVRANGE z 0 -1 WITHSCORES
    ZRANGEBYSCORE z -inf +inf
    ZRANGEBYSCORE z -inf +inf WITHSCORES LIMIT 1 2
    ZRANGEBYSCORE z (1 (9
    ZRANGEBYSCORE z 9 1
    ZRANGEBYSCORE z x 1
    ZRANGEBYSCORE z 1 9 LIMIT 0
    ZRANGEBYSCORE z 1 9 LIMIT x 1
    ZRANGEBYSCORE z 0 99 LIMIT -1 2
    ZRANGEBYSCORE z 0 99 LIMIT 1 -1
    ZREVRANGEBYSCORE z +inf -inf
    ZREVRANGEBYSCORE z 9 1 WITHSCORES LIMIT 0 2
    ZCOUNT z 1 9
    ZCOUNT z (1 +inf
    ZCOUNT z x 1
    ZCOUNT none 1 2
    ZRANK z a
    ZRANK z none
    ZRANK none a
    ZREVRANK z a
    ZREVRANK z none
    ZREM z a none
    ZREM none a
    ZADD lex 0 a 0 b 0 c 0 d 0 e
    ZRANGEBYLEX lex - +
    ZRANGEBYLEX lex [b (d
    ZRANGEBYLEX lex (a [c LIMIT 1 1
    ZRANGEBYLEX lex b c
    ZREVRANGEBYLEX lex + -
    ZREVRANGEBYLEX lex (d [b
    ZRANGE lex [b [d BYLEX
    ZRANGE lex [d [b BYLEX REV
    ZLEXCOUNT lex - +
    ZLEXCOUNT lex [b (d
    ZLEXCOUNT lex b d
    ZREMRANGEBYLEX lex [b (d
    ZRANGE lex 0 -1
    ZREMRANGEBYRANK z 0 1
    ZREMRANGEBYRANK z x 1
    ZREMRANGEBYSCORE z -inf (3
    ZREMRANGEBYSCORE none 0 1
    ZRANGE z 0 -1 WITHSCORES
    ZADD p 1 a 2 b 3 c 4 d
    ZPOPMIN p
    ZPOPMAX p
    ZPOPMIN p 0
    ZPOPMAX p 5
    ZPOPMIN p
    ZPOPMIN p 2
    ZPOPMIN p -1
    ZPOPMIN p x
    EXISTS p
    ZADD u 1 a 2 b
    ZADD v 3 b 4 c
    ZUNIONSTORE w 2 u v
    ZRANGE w 0 -1 WITHSCORES
    ZUNIONSTORE w 2 u v WEIGHTS 2 3 AGGREGATE MIN
    ZRANGE w 0 -1 WITHSCORES
    ZINTERSTORE w 2 u v AGGREGATE MAX
    ZRANGE w 0 -1 WITHSCORES
    ZINTERSTORE w 2 u none
    EXISTS w
    SADD plain a b
    ZUNIONSTORE w 2 u plain
    ZRANGE w 0 -1 WITHSCORES
    ZUNIONSTORE w 0 u
    ZUNIONSTORE w x u
    ZUNIONSTORE w 5 u v
    ZUNIONSTORE w 2 u v WEIGHTS 1
    ZUNIONSTORE w 2 u v WEIGHTS 1 x
    ZUNIONSTORE w 2 u v AGGREGATE AVG
    ZUNIONSTORE w 2 u v NONSENSE
    ZRANGESTORE w u 0 0
    ZRANGE w 0 -1
    ZSCAN u 0
    ZSCAN none 0
    ZADD scores 0.5 a 1000000 b 3 c -2.25 d 123456789012 e
    ZRANGE scores 0 -1 WITHSCORES
    TYPE z
";

const TRANSACTIONS: &str = "
    EXEC
    DISCARD
    MULTI
    MULTI
    SET a 1
    INCR a
    GET a
    HSET h f v
    LRANGE none 0 -1
    HGETALL h
    PING
    EXEC
    MULTI
    SET a x
    INCR a
    LPUSH a x
    GET a
    EXEC
    MULTI
    SET a 1
    DISCARD
    GET a
    MULTI
    NONSENSE
    SET a 2
    EXEC
    MULTI
    GET
    EXEC
    GET a
    MULTI
    EXEC
    WATCH a b
    MULTI
    WATCH a
    SET a 3
    EXEC
    WATCH a
    SET a 4
    MULTI
    SET a 5
    EXEC
    GET a
    WATCH a
    SET a 6
    UNWATCH
    MULTI
    SET a 7
    EXEC
    WATCH none
    MULTI
    GET none
    EXEC
    WATCH a
    DISCARD
    MULTI
    DISCARD
    MULTI
    ZADD z 1 m
    ZSCORE z m
    ZRANGE z 0 -1 WITHSCORES
    SMEMBERS none
    DBSIZE
    SELECT 0
    EXEC
    WATCH
    MULTI x
";

const ARITY: &str = "
    GET
    GET a b
    SET a
    APPEND a
    INCR
    INCRBY a
    MGET
    MSET a
    DEL
    EXISTS
    EXPIRE a
    TTL
    RENAME a
    KEYS
    SCAN
    HSET a b
    HGET a
    HMGET a
    HGETALL
    HDEL a
    HINCRBY a b
    LPUSH a
    LPOP
    LRANGE a 0
    LINSERT a BEFORE b
    SADD a
    SMEMBERS
    SISMEMBER a
    SINTER
    SINTERSTORE a
    ZADD a 1
    ZSCORE a
    ZRANGE a 0
    ZRANGEBYSCORE a 0
    ZINCRBY a 1
    ZRANK a
    ZUNIONSTORE a 1
    ECHO
    SELECT
    EXEC x
";

const WRONG_TYPES: &str = "
    SET string x
    RPUSH list a
    GET list
    SET list x GET
    GETSET list x
    GETDEL list
    GETEX list
    APPEND list x
    STRLEN list
    GETRANGE list 0 1
    SETRANGE list 0 x
    INCR list
    INCRBYFLOAT list 1
    MGET list string
    HSET string f v
    HSETNX string f v
    HGET string f
    HMGET string f
    HGETALL string
    HKEYS string
    HLEN string
    HDEL string f
    HEXISTS string f
    HINCRBY string f 1
    HINCRBYFLOAT string f 1
    HSTRLEN string f
    HSCAN string 0
    HRANDFIELD string
    LPUSH string a
    LPUSHX string a
    LPOP string
    LPOP string 2
    LLEN string
    LRANGE string 0 1
    LINDEX string 0
    LSET string 0 x
    LREM string 0 x
    LTRIM string 0 1
    LINSERT string BEFORE a b
    LPOS string a
    RPOPLPUSH string list
    RPOPLPUSH list string
    LMOVE list string LEFT LEFT
    LRANGE list 0 -1
    SADD string a
    SREM string a
    SMEMBERS string
    SISMEMBER string a
    SMISMEMBER string a
    SCARD string
    SPOP string
    SPOP string 2
    SRANDMEMBER string
    SRANDMEMBER string 2
    SMOVE string none a
    SINTER string list
    SUNION string
    SDIFF string
    SINTERSTORE d string
    SINTERCARD 1 string
    SSCAN string 0
    ZADD string 1 a
    ZREM string a
    ZSCORE string a
    ZMSCORE string a
    ZINCRBY string 1 a
    ZCARD string
    ZCOUNT string 0 1
    ZRANGE string 0 1
    ZRANGE string 0 1 BYSCORE
    ZREVRANGE string 0 1
    ZRANGEBYSCORE string 0 1
    ZRANK string a
    ZPOPMIN string
    ZPOPMIN string 2
    ZREMRANGEBYRANK string 0 1
    ZREMRANGEBYSCORE string 0 1
    ZUNIONSTORE d 1 string
    ZRANGESTORE d string 0 1
    ZSCAN string 0
    TYPE string
    TYPE list
";
