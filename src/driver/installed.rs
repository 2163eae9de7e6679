//! What is installed below a root, in the lists that cargo keeps there: `.crates.toml` says which package each program
//! is of and has the last word, `.crates2.json` how it was built. Both are read and written as cargo does, so that
//! `cargo install` and `cargo uninstall` know of what kiln installed, and kiln of what they did.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::DriverError;
use crate::manifest::source_text::{UrlEncoding, source_text};
use crate::package::PackageId;

const LIST: &str = ".crates.toml";
const DETAILS: &str = ".crates2.json";

#[derive(Debug, Default, Serialize, Deserialize)]
struct List {
    #[serde(default)]
    v1: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Details {
    #[serde(default)]
    installs: BTreeMap<String, Build>,
    /// What a newer cargo may have added.
    #[serde(flatten)]
    other: BTreeMap<String, serde_json::Value>,
}

/// How an installed package was built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Build {
    /// The version as it was asked for.
    pub version_req: Option<String>,
    /// Its programs.
    pub bins: BTreeSet<String>,
    /// The features that were asked for.
    pub features: BTreeSet<String>,
    /// `--all-features`
    pub all_features: bool,
    /// `--no-default-features`
    pub no_default_features: bool,
    /// The build profile.
    pub profile: String,
    /// The target triple.
    pub target: Option<String>,
    /// What `rustc -vV` says.
    pub rustc: Option<String>,
    /// What a newer cargo may have added.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

impl Build {
    /// Whether building with `wanted` would give the same, the compiler aside.
    fn serves(&self, wanted: &Self) -> bool {
        self.features == wanted.features
            && self.all_features == wanted.all_features
            && self.no_default_features == wanted.no_default_features
            && self.profile == wanted.profile
            && (self.target.is_none() || self.target == wanted.target)
            && self.bins == wanted.bins
    }
}

/// The programs of a package that are there already, and which package each is of, if that is known.
pub type Replaced = BTreeMap<String, Option<String>>;

/// What a root has. As long as the value lives nobody else changes the lists.
#[derive(Debug)]
pub struct Installed {
    root: PathBuf,
    list: List,
    details: Details,
    files: Option<[Flock<File>; 2]>,
}

impl Installed {
    /// Reads the lists of `root`, without waiting for anybody and for looking only; none are empty ones.
    ///
    /// # Errors
    /// If a file is there and cannot be read.
    pub fn read(root: &Path) -> Result<Self, DriverError> {
        let text = |name: &str| match std::fs::read_to_string(root.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            other => other.map_err(|source| file_error(root, name, "read", source)),
        };
        Self::parse(root, &text(LIST)?, &text(DETAILS)?, None)
    }

    /// Opens the lists of `root` for changing, and makes them where they are missing. Waits for whoever has them.
    ///
    /// # Errors
    /// If a file cannot be made or read.
    pub fn open(root: &Path) -> Result<Self, DriverError> {
        std::fs::create_dir_all(root).map_err(|source| file_error(root, "", "written", source))?;
        let mut texts = [String::new(), String::new()];
        let mut open = |index: usize, name: &str| -> io::Result<Flock<File>> {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(root.join(name))?;
            let mut file =
                Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
            file.read_to_string(&mut texts[index])?;
            Ok(file)
        };
        let list = open(0, LIST).map_err(|source| file_error(root, LIST, "read", source))?;
        let details =
            open(1, DETAILS).map_err(|source| file_error(root, DETAILS, "read", source))?;
        let [first, second] = texts;
        Self::parse(root, &first, &second, Some([list, details]))
    }

    fn parse(
        root: &Path,
        list: &str,
        details: &str,
        files: Option<[Flock<File>; 2]>,
    ) -> Result<Self, DriverError> {
        let broken = |name: &str, why: String| DriverError::Request {
            message: format!("`{}` is broken: {why}", root.join(name).display()),
            help: Some("mend it, or move it away: then nothing counts as installed".to_owned()),
        };
        let list: List =
            toml::from_str(list).map_err(|error| broken(LIST, error.message().to_owned()))?;
        let mut details: Details = match details {
            "" => Details::default(),
            text => {
                serde_json::from_str(text).map_err(|error| broken(DETAILS, error.to_string()))?
            }
        };
        details.installs.retain(|key, _| list.v1.contains_key(key));
        for (key, bins) in &list.v1 {
            let build = details.installs.entry(key.clone()).or_default();
            build.bins.clone_from(bins);
        }
        Ok(Self {
            root: root.to_owned(),
            list,
            details,
            files,
        })
    }

    /// The packages, in words, and the programs of each.
    pub fn packages(&self) -> impl Iterator<Item = (String, &BTreeSet<String>)> {
        self.list.v1.iter().map(|(key, bins)| (words(key), bins))
    }

    /// Those of `programs` that are there already.
    pub fn present(&self, programs: &BTreeSet<String>) -> Replaced {
        let there = programs
            .iter()
            .filter(|name| self.root.join("bin").join(name).exists());
        there
            .map(|name| (name.clone(), self.owner(name).map(str::to_owned)))
            .collect()
    }

    fn owner(&self, program: &str) -> Option<&str> {
        let owner = self.list.v1.iter().find(|(_, bins)| bins.contains(program));
        owner.map(|(key, _)| key.as_str())
    }

    /// Whether `package` is there as `wanted`, so that nothing is to be done. A directory may have changed: it never is.
    pub fn is_current(&self, package: &PackageId, wanted: &Build, replaced: &Replaced) -> bool {
        let key = key(package);
        !package.source().is_path()
            && !replaced.is_empty()
            && replaced
                .values()
                .all(|owner| owner.as_deref() == Some(&*key))
            && self
                .details
                .installs
                .get(&key)
                .is_some_and(|build| build.serves(wanted))
    }

    /// Notes that `package` was installed as `build`. Gives the programs that an earlier version of it left and that are
    /// none of `all`, its programs; they are forgotten, and to be removed.
    pub fn note(
        &mut self,
        package: &PackageId,
        build: Build,
        replaced: &Replaced,
        all: &BTreeSet<String>,
    ) -> BTreeSet<String> {
        let key = key(package);
        let mut left = BTreeSet::new();
        for earlier in replaced.values().flatten() {
            if name_of(earlier) == package.name().as_str()
                && let Some(bins) = self.list.v1.get(earlier)
            {
                left.extend(bins.difference(all).cloned());
            }
        }
        let taken: BTreeSet<String> = build.bins.union(&left).cloned().collect();
        for bins in self.list.v1.values_mut() {
            bins.retain(|name| !taken.contains(name));
        }
        let bins = self.list.v1.entry(key.clone()).or_default();
        bins.extend(build.bins.iter().cloned());
        let bins = bins.clone();
        self.list.v1.retain(|_, bins| !bins.is_empty());
        self.details.installs.insert(key, Build { bins, ..build });
        for (key, build) in &mut self.details.installs {
            build.bins = self.list.v1.get(key).cloned().unwrap_or_default();
        }
        let list = &self.list;
        self.details
            .installs
            .retain(|key, _| list.v1.contains_key(key));
        left.retain(|name| !name.contains('/'));
        left
    }

    /// Writes the lists, which have to have been opened.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn save(&mut self) -> Result<(), DriverError> {
        let list = toml::to_string_pretty(&self.list).unwrap_or_default();
        let details = serde_json::to_string(&self.details).unwrap_or_default();
        let Some(files) = &mut self.files else {
            return Ok(());
        };
        for ((file, text), name) in files.iter_mut().zip([list, details]).zip([LIST, DETAILS]) {
            // In place, as cargo does: who waits for the file has it open.
            let write = |file: &mut Flock<File>| {
                file.seek(SeekFrom::Start(0))?;
                file.set_len(0)?;
                file.write_all(text.as_bytes())
            };
            write(file).map_err(|source| file_error(&self.root, name, "written", source))?;
        }
        Ok(())
    }
}

fn file_error(root: &Path, name: &str, verb: &'static str, source: io::Error) -> DriverError {
    DriverError::File {
        path: root.join(name),
        verb,
        source,
    }
}

/// `ripgrep 15.1.0 (registry+https://…)`
fn key(package: &PackageId) -> String {
    format!(
        "{} {} ({})",
        package.name(),
        package.version(),
        source_text(package.source(), UrlEncoding::Plain)
    )
}

fn name_of(key: &str) -> &str {
    key.split(' ').next().unwrap_or(key)
}

/// `ripgrep v15.1.0`, with the source where that is not the default registry.
fn words(key: &str) -> String {
    let mut parts = key.splitn(3, ' ');
    let (Some(name), Some(version), Some(source)) = (parts.next(), parts.next(), parts.next())
    else {
        return key.to_owned();
    };
    let source = source.trim_start_matches('(').trim_end_matches(')');
    if source.starts_with("registry+") {
        return format!("{name} v{version}");
    }
    let address = source
        .split_once('+')
        .map_or(source, |(_, address)| address);
    match address.split_once('#') {
        Some((address, commit)) => {
            let commit = commit.get(..8).unwrap_or(commit);
            format!("{name} v{version} ({address}#{commit})")
        }
        None => {
            let path = address.strip_prefix("file://").unwrap_or(address);
            format!("{name} v{version} ({path})")
        }
    }
}
