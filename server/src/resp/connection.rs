//! A connection: bytes in, requests under way, bytes out.
//!
//! One task does all of it, in turns: begin what was asked for, take what is answered, write, read.
//! A client may send a long pipeline without reading a reply; it is read on meanwhile, up to a
//! limit. A connection that asks for nothing holds no buffer.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use panchayat::ReadLevel;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use super::encode::{Resp, encode, encoded_bytes};
use super::failure;
use super::groups::{Fits, Group, Keys, Touched};
use super::pending::{Pending, Shape, Work, begin};
use super::registry::Peer;
use super::request::{Parser, ProtocolError, Request};
use super::service::Service;
use super::session::{Session, Step};
use crate::redis::{Batch, Call, Guard, Reply};

/// How much is read at once.
const READ_BYTES: usize = 16 << 10;
/// So many bytes wait to be written; more replies are made into bytes when these have gone.
const OUTPUT_BYTES_MAX: usize = 256 << 10;
/// Most that is held for somebody who has not said who it is: so little that a full house of them leaves
/// others their room.
const NOBODYS_BYTES_MAX: usize = 24 << 10;
/// Most groups of requests under way.
const PENDING_MAX: usize = 64;
/// So many turns without a break: other connections wait for the thread.
const TURNS_MAX: usize = 32;
/// A buffer that has become larger than this is given back when it is empty.
const KEPT_BYTES_MAX: usize = 4 << 10;

/// A connection over `S`.
pub(super) struct Connection<S> {
    stream: S,
    session: Session,
    service: Arc<Service>,
    parser: Parser,
    input: BytesMut,
    output: BytesMut,
    /// Whether the stream itself may hold bytes that are not sent: TLS does.
    unflushed: bool,
    /// What was asked for and is not answered, in order.
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    /// Replies that are not written out yet. What is large in them is shared with the store.
    answers: VecDeque<(Reply, Resp)>,
    answers_bytes: usize,
    /// The keys of what is under way.
    touched: Touched,
    /// Requests that are to go together.
    group: Option<Group>,
    /// What has to wait until something before it has ended.
    waiting: Option<Step>,
    stopped: watch::Receiver<bool>,
    phase: Phase,
    /// When bytes were last read, and written.
    read_at: Instant,
    written_at: Instant,
}

/// How far towards its end a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The client asks for nothing more; what it asked for is done.
    Ended,
    /// Nothing more is taken; what is under way is answered.
    Closing,
    /// There is nobody any more.
    Gone,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(
        stream: S,
        service: Arc<Service>,
        peer: Arc<Peer>,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        Self {
            stream,
            parser: Parser::new(service.limits.request_bytes_max),
            session: Session::new(service.clone(), peer),
            service,
            input: BytesMut::new(),
            output: BytesMut::new(),
            unflushed: false,
            pending: VecDeque::new(),
            pending_bytes: 0,
            answers: VecDeque::new(),
            answers_bytes: 0,
            touched: Touched::default(),
            group: None,
            waiting: None,
            stopped,
            phase: Phase::Open,
            read_at: Instant::now(),
            written_at: Instant::now(),
        }
    }

    /// Serves it to its end; what is left of the stream.
    pub(super) async fn run(mut self) -> S {
        let service = self.service.clone();
        let peer = self.session.peer.clone();
        let mut holding = service.held.hold();
        let mut stopped = self.stopped.clone();
        let mut killed = pin!(peer.killed());
        let mut stop = pin!(stopped.wait_for(|stopped| *stopped));
        let mut told = false;
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        let mut armed = false;
        poll_fn(|cx| {
            if killed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if !told && stop.as_mut().poll(cx).is_ready() {
                told = true;
                self.close();
            }
            let mut turns = 0;
            while self.turn(cx) {
                turns += 1;
                if turns == TURNS_MAX {
                    cx.waker().wake_by_ref();
                    break;
                }
            }
            if !holding.set(self.bytes(), &service.limits) {
                tracing::debug!(peer = %peer.addr, "closed: it holds more than its share");
                return Poll::Ready(());
            }
            if self.is_over() {
                return Poll::Ready(());
            }
            self.arm(timer.as_mut(), &mut armed, cx)
        })
        .await;
        self.stream
    }

    /// What it holds, in bytes.
    fn bytes(&self) -> usize {
        self.input.capacity()
            + self.output.capacity()
            + self.parser.bytes()
            + self.pending_bytes
            + self.answers_bytes
            + self.group.as_ref().map_or(0, |group| group.bytes)
            + self.session.bytes()
    }

    fn close(&mut self) {
        if self.phase != Phase::Gone {
            self.phase = Phase::Closing;
        }
    }

    fn is_over(&self) -> bool {
        match self.phase {
            Phase::Open | Phase::Ended => false,
            Phase::Closing => self.is_idle(),
            Phase::Gone => true,
        }
    }

    /// Whether nothing is under way.
    fn is_idle(&self) -> bool {
        self.pending.is_empty()
            && self.waiting.is_none()
            && self.answers.is_empty()
            && self.output.is_empty()
            && !self.unflushed
    }

    /// One turn; whether anything has happened.
    fn turn(&mut self, cx: &mut Context<'_>) -> bool {
        let begun = self.begin_requests();
        let answered = self.take_answers(cx);
        let written = self.write(cx);
        let read = self.read(cx);
        begun | answered | written | read
    }

    /// Begins what was asked for, as far as nothing has to be waited for.
    fn begin_requests(&mut self) -> bool {
        let mut begun = false;
        let mut last = None;
        while self.pending.len() < PENDING_MAX && !self.pending.iter().any(Pending::is_alone) {
            let step = match self.waiting.take() {
                Some(step) => step,
                None if !matches!(self.phase, Phase::Open | Phase::Ended) => break,
                None => match self.next_request() {
                    Ok(Some(request)) => self.session.step(request),
                    Ok(None) => {
                        if self.phase == Phase::Ended {
                            self.close();
                        }
                        break;
                    }
                    Err(error) => Step::Close(Reply::error(format!("ERR Protocol error: {error}"))),
                },
            };
            begun = true;
            if let Step::Call { call, .. } = &step {
                last = Some(call.spec.name);
            }
            if let Some(waiting) = self.begin(step) {
                self.waiting = Some(waiting);
                begun = false;
                break;
            }
        }
        begun |= self.submit_group();
        if begun {
            self.session.publish(last.unwrap_or("command"));
        }
        begun
    }

    fn next_request(&mut self) -> Result<Option<Request>, ProtocolError> {
        self.parser.trust(self.session.account.is_some());
        self.parser.next(&mut self.input)
    }

    /// Begins with one request, or gives it back if it has to wait.
    fn begin(&mut self, step: Step) -> Option<Step> {
        match step {
            Step::Reply(reply) => {
                self.submit_group();
                self.push(Pending::done(reply, self.session.resp));
            }
            Step::Close(reply) => {
                self.submit_group();
                self.push(Pending::done(reply, self.session.resp));
                self.close();
            }
            Step::Call { workload, call } => return self.begin_call(workload, call),
            Step::Transaction { workload, batch, known } => {
                let named = batch.guards.iter().map(Guard::key);
                let named = named.chain(batch.calls.iter().flat_map(Call::keys));
                let keys = Keys::written(workload, named);
                self.submit_group();
                if self.touched.conflicts(&keys) {
                    return Some(Step::Transaction { workload, batch, known });
                }
                let bytes = batch.calls.iter().map(Call::cost).sum::<usize>()
                    + known.iter().flatten().map(Reply::cost).sum::<usize>();
                let work = begin(&self.service, workload, batch, self.session.level);
                let shape = Shape::Transaction(known);
                self.push_work(work, shape, keys, bytes);
            }
            Step::Steps(steps) => {
                self.submit_group();
                if !self.pending.is_empty() {
                    return Some(Step::Steps(steps));
                }
                self.push_work(Ok(Work::Steps(steps)), Shape::Each(1), Keys::default(), 0);
            }
        }
        None
    }

    fn begin_call(&mut self, workload: usize, call: Call) -> Option<Step> {
        let keys = Keys::of(workload, &call);
        let fits = match &self.group {
            Some(group) => group.fits(workload, &call, &keys),
            None => Fits::No,
        };
        if fits == Fits::No {
            self.submit_group();
        }
        // A read that is joined by a write is one, too: then all of the group's keys are written.
        if self.touched.conflicts(&keys) || self.would_conflict(&call) {
            self.submit_group();
            return Some(Step::Call { workload, call });
        }
        match &mut self.group {
            Some(group) => group.join(call, &keys),
            None => self.group = Some(Group::new(workload, call, &keys)),
        }
        None
    }

    /// Whether a group of reads would conflict with what is under way if `call` made it write.
    fn would_conflict(&self, call: &Call) -> bool {
        let Some(group) = self.group.as_ref().filter(|group| call.spec.writes() && !group.writes)
        else {
            return false;
        };
        let mut keys = group.keys();
        keys.write();
        self.touched.conflicts(&keys)
    }

    /// Lets the group go.
    fn submit_group(&mut self) -> bool {
        let Some(group) = self.group.take() else { return false };
        let keys = group.keys();
        let (count, bytes) = (group.calls.len(), group.bytes);
        let batch = Batch { guards: Vec::new(), calls: group.calls };
        let level = match group.writes {
            true => ReadLevel::Linearizable,
            false => self.session.level,
        };
        let work = begin(&self.service, group.workload, batch, level);
        self.push_work(work, Shape::Each(count), keys, bytes);
        true
    }

    fn push_work(&mut self, work: Result<Work, Reply>, shape: Shape, keys: Keys, bytes: usize) {
        let resp = self.session.resp;
        match work {
            Ok(work) => {
                let deadline = Instant::now() + self.service.limits.command_timeout;
                self.touched.add(&keys);
                self.push(Pending { work, shape, keys, deadline, bytes, resp });
            }
            Err(reply) => {
                let count = if let Shape::Each(count) = shape { count } else { 1 };
                for _ in 0..count {
                    self.push(Pending::done(reply.clone(), resp));
                }
            }
        }
    }

    fn push(&mut self, pending: Pending) {
        self.pending_bytes += pending.bytes;
        self.pending.push_back(pending);
    }

    /// Takes the answers that are there, in order, as long as there is room to write them out.
    fn take_answers(&mut self, cx: &mut Context<'_>) -> bool {
        let mut taken = false;
        while self.output.len() < OUTPUT_BYTES_MAX {
            if let Some((reply, resp)) = self.answers.pop_front() {
                self.answers_bytes -= reply.cost();
                if self.output.is_empty() {
                    self.written_at = Instant::now();
                }
                self.encode(&reply, resp);
                taken = true;
                continue;
            }
            let Some(first) = self.pending.front_mut() else { break };
            let replies = match first.poll(&self.service, cx) {
                Poll::Ready((replies, changes)) => {
                    let resp = self.session.change(changes);
                    if first.is_alone() {
                        first.resp = resp;
                    }
                    replies
                }
                Poll::Pending if first.is_late() => {
                    self.service.counters.timeouts.fetch_add(1, Ordering::Relaxed);
                    first.timed_out()
                }
                Poll::Pending => break,
            };
            let resp = first.resp;
            self.answers_bytes += replies.iter().map(Reply::cost).sum::<usize>();
            self.answers.extend(replies.into_iter().map(|reply| (reply, resp)));
            if let Some(ended) = self.pending.pop_front() {
                self.pending_bytes -= ended.bytes;
                self.touched.remove(&ended.keys);
            }
            taken = true;
        }
        taken
    }

    /// Makes a reply into bytes, if that is not too many of them: a value that is asked for a thousand
    /// times by one request is held once until here.
    fn encode(&mut self, reply: &Reply, resp: Resp) {
        let limits = &self.service.limits;
        let bytes = encoded_bytes(reply, resp);
        if bytes <= limits.reply_bytes_max.min(limits.total_bytes_max) {
            self.output.reserve(bytes);
            encode(reply, resp, &mut self.output);
        } else {
            encode(&failure::too_long(), resp, &mut self.output);
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let mut written = false;
        while !self.output.is_empty() && self.phase != Phase::Gone {
            match Pin::new(&mut self.stream).poll_write(cx, &self.output) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    self.output.advance(count);
                    self.written_at = Instant::now();
                    self.unflushed = true;
                    written = true;
                }
                Poll::Ready(_) => self.phase = Phase::Gone,
                Poll::Pending => break,
            }
        }
        if written && self.output.is_empty() {
            self.output = BytesMut::new();
        }
        if self.unflushed && self.output.is_empty() && self.phase != Phase::Gone {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => self.phase = Phase::Gone,
                Poll::Pending => {}
            }
        }
        written
    }

    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        // What must be answered first is not made longer without bound.
        let bytes_max = match self.session.account {
            Some(_) => self.service.limits.connection_bytes_max,
            None => NOBODYS_BYTES_MAX,
        };
        if self.phase != Phase::Open || self.bytes() > bytes_max {
            return false;
        }
        match self.poll_read(cx) {
            Poll::Ready(Ok(0)) => {
                self.phase = Phase::Ended;
                true
            }
            Poll::Ready(Ok(_)) => {
                self.read_at = Instant::now();
                true
            }
            Poll::Ready(Err(_)) => {
                self.phase = Phase::Gone;
                true
            }
            Poll::Pending => {
                if self.input.is_empty() && self.input.capacity() > KEPT_BYTES_MAX {
                    self.input = BytesMut::new();
                }
                false
            }
        }
    }

    /// Reads into a buffer of this thread, so that a connection that waits holds none; what is large
    /// goes where it belongs at once.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        let wanted = self.parser.wanted(&self.input);
        if wanted > READ_BYTES {
            // No more room is made than has come already: a length is no promise.
            let (from, room) = (self.input.len(), wanted.min(self.input.len().max(READ_BYTES)));
            self.input.resize(from + room, 0);
            let mut buffer = ReadBuf::new(&mut self.input[from..]);
            let read = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
            let count = buffer.filled().len();
            self.input.truncate(from + count);
            return read.map_ok(|()| count);
        }
        let mut space = [0u8; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        self.input.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Sets the alarm for what has to happen by itself; ends the connection if its time has come.
    fn arm(&self, mut timer: Pin<&mut Sleep>, armed: &mut bool, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some((at, fatal)) = self.next_alarm() else { return Poll::Pending };
            if at <= Instant::now() {
                if fatal {
                    return Poll::Ready(());
                }
                // An answer is late: the next turn says so.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // An alarm that is too early does no harm.
            if !*armed || timer.deadline() > at || timer.is_elapsed() {
                timer.as_mut().reset(at);
                *armed = true;
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// When something has to happen, and whether that is the end.
    fn next_alarm(&self) -> Option<(Instant, bool)> {
        let limits = &self.service.limits;
        let late = self.pending.front().and_then(Pending::due).map(|at| (at, false));
        let unread = !self.output.is_empty() || self.unflushed;
        let unread = unread.then_some((self.written_at + limits.stall_timeout, true));
        let idle = self.is_idle();
        let whole = self.parser.is_idle() && self.input.is_empty();
        let patience = match (idle, whole) {
            (true, false) => limits.stall_timeout,
            (true, true) if !limits.idle_timeout.is_zero() => limits.idle_timeout,
            _ => Duration::MAX,
        };
        let silent = (patience != Duration::MAX).then(|| (self.read_at + patience, true));
        let nobody = self.session.account.is_none();
        let since = Instant::from_std(self.session.nobody_since);
        let nobody = nobody.then_some((since + limits.stall_timeout, true));
        [late, unread, silent, nobody].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}
