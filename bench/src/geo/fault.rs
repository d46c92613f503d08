//! Faults of a run, as a user writes them: `delhi@5s`, `mumbai-delhi@4s..8s`,
//! `bangalore@3s..6s:200ms`, `100@60s..120s`.
//!
//! Times count from the beginning of the measured window. A fault is refused here if it cannot be
//! read or names no city of the set; whether faults fit together is decided in `plan`.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// Most faults in one run.
pub const FAULTS_MAX: usize = 64;

/// Longest run with faults: every answer of it is kept for the timeline.
pub const FAULTY_DURATION_MAX: Duration = Duration::from_secs(300);

/// Longest delay added to a link, one way.
pub const SLOW_MAX: Duration = Duration::from_secs(10);

/// No time of a fault can be later.
const TIME_MAX_S: f64 = 86_400.0;

/// Something that goes wrong on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A replica dies without a word.
    Kill {
        /// Its city.
        site: String,
        /// When.
        at: Duration,
        /// When it comes back from its journal; `None` for never.
        restart: Option<Duration>,
    },
    /// A link loses everything.
    Cut {
        /// Its two cities.
        between: [String; 2],
        /// Whether only packets from the first to the second are lost.
        one_way: bool,
        /// From when on.
        from: Duration,
        /// Until when; `None` for the end of the window.
        to: Option<Duration>,
    },
    /// All links of a city take longer, in both directions.
    Slow {
        /// The city.
        site: String,
        /// What is added, one way.
        by: Duration,
        /// From when on.
        from: Duration,
        /// Until when; `None` for the end of the window.
        to: Option<Duration>,
    },
    /// Nothing fails, but clients want something else: so many of their commands write one common key.
    Rush {
        /// The share of such commands.
        percent: u8,
        /// From when on.
        from: Duration,
        /// Until when; `None` for the end of the window.
        to: Option<Duration>,
    },
}

/// Why faults were refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FaultError {
    /// It does not look like a fault of its kind.
    #[error("cannot read the {kind} `{text}`: expected {expected}")]
    Form {
        /// Kind of fault.
        kind: &'static str,
        /// What was given.
        text: String,
        /// What it looks like.
        expected: &'static str,
    },
    /// A time without a unit, or none at all.
    #[error("`{time}` in `{text}` is no time: expected a number and its unit, such as 5s or 200ms")]
    Time {
        /// What was given.
        text: String,
        /// The part at fault.
        time: String,
    },
    /// The set has no such city.
    #[error("no city `{site}` in this set: it has {known}")]
    UnknownSite {
        /// What was given.
        site: String,
        /// What there is.
        known: String,
    },
    /// A link has two ends.
    #[error("`{0}`: a cut is between two different cities")]
    SameEnds(String),
    /// No delay, or too long a one.
    #[error("`{0}`: expected a delay of 1 ms to {max} s", max = SLOW_MAX.as_secs())]
    Delay(String),
    /// It would never happen.
    #[error("`{fault}`: the measured window is over after {over}", over = time(*duration))]
    AfterEnd {
        /// Which.
        fault: String,
        /// How long is measured.
        duration: Duration,
    },
    /// Its end is not after its beginning.
    #[error("`{0}`: it would end before it begins")]
    Backwards(String),
    /// Two faults do the same to the same at the same time.
    #[error("`{second}` while `{first}` still lasts: once at a time")]
    Overlap {
        /// The earlier one.
        first: String,
        /// The later one.
        second: String,
    },
    /// Nothing to come back from.
    #[error("`{0}`: with durability memory there is no journal to restart from")]
    NoJournal(String),
    /// Nobody would be left to compare.
    #[error("all cities would be dead at the end: leave one alive, or restart one")]
    NobodyLeft,
    /// More than can be looked through.
    #[error("{0} faults: a run has at most {FAULTS_MAX}")]
    TooMany(usize),
    /// A timeline would take too much memory.
    #[error("a run of {}: with faults it takes at most {max} s", time(*.0), max = FAULTY_DURATION_MAX.as_secs())]
    TooLong(Duration),
}

const KILL: &str = "CITY@AT or CITY@AT..RESTART, such as delhi@5s or delhi@5s..8s";
const CUT: &str = "CITY-CITY@FROM..TO, such as mumbai-delhi@4s..8s, or mumbai>delhi@4s for one \
                   direction and until the end";
const RUSH: &str = "PERCENT@FROM..TO, such as 100@60s..120s";
const SLOW: &str = "CITY@FROM:DELAY or CITY@FROM..TO:DELAY, such as bangalore@3s:200ms";

impl Fault {
    /// Reads `CITY@AT` or `CITY@AT..RESTART`.
    ///
    /// # Errors
    /// [`FaultError`], with what was expected.
    pub fn kill(text: &str, sites: &[String]) -> Result<Self, FaultError> {
        let (site, span) = halves(text, "kill", KILL)?;
        let (at, restart) = times(text, span)?;
        Ok(Self::Kill { site: known(site, sites)?, at, restart })
    }

    /// Reads `CITY-CITY@FROM`, `CITY-CITY@FROM..TO` and the same with `>` for one direction.
    ///
    /// # Errors
    /// [`FaultError`], with what was expected.
    pub fn cut(text: &str, sites: &[String]) -> Result<Self, FaultError> {
        let (ends, span) = halves(text, "cut", CUT)?;
        let one_way = ends.contains('>');
        let (a, b) = split_ends(ends, sites).ok_or_else(|| form("cut", text, CUT))?;
        let between = [known(a, sites)?, known(b, sites)?];
        let (from, to) = times(text, span)?;
        Ok(Self::Cut { between, one_way, from, to })
    }

    /// Reads `CITY@FROM:DELAY` or `CITY@FROM..TO:DELAY`.
    ///
    /// # Errors
    /// [`FaultError`], with what was expected.
    pub fn slow(text: &str, sites: &[String]) -> Result<Self, FaultError> {
        let (site, rest) = halves(text, "slow", SLOW)?;
        let (span, by) = rest.split_once(':').ok_or_else(|| form("slow", text, SLOW))?;
        let (from, to) = times(text, span)?;
        Ok(Self::Slow { site: known(site, sites)?, by: read_time(text, by)?, from, to })
    }

    /// Reads `PERCENT@FROM` or `PERCENT@FROM..TO`.
    ///
    /// # Errors
    /// [`FaultError`], with what was expected.
    pub fn rush(text: &str) -> Result<Self, FaultError> {
        let (percent, span) = halves(text, "rush", RUSH)?;
        let percent = percent.parse().ok().filter(|percent| *percent <= 100);
        let percent = percent.ok_or_else(|| form("rush", text, RUSH))?;
        let (from, to) = times(text, span)?;
        Ok(Self::Rush { percent, from, to })
    }

    /// `kill`, `cut`, `slow` or `rush`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::Cut { .. } => "cut",
            Self::Slow { .. } => "slow",
            Self::Rush { .. } => "rush",
        }
    }

    /// The cities it names.
    pub fn sites(&self) -> &[String] {
        match self {
            Self::Kill { site, .. } | Self::Slow { site, .. } => std::slice::from_ref(site),
            Self::Cut { between, .. } => between,
            Self::Rush { .. } => &[],
        }
    }

    /// When it begins.
    pub fn from(&self) -> Duration {
        match self {
            Self::Kill { at, .. } => *at,
            Self::Cut { from, .. } | Self::Slow { from, .. } | Self::Rush { from, .. } => *from,
        }
    }

    /// When it ends, if before the window does.
    pub fn to(&self) -> Option<Duration> {
        match self {
            Self::Kill { restart, .. } => *restart,
            Self::Cut { to, .. } | Self::Slow { to, .. } | Self::Rush { to, .. } => *to,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Kill { site, .. } | Self::Slow { site, .. } => site.clone(),
            Self::Rush { percent, .. } => percent.to_string(),
            Self::Cut { between: [a, b], one_way, .. } => {
                format!("{a}{}{b}", if *one_way { '>' } else { '-' })
            }
        };
        write!(f, "{} {what}@{}", self.kind(), time(self.from()))?;
        if let Some(to) = self.to() {
            write!(f, "..{}", time(to))?;
        }
        if let Self::Slow { by, .. } = self {
            write!(f, ":{}", time(*by))?;
        }
        Ok(())
    }
}

/// As it is written in a fault.
pub(super) fn time(duration: Duration) -> String {
    if duration < Duration::from_secs(1) && !duration.is_zero() {
        format!("{}ms", duration.as_secs_f64() * 1e3)
    } else {
        format!("{}s", duration.as_secs_f64())
    }
}

fn form(kind: &'static str, text: &str, expected: &'static str) -> FaultError {
    FaultError::Form { kind, text: text.to_owned(), expected }
}

/// Where, and when.
fn halves<'a>(
    text: &'a str,
    kind: &'static str,
    expected: &'static str,
) -> Result<(&'a str, &'a str), FaultError> {
    let halves = text.split_once('@').filter(|(place, span)| !place.is_empty() && !span.is_empty());
    halves.ok_or_else(|| form(kind, text, expected))
}

/// The two ends of a link. Names may contain the hyphen that separates them, so a hyphen between
/// two known names is preferred; a single one separates whatever it stands between.
fn split_ends<'a>(ends: &'a str, sites: &[String]) -> Option<(&'a str, &'a str)> {
    if let Some(ends) = ends.split_once('>') {
        return Some(ends);
    }
    let is_known = |name: &str| sites.iter().any(|site| site == name);
    let mut splits = ends.match_indices('-').map(|(at, _)| (&ends[..at], &ends[at + 1..]));
    splits.clone().find(|(a, b)| is_known(a) && is_known(b)).or_else(|| {
        let first = splits.next()?;
        splits.next().is_none().then_some(first)
    })
}

fn known(name: &str, sites: &[String]) -> Result<String, FaultError> {
    if sites.iter().any(|site| site == name) {
        return Ok(name.to_owned());
    }
    Err(FaultError::UnknownSite { site: name.to_owned(), known: sites.join(", ") })
}

fn times(text: &str, span: &str) -> Result<(Duration, Option<Duration>), FaultError> {
    match span.split_once("..") {
        Some((from, to)) => Ok((read_time(text, from)?, Some(read_time(text, to)?))),
        None => Ok((read_time(text, span)?, None)),
    }
}

fn read_time(text: &str, time: &str) -> Result<Duration, FaultError> {
    let read = |digits: &str, unit_s: f64| {
        let seconds = digits.parse::<f64>().ok()? * unit_s;
        (0.0..=TIME_MAX_S).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
    };
    let duration = match (time.strip_suffix("ms"), time.strip_suffix('s')) {
        (Some(digits), _) => read(digits, 1e-3),
        (None, Some(digits)) => read(digits, 1.0),
        (None, None) => None,
    };
    duration.ok_or_else(|| FaultError::Time { text: text.to_owned(), time: time.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sites() -> Vec<String> {
        ["mumbai", "delhi", "navi-mumbai"].map(str::to_owned).to_vec()
    }

    fn read(kind: &str, text: &str) -> Result<Fault, FaultError> {
        match kind {
            "kill" => Fault::kill(text, &sites()),
            "cut" => Fault::cut(text, &sites()),
            "rush" => Fault::rush(text),
            _ => Fault::slow(text, &sites()),
        }
    }

    #[test]
    fn what_is_read_is_what_was_meant() {
        for (kind, text, shown) in [
            ("kill", "delhi@5s", "kill delhi@5s"),
            ("kill", "delhi@5s..8.5s", "kill delhi@5s..8.5s"),
            ("kill", "navi-mumbai@0s", "kill navi-mumbai@0s"),
            ("cut", "mumbai-delhi@4s..8s", "cut mumbai-delhi@4s..8s"),
            ("cut", "mumbai-delhi@1500ms", "cut mumbai-delhi@1.5s"),
            ("cut", "mumbai>delhi@4s..8s", "cut mumbai>delhi@4s..8s"),
            ("cut", "navi-mumbai-delhi@4s", "cut navi-mumbai-delhi@4s"),
            ("cut", "delhi-navi-mumbai@4s", "cut delhi-navi-mumbai@4s"),
            ("slow", "delhi@3s:200ms", "slow delhi@3s:200ms"),
            ("slow", "delhi@3s..6s:1.5s", "slow delhi@3s..6s:1.5s"),
            ("rush", "100@60s..120s", "rush 100@60s..120s"),
            ("rush", "30@5s", "rush 30@5s"),
        ] {
            assert_eq!(read(kind, text).unwrap().to_string(), shown, "{text}");
        }
        let cut = Fault::cut("delhi-navi-mumbai@250ms..2s", &sites()).unwrap();
        assert_eq!(
            cut,
            Fault::Cut {
                between: ["delhi".to_owned(), "navi-mumbai".to_owned()],
                one_way: false,
                from: Duration::from_millis(250),
                to: Some(Duration::from_secs(2)),
            }
        );
    }

    #[test]
    fn what_cannot_be_read_says_what_was_expected() {
        for (kind, text, message) in [
            ("kill", "delhi", "cannot read the kill `delhi`: expected CITY@AT or"),
            ("kill", "@5s", "expected CITY@AT or"),
            ("kill", "delhi@", "such as delhi@5s or delhi@5s..8s"),
            ("kill", "delhi@5", "`5` in `delhi@5` is no time: expected a number and its unit"),
            ("kill", "delhi@5s..", "`` in `delhi@5s..` is no time"),
            ("kill", "delhi@-1s", "is no time"),
            ("kill", "delhi@NaNs", "is no time"),
            ("kill", "delhi@infs", "is no time"),
            ("kill", "delhi@5m", "such as 5s or 200ms"),
            ("kill", "pune@5s", "no city `pune` in this set: it has mumbai, delhi, navi-mumbai"),
            ("cut", "mumbai@4s", "cannot read the cut `mumbai@4s`: expected CITY-CITY@FROM..TO"),
            ("cut", "mumbai-pune@4s", "no city `pune` in this set"),
            ("cut", "a-b-c@4s", "expected CITY-CITY@FROM..TO"),
            ("cut", "mumbai>pune@4s", "no city `pune`"),
            ("rush", "101@5s", "cannot read the rush `101@5s`: expected PERCENT@FROM..TO"),
            ("rush", "5s", "such as 100@60s..120s"),
            ("slow", "delhi@3s", "cannot read the slow `delhi@3s`: expected CITY@FROM:DELAY"),
            ("slow", "delhi@3s:fast", "`fast` in `delhi@3s:fast` is no time"),
        ] {
            let error = read(kind, text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
