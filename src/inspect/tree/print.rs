//! The walk over the graph, line by line.

use std::collections::HashSet;
use std::fmt::Write as _;

use cargo_util_schemas::core::PackageIdSpec;

use crate::inspect::tree::format::Pattern;
use crate::inspect::tree::graph::{EdgeKind, Graph, Node, NodeIndex};
use crate::inspect::tree::{Depth, Prefix, TreeOptions};
use crate::package::PackageId;
use crate::unit::{View, spec_matches};

/// The characters of the tree: a line that goes on, a branch, the last branch, the line to the package.
struct Symbols {
    down: &'static str,
    tee: &'static str,
    ell: &'static str,
    right: &'static str,
}

const UTF8: Symbols = Symbols {
    down: "│",
    tee: "├",
    ell: "└",
    right: "─",
};

const ASCII: Symbols = Symbols {
    down: "|",
    tee: "|",
    ell: "`",
    right: "-",
};

struct Printer<'p, 'a> {
    view: &'p View<'a>,
    graph: &'p Graph,
    pattern: &'p Pattern,
    prune: &'p [PackageIdSpec],
    is_member: &'p dyn Fn(&PackageId) -> bool,
    options: &'p TreeOptions,
    symbols: &'static Symbols,
    shown: HashSet<NodeIndex>,
    /// For each level, whether there is more of it below.
    levels: Vec<bool>,
    /// The nodes from the root to here.
    path: Vec<NodeIndex>,
    out: String,
}

/// The lines for all `roots`, with an empty line between two of them.
pub(super) fn lines(
    view: &View<'_>,
    graph: &Graph,
    roots: &[NodeIndex],
    pattern: &Pattern,
    prune: &[PackageIdSpec],
    is_member: &dyn Fn(&PackageId) -> bool,
    options: &TreeOptions,
) -> String {
    let mut printer = Printer {
        view,
        graph,
        pattern,
        prune,
        is_member,
        options,
        symbols: if options.ascii { &ASCII } else { &UTF8 },
        shown: HashSet::new(),
        levels: Vec::new(),
        path: Vec::new(),
        out: String::new(),
    };
    for (index, root) in roots.iter().enumerate() {
        if index > 0 {
            printer.out.push('\n');
        }
        printer.node(*root);
    }
    printer.out
}

impl Printer<'_, '_> {
    fn node(&mut self, node: NodeIndex) {
        let is_new = self.options.no_dedupe || self.shown.insert(node);
        match self.options.prefix {
            Prefix::Depth => {
                let _ = write!(self.out, "{}", self.levels.len());
            }
            Prefix::Indent => {
                if let Some((last, above)) = self.levels.split_last() {
                    let branch = if *last {
                        self.symbols.tee
                    } else {
                        self.symbols.ell
                    };
                    self.out.push_str(&self.columns(above));
                    let right = self.symbols.right;
                    let _ = write!(self.out, "{branch}{right}{right} ");
                }
            }
            Prefix::None => {}
        }
        let in_cycle = self.path.contains(&node);
        let goes_on = is_new && !in_cycle;
        // What has nothing below it is not marked: nothing is left out.
        let star = if goes_on || !self.graph.has_edges(node) {
            ""
        } else {
            " (*)"
        };
        let text = self.pattern.fill(self.view, self.graph, node);
        let _ = writeln!(self.out, "{text}{star}");
        if !goes_on {
            return;
        }
        self.path.push(node);
        for kind in EdgeKind::ALL {
            self.edges(node, kind);
        }
        self.path.pop();
    }

    fn columns(&self, levels: &[bool]) -> String {
        levels
            .iter()
            .map(|goes_on| {
                let line = if *goes_on { self.symbols.down } else { " " };
                format!("{line}   ")
            })
            .collect()
    }

    fn edges(&mut self, node: NodeIndex, kind: EdgeKind) {
        let targets = self.graph.edges(node, kind);
        if targets.is_empty() {
            return;
        }
        let heading = match kind {
            EdgeKind::Normal | EdgeKind::Feature => None,
            EdgeKind::Build => Some("[build-dependencies]"),
            EdgeKind::Development => Some("[dev-dependencies]"),
        };
        if let (Prefix::Indent, Some(heading)) = (self.options.prefix, heading) {
            let columns = self.columns(&self.levels);
            let _ = writeln!(self.out, "{columns}{heading}");
        }
        if let Depth::Levels(most) = self.options.depth
            && self.levels.len() >= most
        {
            return;
        }
        let targets: Vec<NodeIndex> = targets
            .into_iter()
            .filter(|target| self.is_shown(*target))
            .collect();
        for (index, target) in targets.iter().enumerate() {
            self.levels.push(index + 1 < targets.len());
            self.node(*target);
            self.levels.pop();
        }
    }

    fn is_shown(&self, node: NodeIndex) -> bool {
        let Node::Package { package, .. } = self.graph.node(node) else {
            return true;
        };
        let id = self.view.graph.id(*package);
        (self.options.depth != Depth::Workspace || (self.is_member)(id))
            && !self.prune.iter().any(|spec| spec_matches(spec, id))
    }
}
