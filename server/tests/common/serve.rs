//! A cluster of `panchayat serve`, a process per city.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use panchayat::identity::Authority;
use panchayat::{ClusterId, NodeId};
use rustix::process::{Pid, Signal, kill_process};

use super::resp::Raw;
use super::{BINARY, Ran, http, ports, run_as};

pub(crate) const CITIES: [&str; 3] = ["mumbai", "delhi", "bangalore"];
/// Longer, and something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Three cities.
pub(crate) struct Served {
    dir: PathBuf,
    names: Vec<String>,
    /// What each runs, or will when it is started.
    programs: Vec<PathBuf>,
    replicas: Vec<Option<Child>>,
    pub(crate) clients: Vec<SocketAddr>,
    admins: Vec<Option<SocketAddr>>,
}

impl Served {
    /// Writes certificates and configurations to `dir`, each with `more` at its end, and starts all
    /// cities.
    pub(crate) fn start(dir: &Path, more: &str) -> Self {
        let mut served = Self::prepare(dir, "", more);
        (0..3).for_each(|seat| served.spawn(seat));
        served
    }

    /// The same with more lines about clients, and without starting any.
    pub(crate) fn prepare(dir: &Path, clients_more: &str, more: &str) -> Self {
        let authority = Authority::create().unwrap();
        let members: String =
            CITIES.iter().map(|city| format!("  {city}: {}\n", ports::free())).collect();
        let clients: Vec<_> = CITIES.iter().map(|_| ports::free()).collect();
        for (seat, city) in CITIES.iter().enumerate() {
            let node = NodeId(seat as u64 + 1);
            let identity = authority.issue_node(ClusterId(7), node).unwrap();
            identity.save(&dir.join(format!("certs-{city}"))).unwrap();
            let text = format!(
                "replica: {city}\nmembers:\n{members}identity: certs-{city}\ndata_dir: data-{city}\n\
                 clients:\n  listen: {}\n{clients_more}{more}",
                clients[seat]
            );
            std::fs::write(dir.join(format!("{city}.yaml")), text).unwrap();
        }
        authority.save(&dir.join("authority")).unwrap();
        let admins = vec![None; 3];
        let names = CITIES.map(str::to_owned).to_vec();
        let (programs, replicas) = (vec![BINARY.into(); 3], vec![None, None, None]);
        Self { dir: dir.to_owned(), names, programs, replicas, clients, admins }
    }

    /// Writes what a replica needs that joins as `node`, called `name`, and gives it the next seat. It
    /// receives at the address that this returns.
    pub(crate) fn prepare_to_join(&mut self, name: &str, node: u64) -> SocketAddr {
        let authority = Authority::load(&self.dir.join("authority")).unwrap();
        let identity = authority.issue_node(ClusterId(7), NodeId(node)).unwrap();
        identity.save(&self.dir.join(format!("certs-{node}"))).unwrap();
        let (mesh, port) = (ports::free(), ports::free());
        let first = std::fs::read_to_string(self.dir.join("mumbai.yaml")).unwrap();
        let text = first
            .replace("replica: mumbai", &format!("replica: {name}"))
            .replace("certs-mumbai", &format!("certs-{node}"))
            .replace("data-mumbai", &format!("data-{node}"))
            .replace(&self.clients[0].to_string(), &port.to_string());
        let join = format!("join:\n  node: {node}\n  address: {mesh}\n");
        std::fs::write(self.dir.join(format!("{name}-{node}.yaml")), join + &text).unwrap();
        self.names.push(format!("{name}-{node}"));
        self.clients.push(port);
        self.programs.push(BINARY.into());
        self.admins.push(None);
        self.replicas.push(None);
        mesh
    }

    /// Adds lines to the configuration of a seat.
    pub(crate) fn configure(&self, seat: usize, more: &str) {
        let file = self.dir.join(format!("{}.yaml", self.names[seat]));
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, more.to_owned() + &text).unwrap();
    }

    /// Runs `panchayat` as an operator with a certificate called `name`; its exit code, and what it printed.
    pub(crate) fn operate(&self, name: &str, arguments: &[&str]) -> (i32, String, String) {
        self.operate_as(Path::new(BINARY), name, arguments)
    }

    /// The same with another program.
    pub(crate) fn operate_as(
        &self,
        program: &Path,
        name: &str,
        arguments: &[&str],
    ) -> (i32, String, String) {
        let dir = self.dir.join(format!("operator-{name}"));
        if !dir.exists() {
            let authority = Authority::load(&self.dir.join("authority")).unwrap();
            authority.issue_client(ClusterId(7), name).unwrap().save(&dir).unwrap();
        }
        let config = self.dir.join("mumbai.yaml");
        let more = ["--config", config.to_str().unwrap(), "--identity", dir.to_str().unwrap()];
        let ran = run_as(program, &[arguments, &more].concat());
        (ran.code.unwrap(), ran.stdout, ran.stderr)
    }

    /// Has a city run `program` from its next start on.
    pub(crate) fn runs(&mut self, seat: usize, program: &Path) {
        self.programs[seat] = program.to_owned();
    }

    /// Runs a city that is expected to end by itself.
    pub(crate) fn fails(&self, seat: usize) -> Ran {
        let config = self.dir.join(format!("{}.yaml", self.names[seat]));
        run_as(&self.programs[seat], &["serve", "--config", config.to_str().unwrap()])
    }

    /// Starts a city and waits until it serves.
    pub(crate) fn spawn(&mut self, seat: usize) {
        let mut child = Command::new(&self.programs[seat])
            .args(["serve", "--config"])
            .arg(self.dir.join(format!("{}.yaml", self.names[seat])))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        assert!(line.contains("serves Redis clients"), "{line}");
        line.clear();
        stdout.read_line(&mut line).unwrap();
        let admin = line.trim().strip_prefix("admin page: http://");
        self.admins[seat] = admin.and_then(|admin| admin.trim_end_matches('/').parse().ok());
        // Read on, or it could not print.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        self.replicas[seat] = Some(child);
    }

    pub(crate) fn signal(&self, seat: usize, signal: Signal) {
        let child = self.replicas[seat].as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// Ends a city as a power cut would.
    pub(crate) fn kill(&mut self, seat: usize) {
        self.signal(seat, Signal::KILL);
        self.wait(seat);
    }

    /// Waits for the end of a city; its exit code.
    pub(crate) fn wait(&mut self, seat: usize) -> Option<i32> {
        let mut child = self.replicas[seat].take().expect("it runs");
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            assert!(began.elapsed() < PATIENCE, "{} does not end", self.names[seat]);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The admin port of a city.
    pub(crate) fn admin(&self, seat: usize) -> SocketAddr {
        self.admins[seat].expect("it said where")
    }

    pub(crate) fn connect(&self, seat: usize) -> Raw {
        Raw::connect(self.clients[seat])
    }

    /// Waits until a city executes commands.
    pub(crate) fn wait_until_it_serves(&self, seat: usize) {
        let began = Instant::now();
        let mut last = String::new();
        while began.elapsed() < PATIENCE {
            last = self.connect(seat).ask("SET ready yes");
            if last == "+OK\r\n" {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{} does not serve: {last}", CITIES[seat]);
    }

    /// Waits until a city says that it is ready, as an operator would.
    pub(crate) fn wait_until_ready(&self, seat: usize) {
        let began = Instant::now();
        loop {
            let (status, why) = http::get(self.admin(seat), "/readyz");
            if status == 200 {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{} is not ready: {why}", self.names[seat]);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The directory of a city's data.
    pub(crate) fn data(&self, seat: usize) -> PathBuf {
        let name = &self.names[seat];
        self.dir.join(format!("data-{}", name.rsplit('-').next().unwrap_or(name)))
    }

    /// How much memory a city has resident, in bytes.
    pub(crate) fn resident(&self, seat: usize) -> u64 {
        super::resident(self.replicas[seat].as_ref().expect("it runs").id())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        for mut child in self.replicas.drain(..).flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
