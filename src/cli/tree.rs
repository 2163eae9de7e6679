//! `tree`.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use crate::cli::args::{FeatureArgs, PackageArgs};
use crate::cli::compile::features;
use crate::cli::report::FetchView;
use crate::cli::shell::Shell;
use crate::driver::{Context, DriverError, viewing};
use crate::inspect::tree::{Depth, Edges, Prefix, TreeOptions, tree};
use crate::package::DependencyKind;
use crate::store::Store;
use crate::unit::{BuildRequest, Intent, PackageSelection, Platforms, View};

/// Flags of `tree`.
#[derive(Debug, Clone, Args)]
pub struct TreeArgs {
    /// Which packages.
    #[command(flatten)]
    pub packages: PackageArgs,
    /// Which features.
    #[command(flatten)]
    pub features: FeatureArgs,
    /// What is followed: all, normal, build, dev, features, no-normal, no-build, no-dev, no-proc-macro
    #[arg(short, long, value_name = "KINDS", value_delimiter = ',', value_parser =
        ["all", "normal", "build", "dev", "features", "public", "no-normal", "no-build", "no-dev", "no-proc-macro"])]
    pub edges: Vec<String>,
    /// Show what depends on this package
    #[arg(short, long, value_name = "SPEC", num_args = 0..=1, default_missing_value = "")]
    pub invert: Vec<String>,
    /// Leave this package out
    #[arg(long, value_name = "SPEC")]
    pub prune: Vec<String>,
    /// How deep the tree goes: a number, or `workspace` for members only
    #[arg(long, value_name = "DEPTH", value_parser = depth)]
    pub depth: Option<Depth>,
    /// How a line begins
    #[arg(long, value_enum, value_name = "PREFIX", default_value = "indent")]
    pub prefix: PrefixChoice,
    /// Repeat what was shown already
    #[arg(long)]
    pub no_dedupe: bool,
    /// Only packages that are there more than once (implies -i)
    #[arg(short, long, alias = "duplicate")]
    pub duplicates: bool,
    /// The characters of the tree
    #[arg(long, value_enum, value_name = "CHARSET")]
    pub charset: Option<Charset>,
    /// What is said of a package
    #[arg(short, long, value_name = "FORMAT", default_value = "{p}")]
    pub format: String,
    /// Only what this target triple needs (default: the host); `all` for all
    #[arg(long, value_name = "TRIPLE")]
    pub target: Vec<String>,
    /// Build all targets of a platform: now `--target all`
    #[arg(long, hide = true)]
    pub all_targets: bool,
    /// Now `--prefix none`
    #[arg(long, hide = true)]
    pub no_indent: bool,
    /// Now `--prefix depth`
    #[arg(long, hide = true)]
    pub prefix_depth: bool,
    /// Now `-e no-dev`
    #[arg(long, hide = true)]
    pub no_dev_dependencies: bool,
}

/// `--prefix`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PrefixChoice {
    /// How deep it is.
    Depth,
    /// The lines of the tree.
    Indent,
    /// Nothing.
    None,
}

/// `--charset`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Charset {
    /// Box-drawing characters.
    Utf8,
    /// ASCII.
    Ascii,
}

fn depth(text: &str) -> Result<Depth, String> {
    if text == "workspace" {
        return Ok(Depth::Workspace);
    }
    let number = text.parse::<u32>().ok();
    number
        .and_then(|number| usize::try_from(number).ok())
        .map(Depth::Levels)
        .ok_or_else(|| "it is a number that is not negative, or `workspace`".to_owned())
}

/// `kiln tree`.
pub(super) fn show(
    context: &Context,
    shell: &Shell,
    arguments: &TreeArgs,
) -> Result<ExitCode, DriverError> {
    let mut arguments = arguments.clone();
    modernize(&mut arguments, shell);
    let edges = edges(&arguments.edges)?;
    let packages = &arguments.packages;
    let mut request = BuildRequest::new(if edges.kinds.contains(&DependencyKind::Development) {
        Intent::Test
    } else {
        Intent::Build
    });
    request.packages = PackageSelection::from_flags(
        packages.workspace,
        packages.exclude.clone(),
        packages.package.clone(),
    )?;
    request.features = features(&arguments.features);
    let all_platforms = arguments.target == ["all"];
    if !all_platforms {
        let configured = &context.config.build_targets;
        request
            .platforms
            .clone_from(match arguments.target.as_slice() {
                [] => configured,
                _ => &arguments.target,
            });
    }
    let options = TreeOptions {
        edges,
        all_platforms,
        invert: inverted(&arguments.invert, &request.packages)?,
        prune: arguments.prune.clone(),
        prefix: match arguments.prefix {
            PrefixChoice::Depth => Prefix::Depth,
            PrefixChoice::Indent => Prefix::Indent,
            PrefixChoice::None => Prefix::None,
        },
        no_dedupe: arguments.no_dedupe,
        duplicates: arguments.duplicates,
        format: arguments.format.clone(),
        depth: arguments.depth.unwrap_or(Depth::Levels(usize::MAX)),
        ascii: match arguments.charset {
            Some(charset) => charset == Charset::Ascii,
            None => std::io::stdout().is_terminal() && !has_unicode(context),
        },
    };
    let store = Arc::new(Store::open(&context.home)?);
    let mut report = FetchView::new(shell);
    let viewed = viewing::view(context, &store, &request, all_platforms, &mut report)?;
    report.end();
    let workspace = &viewed.resolved.workspace;
    let view = View::new(
        workspace,
        &viewed.resolved.resolve,
        &viewed.narrowed,
        &viewed.packages,
        Platforms::of(&viewed.rust),
        &request,
        all_platforms,
    )?;
    let lines = tree(&view, &|id| workspace.is_member(id), &options)?;
    if lines.is_empty() {
        shell.warning(
            "nothing to print: to find what other platforms need, begin with `--target all` and narrow it down",
        );
    } else {
        shell.line(lines.strip_suffix('\n').unwrap_or(&lines));
    }
    Ok(ExitCode::SUCCESS)
}

/// Old flags become those that took their place.
fn modernize(arguments: &mut TreeArgs, shell: &Shell) {
    if arguments.all_targets {
        shell.warning("`--all-targets` has become `--target all`");
        arguments.target = vec!["all".to_owned()];
    }
    if arguments.no_indent {
        shell.warning("`--no-indent` has become `--prefix none`");
        arguments.prefix = PrefixChoice::None;
    } else if arguments.prefix_depth {
        shell.warning("`--prefix-depth` has become `--prefix depth`");
        arguments.prefix = PrefixChoice::Depth;
    }
    if arguments.no_dev_dependencies {
        shell.warning("`--no-dev-dependencies` has become `-e no-dev`");
        arguments.edges.push("no-dev".to_owned());
    }
}

/// Whether the locale of the terminal is one of UTF-8.
fn has_unicode(context: &Context) -> bool {
    let variable = |name: &&str| {
        context
            .variables
            .get(*name)
            .filter(|value| !value.is_empty())
    };
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(variable)
        .is_some_and(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        })
}

/// The packages of `-i`; without a name, those of `-p`.
fn inverted(given: &[String], packages: &PackageSelection) -> Result<Vec<String>, DriverError> {
    let mut specs: Vec<String> = given.iter().filter(|s| !s.is_empty()).cloned().collect();
    if !given.is_empty() && specs.is_empty() {
        let PackageSelection::Packages(selected) = packages else {
            return Err(DriverError::Request {
                message: "`-i` needs the name of a package".to_owned(),
                help: Some(
                    "`-i NAME` shows what depends on it; `--workspace` looks in all members, `-p` in that one"
                        .to_owned(),
                ),
            });
        };
        specs.clone_from(selected);
    }
    Ok(specs)
}

/// What `-e` comes to.
fn edges(given: &[String]) -> Result<Edges, DriverError> {
    use DependencyKind::{Build, Development, Normal};
    let all = || BTreeSet::from([Normal, Build, Development]);
    let mut edges = Edges {
        kinds: BTreeSet::new(),
        features: false,
        no_proc_macros: false,
    };
    let mut words: Vec<&str> = Vec::new();
    for word in given {
        match word.as_str() {
            "no-proc-macro" => edges.no_proc_macros = true,
            "public" => {
                return Err(DriverError::Request {
                    message: "`-e public` is nightly-only in cargo and not supported".to_owned(),
                    help: Some("leave it out".to_owned()),
                });
            }
            other => words.push(other),
        }
    }
    if words.iter().any(|word| word.starts_with("no-")) {
        edges.kinds = all();
        for word in &words {
            match *word {
                "no-normal" => edges.kinds.remove(&Normal),
                "no-build" => edges.kinds.remove(&Build),
                "no-dev" => edges.kinds.remove(&Development),
                "features" => {
                    edges.features = true;
                    true
                }
                other => {
                    return Err(DriverError::Request {
                        message: format!(
                            "`-e {other}` cannot be mixed with `no-normal`, `no-build` and `no-dev`"
                        ),
                        help: Some("name either what is followed, or what is not".to_owned()),
                    });
                }
            };
        }
        return Ok(edges);
    }
    for word in &words {
        match *word {
            "all" => {
                edges.kinds = all();
                edges.features = true;
            }
            "features" => edges.features = true,
            "build" => drop(edges.kinds.insert(Build)),
            "dev" => drop(edges.kinds.insert(Development)),
            _ => drop(edges.kinds.insert(Normal)),
        }
    }
    if words.is_empty() || words == ["features"] {
        edges.kinds = all();
    }
    Ok(edges)
}
