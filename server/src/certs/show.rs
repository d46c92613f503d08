//! What stands in certificates, as tables or JSON.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use comfy_table::{Table, TableStyle};
use panchayat::transport::{CertificateFacts, CertificateRole};
use serde_json::{Value, json};

use super::Show;
use crate::errors::{CliError, FAILED};
use crate::serve::EXPIRES_SOON;

/// Longest file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most files of a directory.
const FILES_MAX: usize = 1_000;

pub(super) fn show(arguments: &Show) -> Result<ExitCode, CliError> {
    let mut all = Vec::new();
    for path in arguments.paths.iter().map(|path| files(path)) {
        for path in path? {
            let facts = CertificateFacts::of_pem(&read(&path)?)
                .map_err(|source| CliError::Identity { dir: path.clone(), source })?;
            all.extend(facts.into_iter().map(|facts| (path.clone(), facts)));
        }
    }
    let expired = all.iter().any(|(_, facts)| state(facts) == State::Expired);
    if arguments.json {
        let shown = all.iter().map(|(path, facts)| as_json(path, facts));
        print(&json!({ "certificates": shown.collect::<Vec<_>>() }).to_string())?;
    } else {
        let tables = all.iter().map(|(path, facts)| table(path, facts).to_string());
        print(&tables.collect::<Vec<_>>().join("\n"))?;
    }
    Ok(if expired { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// Tells what was written to `dir`.
pub(super) fn written(dir: &Path, all: &[CertificateFacts], json: bool) -> Result<(), CliError> {
    let Some(facts) = all.first() else { return Ok(()) };
    match json {
        true => print(&as_json(dir, facts).to_string()),
        false => print(&table(dir, facts).to_string()),
    }
}

/// The file itself, or those of a directory that end in `.pem`.
fn files(path: &Path) -> Result<Vec<PathBuf>, CliError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |source| CliError::File { path: path.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)?.take(FILES_MAX) {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|extension| extension == "pem") {
            found.push(file);
        }
    }
    found.sort();
    if found.is_empty() {
        return Err(failed(std::io::Error::other("no file in it ends in .pem")));
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|source| CliError::File { path: path.to_owned(), source })?;
    Ok(bytes)
}

/// How long a certificate lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Valid,
    NotYet,
    Soon,
    Expired,
}

fn state(facts: &CertificateFacts) -> State {
    let now = SystemTime::now();
    let left = facts.not_after.from(now);
    if left.is_zero() {
        State::Expired
    } else if !facts.not_before.from(now).is_zero() {
        State::NotYet
    } else if left < EXPIRES_SOON {
        State::Soon
    } else {
        State::Valid
    }
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::NotYet => "not valid yet",
            Self::Soon => "expires soon",
            Self::Expired => "EXPIRED",
        }
    }
}

fn role(facts: &CertificateFacts) -> String {
    match &facts.role {
        CertificateRole::Authority => "certificate authority".to_owned(),
        CertificateRole::Cluster(name) => name.to_string(),
        CertificateRole::Server => "server of Redis clients".to_owned(),
        CertificateRole::Client => "Redis client".to_owned(),
        CertificateRole::Other => "something else".to_owned(),
    }
}

fn table(path: &Path, facts: &CertificateFacts) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new());
    let days = facts.not_after.from(SystemTime::now()).as_secs() / 86_400;
    let until = format!("{} ({}, {days} days left)", facts.not_after.text, state(facts).name());
    for (what, is) in [
        ("certificate", path.display().to_string()),
        ("for", role(facts)),
        ("subject", facts.subject.clone()),
        ("names", facts.names.join(", ")),
        ("issuer", facts.issuer.clone()),
        ("valid from", facts.not_before.text.clone()),
        ("valid until", until),
        ("serial", facts.serial.clone()),
        ("sha256", facts.sha256.clone()),
    ] {
        if !is.is_empty() {
            table.add_row([what, &is]);
        }
    }
    table
}

fn as_json(path: &Path, facts: &CertificateFacts) -> Value {
    json!({
        "path": path.display().to_string(),
        "role": role(facts),
        "subject": facts.subject,
        "names": facts.names,
        "issuer": facts.issuer,
        "not_before": facts.not_before.text,
        "not_after": facts.not_after.text,
        "state": state(facts).name(),
        "serial": facts.serial,
        "sha256": facts.sha256,
    })
}

fn print(text: &str) -> Result<(), CliError> {
    writeln!(std::io::stdout(), "{text}").map_err(CliError::Print)
}
