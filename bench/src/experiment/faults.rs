//! What happens on purpose in an experiment, as its file writes it: the kind, then what `panchayat geo` takes.

use crate::geo::{Fault, FaultError};

/// Reads `kill delhi@4s..8s`, `cut mumbai-delhi@2s..4s`, `slow bangalore@3s..6s:200ms`,
/// `rush 100@60s..120s`.
pub(super) fn read(texts: &[String], sites: &[String]) -> Result<Vec<Fault>, FaultError> {
    texts.iter().map(|text| one(text, sites)).collect()
}

pub(super) fn one(text: &str, sites: &[String]) -> Result<Fault, FaultError> {
    match text.split_once(char::is_whitespace) {
        Some(("kill", rest)) => Fault::kill(rest.trim(), sites),
        Some(("cut", rest)) => Fault::cut(rest.trim(), sites),
        Some(("slow", rest)) => Fault::slow(rest.trim(), sites),
        Some(("rush", rest)) => Fault::rush(rest.trim()),
        _ => Err(FaultError::Form {
            kind: "fault",
            text: text.to_owned(),
            expected: "`kill`, `cut`, `slow` or `rush`, and then which and when, such as \
                       `kill delhi@4s..8s`",
        }),
    }
}
