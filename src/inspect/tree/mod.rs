//! `cargo tree`: packages and what they depend on (or, inverted, what depends on them), as lines.
//!
//! `graph` makes a graph of packages, one node for each set of features and platform that a package is used with, and
//! of features where they are asked for; `print` walks it; `format` fills in what a line says of a package. Source of
//! all rules: cargo's `tree`.

mod format;
mod graph;
mod print;

use std::collections::BTreeSet;

use cargo_util_schemas::core::PackageIdSpec;

use crate::inspect::tree::format::Pattern;
use crate::inspect::tree::graph::Graph;
use crate::package::{DependencyKind, PackageId};
use crate::unit::{UnitError, View, find_package};

/// Why there is no tree.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A package that does not exist, or more than one.
    #[error(transparent)]
    Package(#[from] UnitError),
    /// `--format` that cannot be read.
    #[error("the tree format `{format}` is not valid: {why}")]
    Format {
        /// As the user wrote it.
        format: String,
        /// What is wrong.
        why: String,
    },
    /// `-e features` together with `--duplicates`.
    #[error("the `-e features` flag does not support `--duplicates`")]
    FeaturesAndDuplicates,
}

impl TreeError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Package(error) => error.help(),
            Self::Format { .. } => Some(
                "the patterns are `{p}` (package), `{l}` (license), `{r}` (repository), `{f}` (features) and `{lib}` \
                 (the library's name); a brace is written twice"
                    .to_owned(),
            ),
            Self::FeaturesAndDuplicates => Some("leave one of them out".to_owned()),
        }
    }
}

/// How a line begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// Nothing.
    None,
    /// The lines of the tree.
    Indent,
    /// How deep it is.
    Depth,
}

/// How deep the tree goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// So many levels below a root.
    Levels(usize),
    /// Members of the workspace only.
    Workspace,
}

/// Which edges are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edges {
    /// The kinds of dependencies.
    pub kinds: BTreeSet<DependencyKind>,
    /// Features are nodes of their own.
    pub features: bool,
    /// Procedural macros are left out.
    pub no_proc_macros: bool,
}

/// What is to be shown, and how.
#[derive(Debug, Clone)]
pub struct TreeOptions {
    /// Which edges are followed.
    pub edges: Edges,
    /// Packages of all platforms, not only of those of the request.
    pub all_platforms: bool,
    /// Not what these packages depend on, but what depends on them.
    pub invert: Vec<String>,
    /// Packages that are not shown.
    pub prune: Vec<String>,
    /// How a line begins.
    pub prefix: Prefix,
    /// Repeat what was shown already.
    pub no_dedupe: bool,
    /// Only packages that are there more than once, and what depends on them.
    pub duplicates: bool,
    /// What is said of a package.
    pub format: String,
    /// How deep the tree goes.
    pub depth: Depth,
    /// Lines are drawn with ASCII characters.
    pub ascii: bool,
}

/// The lines of the tree; `is_member` tells the members of the workspace. Empty if there is nothing to show.
///
/// # Errors
/// See [`TreeError`].
pub fn tree(
    view: &View<'_>,
    is_member: &dyn Fn(&PackageId) -> bool,
    options: &TreeOptions,
) -> Result<String, TreeError> {
    if options.edges.features && options.duplicates {
        return Err(TreeError::FeaturesAndDuplicates);
    }
    let pattern = Pattern::parse(&options.format)?;
    let mut graph = Graph::build(view, &options.edges, options.all_platforms);
    let ids = view.graph.all_ids();
    let roots: Vec<_> = if options.invert.is_empty() {
        view.selected.clone()
    } else {
        options
            .invert
            .iter()
            .map(|spec| {
                let id = find_package(spec, ids.iter().copied())?;
                Ok(view.graph.index_of(id).unwrap_or_default())
            })
            .collect::<Result<_, UnitError>>()?
    };
    let mut roots = graph.nodes_of(&roots);
    if options.duplicates {
        graph = graph.reachable(&roots);
        roots = graph.duplicates(view);
    }
    if !options.invert.is_empty() || options.duplicates {
        graph.invert();
    }
    let mut prune = Vec::with_capacity(options.prune.len());
    for spec in &options.prune {
        find_package(spec, ids.iter().copied())?;
        if let Ok(spec) = PackageIdSpec::parse(spec) {
            prune.push(spec);
        }
    }
    Ok(print::lines(
        view, &graph, &roots, &pattern, &prune, is_member, options,
    ))
}
