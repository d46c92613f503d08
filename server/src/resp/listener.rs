//! The port that clients connect to.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::connection::Connection;
use super::service::Service;
use super::tls::Tls;
use super::{health, sweep};
use crate::descriptors::Descriptor;

/// How long to wait after the system could not accept a connection: it has no descriptors left, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// What one connection too many is told, before it is closed.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

/// Why there is no listener.
#[derive(Debug, Error)]
#[error("cannot listen for clients on {addr}: {source}")]
pub(crate) struct ListenError {
    addr: SocketAddr,
    source: io::Error,
}

/// A listener and the connections it has accepted.
#[derive(Debug)]
pub(crate) struct Listener {
    addr: SocketAddr,
    tasks: JoinSet<()>,
    stopping: watch::Sender<bool>,
}

impl Listener {
    /// Binds `addr`. Nobody is served before [`serve`](Self::serve).
    pub(crate) async fn bind(addr: SocketAddr) -> Result<TcpListener, ListenError> {
        TcpListener::bind(addr).await.map_err(|source| ListenError { addr, source })
    }

    /// Serves clients of `service` from here on, in clear unless there is `tls`.
    pub(crate) fn serve(
        listener: TcpListener,
        service: Arc<Service>,
        tls: Option<Arc<Tls>>,
    ) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        service.set_port(addr.port());
        let (stopping, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(until(stopped.clone(), health::watch(service.clone())));
        tasks.spawn(until(stopped.clone(), sweep::sweep(service.clone())));
        tasks.spawn(accept(listener, service, tls, stopped));
        Ok(Self { addr, tasks, stopping })
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Takes no more requests, answers those under way, and closes all connections; what is not
    /// answered within `patience` is not.
    pub(crate) async fn stop(mut self, patience: Duration) {
        let _ = self.stopping.send(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, ended).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

/// Runs `task` until everything stops.
async fn until(mut stopped: watch::Receiver<bool>, task: impl Future<Output = ()>) {
    tokio::select! {
        () = task => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}

async fn accept(
    listener: TcpListener,
    service: Arc<Service>,
    tls: Option<Arc<Tls>>,
    stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut stopping = stopped.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stopping.wait_for(|stopped| *stopped) => break,
        };
        match accepted {
            Ok((stream, from)) => {
                service.counters.connections.fetch_add(1, Ordering::Relaxed);
                let descriptor = Descriptor::take();
                if let Some(descriptor) =
                    descriptor.filter(|_| service.held.connect(&service.limits))
                {
                    let (service, stopped) = (service.clone(), stopped.clone());
                    let serving = serve(stream, from, service, tls.clone(), stopped);
                    connections.spawn(async move {
                        serving.await;
                        drop(descriptor);
                    });
                } else {
                    service.counters.refused.fetch_add(1, Ordering::Relaxed);
                    // Who expects TLS could not read why.
                    if tls.is_none() {
                        refuse(stream);
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Says why, as far as that goes without waiting.
fn refuse(stream: TcpStream) {
    let _ = stream.try_write(TOO_MANY);
}

async fn serve(
    stream: TcpStream,
    from: SocketAddr,
    service: Arc<Service>,
    tls: Option<Arc<Tls>>,
    mut stopped: watch::Receiver<bool>,
) {
    let _place = Place(service.clone());
    // Replies are whole when they are written: waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().unwrap_or(from);
    let Some(tls) = tls else {
        return converse(stream, [from, local], service, stopped).await;
    };
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream));
    let shaken = tokio::select! {
        shaken = handshake => shaken,
        _ = stopped.wait_for(|stopped| *stopped) => return,
    };
    match shaken {
        Ok(Ok(stream)) => {
            Box::pin(converse(stream, [from, local], service, stopped)).await;
        }
        failed => {
            service.counters.handshakes_failed.fetch_add(1, Ordering::Relaxed);
            let why = match failed {
                Ok(Err(error)) => error.to_string(),
                _ => "it takes too long".to_owned(),
            };
            tracing::info!(peer = %from, "no TLS handshake: {why}");
        }
    }
}

/// Serves a client to its end.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    [from, local]: [SocketAddr; 2],
    service: Arc<Service>,
    stopped: watch::Receiver<bool>,
) {
    let peer = service.registry.enter(from, local);
    let id = peer.id;
    let mut stream = Connection::new(stream, service.clone(), peer, stopped).run().await;
    let goodbye = poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx));
    let _ = tokio::time::timeout(ACCEPT_PAUSE, goodbye).await;
    service.registry.leave(id);
}

/// A place among the connections, given back whatever happens.
struct Place(Arc<Service>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.held.disconnect();
    }
}
