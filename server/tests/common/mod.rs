//! Runs the binary as a user would.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod appends;
pub(crate) mod http;
pub(crate) mod ports;
pub(crate) mod previous;
pub(crate) mod redis;
pub(crate) mod resp;
pub(crate) mod serve;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The program under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_panchayat");

/// Longer, and something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a finished command left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Its standard output as exactly one JSON object.
    pub(crate) fn json(&self) -> Value {
        let value: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not one JSON object: {error}\n{self:?}"));
        assert!(value.is_object(), "{self:?}");
        value
    }
}

fn command(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_remove("RUST_LOG").env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// Runs the binary to its end.
pub(crate) fn run(arguments: &[&str]) -> Ran {
    run_as(Path::new(BINARY), arguments)
}

/// The same with another program.
pub(crate) fn run_as(program: &Path, arguments: &[&str]) -> Ran {
    let output = command(program, arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs the binary with its temporary files in `dir`, interrupts it after `after`, and waits for
/// its end; its exit code.
pub(crate) fn interrupt(arguments: &[&str], dir: &Path, after: Duration) -> Option<i32> {
    let mut command = command(Path::new(BINARY), arguments);
    let mut child = command.env("TMPDIR", dir).stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(after);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    wait(&mut child, &mut stdout).0
}

/// A cluster that `panchayat up` keeps up; killed if the test ends first.
pub(crate) struct Up {
    child: Child,
    stdout: BufReader<ChildStdout>,
    dir: String,
    greeting: String,
}

impl Up {
    /// Starts one on free ports and waits until it says that it is up.
    pub(crate) fn start(dir: &Path, more: &[&str]) -> Self {
        Self::start_as(Path::new(BINARY), dir, more)
    }

    /// The same with another program.
    pub(crate) fn start_as(program: &Path, dir: &Path, more: &[&str]) -> Self {
        let dir = dir.to_str().unwrap().to_owned();
        let arguments = [&["up", "--base-port", "0", "--data-dir", &dir], more].concat();
        let mut child = command(program, &arguments).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut up = Self { child, stdout, dir, greeting: String::new() };
        up.greeting = up.wait_for("Ctrl-C stops the cluster");
        up
    }

    /// Reads lines until one contains `text`.
    fn wait_for(&mut self, text: &str) -> String {
        let mut seen = String::new();
        while !seen.contains(text) {
            let read = self.stdout.read_line(&mut seen).unwrap();
            assert!(read > 0, "ended without `{text}`:\n{seen}");
        }
        seen
    }

    /// Where Redis clients of a city connect.
    pub(crate) fn redis(&self, city: &str) -> SocketAddr {
        let row = self.greeting.lines().find(|line| line.split_whitespace().any(|w| w == city));
        let row = row.unwrap_or_else(|| panic!("no {city} in\n{}", self.greeting));
        row.split_whitespace().find_map(|word| word.parse().ok()).unwrap()
    }

    /// The admin port of a city.
    pub(crate) fn admin(&self, city: &str) -> SocketAddr {
        let row = self.greeting.lines().find(|line| line.split_whitespace().any(|w| w == city));
        let row = row.unwrap_or_else(|| panic!("no {city} in\n{}", self.greeting));
        let mut urls = row.split_whitespace().filter_map(|word| word.strip_prefix("http://"));
        urls.next().and_then(|url| url.trim_end_matches('/').parse().ok()).unwrap()
    }

    /// Runs a client command against it.
    pub(crate) fn client(&self, arguments: &[&str]) -> Ran {
        self.client_as(Path::new(BINARY), arguments)
    }

    /// The same with another program.
    pub(crate) fn client_as(&self, program: &Path, arguments: &[&str]) -> Ran {
        run_as(program, &[arguments, &["--data-dir", &self.dir]].concat())
    }

    /// The same with `--json`: exit code and object.
    pub(crate) fn client_json(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let ran = self.client(&[arguments, &["--json"]].concat());
        (ran.code, ran.json())
    }

    /// How much memory it has resident, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        resident(self.child.id())
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for its end; its exit code and what else it printed.
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        wait(&mut self.child, &mut self.stdout)
    }
}

/// How much memory a process has resident, in bytes.
pub(crate) fn resident(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// Waits for the end of `child`; its exit code and what else it printed.
fn wait(child: &mut Child, stdout: &mut BufReader<ChildStdout>) -> (Option<i32>, String) {
    let (sender, ended) = mpsc::channel();
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut rest = String::new();
            stdout.read_to_string(&mut rest).unwrap();
            sender.send(rest).unwrap();
        });
        let rest = ended.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("still running after {:?}", began.elapsed());
        });
        (child.wait().unwrap().code(), rest)
    })
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
