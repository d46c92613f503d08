//! HTTP: who may connect, what is asked, who answers.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::observed::Observed;
use super::{Cluster, explain, measure, prometheus};

/// More connections wait outside.
const CONNECTIONS_MAX: usize = 64;
/// Bytes of a request's head, and of what is buffered of a connection.
const BUFFER_BYTES_MAX: usize = 16 << 10;
/// How long a request's head may take to come: idle connections end too.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// How long a connection may last in all: nothing asked here takes long.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(600);
/// How long to wait after the system could not accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const PAGE: &str = include_str!("page.html");
/// The page is whole in itself, and asks this port only.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
                           script-src 'unsafe-inline'; connect-src 'self'; img-src data:";

/// Why there is no admin port.
#[derive(Debug, Error)]
#[error("cannot listen on {addr} for the admin pages: {source}")]
pub(crate) struct BindError {
    addr: SocketAddr,
    source: io::Error,
}

/// A port that answers. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Admin {
    _tasks: JoinSet<()>,
}

impl Admin {
    /// Binds `addr`; where it listens then.
    pub(crate) async fn bind(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
        let failed = |source| BindError { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        Ok((listener, bound))
    }

    /// Answers about `observed` from here on.
    pub(crate) fn serve(listener: TcpListener, observed: Arc<Observed>) -> Self {
        let mut tasks = JoinSet::new();
        let watched = observed.clone();
        tasks.spawn(async move { watched.watch().await });
        tasks.spawn(accept(listener, observed));
        Self { _tasks: tasks }
    }
}

async fn accept(listener: TcpListener, observed: Arc<Observed>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let observed = observed.clone();
                connections.spawn(async move {
                    let _place = place;
                    let _ = tokio::time::timeout(CONNECTION_PATIENCE, talk(stream, observed)).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the admin pages");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn talk(stream: TcpStream, observed: Arc<Observed>) {
    let service = service_fn(|request| {
        let observed = observed.clone();
        async move { Ok::<_, Infallible>(answer(&request, &observed).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the admin pages has failed");
    }
}

async fn answer(request: &Request<Incoming>, observed: &Arc<Observed>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "here one can only GET\n".to_owned());
    }
    match request.uri().path() {
        "/" => page(),
        "/status" => json(&measure::status(observed).await),
        "/cluster" => json(&Cluster::around(observed).await),
        "/explain" => match explain::explain(observed, request.uri().query().unwrap_or("")).await {
            Ok(explanation) => json(&explanation),
            Err(why) => text(StatusCode::BAD_REQUEST, why + "\n"),
        },
        "/metrics" => metrics(observed).await,
        "/healthz" => health(observed.unhealthy().into_iter().collect()),
        "/readyz" => health(observed.not_ready(&observed.sample().await)),
        _ => text(
            StatusCode::NOT_FOUND,
            "there is /, /status, /cluster, /explain, /metrics, /healthz and /readyz\n".to_owned(),
        ),
    }
}

fn page() -> Response<Full<Bytes>> {
    let mut page = respond(StatusCode::OK, "text/html; charset=utf-8", PAGE);
    let policy = HeaderValue::from_static(PAGE_POLICY);
    page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    page
}

async fn metrics(observed: &Observed) -> Response<Full<Bytes>> {
    match prometheus::exposition(observed).await {
        Ok(exposition) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            respond(StatusCode::OK, kind, exposition)
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn health(reasons: Vec<String>) -> Response<Full<Bytes>> {
    match reasons.is_empty() {
        true => text(StatusCode::OK, "ok\n".to_owned()),
        false => text(StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n"),
    }
}

fn json(value: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_vec(value) {
        Ok(bytes) => respond(StatusCode::OK, "application/json", bytes),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", text)
}

fn respond(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}
