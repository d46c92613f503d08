//! What became of a client's command, for people, for machines and as an exit code.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use panchayat::RemoteError;
use panchayat::kv::{Condition, KvCommand, KvOp, KvValue};
use panchayat::transport::ClientError;
use serde_json::{Value, json};

use crate::client_batch::Output;
use crate::errors::{CliError, FAILED, UNKNOWN};

/// A command and its result.
#[derive(Debug)]
pub(crate) struct Outcome<'a> {
    pub(crate) site: &'a str,
    pub(crate) command: &'a KvCommand,
    pub(crate) result: Result<Answer, Failure>,
}

/// The replica's answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) output: Output,
    pub(crate) latency: Duration,
}

/// There is none.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    /// Whether the command may have been applied all the same.
    unknown: bool,
}

impl Failure {
    /// The replica could not be reached.
    pub(crate) fn not_sent(error: ClientError, data_dir: &Path) -> Self {
        let message = format!(
            "{error}; is `panchayat up` running on {}? The command was not sent",
            data_dir.display()
        );
        Self { message, unknown: false }
    }
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        Self { message: error.to_string(), unknown: error.is_unknown() }
    }
}

impl Outcome<'_> {
    /// Prints it; the exit code.
    pub(crate) fn show(&self, json: bool) -> Result<ExitCode, CliError> {
        let mut out = std::io::stdout().lock();
        let shown = if json { writeln!(out, "{}", self.json()) } else { self.text(&mut out) };
        shown.map_err(CliError::Print)?;
        Ok(ExitCode::from(self.code()))
    }

    fn code(&self) -> u8 {
        match &self.result {
            Ok(answer) if self.succeeded(&answer.output) => 0,
            Err(failure) if failure.unknown => UNKNOWN,
            _ => FAILED,
        }
    }

    /// Whether the command did what it was meant to. To read a key alone is to want a value.
    fn succeeded(&self, output: &Output) -> bool {
        let lonely_get = matches!(self.command, KvCommand::One(KvOp::Get { .. }));
        match output {
            Output::Value(None) => !lonely_get,
            Output::ConditionFailed { .. } | Output::Refused(_) => false,
            _ => true,
        }
    }

    fn json(&self) -> Value {
        let ok = self.code() == 0;
        match &self.result {
            Ok(answer) => json!({
                "ok": ok,
                "outcome": if applied(&answer.output) { "applied" } else { "not_applied" },
                "site": self.site,
                "latency_ms": (answer.latency.as_secs_f64() * 1e6).round() / 1e3,
                "output": self.output_json(&answer.output),
            }),
            Err(failure) => json!({
                "ok": ok,
                "outcome": if failure.unknown { "unknown" } else { "not_applied" },
                "site": self.site,
                "error": failure.message,
            }),
        }
    }

    fn output_json(&self, output: &Output) -> Value {
        match output {
            Output::Value(value) => json!({ "value": value_json(value) }),
            Output::Done => json!({ "done": true }),
            Output::Compared { applied, found } => {
                json!({ "applied": applied, "found": value_json(found) })
            }
            Output::Committed(outputs) => {
                let outputs: Vec<_> = outputs.iter().map(|one| self.output_json(one)).collect();
                json!({ "committed": outputs })
            }
            Output::ConditionFailed { index, found } => json!({ "condition_failed": {
                "index": index,
                "key": self.condition(*index).map(|(key, _)| key),
                "found": value_json(found),
            }}),
            Output::Refused(why) => json!({ "refused": why }),
        }
    }

    fn text(&self, out: &mut impl Write) -> std::io::Result<()> {
        let answer = match &self.result {
            Ok(answer) => answer,
            Err(Failure { message, unknown: true }) => {
                eprintln!(
                    "unknown: {message}\nThe command may or may not have been applied, or may \
                     still be."
                );
                return Ok(());
            }
            Err(Failure { message, .. }) => {
                eprintln!("not applied: {message}");
                return Ok(());
            }
        };
        match (self.command, &answer.output) {
            (_, Output::Committed(outputs)) => {
                if let KvCommand::Transaction { ops, .. } = self.command {
                    for (op, output) in ops.iter().zip(outputs) {
                        writeln!(out, "{}", line(op, output))?;
                    }
                }
                self.done("committed", answer.latency);
            }
            (_, Output::ConditionFailed { index, found }) => {
                let (key, expected) = self.condition(*index).unwrap_or_default();
                eprintln!(
                    "not applied: {key} is {}, not {expected} (at {})",
                    shown(found),
                    self.site
                );
            }
            // Nothing around the value, so that it can be piped on.
            (KvCommand::One(KvOp::Get { .. }), Output::Value(Some(value))) => {
                out.write_all(value)?;
                out.write_all(b"\n")?;
            }
            (KvCommand::One(KvOp::Get { .. }), Output::Value(None)) => {
                eprintln!("no such key");
            }
            (KvCommand::One(_), Output::Refused(why)) => eprintln!("not applied: {why}"),
            (KvCommand::One(op), output) => {
                writeln!(out, "{}", line(op, output))?;
                self.done("applied", answer.latency);
            }
            (KvCommand::Transaction { .. }, _) => self.done("applied", answer.latency),
        }
        Ok(())
    }

    fn done(&self, what: &str, latency: Duration) {
        eprintln!("{what} at {} in {:.1} ms", self.site, latency.as_secs_f64() * 1e3);
    }

    /// The key and the expected value of a condition.
    fn condition(&self, index: u32) -> Option<(String, String)> {
        let KvCommand::Transaction { conditions, .. } = self.command else { return None };
        let condition = conditions.get(index as usize)?;
        let key = String::from_utf8_lossy(condition.key()).into_owned();
        Some(match condition {
            Condition::Is { expected, .. } => (key, shown(expected)),
            Condition::AtLeast { least, .. } => (key, format!("at least {least}")),
        })
    }
}

/// Whether the state machine took the command as it was.
fn applied(output: &Output) -> bool {
    !matches!(output, Output::ConditionFailed { .. } | Output::Refused(_))
}

/// What one operation did.
fn line(op: &KvOp, output: &Output) -> String {
    let key = String::from_utf8_lossy(op.key());
    match output {
        Output::Value(value) => format!("{key} = {}", shown(value)),
        Output::Done if matches!(op, KvOp::Delete { .. }) => format!("{key} removed"),
        Output::Done if matches!(op, KvOp::Add { .. }) => format!("{key} added to"),
        Output::Done => format!("{key} set"),
        Output::Compared { applied: true, .. } => format!("{key} exchanged"),
        Output::Compared { found, .. } => format!("{key} left alone: it is {}", shown(found)),
        Output::Refused(why) => format!("{key} left alone: {why}"),
        // Not outputs of one operation.
        Output::Committed(_) | Output::ConditionFailed { .. } => format!("{key}: {output:?}"),
    }
}

fn shown(value: &KvValue) -> String {
    match value {
        None => "absent".to_owned(),
        Some(value) => match std::str::from_utf8(value) {
            Ok(text) => format!("`{}`", text.escape_debug()),
            Err(_) => format!("0x{}", hex(value)),
        },
    }
}

fn value_json(value: &KvValue) -> Value {
    match value {
        None => Value::Null,
        Some(value) => match std::str::from_utf8(value) {
            Ok(text) => json!(text),
            Err(_) => json!({ "hex": hex(value) }),
        },
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn key() -> Bytes {
        Bytes::from_static(b"k")
    }

    fn check(command: &KvCommand, result: Result<Output, Failure>, code: u8, json: Value) {
        let result = result.map(|output| Answer { output, latency: Duration::from_micros(27_100) });
        let outcome = Outcome { site: "delhi", command, result };
        let mut found = outcome.json();
        found["code"] = outcome.code().into();
        let mut expected = json;
        expected["site"] = "delhi".into();
        expected["code"] = code.into();
        expected["ok"] = (code == 0).into();
        if outcome.result.is_ok() {
            expected["latency_ms"] = 27.1.into();
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn every_outcome_has_its_code_and_its_json() {
        let get = KvCommand::One(KvOp::Get { key: key() });
        let read = |value: &'static [u8]| Ok(Output::Value(Some(Bytes::from_static(value))));
        let applied = |output| json!({ "outcome": "applied", "output": output });
        check(&get, read(b"v"), 0, applied(json!({ "value": "v" })));
        check(&get, read(b"\xff"), 0, applied(json!({ "value": { "hex": "ff" } })));
        check(&get, Ok(Output::Value(None)), 1, applied(json!({ "value": null })));
        let put = KvCommand::One(KvOp::Put { key: key(), value: key() });
        check(&put, Ok(Output::Done), 0, applied(json!({ "done": true })));

        let failure = |unknown| Err(Failure { message: "m".to_owned(), unknown });
        check(&put, failure(true), 3, json!({ "outcome": "unknown", "error": "m" }));
        check(&put, failure(false), 1, json!({ "outcome": "not_applied", "error": "m" }));
    }

    #[test]
    fn a_failed_condition_is_named() {
        let transaction = KvCommand::Transaction {
            conditions: vec![Condition::Is { key: key(), expected: None }],
            ops: vec![KvOp::Get { key: key() }],
        };
        let failed = Output::ConditionFailed { index: 0, found: Some(key()) };
        let output = json!({ "condition_failed": { "index": 0, "key": "k", "found": "k" } });
        let expected = json!({ "outcome": "not_applied", "output": output });
        check(&transaction, Ok(failed), 1, expected);
        let committed = Output::Committed(vec![Output::Value(None)]);
        let output = json!({ "committed": [{ "value": null }] });
        let expected = json!({ "outcome": "applied", "output": output });
        check(&transaction, Ok(committed), 0, expected);
    }

    #[test]
    fn values_cannot_steer_the_terminal() {
        let value = Some(Bytes::from_static(b"a\x1b[2J"));
        assert_eq!(shown(&value), "`a\\u{1b}[2J`");
        assert_eq!(shown(&None), "absent");
    }
}
