//! `--format`: text with `{p}` and the like, filled in for each package.

use std::fmt::Write as _;

use crate::inspect::tree::TreeError;
use crate::inspect::tree::graph::{Graph, Node, NodeIndex};
use crate::message::text::harmless_line;
use crate::unit::{ProcMacros as _, View};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Chunk {
    Text(String),
    Package,
    License,
    Repository,
    Features,
    Library,
}

/// A format that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Chunk>);

impl Pattern {
    pub(super) fn parse(format: &str) -> Result<Self, TreeError> {
        let wrong = |why: String| TreeError::Format {
            format: format.to_owned(),
            why,
        };
        let mut chunks = Vec::new();
        let mut text = String::new();
        let mut rest = format;
        while let Some(at) = rest.find(['{', '}']) {
            text.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                text.push_str(brace);
                rest = after;
                continue;
            }
            if brace == "}" {
                return Err(wrong("there is a `}` without a `{`".to_owned()));
            }
            let end = rest
                .find('}')
                .ok_or_else(|| wrong("a `}` is missing".to_owned()))?;
            if !text.is_empty() {
                chunks.push(Chunk::Text(std::mem::take(&mut text)));
            }
            chunks.push(match &rest[..end] {
                "package" | "p" => Chunk::Package,
                "license" | "l" => Chunk::License,
                "repository" | "r" => Chunk::Repository,
                "features" | "f" => Chunk::Features,
                "lib" => Chunk::Library,
                other => {
                    return Err(wrong(format!(
                        "the pattern `{}` is not supported",
                        harmless_line(other)
                    )));
                }
            });
            rest = &rest[end + 1..];
        }
        text.push_str(rest);
        if !text.is_empty() {
            chunks.push(Chunk::Text(text));
        }
        Ok(Self(chunks))
    }

    /// What the pattern says of a node.
    pub(super) fn fill(&self, view: &View<'_>, graph: &Graph, node: NodeIndex) -> String {
        let mut out = String::new();
        let (package, features) = match graph.node(node) {
            Node::Package {
                package, features, ..
            } => (*package, features),
            Node::Feature { of, name } => {
                if let Node::Package { package, .. } = graph.node(*of) {
                    let id = view.graph.id(*package);
                    let _ = write!(out, "{} feature \"{name}\"", id.name());
                }
                if graph.is_of_command_line(node) {
                    out.push_str(" (command-line)");
                }
                return out;
            }
        };
        let id = view.graph.id(package);
        let manifest = view.manifests.get(package).ok();
        for chunk in &self.0 {
            match chunk {
                Chunk::Text(text) => out.push_str(text),
                Chunk::Package => {
                    let _ = write!(out, "{} v{}", id.name(), id.version());
                    if view.manifests.has_any_proc_macro(package) {
                        out.push_str(" (proc-macro)");
                    }
                    if !id.source().is_crates_io() {
                        let _ = write!(out, " ({})", harmless_line(&id.source().words()));
                    }
                }
                Chunk::License => {
                    let license = manifest.and_then(|m| m.metadata.license.as_deref());
                    out.push_str(&harmless_line(license.unwrap_or_default()));
                }
                Chunk::Repository => {
                    let repository = manifest.and_then(|m| m.metadata.repository.as_deref());
                    out.push_str(&harmless_line(repository.unwrap_or_default()));
                }
                Chunk::Features => {
                    let names: Vec<&str> = features.iter().map(AsRef::as_ref).collect();
                    out.push_str(&names.join(","));
                }
                Chunk::Library => {
                    let library = manifest.and_then(|m| m.library());
                    out.push_str(&library.map(|l| l.crate_name()).unwrap_or_default());
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_text_and_patterns() {
        let text = |text: &str| Chunk::Text(text.to_owned());
        for (format, expected) in [
            ("{p}", vec![Chunk::Package]),
            (
                "{p} license:{l}",
                vec![Chunk::Package, text(" license:"), Chunk::License],
            ),
            ("{{{lib}}}", vec![text("{"), Chunk::Library, text("}")]),
            ("", vec![]),
        ] {
            assert_eq!(
                Pattern::parse(format).ok(),
                Some(Pattern(expected)),
                "{format}"
            );
        }
        for wrong in ["{", "}", "{p", "{x}", "{}", "{p }"] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
