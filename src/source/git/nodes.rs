//! The files of a commit as values, before they become a tree of the store: which links lead outside, how many entries
//! there are. A directory that occurs several times is there once, so a small repository cannot stand for a huge tree.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::tree::{BlobRef, Directory, EncodedTree, Entry, TreeError, TreeRef};

/// How many links are followed on the way to where one leads, as the kernel does.
const MOST_LINKS: usize = 40;

/// What is at a path.
#[derive(Debug, Clone)]
pub(super) enum Node {
    File { blob: BlobRef, executable: bool },
    Link { target: String },
    Directory(Rc<Level>),
}

/// A directory.
#[derive(Debug, Default)]
pub(super) struct Level {
    entries: BTreeMap<String, Node>,
    /// How many entries there are in it and below.
    expanded: u64,
    /// Whether a link is in it or below.
    has_links: bool,
}

impl Level {
    /// Adds an entry; `false` if the name is taken.
    pub(super) fn insert(&mut self, name: String, node: Node) -> bool {
        self.expanded = self.expanded.saturating_add(1);
        match &node {
            Node::Directory(level) => {
                self.expanded = self.expanded.saturating_add(level.expanded);
                self.has_links |= level.has_links;
            }
            Node::Link { .. } => self.has_links = true,
            Node::File { .. } => {}
        }
        self.entries.insert(name, node).is_none()
    }

    /// How many entries there are in it and below, once it is written out.
    pub(super) fn expanded(&self) -> u64 {
        self.expanded
    }

    /// The paths of links that lead out of this directory, each with its target. Where a link leads is followed as the
    /// kernel would: a chain of links that each look harmless is seen through.
    pub(super) fn escaping_links(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        self.each_link("", &mut |path, target| {
            if self.escapes(path, target) {
                found.push((path.to_owned(), target.to_owned()));
            }
        });
        found
    }

    fn each_link(&self, prefix: &str, visit: &mut dyn FnMut(&str, &str)) {
        for (name, node) in &self.entries {
            let path = join(prefix, name);
            match node {
                Node::Link { target } => visit(&path, target),
                Node::Directory(level) if level.has_links => level.each_link(&path, visit),
                Node::File { .. } | Node::Directory(_) => {}
            }
        }
    }

    /// Whether the link at `path` leads outside.
    fn escapes(&self, path: &str, target: &str) -> bool {
        if target.starts_with('/') {
            return true;
        }
        let mut at: Vec<&str> = path.split('/').collect();
        at.pop();
        // What is still to be walked, the next component last.
        let mut open: Vec<&str> = target.rsplit('/').collect();
        let mut followed = 0;
        while let Some(component) = open.pop() {
            match component {
                "" | "." => {}
                ".." => {
                    if at.pop().is_none() {
                        return true;
                    }
                }
                name => {
                    at.push(name);
                    match self.get(&at) {
                        Some(Node::Link { target }) => {
                            followed += 1;
                            // Going round leads nowhere.
                            if followed > MOST_LINKS {
                                return false;
                            }
                            if target.starts_with('/') {
                                return true;
                            }
                            at.pop();
                            open.extend(target.rsplit('/'));
                        }
                        Some(_) => {}
                        // The kernel stops here as well, unless something appears later; then `..` must not count.
                        None => {
                            return open.iter().filter(|left| **left == "..").count() > at.len();
                        }
                    }
                }
            }
        }
        false
    }

    fn get(&self, path: &[&str]) -> Option<&Node> {
        let (last, above) = path.split_last()?;
        let mut level = self;
        for name in above {
            match level.entries.get(*name)? {
                Node::Directory(next) => level = next,
                _ => return None,
            }
        }
        level.entries.get(*last)
    }

    /// The tree, without the entries at `left_out`.
    pub(super) fn encode(&self, left_out: &BTreeSet<String>) -> Result<EncodedTree, TreeError> {
        let mut levels = BTreeMap::new();
        let root = self.encode_level("", left_out, &mut levels)?;
        Ok(EncodedTree { root, levels })
    }

    fn encode_level(
        &self,
        prefix: &str,
        left_out: &BTreeSet<String>,
        levels: &mut BTreeMap<crate::digest::TreeDigest, Vec<u8>>,
    ) -> Result<TreeRef, TreeError> {
        let mut directory = Directory::new();
        for (name, node) in &self.entries {
            let path = join(prefix, name);
            if left_out.contains(&path) {
                continue;
            }
            let entry = match node {
                Node::File { blob, executable } => Entry::File {
                    blob: *blob,
                    executable: *executable,
                },
                Node::Link { target } => Entry::Symlink {
                    target: target.clone(),
                },
                Node::Directory(level) => {
                    Entry::Directory(level.encode_level(&path, left_out, levels)?)
                }
            };
            directory.insert(name, entry)?;
        }
        let tree = directory.tree_ref();
        levels
            .entry(tree.digest)
            .or_insert_with(|| directory.encode());
        Ok(tree)
    }
}

pub(super) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}/{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(entries: Vec<(&str, Node)>) -> Level {
        let mut level = Level::default();
        for (name, node) in entries {
            assert!(level.insert(name.to_owned(), node));
        }
        level
    }

    fn link(target: &str) -> Node {
        Node::Link {
            target: target.to_owned(),
        }
    }

    fn file() -> Node {
        Node::File {
            blob: BlobRef::of(b"x"),
            executable: false,
        }
    }

    fn directory(entries: Vec<(&str, Node)>) -> Node {
        Node::Directory(Rc::new(level(entries)))
    }

    #[test]
    fn links_that_lead_outside_are_found() {
        for (target, escapes) in [
            ("file", false),
            ("./deep/../file", false),
            ("deep/inner", false),
            ("nothing", false),
            ("nothing/../file", false),
            ("here/../file", true),
            ("loop", false),
            ("/etc/passwd", true),
            ("..", true),
            ("deep/../..", true),
            ("absolute/x", true),
            ("nothing/../..", true),
            // `here` is this directory, so what follows it is above.
            ("here/..", true),
            ("deep/up/..", true),
        ] {
            let root = level(vec![
                ("file", file()),
                ("here", link(".")),
                ("loop", link("loop")),
                ("absolute", link("/")),
                (
                    "deep",
                    directory(vec![("inner", file()), ("up", link(".."))]),
                ),
                ("subject", link(target)),
            ]);
            let found = root.escaping_links();
            assert_eq!(
                found.iter().any(|(path, _)| path == "subject"),
                escapes,
                "{target}"
            );
            assert!(found.iter().any(|(path, _)| path == "absolute"));
            assert!(!found.iter().any(|(path, _)| path == "deep/up"));
        }
    }

    #[test]
    fn a_directory_within_itself_is_counted_as_often_as_it_occurs() {
        let mut node = directory(vec![("file", file())]);
        for _ in 0..40 {
            node = directory(vec![("a", node.clone()), ("b", node.clone())]);
        }
        let Node::Directory(level) = node else {
            panic!("made as a directory")
        };
        assert!(level.expanded() > 1 << 40);
    }

    #[test]
    fn what_is_left_out_is_not_in_the_tree() {
        let root = level(vec![
            ("a", directory(vec![("out", link("/")), ("in", file())])),
            ("b", file()),
        ]);
        let kept = level(vec![("a", directory(vec![("in", file())])), ("b", file())]);
        let left_out = BTreeSet::from(["a/out".to_owned()]);
        assert_eq!(
            root.encode(&left_out).expect("a tree").root,
            kept.encode(&BTreeSet::new()).expect("a tree").root
        );
    }
}
