//! `WATCH`, `MULTI`, `EXEC`: one strictly serializable transaction.
//!
//! Commands are queued here and go as one batch. `WATCH` reads versions, linearizably; the batch
//! insists on them when it is executed, at every replica alike.

use std::collections::BTreeMap;

use bytes::Bytes;
use panchayat::ReadLevel;

use super::pending::{Work, begin};
use super::session::{Changes, Session, Step, is_connection};
use super::{authentication, failure};
use crate::redis::{Batch, Call, Guard, Keys, Outcome, Reply, Spec};

/// The error of what cannot wait for `EXEC`.
const NOT_WITHIN: &str = "ERR Command not allowed inside a transaction";

/// Commands that wait for `EXEC`.
#[derive(Default)]
pub(super) struct Multi {
    queue: Vec<Queued>,
    bytes: usize,
    /// Whether one of them was refused: then none is executed.
    failed: bool,
}

enum Queued {
    Call(Call),
    /// Of the connection: answered when the transaction is.
    Connection(&'static Spec, Vec<Bytes>),
}

impl Multi {
    pub(super) fn fail(&mut self) {
        self.failed = true;
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Whether a command is executed at once even between `MULTI` and `EXEC`.
pub(super) fn is_immediate(spec: &Spec) -> bool {
    matches!(spec.name, "MULTI" | "EXEC" | "DISCARD" | "WATCH" | "QUIT" | "RESET")
}

/// Queues a command.
pub(super) fn queue(session: &mut Session, spec: &'static Spec, args: Vec<Bytes>) -> Reply {
    let bytes_max = session.service.limits.request_bytes_max;
    // It may wait for long: not in the buffer that it came in.
    let args: Vec<_> = args.iter().map(|arg| Bytes::copy_from_slice(arg)).collect();
    let queued = match spec.name {
        _ if authentication::authenticates(spec, &args) => Err(Reply::error(NOT_WITHIN)),
        "OBJECT" => session.call(spec, args).map(Queued::Call),
        _ if is_connection(spec) => Ok(Queued::Connection(spec, args)),
        _ => session.call(spec, args).map(Queued::Call),
    };
    let Some(multi) = &mut session.multi else { return Reply::error("ERR no transaction") };
    let queued = match queued {
        Ok(queued) => queued,
        Err(error) => {
            multi.failed = true;
            return error;
        }
    };
    multi.bytes += match &queued {
        Queued::Call(call) => call.cost(),
        Queued::Connection(_, args) => args.iter().map(|arg| arg.len() + 48).sum::<usize>() + 48,
    };
    if multi.bytes > bytes_max {
        multi.failed = true;
        multi.queue.clear();
        return Reply::error(format!("ERR a transaction may take {bytes_max} bytes"));
    }
    multi.queue.push(queued);
    Reply::QUEUED
}

/// `MULTI`, `EXEC`, `DISCARD`, `UNWATCH`.
pub(super) fn step(session: &mut Session, spec: &Spec) -> Step {
    Step::Reply(match (spec.name, session.multi.is_some()) {
        ("MULTI", false) => {
            session.multi = Some(Multi::default());
            Reply::OK
        }
        ("MULTI", true) => Reply::error("ERR MULTI calls can not be nested"),
        ("EXEC", true) => return exec(session),
        ("EXEC", false) => Reply::error("ERR EXEC without MULTI"),
        ("DISCARD", true) => {
            session.multi = None;
            session.watched.clear();
            Reply::OK
        }
        ("DISCARD", false) => Reply::error("ERR DISCARD without MULTI"),
        _ => {
            session.watched.clear();
            Reply::OK
        }
    })
}

fn exec(session: &mut Session) -> Step {
    let Some(multi) = session.multi.take() else { return Step::Reply(Reply::Null) };
    let guards = std::mem::take(&mut session.watched);
    if multi.failed {
        let text = "EXECABORT Transaction discarded because of previous errors.";
        return Step::Reply(Reply::error(text));
    }
    let (mut calls, mut known) = (Vec::new(), Vec::new());
    let (mut bytes, bytes_max) = (0, session.service.limits.connection_bytes_max);
    for queued in multi.queue {
        match queued {
            Queued::Call(call) => {
                calls.push(call);
                known.push(None);
            }
            Queued::Connection(spec, args) => {
                let reply = session.answer(spec, &args);
                // A short command may have a long answer, and all of them are made at once.
                bytes += reply.cost();
                if bytes > bytes_max {
                    let text = "EXECABORT Transaction discarded: its replies would be too long.";
                    return Step::Reply(Reply::error(text));
                }
                known.push(Some(reply));
            }
        }
    }
    if calls.is_empty() && guards.is_empty() {
        let known = known.into_iter().flatten().collect();
        return Step::Reply(Reply::Array(known));
    }
    let everything = calls.iter().find(|call| call.spec.keys == Keys::Everything);
    if let Some(call) = everything.filter(|_| session.service.workloads.len() > 1) {
        return Step::Reply(Reply::error(format!(
            "CROSSSLOT {} in a transaction would span all workloads; nothing was applied",
            call.as_asked().0
        )));
    }
    let keys = guards.iter().map(Guard::key).chain(calls.iter().flat_map(Call::keys));
    match session.service.workload_of_all(keys) {
        Ok(workload) => Step::Transaction { workload, batch: Batch { guards, calls }, known },
        Err(error) => Step::Reply(error),
    }
}

/// `WATCH`.
pub(super) fn watch(session: &mut Session, call: Call) -> Step {
    if session.multi.is_some() {
        return Step::Reply(Reply::error("ERR WATCH inside MULTI is not allowed"));
    }
    let service = session.service.clone();
    Step::Steps(Box::pin(async move {
        let mut by_workload: BTreeMap<usize, Vec<Bytes>> = BTreeMap::new();
        for key in &call.args {
            let key = Bytes::copy_from_slice(key);
            by_workload.entry(service.workload_of(&key)).or_default().push(key);
        }
        let mut watched = Vec::new();
        for (workload, keys) in by_workload {
            let calls = vec![Call { spec: call.spec, args: keys.clone() }];
            let batch = Batch { guards: Vec::new(), calls };
            match versions(&service, workload, batch).await {
                Ok(versions) => watched.extend(
                    keys.into_iter()
                        .zip(versions)
                        .map(|(key, version)| Guard::Version { key, version }),
                ),
                Err(error) => return (error, Changes::default()),
            }
        }
        (Reply::OK, Changes { watched, ..Changes::default() })
    }))
}

async fn versions(
    service: &super::service::Service,
    workload: usize,
    batch: Batch,
) -> Result<Vec<u64>, Reply> {
    let work = begin(service, workload, batch, ReadLevel::Linearizable)?;
    let outcome = settle(service, work).await?;
    let Outcome::Done(mut replies) = outcome else { return Err(Reply::error("ERR not read")) };
    let version = |reply: Reply| match reply {
        Reply::Integer(version) => Ok(version as u64),
        other => Err(other),
    };
    match replies.pop() {
        Some(Reply::Array(versions)) => versions.into_iter().map(version).collect(),
        Some(error) => Err(error),
        None => Err(Reply::error("ERR not read")),
    }
}

/// Waits for the end of what was begun, as long as a command may take.
pub(super) async fn settle(
    service: &super::service::Service,
    work: Work,
) -> Result<Outcome, Reply> {
    let deadline = tokio::time::Instant::now() + service.limits.command_timeout;
    let mut work = work;
    loop {
        work = match work {
            Work::Command(begun) => {
                let Ok(result) = tokio::time::timeout_at(deadline, begun).await else {
                    return Err(failure::write_timeout());
                };
                return result
                    .map(|applied| applied.output)
                    .map_err(|error| failure::of_write(&error));
            }
            Work::Query { asked, batch, workload } => {
                let Ok(result) = tokio::time::timeout_at(deadline, asked).await else {
                    return Err(failure::read_timeout());
                };
                match result.map_err(|error| failure::of_read(&error))?.answer {
                    crate::redis::Answer::Told(outcome) => return Ok(outcome),
                    crate::redis::Answer::Due => {
                        let begun = service.workloads[workload].store.begin(&batch);
                        Work::Command(begun.map_err(|error| failure::of_write(&error))?)
                    }
                }
            }
            Work::Done(reply) => return Ok(Outcome::Done(vec![reply])),
            Work::Steps(steps) => return Ok(Outcome::Done(vec![steps.await.0])),
        };
    }
}
