//! Whether this replica reaches a majority: without one, commands are refused at once instead of
//! being left to time out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use panchayat::Member;
use tokio::time::Instant;

use super::service::Service;

/// How often links are looked at.
const INTERVAL: Duration = Duration::from_millis(100);
/// Who was not heard of for so long is not reached: heartbeats come much more often, and a link whose
/// other end is gone is noticed later.
const SILENCE: Duration = Duration::from_secs(2);
/// For how long a majority must have been out of reach. Links that come back soon lose nothing.
const GRACE: Duration = Duration::from_secs(1);

/// What the last look at the links has shown.
#[derive(Debug, Default)]
pub(super) struct Health {
    cut_off: AtomicBool,
}

impl Health {
    /// Whether a majority has been out of reach for a while.
    pub(super) fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Relaxed)
    }
}

/// How many members this replica reaches, itself included.
pub(super) fn reached(service: &Service) -> usize {
    let (cluster, own) = (service.cluster(), service.node());
    let others = cluster.members.iter().filter(|member| member.node != own);
    let mesh = service.mesh();
    let heard = |member: &&Member| {
        let silence = mesh.last_heard(member.node);
        mesh.is_up(member.node) && silence.is_some_and(|silence| silence < SILENCE)
    };
    usize::from(service.is_member()) + others.filter(heard).count()
}

/// How many members a majority is.
pub(super) fn majority(service: &Service) -> usize {
    service.cluster().members.len() / 2 + 1
}

/// Looks at the links for ever.
pub(super) async fn watch(service: Arc<Service>) {
    let mut since = None;
    loop {
        let enough = reached(&service) >= majority(&service);
        since = if enough { None } else { since.or_else(|| Some(Instant::now())) };
        let cut_off = since.is_some_and(|since| since.elapsed() >= GRACE);
        if service.health.cut_off.swap(cut_off, Ordering::Relaxed) != cut_off {
            match cut_off {
                true => tracing::warn!(replica = service.name, "a majority is out of reach"),
                false => tracing::warn!(replica = service.name, "a majority is in reach again"),
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
