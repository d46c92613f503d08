//! Users and their rights: what they are told, in Redis' words, and what an attacker may try.

mod common;

use std::time::{Duration, Instant};

use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use common::redis::Redis;
use common::resp::{Raw, encoded, words};
use common::serve::Served;

/// A hash that costs little.
fn hash(password: &str) -> String {
    let params = Params::new(64, 1, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash: PasswordHash = argon2.hash_password(password.as_bytes()).unwrap();
    hash.to_string()
}

/// Users as in the comparison with Redis below.
fn users() -> String {
    let [root, shop, log, nobody] = ["root", "pw", "lp", "np"].map(hash);
    format!(
        "users:
  - name: default
    password: \"{root}\"
    read: [\"\"]
    write: [\"\"]
    admin: true
  - name: shop
    password: [\"{shop}\", \"{}\"]
    read: [\"item:\", \"order:\"]
    write: [\"order:\"]
  - name: log
    password: \"{log}\"
    write: [\"log:\"]
  - name: nobody
    password: \"{nobody}\"
",
        hash("another")
    )
}

fn start(more: &str) -> (tempfile::TempDir, Served) {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path(), &(users() + more));
    let began = Instant::now();
    let mut root = as_user(&served, "default", "root");
    while root.ask("SET item:0 x") != "+OK\r\n" {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not serve");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(root.ask("DEL item:0"), ":1\r\n");
    (dir, served)
}

fn as_user(served: &Served, user: &str, password: &str) -> Raw {
    let mut raw = served.connect(0);
    assert_eq!(raw.ask(&format!("AUTH {user} {password}")), "+OK\r\n");
    raw
}

const NOPERM: &str =
    "-NOPERM this user has no permissions to access one of the keys used as arguments\r\n";

/// What both are asked, in this order, on one connection.
const ASKED: &str = "
    GET a
    PING
    HELLO
    HELLO 2
    HELLO 9
    HELLO x
    nonsense
    GET
    get a b
    MULTI
    CLIENT ID
    CLIENT SETNAME x
    RESET
    AUTH
    AUTH wrong
    AUTH default wrong
    AUTH nosuchuser root
    AUTH a b c
    HELLO 2 AUTH default wrong
    HELLO 2 AUTH default
    GET a
    AUTH root
    AUTH shop wrong
    SET item:1 x
    SET secret x
    AUTH shop pw
    GET secret
    GET item:1
    gEt secret
    SET item:1 x
    SET order:1 x
    SET order:1 y GET
    MGET item:1 secret
    MGET secret item:1
    MSET order:1 x secret y
    MSET order:1 x order:2 y
    COPY item:1 secret
    COPY item:1 order:3
    COPY secret order:3
    RENAME item:1 order:2
    RENAME order:2 item:1
    RENAME order:3 order:4
    EXISTS secret
    EXISTS item:1 secret
    TYPE secret
    TTL secret
    DEL secret
    DEL order:4 secret
    WATCH secret
    WATCH item:1
    UNWATCH
    OBJECT ENCODING secret
    OBJECT ENCODING item:1
    SINTERSTORE order:s item:1s secret
    SUNIONSTORE secret item:1s
    SINTERCARD 2 item:9 secret
    ZUNIONSTORE order:z 2 item:9 secret
    ZUNIONSTORE secret 1 item:9
    ZRANGESTORE order:z secret 0 -1
    LMOVE secret order:l LEFT RIGHT
    LMOVE order:l secret LEFT RIGHT
    SMOVE order:s secret x
    RPOPLPUSH secret secret
    GETDEL item:1
    GETEX item:1
    INCR item:n
    FLUSHALL
    FLUSHDB ASYNC
    CONFIG GET save
    CLIENT LIST
    CLIENT KILL ID 1
    CLIENT KILL 127.0.0.1:1
    MULTI
    GET secret
    SET order:1 z
    EXEC
    GET order:1
    MULTI
    FLUSHALL
    DISCARD
    MULTI
    GET item:1
    SET order:1 z
    EXEC
    AUTH nobody wrong
    GET item:1
    HELLO 2 AUTH nobody wrong
    GET item:1
    AUTH shop another
    GET item:1
    HELLO 2
    GET item:1
    HELLO 2 AUTH log lp
    SET log:1 x
    SET log:1 x GET
    RPUSH log:l x
    LRANGE log:l 0 -1
    GET log:1
    GETSET log:1 y
    INCR log:n
    HELLO 2 AUTH nobody np
    GET item:1
    SET order:1 x
    PING
    ECHO x
    RESET
    GET item:1
    HELLO 2
    QUIT";

#[test]
fn who_may_not_is_told_so_in_the_words_of_redis() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (_dir, served) = start("");
    let mut setup = Raw::connect(redis.addr);
    for line in [
        "ACL SETUSER shop on >pw >another %R~item:* ~order:* +@all -flushall -flushdb -config \
         -client|list -client|kill",
        "ACL SETUSER log on >lp %W~log:* +@all",
        "ACL SETUSER nobody on >np +@all",
        "ACL SETUSER default resetpass >root",
    ] {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(setup.ask(&line), "+OK\r\n");
    }
    let (mut theirs, mut ours) = (Raw::connect(redis.addr), served.connect(0));
    let mut differences = Vec::new();
    for line in ASKED.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (their_reply, our_reply) = (theirs.ask(line), ours.ask(line));
        // The answer to HELLO tells the id of the connection, and the version.
        let same = match line.starts_with("HELLO") && their_reply.starts_with('*') {
            true => our_reply.starts_with('*'),
            false => our_reply == their_reply,
        };
        if !same {
            differences
                .push(format!("`{line}`\n  ours:   {our_reply:?}\n  Redis': {their_reply:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    for bytes in [
        &b"*11\r\n"[..],
        b"*1\r\n$16385\r\n",
        b"*2\r\n$4\r\nPING\r\n$20000\r\n",
        b"GET a\r\n",
        b"AUTH wrong\r\nGET a\r\n",
        b"auth default root\r\nPING\r\nRESET\r\nPING\r\n",
        b"PING\r\nAUTH root\r\nPING\r\nQUIT\r\n",
    ] {
        let [ours, theirs] = [served.clients[0], redis.addr].map(|addr| {
            let mut raw = Raw::connect(addr);
            raw.send(bytes);
            raw.stream().shutdown(std::net::Shutdown::Write).unwrap();
            String::from_utf8_lossy(&raw.rest()).into_owned()
        });
        assert_eq!(ours, theirs, "{:?}", String::from_utf8_lossy(bytes));
    }
}

/// What is never to be seen or touched by others, in every type there is.
const SECRETS: [&str; 6] = [
    "SET secret:s TOPSECRET",
    "SET secret:n 41",
    "HSET secret:h TOPSECRET TOPSECRET",
    "RPUSH secret:l TOPSECRET TOPSECRET",
    "SADD secret:t TOPSECRET other",
    "ZADD secret:z 1 TOPSECRET",
];
const SECRET_KEYS: [&str; 6] =
    ["secret:s", "secret:n", "secret:h", "secret:l", "secret:t", "secret:z"];

/// Everything there is to know of the secrets.
fn snapshot(root: &mut Raw) -> Vec<String> {
    let mut all = Vec::new();
    for key in SECRET_KEYS {
        all.push(root.ask(&format!("TYPE {key}")));
        all.push(root.ask(&format!("PTTL {key}")));
    }
    for command in [
        "GET secret:s",
        "GET secret:n",
        "HGETALL secret:h",
        "LRANGE secret:l 0 -1",
        "SCARD secret:t",
        "SISMEMBER secret:t TOPSECRET",
        "ZRANGE secret:z 0 -1 WITHSCORES",
    ] {
        all.push(root.ask(command));
    }
    all
}

/// Every command there is with every number of arguments, and keys that are allowed and not, in all places.
fn attempts(names: &[String]) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let secret = |n: usize| SECRET_KEYS[(at + n) % SECRET_KEYS.len()].to_owned();
        for count in 0..6 {
            let mut push = |argument: &dyn Fn(usize) -> String| {
                let args = (0..count).map(argument);
                all.push([name.clone()].into_iter().chain(args).collect::<Vec<_>>());
            };
            push(&|_| secret(0));
            push(&secret);
            push(&|n| if n == 0 { "order:1".to_owned() } else { secret(n) });
            push(&|n| if n == 1 { "order:1".to_owned() } else { secret(n) });
            push(&|n| if n == 0 { secret(0) } else { "1".to_owned() });
            push(&|n| if n % 2 == 0 { "1".to_owned() } else { secret(n) });
            // With a number of keys in front, or behind one.
            push(&|n| ["2".to_owned(), "order:1".to_owned()].get(n).cloned().unwrap_or(secret(n)));
            push(&|n| match n {
                0 => "order:d".to_owned(),
                1 => (count.max(2) - 2).to_string(),
                _ => secret(n),
            });
            push(&|n| match n {
                0 => secret(0),
                1 => "GET".to_owned(),
                _ => "order:1".to_owned(),
            });
        }
    }
    all
}

#[test]
fn no_command_comes_to_a_key_without_the_right_to_it() {
    let (_dir, served) = start("");
    let mut root = as_user(&served, "default", "root");
    SECRETS.iter().for_each(|command| _ = root.ask(command));
    // A key whose name nobody says.
    assert_eq!(root.ask("SET UNHEARD:1 x"), "+OK\r\n");
    let before = snapshot(&mut root);
    let listed = root.ask("COMMAND LIST");
    let mut names: Vec<String> = listed
        .split("\r\n")
        .skip(2)
        .step_by(2)
        .map(str::to_owned)
        .filter(|n| !n.is_empty())
        .collect();
    assert!(names.len() > 100, "{listed}");
    // What ends or changes the connection is tried elsewhere. And what Redis has beside.
    names.retain(|name| !["quit", "reset", "auth", "hello", "client"].contains(&name.as_str()));
    names.extend(
        [
            "SORT",
            "SORT_RO",
            "EVAL",
            "EVALSHA",
            "FCALL",
            "DUMP",
            "RESTORE",
            "MIGRATE",
            "MOVE",
            "DEBUG",
            "OBJECT",
            "LMPOP",
            "BLPOP",
            "XREAD",
            "GEORADIUS",
            "BITOP",
            "PFMERGE",
            "ACL",
            "MONITOR",
            "PANCHAYAT|SCAN",
            "panchayat|keys",
            "PANCHAYAT|CAS",
            "PANCHAYAT|DUE",
            "OBJECT|ENCODING",
            "SWAPDB",
            "SUBSCRIBE",
            "REPLICAOF",
            "PSYNC",
            "SAVE",
            "SHUTDOWN",
            "MODULE",
            "SLOWLOG",
        ]
        .map(str::to_owned),
    );
    let mixed = |name: &str| -> String {
        let change = |(n, c): (usize, char)| if n % 2 == 0 { c.to_ascii_uppercase() } else { c };
        name.to_lowercase().chars().enumerate().map(change).collect()
    };
    names = names.iter().map(|name| mixed(name)).collect();
    for (user, password) in [("shop", "pw"), ("log", "lp"), ("nobody", "np")] {
        let attempts = attempts(&names);
        let mut raw = as_user(&served, user, password);
        // By themselves, in a pipeline.
        for chunk in attempts.chunks(200) {
            let bytes: Vec<u8> = chunk.iter().flat_map(|words| encoded(words)).collect();
            assert!(raw.send(&bytes));
            for words in chunk {
                let reply = String::from_utf8_lossy(&raw.reply()).into_owned();
                assert!(!reply.contains("TOPSECRET"), "{user} {words:?}: {reply}");
                assert!(!reply.contains("UNHEARD"), "{user} {words:?}: {reply}");
            }
            raw.ask("DISCARD");
        }
        // Inline, and in transactions.
        for words in attempts.iter().step_by(3) {
            raw.ask("MULTI");
            raw.send(format!("{}\r\n", words.join(" ")).as_bytes());
            let queued = String::from_utf8_lossy(&raw.reply()).into_owned();
            let done = raw.ask("EXEC");
            for reply in [queued, done] {
                assert!(!reply.contains("TOPSECRET"), "{user} {words:?}: {reply}");
                assert!(!reply.contains("UNHEARD"), "{user} {words:?}: {reply}");
            }
            raw.ask("DISCARD");
        }
        assert_eq!(snapshot(&mut root), before, "{user} has changed something");
    }
}

#[test]
fn what_looks_at_all_keys_shows_those_one_may_read() {
    let (_dir, served) =
        start("workloads:\n  - name: orders\n    prefixes: [\"order:\"]\n  - name: rest\n");
    let mut root = as_user(&served, "default", "root");
    for n in 0..300 {
        root.command(&words(&format!("SET secret:{n} x")));
    }
    for n in 0..20 {
        root.command(&words(&format!("SET item:{n} x")));
        root.command(&words(&format!("SET order:{n} x")));
    }
    (0..340).for_each(|_| assert_eq!(root.reply(), b"+OK\r\n"));
    let mut shop = as_user(&served, "shop", "pw");
    let keys = shop.ask("KEYS *");
    assert!(keys.starts_with("*40\r\n") && !keys.contains("secret"), "{keys}");
    assert_eq!(shop.ask("KEYS secret*"), "*0\r\n");
    assert_eq!(shop.ask("DBSIZE"), ":40\r\n");
    assert_eq!(root.ask("DBSIZE"), ":340\r\n");
    for _ in 0..40 {
        let key = shop.ask("RANDOMKEY");
        assert!(key.contains("item:") || key.contains("order:"), "{key}");
    }
    // Cursors stand at keys that may be seen: else they would tell of the others, one by one.
    for count in [1, 7, 1_000] {
        let (mut cursor, mut found, mut pages) = ("0".to_owned(), Vec::new(), 0);
        loop {
            let page = shop.ask(&format!("SCAN {cursor} COUNT {count}"));
            assert!(!page.contains("secret"), "{page}");
            cursor = page.split("\r\n").nth(2).unwrap().to_owned();
            found.extend(
                page.split("\r\n").skip(5).step_by(2).filter(|k| !k.is_empty()).map(str::to_owned),
            );
            pages += 1;
            if cursor == "0" {
                break;
            }
        }
        found.sort();
        found.dedup();
        assert_eq!(found.len(), 40);
        assert!(pages <= 40 / count + 3, "{pages} pages of {count}");
    }
    assert!(shop.ask("SCAN 0 MATCH secret* COUNT 1000").ends_with("*0\r\n"));
    assert!(shop.ask("SCAN x").starts_with("-ERR invalid cursor"));
    assert!(shop.ask("SCAN 0 COUNT").starts_with("-ERR syntax error"));
    let began = Instant::now();
    while !root.ask("INFO").contains("db0:keys=340") {
        assert!(began.elapsed() < Duration::from_secs(20), "keys are not counted");
    }
    assert!(!shop.ask("INFO").contains("db0:") && !shop.ask("INFO keyspace").contains("340"));

    let mut nobody = as_user(&served, "nobody", "np");
    assert_eq!(nobody.ask("KEYS *"), "*0\r\n");
    assert_eq!(nobody.ask("DBSIZE"), ":0\r\n");
    assert_eq!(nobody.ask("RANDOMKEY"), "$-1\r\n");
    assert!(nobody.ask("SCAN 0").ends_with("*0\r\n"));
    // A transaction across workloads is told so only about keys that one may name.
    assert_eq!(nobody.ask("MGET order:1 item:1"), NOPERM);
    assert!(shop.ask("MGET order:1 item:1").starts_with("-CROSSSLOT"));
    // Others are not seen, nor ended.
    assert!(shop.ask("CLIENT LIST").starts_with("-NOPERM"));
    assert!(shop.ask("CLIENT INFO").contains("user=shop"));
    assert!(root.ask("CLIENT LIST").contains("user=nobody"));
    assert!(shop.ask("CLIENT KILL TYPE normal").starts_with("-NOPERM"));
}

#[test]
fn in_a_transaction_too() {
    let (_dir, served) = start("");
    let mut root = as_user(&served, "default", "root");
    assert_eq!(root.ask("MSET secret x item:1 y"), "+OK\r\n");
    let mut shop = as_user(&served, "shop", "pw");
    for (asked, told) in [
        ("MULTI", "+OK\r\n"),
        ("KEYS *", "+QUEUED\r\n"),
        ("DBSIZE", "+QUEUED\r\n"),
        ("RANDOMKEY", "+QUEUED\r\n"),
        ("EXEC", "*3\r\n*1\r\n$6\r\nitem:1\r\n:1\r\n$6\r\nitem:1\r\n"),
        // Nobody becomes somebody else within.
        ("MULTI", "+OK\r\n"),
        ("GET item:1", "+QUEUED\r\n"),
        ("AUTH root", "-ERR Command not allowed inside a transaction\r\n"),
        ("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n"),
        ("MULTI", "+OK\r\n"),
        ("HELLO 3 AUTH default root", "-ERR Command not allowed inside a transaction\r\n"),
        ("DISCARD", "+OK\r\n"),
        ("GET secret", NOPERM),
        // What was queued before RESET is gone, and so is the user.
        ("MULTI", "+OK\r\n"),
        ("SET order:1 x", "+QUEUED\r\n"),
        ("RESET", "+RESET\r\n"),
        ("EXEC", "-NOAUTH Authentication required.\r\n"),
        ("AUTH shop pw", "+OK\r\n"),
        ("EXEC", "-ERR EXEC without MULTI\r\n"),
        ("EXISTS order:1", ":0\r\n"),
    ] {
        assert_eq!(shop.ask(asked), told, "{asked}");
    }
}

#[test]
fn strangers_cost_little_and_are_slowed_down() {
    let (_dir, served) = start("limits:\n  stall_timeout_s: 1\n");
    let mut root = as_user(&served, "default", "root");

    // Somebody without a name is sent away in time, whatever it asks meanwhile.
    let mut stranger = served.connect(0);
    let began = Instant::now();
    while stranger.send(&encoded(&["PING"])) && began.elapsed() < Duration::from_secs(20) {
        let mut space = [0; 64];
        if std::io::Read::read(&mut stranger.stream(), &mut space).is_ok_and(|count| count == 0) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(root.ask("PING"), "+PONG\r\n", "who has a name may wait");

    // A pipeline behind AUTH waits for its outcome.
    let mut pipelined = served.connect(0);
    let asked = ["GET a", "AUTH root", "SET a 1", "AUTH shop pw", "GET a", "AUTH bad", "GET a"];
    let bytes: Vec<u8> = asked.iter().flat_map(|line| encoded(&words(line))).collect();
    pipelined.send(&bytes);
    let replies: Vec<_> =
        asked.iter().map(|_| String::from_utf8(pipelined.reply()).unwrap()).collect();
    assert_eq!(
        replies[..4],
        ["-NOAUTH Authentication required.\r\n", "+OK\r\n", "+OK\r\n", "+OK\r\n"]
    );
    assert_eq!((replies[4].as_str(), replies[6].as_str()), (NOPERM, NOPERM));

    // Guessing ends soon, and no other user is slower for it.
    let mut guesses = Vec::new();
    for n in 0..60 {
        let mut guesser = served.connect(0);
        guesser.send(&encoded(&["AUTH", "shop", &format!("guess{n}")]));
        guesses.push(guesser);
    }
    let told: Vec<_> = guesses.iter_mut().map(|g| String::from_utf8(g.reply()).unwrap()).collect();
    assert!(told.iter().any(|told| told.starts_with("-WRONGPASS")), "{told:?}");
    assert!(told.iter().filter(|told| told.starts_with("-TRYAGAIN")).count() > 20, "{told:?}");
    assert_eq!(root.ask("PING"), "+PONG\r\n");
    as_user(&served, "default", "root");
    // The right one is not told from the wrong ones meanwhile, though it was right before.
    let mut shop = served.connect(0);
    while shop.ask("AUTH shop wrong").starts_with("-WRONGPASS") {}
    let told = shop.ask("AUTH shop pw");
    assert!(told.starts_with("-TRYAGAIN"), "{told}");
    let long = "x".repeat(100_000);
    assert!(
        root.ask(&format!("AUTH default {long}")).starts_with("-WRONGPASS")
            || root.ask(&format!("AUTH default {long}")).starts_with("-TRYAGAIN")
    );
    let denied = root.ask("INFO stats");
    assert!(
        denied.contains("acl_access_denied_auth:") && !denied.contains("_auth:0\r"),
        "{denied}"
    );
}

#[test]
fn whoever_says_nothing_is_the_default_user_where_that_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let users = format!(
        "users:\n  - name: default\n    anonymous: true\n    read: [\"item:\"]\n  - name: root\n    \
         password: \"{}\"\n    read: [\"\"]\n    write: [\"\"]\n",
        hash("root")
    );
    let served = Served::start(dir.path(), &users);
    let mut raw = served.connect(0);
    assert_eq!(raw.ask("AUTH root root"), "+OK\r\n");
    let began = Instant::now();
    while raw.ask("MSET item:1 x secret y") != "+OK\r\n" {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not serve");
    }
    assert_eq!(raw.ask("RESET"), "+RESET\r\n");
    assert_eq!(raw.ask("GET item:1"), "$1\r\nx\r\n");
    assert_eq!(raw.ask("GET secret"), NOPERM);
    assert_eq!(raw.ask("SET item:1 y"), NOPERM);
    assert_eq!(raw.ask("HELLO 3").chars().next(), Some('%'));
    assert!(raw.ask("AUTH x").starts_with("-ERR AUTH <password> called without any password"));
    assert_eq!(raw.ask("AUTH default whatever"), "+OK\r\n");
    assert_eq!(raw.ask("GET secret"), NOPERM);
}
