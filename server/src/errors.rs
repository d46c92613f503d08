//! What went wrong, drawn for a person, and the exit code for a script.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use miette::{LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan};
use panchayat::topology::{Diagnostic, NotFound, TopologyError};
use panchayat::transport::TransportError;
use panchayat::{BackupError, LocalError, MarkerError, NoWorkload, StartError, StorageError};
use panchayat_bench::experiment::ExperimentError;
use panchayat_bench::geo::GeoError;
use panchayat_bench::loopback::LoopbackError;
use panchayat_bench::planner::PlanError;
use thiserror::Error;

use crate::access::PasswordError;
use crate::admin::BindError;
use crate::description::DescriptionError;
use crate::measure::MeasureError;
use crate::resp::{ListenError, TlsError};

/// Failed, or definitely not applied.
pub(crate) const FAILED: u8 = 1;
/// Wrong usage.
pub(crate) const USAGE: u8 = 2;
/// The outcome is not known.
pub(crate) const UNKNOWN: u8 = 3;
/// The data directory must not be used by this program, or by this replica: trying again is no help.
pub(crate) const REFUSED: u8 = 4;

/// Why a command of the command line did not do its work.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    /// The topology cannot be used.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The topology has no such set, profile or site.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// An experiment has no report.
    #[error(transparent)]
    Geo(GeoError),
    /// A file of an experiment cannot be used.
    #[error("{0}")]
    ExperimentFile(Box<Diagnostic>),
    /// There is no such experiment, shipped or as a file.
    #[error("no experiment `{name}`: neither a file nor one of {shipped}")]
    NoExperiment { name: String, shipped: String },
    /// A series of runs has no report.
    #[error(transparent)]
    Experiment(ExperimentError),
    /// Replicas were asked how far apart they are, in vain.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// There is no plan.
    #[error(transparent)]
    Plan(PlanError),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// Members or protocol were not changed, or not seen.
    #[error("{0}")]
    Operate(String),
    /// The same, but nobody knows.
    #[error("{0}")]
    OperateUnknown(String),
    /// What is no protocol.
    #[error(transparent)]
    Protocol(panchayat::NoProtocol),
    /// A bench has no report.
    #[error(transparent)]
    Bench(#[from] LoopbackError),
    /// A configuration cannot be used.
    #[error(transparent)]
    Config(#[from] Box<Diagnostic>),
    /// A configuration cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    ConfigFile { path: PathBuf, source: io::Error },
    /// A certificate cannot be used.
    #[error("the certificate in {}: {source}", dir.display())]
    Identity { dir: PathBuf, source: TransportError },
    /// A certificate cannot be made or read.
    #[error(transparent)]
    Certificate(TransportError),
    /// A password has no hash.
    #[error("the password: {0}")]
    Password(PasswordError),
    /// A certificate for clients cannot be used.
    #[error("the certificate in {}: {source}", path.display())]
    Tls { path: PathBuf, source: TlsError },
    /// A replica did not start.
    #[error(transparent)]
    Serve(#[from] Box<StartError>),
    /// A replica lacks a workload.
    #[error(transparent)]
    NoWorkload(#[from] NoWorkload),
    /// A cluster did not start.
    #[error(transparent)]
    Up(LocalError),
    /// There is no backup, or it was not restored.
    #[error(transparent)]
    Backup(Box<BackupError>),
    /// A replica is gone.
    #[error("replica {name} has stopped: {why}")]
    Stopped { name: String, why: String },
    /// Something is undecided.
    #[error("the replicas have not come to agree in time")]
    Disagree,
    /// The data directory is another set's.
    #[error("{} holds a cluster of {present}, not of {asked}", dir.display())]
    OtherSet { dir: PathBuf, present: String, asked: String },
    /// The data directory was written by another protocol.
    #[error("{} holds a cluster ordered by {present}, not by {asked}", dir.display())]
    OtherProtocol { dir: PathBuf, present: String, asked: String },
    /// A newer program has written the data directory.
    #[error("this program knows no protocol `{0}`")]
    UnknownProtocol(String),
    /// Nobody is called so who could lead.
    #[error("no city `{city}` could lead; there are {sites}")]
    Leader { city: String, sites: String },
    /// A flag for Multi-Paxos only.
    #[error(
        "--naive makes no sense with Fast Paxos: every city counts the votes itself, and there is no \
         leader's word to wait for"
    )]
    NaiveFast,
    /// A flag for protocols with a leader.
    #[error("{0} makes no sense with a leaderless protocol")]
    Leaderless(&'static str),
    /// Port numbers end.
    #[error("{replicas} ports from {base_port} on: the last port there is is 65535")]
    Ports { base_port: u16, replicas: usize },
    /// The description of a cluster cannot be read or written.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// The cluster has no such city.
    #[error("no city `{name}` in this cluster; it has {known}")]
    UnknownSite { name: String, known: String },
    /// A file of runs cannot be used.
    #[error("{}: {what}", path.display())]
    Resume { path: PathBuf, what: String },
    /// Clients cannot be listened for.
    #[error(transparent)]
    Bind(#[from] ListenError),
    /// The admin port cannot be opened.
    #[error(transparent)]
    Admin(#[from] BindError),
    /// A listener is gone.
    #[error("cannot serve clients: {0}")]
    Listen(io::Error),
    /// No threads.
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
    /// No signals.
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    /// A workload is unknown.
    #[error(transparent)]
    Workload(panchayat_bench::workload::UnknownKind),
    /// A workload is impossible.
    #[error(transparent)]
    WorkloadShape(panchayat_bench::workload::WorkloadError),
    /// A port for Redis clients does not answer.
    #[error("{address} does not answer Redis clients: {source}")]
    Redis { address: String, source: io::Error },
    /// There is nobody to load.
    #[error("the cluster's description names no port for Redis clients")]
    NoPorts,
    /// An option is of another kind of bench.
    #[error("{0} is for --loopback: a running cluster has its protocol")]
    OnlyLoopback(&'static str),
    /// Something has no JSON.
    #[error("cannot print JSON: {0}")]
    Json(serde_json::Error),
    /// Standard output is gone.
    #[error("cannot print: {0}")]
    Print(io::Error),
}

impl From<GeoError> for CliError {
    fn from(error: GeoError) -> Self {
        match error {
            GeoError::NotFound(not_found) => Self::NotFound(not_found),
            other => Self::Geo(other),
        }
    }
}

impl From<ExperimentError> for CliError {
    fn from(error: ExperimentError) -> Self {
        match error {
            ExperimentError::NotFound(not_found) => Self::NotFound(not_found),
            ExperimentError::Real(error) => error.into(),
            other => Self::Experiment(other),
        }
    }
}

impl From<PlanError> for CliError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::NotFound(not_found) => Self::NotFound(not_found),
            other => Self::Plan(other),
        }
    }
}

impl From<BackupError> for CliError {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::NotFound(not_found) => Self::NotFound(not_found),
            other => Self::Backup(Box::new(other)),
        }
    }
}

impl CliError {
    /// Draws it on stderr; the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let code = self.code();
        let diagnostic = match &self {
            Self::Topology(error) => error.diagnostic().cloned().map(Drawn::in_file),
            Self::Config(diagnostic) | Self::ExperimentFile(diagnostic) => {
                Some(Drawn::in_file((**diagnostic).clone()))
            }
            _ => None,
        };
        let drawn = diagnostic.unwrap_or_else(|| Drawn::plain(&self));
        // Terminals wrap by themselves, and logs must not be wrapped. If a handler was set before,
        // that one draws.
        let _ = miette::set_hook(Box::new(|_| {
            Box::new(miette::MietteHandlerOpts::new().wrap_lines(false).build())
        }));
        eprintln!("{:?}", miette::Report::new(drawn));
        ExitCode::from(code)
    }

    fn code(&self) -> u8 {
        match self {
            Self::Topology(_)
            | Self::Config(_)
            | Self::ConfigFile { .. }
            | Self::NotFound(_)
            | Self::UnknownSite { .. }
            | Self::OtherSet { .. }
            | Self::OtherProtocol { .. }
            | Self::Leader { .. }
            | Self::Leaderless(_)
            | Self::NaiveFast
            | Self::ExperimentFile(_)
            | Self::NoExperiment { .. }
            | Self::Plan(_)
            | Self::Workload(_)
            | Self::WorkloadShape(_)
            | Self::OnlyLoopback(_)
            | Self::Experiment(
                ExperimentError::Protocol(_)
                | ExperimentError::Fault(_)
                | ExperimentError::Workload(_)
                | ExperimentError::TooMany(_),
            )
            | Self::Password(_)
            | Self::Ports { .. }
            | Self::Geo(
                GeoError::Workload(_)
                | GeoError::Clients(_)
                | GeoError::Duration(_)
                | GeoError::Fault(_),
            )
            | Self::Bench(
                LoopbackError::Workload(_)
                | LoopbackError::Replicas(_)
                | LoopbackError::Clients(_)
                | LoopbackError::Rate(_)
                | LoopbackError::Runs(_)
                | LoopbackError::Duration(_),
            ) => USAGE,
            Self::Protocol(_) => USAGE,
            Self::OperateUnknown(_) => UNKNOWN,
            Self::Serve(error) => of_start(error),
            _ => FAILED,
        }
    }

    fn help(&self) -> Option<String> {
        let help = match self {
            Self::OtherSet { present, .. } => {
                format!("start it with `--set {present}`, or choose another --data-dir")
            }
            Self::OtherProtocol { present, .. } => {
                format!("start it with `--protocol {present}`, or choose another --data-dir")
            }
            Self::Leader { .. } => "`auto` chooses the city with the smallest predicted mean \
                                    latency"
                .to_owned(),
            Self::Leaderless(_) | Self::NaiveFast => "add `--protocol multipaxos`".to_owned(),
            Self::Description(DescriptionError::None { dir }) => format!(
                "start one with `panchayat up --data-dir {}`, or name its --data-dir",
                dir.display()
            ),
            Self::Up(LocalError::Bind { .. }) => {
                "is the cluster running already? Otherwise choose another --base-port, or 0 for \
                 any free ports"
                    .to_owned()
            }
            Self::Serve(source) if is_locked(source) => {
                "stop the other process first: a data directory has one user at a time".to_owned()
            }
            Self::Up(LocalError::Start { source, .. }) if is_locked(source) => {
                "stop the cluster first: a data directory has one user at a time".to_owned()
            }
            _ => return None,
        };
        Some(help)
    }
}

/// The exit code of a replica that did not start: whether it is its data directory that it refuses, its
/// configuration, or something that may pass.
fn of_start(error: &StartError) -> u8 {
    match error {
        StartError::Storage(
            StorageError::Refused { .. }
            | StorageError::NoJournal { .. }
            | StorageError::MissingRecords { .. }
            | StorageError::JournalBehind { .. }
            | StorageError::Snapshot { .. }
            | StorageError::SnapshotOwner { .. },
        )
        | StartError::Marker(
            MarkerError::Other { .. }
            | MarkerError::Terms { .. }
            | MarkerError::NewerFormat { .. }
            | MarkerError::OlderFormat { .. }
            | MarkerError::Damaged { .. },
        )
        | StartError::Snapshot(_)
        | StartError::Marks(_)
        | StartError::NoMark { .. }
        | StartError::Imported { .. }
        | StartError::StrayRecords { .. }
        | StartError::Record { .. } => REFUSED,
        StartError::WrongIdentity { .. }
        | StartError::UnknownMember { .. }
        | StartError::Protocol(_)
        | StartError::Limits(_)
        | StartError::Sessions(_)
        | StartError::Workload { .. } => USAGE,
        _ => FAILED,
    }
}

/// Whether somebody else uses the data directory.
fn is_locked(error: &StartError) -> bool {
    matches!(error, StartError::Storage(StorageError::Locked { .. }))
}

/// An error with its place in a file, if it has one.
#[derive(Debug)]
struct Drawn {
    message: String,
    help: Option<String>,
    place: Option<Place>,
}

/// One line of a file.
#[derive(Debug)]
struct Place {
    file: String,
    /// From 1.
    line: usize,
    /// In characters, from 0.
    column: usize,
    text: String,
    span: SourceSpan,
}

impl Drawn {
    fn plain(error: &CliError) -> Self {
        Self { message: error.to_string(), help: error.help(), place: None }
    }

    fn in_file(diagnostic: Diagnostic) -> Self {
        // Columns count characters, spans count bytes.
        let byte = |chars: usize| {
            let mut at = diagnostic.source_line.char_indices().map(|(at, _)| at);
            at.nth(chars).unwrap_or(diagnostic.source_line.len())
        };
        let start = byte(diagnostic.column.saturating_sub(1));
        let end = byte(diagnostic.column.saturating_sub(1) + diagnostic.width);
        Self {
            message: diagnostic.message,
            help: diagnostic.help,
            place: Some(Place {
                file: diagnostic.file,
                line: diagnostic.line,
                column: diagnostic.column.saturating_sub(1),
                span: (start, end - start).into(),
                text: diagnostic.source_line,
            }),
        }
    }
}

impl fmt::Display for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Drawn {}

impl miette::Diagnostic for Drawn {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as _)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.place.as_ref().map(|place| place as _)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.place.as_ref()?;
        let label = LabeledSpan::new_with_span(None, place.span);
        Some(Box::new(std::iter::once(label)))
    }
}

/// The file as far as it matters: the line at fault, under its own number. The rest may have
/// changed since it was read.
impl SourceCode for Place {
    fn read_span<'a>(
        &'a self,
        _span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn miette::SpanContents<'a> + 'a>, MietteError> {
        let all = (0, self.text.len()).into();
        // Without context the place itself is meant, with context the line it is on.
        let column = if lines_before + lines_after == 0 { self.column } else { 0 };
        Ok(Box::new(MietteSpanContents::new_named(
            self.file.clone(),
            self.text.as_bytes(),
            all,
            self.line.saturating_sub(1),
            column,
            1,
        )))
    }
}
