//! What can be wrong with manifests, and how the inner steps report it.

use std::path::{Path, PathBuf};

use super::text::{Place, locate};

/// Why a manifest or a workspace cannot be used. Texts name files; a place within one is `path:line:column`.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// No `Cargo.toml` in a directory or above it.
    #[error("could not find `Cargo.toml` in `{start}` or any parent directory")]
    NotFound {
        /// Where the search began.
        start: PathBuf,
        /// A file that only the case of its name keeps from being one.
        misnamed: Option<PathBuf>,
    },
    /// The file could not be read.
    #[error("the manifest `{path}` could not be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// It is not TOML, or a key has a value of the wrong kind.
    #[error("{place}: {message}")]
    Toml {
        /// Where.
        place: Box<Place>,
        /// What the parser says.
        message: String,
    },
    /// It is TOML of the right shape, and says something that cannot be.
    #[error("{}: invalid manifest: {message}", location(path, place))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where in it, if one place can be named.
        place: Option<Box<Place>>,
        /// What is wrong.
        message: String,
        /// What to do about it.
        help: Option<String>,
    },
    /// It asks for something that kiln does not do: nightly-only keys, for one.
    #[error("{}: not supported: {message}", location(path, place))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Where in it, if one place can be named.
        place: Option<Box<Place>>,
        /// What is not supported.
        message: String,
        /// What to do about it.
        help: Option<String>,
    },
    /// A key is inherited from a workspace root that could not be used.
    #[error("`{path}` inherits {what} from its workspace, whose root could not be used")]
    Inherit {
        /// The inheriting manifest.
        path: PathBuf,
        /// What is inherited: `` `package.version` ``.
        what: String,
        /// Why the root could not be used.
        #[source]
        source: Box<ManifestError>,
    },
    /// A member of a workspace could not be loaded.
    #[error("the workspace member `{member}`{}, named by `{root}`, could not be loaded", via.as_ref().map(|glob| format!(" (by `{glob}`)")).unwrap_or_default())]
    Member {
        /// The member's directory.
        member: PathBuf,
        /// The pattern that matched it.
        via: Option<String>,
        /// The root manifest.
        root: PathBuf,
        /// Why.
        #[source]
        source: Box<ManifestError>,
    },
    /// A path dependency could not be loaded.
    #[error("the dependency `{name}` of `{manifest}` could not be loaded")]
    PathDependency {
        /// The package's name.
        name: String,
        /// The manifest that names it.
        manifest: PathBuf,
        /// Why.
        #[source]
        source: Box<ManifestError>,
    },
    /// The manifests do not agree on which workspace they form.
    #[error("{message}")]
    Workspace {
        /// What is wrong, with the manifests concerned.
        message: String,
        /// What to do about it.
        help: Option<String>,
    },
}

fn location(path: &Path, place: &Option<Box<Place>>) -> String {
    match place {
        Some(place) => place.to_string(),
        None => path.display().to_string(),
    }
}

impl ManifestError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NotFound { misnamed, .. } => Some(match misnamed {
                Some(path) => format!("rename `{}` to `Cargo.toml`", path.display()),
                None => "go to the directory of a package or workspace, or name its manifest with `--manifest-path`"
                    .to_owned(),
            }),
            Self::Invalid { help, path, .. } => Some(
                help.clone()
                    .unwrap_or_else(|| format!("correct `{}`", path.display())),
            ),
            Self::Unsupported { help, path, .. } => Some(help.clone().unwrap_or_else(|| {
                format!("take it out of `{}`", path.display())
            })),
            Self::Workspace { help, .. } => help.clone(),
            Self::Inherit { source, .. }
            | Self::Member { source, .. }
            | Self::PathDependency { source, .. } => source.help(),
            Self::Toml { place, .. } => Some(format!(
                "correct `{}` at the place that is shown",
                place.path.display()
            )),
            Self::Read { source, .. } => Some(match source.kind() {
                std::io::ErrorKind::NotFound => {
                    "check the path that leads to it, or make the manifest".to_owned()
                }
                _ => "look whether it is a file that this user may read".to_owned(),
            }),
        }
    }

    /// Where in a file, if one place can be named: that of the innermost cause.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Toml { place, .. } => Some(place),
            Self::Invalid { place, .. } | Self::Unsupported { place, .. } => place.as_deref(),
            Self::Inherit { source, .. }
            | Self::Member { source, .. }
            | Self::PathDependency { source, .. } => source.place(),
            Self::NotFound { .. } | Self::Read { .. } | Self::Workspace { .. } => None,
        }
    }
}

/// What a step that knows neither file nor text found wrong.
#[derive(Debug)]
pub(super) struct Fault {
    message: String,
    help: Option<String>,
    keys: Vec<String>,
    unsupported: bool,
}

/// The result of such a step. The error is boxed, since it is rare and the values are not.
pub(super) type Checked<T> = Result<T, Box<Fault>>;

impl Fault {
    /// Something that cannot be.
    pub(super) fn new(message: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            message: message.into(),
            help: None,
            keys: Vec::new(),
            unsupported: false,
        })
    }

    /// Something that kiln does not do.
    pub(super) fn unsupported(message: impl Into<String>) -> Box<Self> {
        let mut fault = Self::new(message);
        fault.unsupported = true;
        fault
    }

    /// What to do about it.
    pub(super) fn help(mut self: Box<Self>, help: impl Into<String>) -> Box<Self> {
        self.help = Some(help.into());
        self
    }

    /// The keys that lead to the value concerned.
    pub(super) fn at<'a>(
        mut self: Box<Self>,
        keys: impl IntoIterator<Item = &'a str>,
    ) -> Box<Self> {
        self.keys = keys.into_iter().map(str::to_owned).collect();
        self
    }

    /// The message, and what to do about it.
    pub(super) fn sentence(&self) -> String {
        match &self.help {
            Some(help) => format!("{}: {help}", self.message),
            None => self.message.clone(),
        }
    }

    /// The error for the file `path` that holds `text`.
    pub(super) fn in_file(&self, path: &Path, text: &str) -> ManifestError {
        let place = locate(text, &self.keys).map(|range| Box::new(Place::new(path, text, range)));
        let path = path.to_owned();
        let (message, help) = (self.message.clone(), self.help.clone());
        if self.unsupported {
            ManifestError::Unsupported {
                path,
                place,
                message,
                help,
            }
        } else {
            ManifestError::Invalid {
                path,
                place,
                message,
                help,
            }
        }
    }
}

/// A remark on the name in `candidates` that is closest to `name`, if one is close.
pub(super) fn closest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let name = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::osa_distance(&name, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, _)| *distance <= 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| format!("there is `{candidate}`, which is spelt much alike"))
}
