//! A selection of the host's files that keeps every file's place: what a root has to hold so that each selected path
//! leads, through the same directories and symbolic links as on the host, to the same file.
//!
//! Links are kept, made relative where they were absolute (so that the selection works wherever it stands), and
//! `/etc/alternatives` is skipped: a link into it leads straight to what the alternative is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use super::error::ToolchainError;

/// Links followed on the way to one file before it is a cycle; the kernel's own bound.
const MOST_LINKS: usize = 40;
/// Levels below a directory that is taken as a whole.
const DEEPEST: usize = 40;
/// Debian's table of which program goes by a general name.
const ALTERNATIVES: &str = "etc/alternatives";

/// What stands at one place of a [`Layout`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// A directory; it holds the places below it.
    Directory,
    /// A regular file, with the content of the host's.
    File {
        /// Whether it may be executed.
        executable: bool,
    },
    /// A symbolic link, by its relative target.
    Link(String),
}

/// The selection: places relative to the root, in order.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
    nodes: BTreeMap<String, Node>,
    watched: BTreeSet<PathBuf>,
    whole: BTreeSet<PathBuf>,
}

impl Layout {
    /// An empty selection of the files below `root` (`/`, but for tests).
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            nodes: BTreeMap::new(),
            watched: BTreeSet::new(),
            whole: BTreeSet::new(),
        }
    }

    /// Every place and what stands there.
    pub(crate) fn nodes(&self) -> &BTreeMap<String, Node> {
        &self.nodes
    }

    /// The host's path of a place.
    pub(crate) fn host(&self, place: &str) -> PathBuf {
        self.root.join(place)
    }

    /// The host's files, links and whole directories on which the selection depends.
    pub(crate) fn watched(&self) -> impl Iterator<Item = &PathBuf> {
        self.watched.iter()
    }

    /// Lets the selection depend on `path` as well, without holding it.
    pub(crate) fn watch(&mut self, path: PathBuf) {
        self.watched.insert(path);
    }

    /// Whether `path` leads to something on the host.
    pub(crate) fn exists(&self, path: &Path) -> bool {
        let mut scratch = Self::new(&self.root);
        scratch.add(path).is_ok()
    }

    /// Makes a place a link, if nothing stands there.
    pub(crate) fn link(&mut self, place: &str, target: String) {
        self.nodes
            .entry(place.to_owned())
            .or_insert(Node::Link(target));
    }

    /// Selects what `path` (as on the host, absolute) leads to, with all directories and links on the way. A
    /// directory is selected without its content. Returns the place it leads to, free of links; empty for the root.
    pub(crate) fn add(&mut self, path: &Path) -> Result<String, ToolchainError> {
        let mut left = MOST_LINKS;
        self.walk(String::new(), path, path, &mut left)
    }

    fn walk(
        &mut self,
        start: String,
        path: &Path,
        whole: &Path,
        links_left: &mut usize,
    ) -> Result<String, ToolchainError> {
        let unsupported = |why: &str| ToolchainError::UnsupportedPath {
            path: whole.to_owned(),
            why: why.to_owned(),
        };
        let mut at = start;
        let mut components = path.components().peekable();
        while let Some(component) = components.next() {
            match component {
                Component::RootDir => at.clear(),
                Component::CurDir | Component::Prefix(_) => {}
                Component::ParentDir => {
                    at.truncate(at.rfind('/').unwrap_or(0));
                }
                Component::Normal(name) => {
                    let name = name
                        .to_str()
                        .filter(|name| !name.contains('\n'))
                        .ok_or_else(|| unsupported("a name is not one line of UTF-8"))?;
                    let place = join(&at, name);
                    if self.nodes.get(&place) == Some(&Node::Directory) {
                        at = place;
                        continue;
                    }
                    let host = self.host(&place);
                    let metadata =
                        fs::symlink_metadata(&host).map_err(ToolchainError::io("open", whole))?;
                    let kind = metadata.file_type();
                    if kind.is_symlink() {
                        *links_left = links_left
                            .checked_sub(1)
                            .ok_or_else(|| unsupported("too many symbolic links"))?;
                        at = self.follow(&at, &place, &host, whole, links_left)?;
                    } else if kind.is_dir() {
                        self.nodes.entry(place.clone()).or_insert(Node::Directory);
                        at = place;
                    } else if kind.is_file() {
                        if components.peek().is_some() {
                            let error = io::Error::from(io::ErrorKind::NotADirectory);
                            return Err(ToolchainError::io("open", whole)(error));
                        }
                        let executable = metadata.permissions().mode() & 0o111 != 0;
                        self.watched.insert(host);
                        self.nodes
                            .entry(place.clone())
                            .or_insert(Node::File { executable });
                        at = place;
                    } else {
                        return Err(unsupported("it is no file, directory or symbolic link"));
                    }
                }
            }
        }
        Ok(at)
    }

    /// Follows the link at `place`, which stands in the directory `at`.
    fn follow(
        &mut self,
        at: &str,
        place: &str,
        host: &Path,
        whole: &Path,
        links_left: &mut usize,
    ) -> Result<String, ToolchainError> {
        self.watched.insert(host.to_owned());
        let target = fs::read_link(host).map_err(ToolchainError::io("read", host))?;
        if at == ALTERNATIVES {
            return self.walk(at.to_owned(), &target, whole, links_left);
        }
        let text = target
            .to_str()
            .filter(|text| !text.contains('\n'))
            .ok_or_else(|| ToolchainError::UnsupportedPath {
                path: host.to_owned(),
                why: "the link's target is not one line of UTF-8".to_owned(),
            })?;
        let through_alternatives = Path::new(text)
            .strip_prefix("/")
            .is_ok_and(|path| path.starts_with(ALTERNATIVES));
        if through_alternatives {
            let end = self.walk(String::new(), &target, whole, links_left)?;
            self.nodes.remove(ALTERNATIVES);
            if self.children("etc").next().is_none() {
                self.nodes.remove("etc");
            }
            self.nodes
                .insert(place.to_owned(), Node::Link(relative(at, &end)));
            return Ok(end);
        }
        if target.is_absolute() {
            // The directory that holds the target, free of links; the target itself may be a link that is kept.
            let (directory, name) = match (target.parent(), target.file_name()) {
                (Some(directory), Some(name)) => (directory, Path::new(name)),
                _ => {
                    self.nodes
                        .insert(place.to_owned(), Node::Link(relative(at, "")));
                    return Ok(String::new());
                }
            };
            let directory = self.walk(String::new(), directory, whole, links_left)?;
            let end = join(&directory, &name.to_string_lossy());
            self.nodes
                .insert(place.to_owned(), Node::Link(relative(at, &end)));
            return self.walk(directory, name, whole, links_left);
        }
        self.nodes
            .insert(place.to_owned(), Node::Link(text.to_owned()));
        self.walk(at.to_owned(), &target, whole, links_left)
    }

    /// Selects a directory with all that is below it; symbolic links in it are followed, those that lead nowhere and
    /// whatever is neither file nor directory left out. `keep` says which places are wanted.
    pub(crate) fn add_whole(
        &mut self,
        path: &Path,
        keep: &dyn Fn(&str) -> bool,
    ) -> Result<(), ToolchainError> {
        let place = self.add(path)?;
        self.descend(&place, keep, DEEPEST)
    }

    fn descend(
        &mut self,
        place: &str,
        keep: &dyn Fn(&str) -> bool,
        left: usize,
    ) -> Result<(), ToolchainError> {
        let host = self.host(place);
        if self.nodes.get(place) != Some(&Node::Directory) || !self.whole.insert(host.clone()) {
            return Ok(());
        }
        let Some(left) = left.checked_sub(1) else {
            return Err(ToolchainError::UnsupportedPath {
                path: host,
                why: format!("it holds more than {DEEPEST} levels"),
            });
        };
        let read = |error| ToolchainError::io("read", &host)(error);
        for entry in fs::read_dir(&host).map_err(read)? {
            let entry = entry.map_err(read)?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if !keep(&join(place, name)) {
                continue;
            }
            let path = Path::new("/").join(join(place, name));
            let mut scratch = MOST_LINKS;
            match self.walk(String::new(), &path, &path, &mut scratch) {
                Ok(end) => self.descend(&end, keep, left)?,
                // A link that leads nowhere or to a device is of no use to anybody.
                Err(ToolchainError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    self.nodes.remove(&join(place, name));
                }
                Err(ToolchainError::UnsupportedPath { .. }) => {
                    self.nodes.remove(&join(place, name));
                }
                Err(error) => return Err(error),
            }
        }
        self.watched.insert(host);
        Ok(())
    }

    /// The shortest list of host paths that covers the selected files and nothing else: directories of which all is
    /// selected, and single files.
    pub(crate) fn cover(&self) -> Vec<String> {
        let mut cover = Vec::new();
        self.cover_below("", &mut cover);
        cover
    }

    fn children(&self, place: &str) -> impl Iterator<Item = (&String, &Node)> {
        let prefix = if place.is_empty() {
            String::new()
        } else {
            format!("{place}/")
        };
        let skip = prefix.len();
        self.nodes
            .range(prefix.clone()..)
            .take_while(move |(path, _)| path.starts_with(&prefix))
            .filter(move |(path, _)| !path[skip..].contains('/'))
    }

    /// Appends the cover of what is below `place`; true if that is all that the host has there.
    fn cover_below(&self, place: &str, cover: &mut Vec<String>) -> bool {
        let mark = cover.len();
        let mut complete = true;
        let mut count = 0;
        for (path, node) in self.children(place) {
            count += 1;
            match node {
                Node::File { .. } => cover.push(format!("/{path}")),
                Node::Link(_) => {}
                Node::Directory => complete &= self.cover_below(path, cover),
            }
        }
        if !complete || place.is_empty() {
            return false;
        }
        let there = fs::read_dir(self.host(place)).map_or(usize::MAX, Iterator::count);
        if there == count && cover.len() > mark {
            cover.truncate(mark);
            cover.push(format!("/{place}"));
            return true;
        }
        there == count
    }
}

/// `name` below `place`.
pub(crate) fn join(place: &str, name: &str) -> String {
    if place.is_empty() {
        name.to_owned()
    } else {
        format!("{place}/{name}")
    }
}

/// The relative path from the directory `from` to `to`, both places.
fn relative(from: &str, to: &str) -> String {
    let from: Vec<&str> = from.split('/').filter(|part| !part.is_empty()).collect();
    let to: Vec<&str> = to.split('/').filter(|part| !part.is_empty()).collect();
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let mut parts = vec![".."; from.len() - common];
    parts.extend(&to[common..]);
    if parts.is_empty() {
        ".".to_owned()
    } else {
        parts.join("/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn host() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for path in [
            "usr/bin",
            "usr/lib/triple",
            "usr/lib64",
            "usr/include/sub",
            "etc/alternatives",
        ] {
            fs::create_dir_all(at(path)).unwrap();
        }
        for (link, target) in [
            ("bin", "usr/bin"),
            ("lib", "usr/lib"),
            ("lib64", "usr/lib64"),
            ("usr/bin/cc", "/etc/alternatives/cc"),
            ("etc/alternatives/cc", "/usr/bin/gcc"),
            ("usr/bin/gcc", "gcc-12"),
            ("usr/lib64/ld.so", "/lib/triple/ld.so"),
            ("usr/include/broken", "nowhere"),
            ("usr/include/loop", "loop"),
            ("usr/include/up", ".."),
        ] {
            symlink(target, at(link)).unwrap();
        }
        for file in [
            "usr/bin/gcc-12",
            "usr/lib/triple/ld.so",
            "usr/include/a.h",
            "usr/include/sub/b.h",
        ] {
            fs::write(at(file), file).unwrap();
        }
        dir
    }

    fn links(layout: &Layout) -> Vec<(&str, &str)> {
        layout
            .nodes()
            .iter()
            .filter_map(|(path, node)| match node {
                Node::Link(target) => Some((path.as_str(), target.as_str())),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_path_is_selected_with_its_links_made_relative_and_alternatives_skipped() {
        let host = host();
        let mut layout = Layout::new(host.path());
        assert_eq!(layout.add(Path::new("/bin/cc")).unwrap(), "usr/bin/gcc-12");
        assert_eq!(
            layout.add(Path::new("/lib64/ld.so")).unwrap(),
            "usr/lib/triple/ld.so"
        );
        assert_eq!(
            links(&layout),
            [
                ("bin", "usr/bin"),
                ("lib", "usr/lib"),
                ("lib64", "usr/lib64"),
                ("usr/bin/cc", "gcc-12"),
                ("usr/bin/gcc", "gcc-12"),
                ("usr/lib64/ld.so", "../lib/triple/ld.so"),
            ]
        );
        assert!(!layout.nodes().contains_key("etc"));
        assert!(
            layout
                .watched()
                .any(|path| path.ends_with("etc/alternatives/cc"))
        );
        let up = Path::new("/usr/lib/triple/../../bin/gcc-12");
        assert_eq!(layout.add(up).unwrap(), "usr/bin/gcc-12");
        assert!(layout.add(Path::new("/usr/include/loop")).is_err());
        assert!(layout.add(Path::new("/usr/bin/gcc-12/x")).is_err());
    }

    #[test]
    fn a_whole_directory_leaves_out_what_leads_nowhere() {
        let host = host();
        let mut layout = Layout::new(host.path());
        fs::remove_file(host.path().join("usr/include/up")).unwrap();
        layout
            .add_whole(Path::new("/usr/include"), &|_| true)
            .unwrap();
        let places: Vec<&str> = layout.nodes().keys().map(String::as_str).collect();
        assert_eq!(
            places,
            [
                "usr",
                "usr/include",
                "usr/include/a.h",
                "usr/include/sub",
                "usr/include/sub/b.h"
            ]
        );
        // Two links were left out, so the directory is not covered as one.
        assert_eq!(layout.cover(), ["/usr/include/a.h", "/usr/include/sub"]);
    }

    #[test]
    fn relative_paths() {
        for (from, to, expected) in [
            ("usr/bin", "usr/bin/gcc", "gcc"),
            ("usr/bin", "usr/lib/x", "../lib/x"),
            ("", "usr/bin", "usr/bin"),
            ("a/b", "", "../.."),
            ("a", "a", "."),
        ] {
            assert_eq!(relative(from, to), expected, "{from} {to}");
        }
    }
}
