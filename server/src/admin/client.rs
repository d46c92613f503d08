//! A small HTTP client: one `GET` of one admin port, bounded in time and size.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;

/// Longer is no answer of ours.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Who takes longer does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why an admin port gives no answer.
#[derive(Debug, Error)]
pub(crate) enum AskError {
    #[error("{addr} cannot be reached: {source}")]
    Connect { addr: SocketAddr, source: std::io::Error },
    #[error("{addr}: {source}")]
    Http { addr: SocketAddr, source: hyper::Error },
    #[error("{addr}: the answer breaks off or is too long")]
    Body { addr: SocketAddr },
    #[error("{addr} does not answer in time")]
    Late { addr: SocketAddr },
    #[error("{addr} is not called so")]
    Target { addr: SocketAddr },
    #[error("{addr} answers {status}: {text}")]
    Refused { addr: SocketAddr, status: StatusCode, text: String },
    #[error("{addr}: the answer is of another version: {source}")]
    Foreign { addr: SocketAddr, source: serde_json::Error },
}

/// What `addr` answers to `GET target`.
pub(crate) async fn get(addr: SocketAddr, target: &str) -> Result<Bytes, AskError> {
    let asked = tokio::time::timeout(PATIENCE, ask(addr, target)).await;
    asked.unwrap_or(Err(AskError::Late { addr }))
}

async fn ask(addr: SocketAddr, target: &str) -> Result<Bytes, AskError> {
    let stream = TcpStream::connect(addr).await;
    let stream = stream.map_err(|source| AskError::Connect { addr, source })?;
    let http = |source| AskError::Http { addr, source };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    let request = Request::get(target)
        .header(header::HOST, addr.to_string())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| AskError::Target { addr })?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(http)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|_| AskError::Body { addr })?.to_bytes();
        if status == StatusCode::OK {
            return Ok(body);
        }
        let text = String::from_utf8_lossy(&body).trim().to_owned();
        Err(AskError::Refused { addr, status, text })
    };
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // It may end before the last bytes are read.
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(source) => Err(http(source)),
        },
    }
}
