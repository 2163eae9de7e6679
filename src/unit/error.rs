//! Why a request cannot be lowered to a unit graph.

use std::path::PathBuf;

use cargo_util_schemas::core::PackageIdSpecError;
use semver::Version;

use crate::package::PackageId;

/// Why there is no unit graph for a request. All but the last three are for the user to mend: the command line or a
/// manifest asks for something that does not exist.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// `run` with a pattern.
    #[error("`run` does not support the pattern `{pattern}` on {what} selection")]
    PatternForProgram {
        /// `target`, `package`.
        what: &'static str,
        /// As the user wrote it.
        pattern: String,
    },
    /// `run` for more than one platform.
    #[error("a program can be run for one `--target` only")]
    SeveralPlatforms,
    /// `run` where there is no program.
    #[error("a bin target must be available for `run`")]
    NoProgram,
    /// `run` where there are several programs and none is preferred.
    #[error("`run` could not determine which binary to run; available binaries: {}", available.join(", "))]
    WhichProgram {
        /// Their names.
        available: Vec<String>,
    },
    /// `run` with several programs named.
    #[error("`run` can run at most one executable, but several were specified: {}", available.join(", "))]
    SeveralPrograms {
        /// What was specified.
        available: Vec<String>,
    },
    /// `run` with an example that is a library.
    #[error("example target `{name}` is a library and cannot be executed")]
    ExampleIsLibrary {
        /// Its name.
        name: String,
    },
    /// `--exclude` without `--workspace`.
    #[error("`--exclude` can only be used together with `--workspace`")]
    ExcludeWithoutWorkspace,
    /// A package specification that cannot be read.
    #[error("invalid package specification `{spec}`")]
    InvalidSpec {
        /// As the user wrote it.
        spec: String,
        /// Why it cannot be read.
        #[source]
        source: PackageIdSpecError,
    },
    /// A pattern for packages or targets that cannot be read.
    #[error("cannot build a glob pattern from `{pattern}`")]
    InvalidPattern {
        /// As the user wrote it.
        pattern: String,
        /// Why it cannot be read.
        #[source]
        source: glob::PatternError,
    },
    /// Names or patterns that match no member.
    #[error("{what} `{names}` not found in workspace `{}`", root.display())]
    NotInWorkspace {
        /// `package(s)`, `package pattern(s)`, with `excluded` where so.
        what: &'static str,
        /// The names, with commas.
        names: String,
        /// The workspace's directory.
        root: PathBuf,
    },
    /// A specification that matches no package of the graph.
    #[error("package specification `{spec}` did not match any packages")]
    NoSuchPackage {
        /// As the user wrote it.
        spec: String,
        /// What may have been meant.
        suggestion: Option<String>,
    },
    /// A specification that matches several packages.
    #[error(
        "package specification `{spec}` is ambiguous: it matches {}",
        list(candidates)
    )]
    AmbiguousPackage {
        /// As the user wrote it.
        spec: String,
        /// Specifications that each match one of them.
        candidates: Vec<String>,
    },
    /// Nothing is selected.
    #[error("no packages to compile in workspace `{}`", root.display())]
    NoPackages {
        /// The workspace's directory.
        root: PathBuf,
    },
    /// Tests of a package whose dev-dependencies are not in the graph.
    #[error(
        "package `{package}` cannot be tested because it requires dev-dependencies and is not a member of the workspace"
    )]
    TestOfNonMember {
        /// Which package.
        package: PackageId,
    },
    /// `--lib` for packages without a library.
    #[error("no library targets found in {}", packages_of(packages))]
    NoLibrary {
        /// Their names.
        packages: Vec<String>,
    },
    /// A target that does not exist.
    #[error("no {kind} target {named} `{name}`{place}")]
    NoTarget {
        /// `bin`, `example`, `test` or `bench`.
        kind: &'static str,
        /// `named` or, for globs, `matches pattern`.
        named: &'static str,
        /// As the user wrote it.
        name: String,
        /// Among which packages it was looked for, with a space in front; may be empty.
        place: String,
        /// What there is instead.
        suggestion: Option<String>,
    },
    /// A target that was asked for by name and whose `required-features` are not all on.
    #[error(
        "target `{target}` in package `{package}` requires the features: {}",
        list(features)
    )]
    RequiredFeatures {
        /// The target.
        target: String,
        /// Its package.
        package: String,
        /// All features that it requires.
        features: Vec<String>,
    },
    /// `required-features` with a form that is not allowed there.
    #[error("invalid feature `{feature}` in required-features of target `{target}`: {why}")]
    InvalidRequiredFeature {
        /// The entry.
        feature: String,
        /// Whose.
        target: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// `--features` with a form that is not allowed there.
    #[error("feature `{feature}` cannot be requested: {why}")]
    InvalidFeature {
        /// As the user wrote it.
        feature: String,
        /// What is wrong with it.
        why: String,
    },
    /// `--features` that no selected package has.
    #[error("{}: {}", none_of(selected, features), features.join(", "))]
    UnknownFeatures {
        /// The features, sorted.
        features: Vec<String>,
        /// The selected members.
        selected: Vec<String>,
        /// Where they exist, or what may have been meant.
        suggestion: Option<String>,
    },
    /// Feature flags with nothing but packages of other workspaces selected.
    #[error("cannot specify features for packages outside of workspace")]
    FeaturesOutsideWorkspace,
    /// A package lacks a feature that is asked of it.
    #[error("package `{package}` does not have the feature `{feature}`")]
    MissingFeature {
        /// Which package.
        package: String,
        /// Which feature.
        feature: String,
        /// What there is instead.
        suggestion: Option<String>,
    },
    /// `--features dependency/feature` of a dependency that is not declared.
    #[error("package `{package}` does not have a dependency named `{dependency}`")]
    MissingDependency {
        /// Which package.
        package: String,
        /// Which dependency.
        dependency: String,
    },
    /// A feature that enables itself.
    #[error(
        "cyclic feature dependency: feature `{feature}` of package `{package}` depends on itself"
    )]
    CyclicFeature {
        /// Which package.
        package: String,
        /// Which feature.
        feature: String,
    },
    /// A profile that nobody defines.
    #[error("profile `{name}` is not defined")]
    UndefinedProfile {
        /// Its name.
        name: String,
        /// What may have been meant.
        suggestion: Option<String>,
    },
    /// A profile that cannot be put together.
    #[error("profile `{name}` is not valid: {why}")]
    InvalidProfile {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// One dependency under two names.
    #[error("the crate `{from}` depends on crate `{to}` multiple times with different names")]
    ConflictingNames {
        /// The package that declares them.
        from: PackageId,
        /// The package they mean.
        to: PackageId,
    },
    /// Packages that need a newer rustc.
    #[error("rustc {rustc} is not supported by: {}", too_old(packages))]
    RustVersion {
        /// The rustc in use.
        rustc: Version,
        /// Each package with the version it requires, sorted.
        packages: Vec<(PackageId, String)>,
        /// Whether one of them is a path package, which a different lock would not change.
        local: bool,
    },
    /// A platform of which nothing is known.
    #[error("nothing is known of the platform `{triple}`: the toolchain was not asked about it")]
    UnknownPlatform {
        /// Its triple.
        triple: String,
    },
    /// A package is needed whose manifest was not handed in.
    #[error("the manifest of package `{package}` is needed but was not loaded")]
    NotLoaded {
        /// Which package.
        package: PackageId,
    },
    /// An edge of the resolution that does not fit its packages.
    #[error("the resolution is not consistent at package `{package}`: {why}")]
    Inconsistent {
        /// Which package.
        package: PackageId,
        /// What does not fit.
        why: &'static str,
    },
    /// Units that need each other.
    #[error("cyclic package dependency: package `{package}` depends on itself")]
    Cycle {
        /// One of the packages of the cycle.
        package: PackageId,
    },
}

/// What may have been meant, or else `otherwise`.
fn suggested(suggestion: &Option<String>, otherwise: &str) -> Option<String> {
    Some(suggestion.clone().unwrap_or_else(|| otherwise.to_owned()))
}

impl UnitError {
    /// What to do about it, if there is something to say.
    pub fn help(&self) -> Option<String> {
        match self {
            UnitError::ExcludeWithoutWorkspace => Some("add `--workspace`".to_owned()),
            UnitError::PatternForProgram { .. } | UnitError::SeveralPrograms { .. } => {
                Some("name the one to run".to_owned())
            }
            UnitError::SeveralPlatforms => Some("name one platform".to_owned()),
            UnitError::NoProgram => Some(
                "add `src/main.rs` or a `[[bin]]`, or name an example with `--example`".to_owned(),
            ),
            UnitError::WhichProgram { .. } => Some(
                "use `--bin` to name one, or the manifest's `default-run`".to_owned(),
            ),
            UnitError::ExampleIsLibrary { .. } => {
                Some("take `crate-type` out of the `[[example]]`".to_owned())
            }
            UnitError::NoSuchPackage { suggestion, .. } => suggested(
                suggestion,
                "give the name of a package of the workspace or of `Cargo.lock`",
            ),
            UnitError::NoTarget {
                kind, suggestion, ..
            } => Some(suggestion.clone().unwrap_or_else(|| {
                format!("look at the {kind} targets of the selected packages: the `[[{kind}]]` entries of the manifest, and the files")
            })),
            UnitError::UnknownFeatures { suggestion, .. }
            | UnitError::MissingFeature { suggestion, .. } => suggested(
                suggestion,
                "look at `[features]` and at the optional dependencies in the package's manifest",
            ),
            UnitError::UndefinedProfile { name, suggestion } => {
                Some(suggestion.clone().unwrap_or_else(|| {
                    format!(
                        "define it: `[profile.{name}]` in the workspace's manifest, with `inherits`"
                    )
                }))
            }
            UnitError::AmbiguousPackage { candidates, .. } => Some(format!(
                "run the command again with one of these specifications: {}",
                list(candidates)
            )),
            UnitError::RequiredFeatures { features, .. } => Some(format!(
                "enable them by passing, e.g., `--features=\"{}\"`",
                features.join(" ")
            )),
            UnitError::RustVersion {
                local: false,
                rustc,
                ..
            } => Some(format!(
                "use a newer toolchain, or lock compatible versions: \
                 `kiln update -p <name> --precise <version that supports rustc {rustc}>`"
            )),
            UnitError::RustVersion { local: true, .. } => {
                Some("use a newer toolchain, or pass `--ignore-rust-version`".to_owned())
            }
            UnitError::UnknownPlatform { triple } => Some(format!(
                "check the spelling; if it is right, add it to the toolchain: `rustup target add {triple}`"
            )),
            UnitError::NotInWorkspace { .. } => {
                Some("`kiln metadata --no-deps` lists the members".to_owned())
            }
            _ => None,
        }
    }
}

fn list(items: &[String]) -> String {
    let quoted: Vec<String> = items.iter().map(|item| format!("`{item}`")).collect();
    quoted.join(", ")
}

fn packages_of(names: &[String]) -> String {
    match names {
        [one] => format!("package `{one}`"),
        many => format!("packages: {}", many.join(", ")),
    }
}

fn none_of(selected: &[String], features: &[String]) -> String {
    let these = match features {
        [_] => "this feature",
        _ => "these features",
    };
    match selected {
        [one] => format!("the package `{one}` does not contain {these}"),
        many => format!(
            "none of the selected packages ({}) contains {these}",
            many.join(", ")
        ),
    }
}

fn too_old(packages: &[(PackageId, String)]) -> String {
    let lines: Vec<String> = packages
        .iter()
        .map(|(id, required)| format!("`{}@{}` requires rustc {required}", id.name(), id.version()))
        .collect();
    lines.join(", ")
}
