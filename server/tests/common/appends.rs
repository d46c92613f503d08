//! Clients at all cities that append to lists and read them, in transactions, whatever happens to the
//! cities; what they were told must be strictly serializable, with nothing acknowledged lost.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use panchayat_sim::history::{
    ListAppendHistory, Lists, Operation, Transaction, TxnOp, check_list_append,
};
use parking_lot::Mutex;

use super::resp::{Raw, encoded};

/// Clients at each city.
const CLIENTS: usize = 2;
/// Between the transactions of a client.
const PAUSE: Duration = Duration::from_millis(5);
/// Lists of a workload that are written at a time.
const LISTS: u64 = 2;
/// After so many elements other lists are begun, since they are read whole.
const ELEMENTS: u64 = 300;
/// Transactions in which a city shows that it goes on.
const SHOWN: u64 = 5;
/// Longer, and something hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first word of errors after which nothing was applied.
const CERTAIN: [&str; 3] = ["-CLUSTERDOWN", "-TRYAGAIN", "-EXECABORT"];

/// Clients under way.
pub(crate) struct Appends {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

struct Shared {
    began: Instant,
    stop: AtomicBool,
    /// What the keys of each workload begin with.
    prefixes: &'static [&'static str],
    processes: AtomicU64,
    elements: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    history: ListAppendHistory<String>,
    keys: BTreeSet<String>,
    /// Transactions answered, by city and workload.
    told: Vec<Vec<u64>>,
    last: Duration,
    longest: Duration,
    silence: Duration,
}

/// How a transaction ended.
enum Told {
    Lists(Lists),
    NotApplied,
    Unknown,
}

impl Appends {
    /// Starts clients at these addresses, one for each city.
    pub(crate) fn start(cities: &[SocketAddr], prefixes: &'static [&'static str]) -> Self {
        let shared = Arc::new(Shared {
            began: Instant::now(),
            stop: AtomicBool::new(false),
            prefixes,
            processes: AtomicU64::new(0),
            elements: AtomicU64::new(0),
            seen: Mutex::default(),
        });
        let mut appends = Self { shared, clients: Vec::new() };
        cities.iter().for_each(|city| appends.join(*city));
        appends
    }

    /// Starts clients at one more city.
    pub(crate) fn join(&mut self, city: SocketAddr) {
        let seat = {
            let mut seen = self.shared.seen.lock();
            seen.told.push(vec![0; self.shared.prefixes.len()]);
            seen.told.len() - 1
        };
        for _ in 0..CLIENTS {
            let shared = self.shared.clone();
            self.clients.push(std::thread::spawn(move || shared.client(seat, city)));
        }
    }

    /// Waits until each of these cities has answered transactions of every workload that were not
    /// answered before.
    pub(crate) fn go_on(&self, when: &str, seats: &[usize]) {
        let before = self.shared.seen.lock().told.clone();
        let began = Instant::now();
        loop {
            let told = self.shared.seen.lock().told.clone();
            let done = |seat: &usize| {
                told[*seat].iter().zip(&before[*seat]).all(|(now, then)| *now >= then + SHOWN)
            };
            if seats.iter().all(done) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{when}: {before:?} became only {told:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends the clients, reads all lists at every city, and checks what everybody was told.
    pub(crate) fn finish(self, cities: &[SocketAddr]) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        let keys = self.shared.seen.lock().keys.clone();
        for (seat, city) in cities.iter().enumerate() {
            let mut raw = Raw::connect(*city);
            for (at, prefix) in self.shared.prefixes.iter().enumerate() {
                let read = |key: &String| TxnOp::Read { key: key.clone() };
                let ops: Vec<_> = keys.iter().filter(|k| k.starts_with(prefix)).map(read).collect();
                let process = self.shared.processes.fetch_add(1, Ordering::Relaxed);
                assert!(
                    self.shared.transact(&mut raw, process, (seat, at), ops),
                    "the city at {city} does not answer for {prefix}"
                );
            }
        }
        let seen = self.shared.seen.lock();
        let report = check_list_append(&seen.history);
        let Seen { told, longest, silence, .. } = &*seen;
        println!(
            "{report}; by city and workload {told:?}; the longest took {longest:.1?}, and nobody was \
             answered for {silence:.1?} at most"
        );
        assert!(report.is_strictly_serializable(), "{report}");
        assert!(report.committed > 100, "too little was done to say anything: {report}");
    }
}

impl Shared {
    fn client(&self, seat: usize, city: SocketAddr) {
        let mut connected = None;
        let mut process = self.processes.fetch_add(1, Ordering::Relaxed);
        let mut round = process;
        while !self.stop.load(Ordering::Relaxed) {
            std::thread::sleep(PAUSE);
            let Some(raw) = connected.as_mut() else {
                connected = TcpStream::connect(city).ok().map(Raw::over);
                continue;
            };
            round += 1;
            let at = round as usize % self.prefixes.len();
            let ops = self.draw(self.prefixes[at], round / self.prefixes.len() as u64);
            if !self.transact(raw, process, (seat, at), ops) {
                // It may have been applied, and may yet be: whoever goes on is another.
                process = self.processes.fetch_add(1, Ordering::Relaxed);
                connected = None;
            }
        }
    }

    /// A transaction of two or three steps.
    fn draw(&self, prefix: &str, round: u64) -> Transaction<String> {
        let step = |step: u64| {
            let element = self.elements.fetch_add(1, Ordering::Relaxed);
            let list = (round + step) % LISTS;
            let key = format!("{prefix}{}:{list}", element / ELEMENTS);
            if (round + step).is_multiple_of(3) {
                TxnOp::Read { key }
            } else {
                TxnOp::Append { key, element }
            }
        };
        (0..2 + round % 2).map(step).collect()
    }

    /// Does a transaction and writes down what was told. False if that is not known.
    fn transact(
        &self,
        raw: &mut Raw,
        process: u64,
        (seat, at): (usize, usize),
        ops: Transaction<String>,
    ) -> bool {
        let invoked = self.began.elapsed();
        let told = ask(raw, &ops);
        let returned = self.began.elapsed();
        let seen = &mut *self.seen.lock();
        seen.keys.extend(ops.iter().map(|op| key(op).clone()));
        let micros = |time: Duration| time.as_micros() as u64;
        let operation = Operation::new(process, micros(invoked), ops);
        let known = !matches!(told, Told::Unknown);
        seen.history.push(match told {
            Told::Lists(lists) => {
                seen.told[seat][at] += 1;
                seen.longest = seen.longest.max(returned - invoked);
                seen.silence = seen.silence.max(returned.saturating_sub(seen.last));
                seen.last = seen.last.max(returned);
                operation.returning(micros(returned), lists)
            }
            Told::NotApplied => operation.failing(),
            Told::Unknown => operation,
        });
        known
    }
}

fn key(op: &TxnOp<String>) -> &String {
    let (TxnOp::Append { key, .. } | TxnOp::Read { key }) = op;
    key
}

fn ask(raw: &mut Raw, ops: &[TxnOp<String>]) -> Told {
    let mut request = encoded(&["MULTI"]);
    for op in ops {
        request.extend(match op {
            TxnOp::Append { key, element } => encoded(&["RPUSH", key, &element.to_string()]),
            TxnOp::Read { key } => encoded(&["LRANGE", key, "0", "-1"]),
        });
    }
    request.extend(encoded(&["EXEC"]));
    if !raw.send(&request) {
        return Told::Unknown;
    }
    let mut last = Vec::new();
    for _ in 0..ops.len() + 2 {
        match raw.try_reply() {
            Ok(reply) => last = reply,
            Err(_) => return Told::Unknown,
        }
    }
    let text = String::from_utf8(last).unwrap();
    if CERTAIN.iter().any(|certain| text.starts_with(certain)) {
        return Told::NotApplied;
    }
    assert!(text.starts_with('*') || text.starts_with("-UNKNOWN"), "{text}");
    if text.starts_with('*') { Told::Lists(lists(&text)) } else { Told::Unknown }
}

/// The lists in the reply to a transaction, without the lengths in it.
fn lists(reply: &str) -> Lists {
    let mut lines = reply.split_terminator("\r\n");
    let count = |line: &str| line[1..].parse::<usize>().unwrap();
    let results = count(lines.next().unwrap());
    let mut lists = Vec::new();
    for _ in 0..results {
        let line = lines.next().unwrap();
        if line.starts_with('*') {
            let elements = (0..count(line)).map(|_| lines.nth(1).unwrap().parse().unwrap());
            lists.push(elements.collect());
        } else {
            assert!(line.starts_with(':'), "{line} in {reply}");
        }
    }
    lists
}
