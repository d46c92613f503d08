//! The topology as a whole: where to get it, and what is in it.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use thiserror::Error;

use crate::diagnostic::{Position, Source, TopologyError};
use crate::link::{Link, links};
use crate::matrix::Matrix;
use crate::model::{Pair, Profile, Site, SiteSet};
use crate::parse::{self, TEXT_BYTES_MAX, listed};
use crate::suggest::nearest;

/// The file at the root of the repository, as it was when this library was built.
const BUILTIN: &str = include_str!("../../geo-topology.yaml");
const BUILTIN_NAME: &str = "geo-topology.yaml";

/// Sites, the distances between them, replica sets and link profiles, all checked: every two
/// sites of a set have a pair, every name is known, every number is sane.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    pub(crate) file: String,
    pub(crate) sites: Vec<Site>,
    pub(crate) pairs: Vec<Pair>,
    pub(crate) sets: Vec<SiteSet>,
    pub(crate) profiles: Vec<Profile>,
}

/// What kind of thing a name was meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A site.
    Site,
    /// A pair of sites.
    Pair,
    /// A replica set.
    Set,
    /// A link profile.
    Profile,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Site => "site",
            Self::Pair => "pair",
            Self::Set => "set",
            Self::Profile => "profile",
        })
    }
}

/// A name the topology does not have. `Display` says which ones it has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "no {kind} `{name}` in {file}{}; it has {}",
    did_you_mean(.nearest),
    listed_or_none(.known)
)]
#[non_exhaustive]
pub struct NotFound {
    /// What the name was meant to be.
    pub kind: Kind,
    /// The name asked for.
    pub name: String,
    /// Where it was looked for.
    pub file: String,
    /// The names that exist, in file order.
    pub known: Vec<String>,
    /// The one that may have been meant.
    pub nearest: Option<String>,
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default()
}

fn listed_or_none(known: &[String]) -> String {
    if known.is_empty() { "none".to_owned() } else { listed(known.iter().map(String::as_str)) }
}

impl Topology {
    /// The topology this library carries inside it.
    pub fn builtin() -> Self {
        // The text is part of the build and a test parses it: this cannot fail at run time.
        Self::parse(BUILTIN_NAME, BUILTIN).expect("the built-in topology is checked by a test")
    }

    /// The text of the built-in topology, with its comments: a start for one's own file.
    pub fn builtin_text() -> &'static str {
        BUILTIN
    }

    /// Reads a topology file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or as [`Topology::parse`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, TopologyError> {
        let path = path.as_ref();
        let mut bytes = Vec::new();
        File::open(path)
            // One byte more than allowed, so that the parser sees that it is too long.
            .and_then(|file| file.take(TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
            .map_err(|source| TopologyError::Read { path: path.to_owned(), source })?;
        let name = path.display().to_string();
        match String::from_utf8(bytes) {
            Ok(text) => Self::parse(&name, &text),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes());
                let before = &text[..valid]; // lossy conversion keeps what was valid
                let at = Position {
                    line: before.matches('\n').count() + 1,
                    column: before.chars().rev().take_while(|&c| c != '\n').count() + 1,
                    width: 1,
                };
                let help = "a topology is a text file in UTF-8";
                let source = Source { name: &name, text: &text };
                Err(source.mistake(at, "not a text: a byte here is not UTF-8", help).into())
            }
        }
    }

    /// Reads a topology from its text; `name` is what diagnostics call it. Does no IO.
    ///
    /// # Errors
    ///
    /// The first mistake in the text, with its line, its column and what was expected.
    pub fn parse(name: &str, text: &str) -> Result<Self, TopologyError> {
        Ok(parse::topology(&Source { name, text })?)
    }

    /// The file this topology was read from.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// All sites, in file order.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// All pairs, in file order.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// All replica sets, in file order.
    pub fn sets(&self) -> &[SiteSet] {
        &self.sets
    }

    /// All profiles, in file order.
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// A site by name.
    ///
    /// # Errors
    ///
    /// If there is none of that name; the error lists those that exist.
    pub fn site(&self, name: &str) -> Result<&Site, NotFound> {
        self.find(Kind::Site, name, &self.sites, |site| &site.name)
    }

    /// A replica set by name.
    ///
    /// # Errors
    ///
    /// If there is none of that name; the error lists those that exist.
    pub fn set(&self, name: &str) -> Result<&SiteSet, NotFound> {
        self.find(Kind::Set, name, &self.sets, |set| &set.name)
    }

    /// A profile by name.
    ///
    /// # Errors
    ///
    /// If there is none of that name; the error lists those that exist.
    pub fn profile(&self, name: &str) -> Result<&Profile, NotFound> {
        self.find(Kind::Profile, name, &self.profiles, |profile| &profile.name)
    }

    /// The distance between two sites, in either order.
    ///
    /// # Errors
    ///
    /// If a site is unknown, or the file does not list the pair; the error then lists the pairs
    /// of the first site.
    pub fn pair(&self, a: &str, b: &str) -> Result<&Pair, NotFound> {
        self.site(a)?;
        self.site(b)?;
        self.pairs.iter().find(|pair| pair.joins(a, b)).ok_or_else(|| {
            let of_a = self.pairs.iter().filter(|pair| pair.between.iter().any(|site| site == a));
            NotFound {
                kind: Kind::Pair,
                name: format!("{a}–{b}"),
                file: self.file.clone(),
                known: of_a.map(|pair| pair.between.join("–")).collect(),
                nearest: None,
            }
        })
    }

    /// Round trips between the sites of a set.
    ///
    /// # Errors
    ///
    /// If there is no such set.
    pub fn matrix(&self, set: &str) -> Result<Matrix, NotFound> {
        let set = self.set(set)?;
        Ok(self.table(set, |pair| Some(pair.rtt_us)).expect("every pair of a set was checked"))
    }

    /// Round trips of light in straight fibres between the sites of a set: the formulas applied
    /// to it give what no network could beat. `None` if a pair of the set states no distance.
    ///
    /// # Errors
    ///
    /// If there is no such set.
    pub fn fibre_matrix(&self, set: &str) -> Result<Option<Matrix>, NotFound> {
        Ok(self.table(self.set(set)?, |pair| pair.fibre_rtt_us))
    }

    /// Every directed link of a set under a profile, by sender and then by receiver.
    ///
    /// # Errors
    ///
    /// If there is no such set or no such profile.
    pub fn links(&self, set: &str, profile: &str) -> Result<Vec<Link>, NotFound> {
        Ok(links(&self.matrix(set)?, self.profile(profile)?))
    }

    /// The round trips between some sites, whatever sets they are in, in this order.
    ///
    /// # Errors
    ///
    /// If there is no such site, or nothing is known of a pair of them.
    pub fn matrix_of(&self, sites: &[String]) -> Result<Matrix, NotFound> {
        for (at, a) in sites.iter().enumerate() {
            self.site(a)?;
            for b in &sites[..at] {
                self.pair(a, b)?;
            }
        }
        let set = SiteSet { name: String::new(), sites: sites.to_vec() };
        Ok(self.table(&set, |pair| Some(pair.rtt_us)).expect("every pair was found"))
    }

    /// The links between some sites, in both directions, under a profile.
    ///
    /// # Errors
    ///
    /// As [`matrix_of`](Self::matrix_of), or if there is no such profile.
    pub fn links_of(&self, sites: &[String], profile: &str) -> Result<Vec<Link>, NotFound> {
        Ok(links(&self.matrix_of(sites)?, self.profile(profile)?))
    }

    /// The same with another loss in one profile, each packet lost on its own: for experiments that
    /// vary it. `loss` is cut to 0 to 1.
    ///
    /// # Errors
    ///
    /// If there is no such profile.
    pub fn with_loss(&self, profile: &str, loss: f64) -> Result<Self, NotFound> {
        self.profile(profile)?;
        let mut changed = self.clone();
        for found in changed.profiles.iter_mut().filter(|found| found.name == profile) {
            (found.loss, found.burst_packets) = (loss.clamp(0.0, 1.0), 1.0);
        }
        Ok(changed)
    }

    fn table(&self, set: &SiteSet, rtt_us: impl Fn(&Pair) -> Option<u64>) -> Option<Matrix> {
        let cell = |a: &String, b: &String| {
            if a == b {
                return Some(0);
            }
            self.pairs.iter().find(|pair| pair.joins(a, b)).and_then(&rtt_us)
        };
        let row = |a: &String| set.sites.iter().map(|b| cell(a, b)).collect::<Option<Vec<u64>>>();
        let rows: Vec<Vec<u64>> = set.sites.iter().map(row).collect::<Option<_>>()?;
        Matrix::new(set.sites.clone(), &rows).ok()
    }

    fn find<'a, T>(
        &self,
        kind: Kind,
        name: &str,
        all: &'a [T],
        name_of: impl Fn(&T) -> &String,
    ) -> Result<&'a T, NotFound> {
        all.iter().find(|item| name_of(item) == name).ok_or_else(|| {
            let known: Vec<String> = all.iter().map(|item| name_of(item).clone()).collect();
            let nearest = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
            NotFound { kind, name: name.to_owned(), file: self.file.clone(), known, nearest }
        })
    }
}
