//! Starting, killing and stopping replica processes.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};

use panchayat::identity::{Authority, Identity};
use panchayat::{Cluster, ClusterId};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::child;

pub(crate) struct Processes {
    pub(crate) cluster: Cluster,
    pub(crate) client: Identity,
    dir: TempDir,
    addrs: Vec<SocketAddr>,
    limits: &'static str,
    protocol: &'static str,
    children: Vec<Child>,
}

impl Processes {
    /// Starts `n` replicas, each in a process of its own, with fresh journals.
    pub(crate) fn start(protocol: &'static str, n: usize) -> Self {
        Self::start_with(protocol, n, "default")
    }

    /// The same with limits that are reached soon.
    pub(crate) fn start_small(protocol: &'static str, n: usize) -> Self {
        Self::start_with(protocol, n, child::SMALL)
    }

    fn start_with(protocol: &'static str, n: usize, limits: &'static str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let addrs = free_addrs(n);
        let cluster = child::cluster(&addrs);
        let authority = Authority::create().expect("an authority");
        for (seat, member) in cluster.members.iter().enumerate() {
            let identity = authority.issue_node(ClusterId(7), member.node).expect("an identity");
            let at = dir.path().join(seat.to_string()).join("identity");
            std::fs::create_dir_all(&at).expect("a directory");
            identity.save(&at).expect("saved");
        }
        let client = authority.issue_client(ClusterId(7), "test").expect("an identity");
        let children = Vec::new();
        let mut processes = Self { cluster, client, dir, addrs, limits, protocol, children };
        processes.children = (0..n).map(|seat| processes.spawn(seat)).collect();
        for child in &mut processes.children {
            wait_until_ready(child);
        }
        processes
    }

    /// `kill -9`: the process gets no chance to do anything.
    pub(crate) fn kill(&mut self, seat: usize) {
        let child = &mut self.children[seat];
        child.kill().expect("killed");
        child.wait().expect("gone");
    }

    /// Starts a killed replica on what its disk has.
    pub(crate) fn restart(&mut self, seat: usize) {
        self.children[seat] = self.spawn(seat);
        wait_until_ready(&mut self.children[seat]);
    }

    /// SIGTERM: the process must end in order, and soon.
    pub(crate) fn terminate(&mut self, seat: usize) {
        self.signal(seat, Signal::TERM);
        let status = self.children[seat].wait().expect("gone");
        assert!(status.success(), "a replica told to stop ended with {status}");
    }

    /// Snapshots taken and states taken over by the run of a replica that goes on, of its only
    /// workload or its first.
    pub(crate) fn figures(&self, seat: usize) -> (u64, u64) {
        self.figures_of_all(seat).first().copied().unwrap_or_default()
    }

    /// The same of every workload, in the order in which they are described.
    pub(crate) fn figures_of_all(&self, seat: usize) -> Vec<(u64, u64)> {
        let path = self.dir.path().join(seat.to_string()).join(child::FIGURES);
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let pair = |line: &str| {
            let (taken, over) = line.split_once(' ')?;
            Some((taken.parse().ok()?, over.parse().ok()?))
        };
        text.lines().filter_map(pair).collect()
    }

    /// SIGSTOP.
    pub(crate) fn stop(&self, seat: usize) {
        self.signal(seat, Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn resume(&self, seat: usize) {
        self.signal(seat, Signal::CONT);
    }

    fn signal(&self, seat: usize, signal: Signal) {
        let pid = Pid::from_child(&self.children[seat]);
        kill_process(pid, signal).expect("signalled");
    }

    fn spawn(&self, seat: usize) -> Child {
        let addrs: Vec<String> = self.addrs.iter().map(ToString::to_string).collect();
        Command::new(std::env::current_exe().expect("this test"))
            .arg(child::ARGUMENT)
            .arg(seat.to_string())
            .arg(self.dir.path().join(seat.to_string()))
            .arg(addrs.join(","))
            .arg(self.limits)
            .arg(self.protocol)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process")
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn wait_until_ready(child: &mut Child) {
    let stdout = child.stdout.take().expect("piped");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("readable");
    assert_eq!(line.trim(), child::READY, "the replica process ended before it served");
}

fn free_addrs(n: usize) -> Vec<SocketAddr> {
    let bind = |_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let sockets: Vec<_> = (0..n).map(bind).collect();
    sockets.iter().map(|socket| socket.local_addr().expect("bound")).collect()
}
