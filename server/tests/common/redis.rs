//! A Redis server to compare with.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A Redis server of a test's own.
pub(crate) struct Redis {
    child: Child,
    pub(crate) addr: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Redis {
    /// Starts one, if there is `redis-server`; says so if there is none.
    pub(crate) fn start(more: &[&str]) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let addr = super::ports::free();
        let child = Command::new("redis-server")
            .args(["--port", &addr.port().to_string(), "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(dir.path())
            .args(more)
            .stdout(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            eprintln!(
                "SKIPPED: there is no redis-server to compare with (apt-get install redis-server)"
            );
            assert!(
                std::env::var_os("PANCHAYAT_REDIS_REQUIRED").is_none(),
                "redis-server is required"
            );
            return None;
        };
        let redis = Self { child, addr, _dir: dir };
        let began = Instant::now();
        while std::net::TcpStream::connect(addr).is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(redis)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
