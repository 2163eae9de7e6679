//! What a program needs to run: its dynamic loader and the shared libraries that the loader finds for it, or, for a
//! script, its interpreter.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use object::elf::{FileHeader64, PT_INTERP};
use object::read::ReadCache;
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};
use object::{Endianness, elf};

use super::ask;
use super::error::ToolchainError;
use super::layout::{Layout, Node, join};

/// What kind of program a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Program {
    /// An ELF file of this machine's word size.
    Elf {
        /// `PT_INTERP`: the dynamic loader.
        interpreter: Option<String>,
        /// Whether it has a dynamic section, and so may need libraries.
        dynamic: bool,
    },
    /// A script, by the words of its `#!` line.
    Script(Vec<String>),
    /// Anything else.
    Data,
}

/// Looks at the beginning of `path`.
pub(crate) fn inspect(path: &Path) -> Result<Program, ToolchainError> {
    let read = |error| ToolchainError::io("read", path)(error);
    let mut file = fs::File::open(path).map_err(read)?;
    let mut start = Vec::with_capacity(256);
    (&mut file)
        .take(256)
        .read_to_end(&mut start)
        .map_err(read)?;
    if let Some(line) = start.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        return Ok(Program::Script(
            line.split_whitespace().map(str::to_owned).collect(),
        ));
    }
    if !start.starts_with(&elf::ELFMAG) {
        return Ok(Program::Data);
    }
    let cache = ReadCache::new(file);
    let parse = || -> Result<Program, object::read::Error> {
        let header = FileHeader64::<Endianness>::parse(&cache)?;
        let endian = header.endian()?;
        let mut interpreter = None;
        let mut dynamic = false;
        for segment in header.program_headers(endian, &cache)? {
            if segment.p_type(endian) == PT_INTERP {
                interpreter = segment
                    .interpreter(endian, &cache)?
                    .map(|name| String::from_utf8_lossy(name).into_owned());
            }
            if let Some(entries) = segment.dynamic(endian, &cache)? {
                dynamic |= entries
                    .iter()
                    .any(|entry| entry.tag(endian) == elf::DT_NEEDED);
            }
        }
        Ok(Program::Elf {
            interpreter,
            dynamic,
        })
    };
    // A file that only looks like ELF (another word size, cut short) is data: nothing here would run it.
    Ok(parse().unwrap_or(Program::Data))
}

/// One line of what the loader's `--list` prints.
#[derive(Debug, PartialEq, Eq)]
enum Listed {
    /// `name => path (address)`, or `path (address)`.
    Found(String, PathBuf),
    /// `name => not found`.
    Missing(String),
}

fn parse_list(text: &str) -> Vec<Listed> {
    text.lines()
        .filter_map(|line| {
            let line = line.trim();
            let line = match line.rfind(" (0x") {
                Some(end) => &line[..end],
                None => line,
            };
            match line.split_once(" => ") {
                Some((name, "not found")) => Some(Listed::Missing(name.to_owned())),
                Some((name, path)) if path.starts_with('/') => {
                    Some(Listed::Found(name.to_owned(), path.into()))
                }
                None if line.starts_with('/') => {
                    let name = line.rsplit('/').next().unwrap_or(line).to_owned();
                    Some(Listed::Found(name, line.into()))
                }
                _ => None,
            }
        })
        .collect()
}

/// Adds programs with all they need to a [`Layout`].
pub(crate) struct Closure {
    /// The loader that shared libraries, which name none, are listed with.
    loader: Option<PathBuf>,
    /// Programs and libraries that were seen to.
    done: BTreeSet<String>,
    /// Where the loader looks by itself, free of links; found when first needed.
    system_directories: Option<BTreeSet<String>>,
    /// Directories whose libraries belong to somebody else's tree: the Rust toolchain's.
    elsewhere: Vec<PathBuf>,
}

impl Closure {
    /// Nothing seen to yet. Libraries beneath `elsewhere` are not added: another tree holds them.
    pub(crate) fn new(elsewhere: Vec<PathBuf>) -> Self {
        Self {
            loader: None,
            done: BTreeSet::new(),
            system_directories: None,
            elsewhere,
        }
    }

    /// Adds the program at `path` and all it needs. `search` is where `#!/usr/bin/env NAME` finds its program.
    pub(crate) fn program(
        &mut self,
        layout: &mut Layout,
        path: &Path,
        search: &[PathBuf],
    ) -> Result<String, ToolchainError> {
        let place = layout.add(path)?;
        self.needs(layout, &place, search, true)?;
        Ok(place)
    }

    /// Adds what the file at `place`, which is in `layout`, needs. With `strict` a missing library is an error.
    pub(crate) fn needs(
        &mut self,
        layout: &mut Layout,
        place: &str,
        search: &[PathBuf],
        strict: bool,
    ) -> Result<(), ToolchainError> {
        if !matches!(layout.nodes().get(place), Some(Node::File { .. }))
            || !self.done.insert(place.to_owned())
        {
            return Ok(());
        }
        let host = layout.host(place);
        match inspect(&host)? {
            Program::Data => Ok(()),
            Program::Script(words) => self.script(layout, &words, search),
            Program::Elf {
                interpreter,
                dynamic,
            } => self.libraries(layout, &host, interpreter, dynamic, strict),
        }
    }

    fn script(
        &mut self,
        layout: &mut Layout,
        words: &[String],
        search: &[PathBuf],
    ) -> Result<(), ToolchainError> {
        let Some(interpreter) = words.first() else {
            return Ok(());
        };
        self.program(layout, Path::new(interpreter), search)?;
        if !interpreter.ends_with("/env") {
            return Ok(());
        }
        let Some(name) = words[1..]
            .iter()
            .find(|word| !word.starts_with('-') && !word.contains('='))
        else {
            return Ok(());
        };
        let Some(path) = find_program(layout, name, search) else {
            return Err(ToolchainError::GrantMissing {
                what: "the program",
                name: name.clone(),
                searched: search.to_vec(),
            });
        };
        self.program(layout, &path, search).map(|_| ())
    }

    /// The libraries of a program or library that is not (or not necessarily) part of the layout itself.
    pub(crate) fn libraries_of(
        &mut self,
        layout: &mut Layout,
        host: &Path,
    ) -> Result<(), ToolchainError> {
        match inspect(host)? {
            Program::Elf {
                interpreter,
                dynamic,
            } => self.libraries(layout, host, interpreter, dynamic, true),
            _ => Ok(()),
        }
    }

    fn libraries(
        &mut self,
        layout: &mut Layout,
        host: &Path,
        interpreter: Option<String>,
        dynamic: bool,
        strict: bool,
    ) -> Result<(), ToolchainError> {
        if let Some(interpreter) = interpreter {
            let interpreter = PathBuf::from(interpreter);
            layout.add(&interpreter)?;
            self.loader = Some(interpreter);
        }
        let Some(loader) = self.loader.clone().filter(|_| dynamic) else {
            return Ok(());
        };
        let answer = ask::ask_any(&loader, &["--list".as_ref(), host.as_os_str()])?;
        for listed in parse_list(&answer.stdout) {
            match listed {
                Listed::Missing(library) if strict => {
                    return Err(ToolchainError::MissingLibrary {
                        program: host.to_owned(),
                        library,
                    });
                }
                Listed::Missing(_) => {}
                Listed::Found(name, path) => self.library(layout, &loader, &name, &path)?,
            }
        }
        Ok(())
    }

    fn library(
        &mut self,
        layout: &mut Layout,
        loader: &Path,
        name: &str,
        path: &Path,
    ) -> Result<(), ToolchainError> {
        if let Ok(resolved) = fs::canonicalize(path)
            && self.elsewhere.iter().any(|root| resolved.starts_with(root))
        {
            return Ok(());
        }
        let place = layout.add(path)?;
        if path == loader || !self.done.insert(place) {
            return Ok(());
        }
        let directory = match path.parent() {
            Some(parent) => layout.add(parent)?,
            None => return Ok(()),
        };
        if self.system_directories.is_none() {
            self.system_directories = Some(system_directories(layout, loader)?);
        }
        let known = self.system_directories.iter().flatten();
        // There is no `ld.so.cache` in the tree. A library that only the cache (or a run path, which still works)
        // leads to also gets a name where the loader looks by itself.
        if known.clone().all(|known| *known != directory)
            && let Some(first) = known.clone().next()
        {
            let up = "../".repeat(first.split('/').count());
            layout.link(
                &join(first, name),
                format!("{up}{}", join(&directory, &file_name(path))),
            );
        }
        Ok(())
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Where the loader looks without a cache: what its `--help` says, or where its own file is.
fn system_directories(layout: &Layout, loader: &Path) -> Result<BTreeSet<String>, ToolchainError> {
    let mut scratch = Layout::new(&layout.host(""));
    let mut found = BTreeSet::new();
    let help = ask::ask_any(loader, &["--help"])?;
    for line in help.stdout.lines() {
        if let Some(directory) = line.trim().strip_suffix(" (system search path)")
            && let Ok(place) = scratch.add(Path::new(directory))
        {
            found.insert(place);
        }
    }
    if found.is_empty() {
        // An old glibc, or musl: the loader's neighbours and the customary directories.
        let place = scratch.add(loader)?;
        if let Some((directory, _)) = place.rsplit_once('/') {
            found.insert(directory.to_owned());
        }
        for directory in ["/lib", "/usr/lib", "/lib64", "/usr/lib64"] {
            if let Ok(place) = scratch.add(Path::new(directory)) {
                found.insert(place);
            }
        }
    }
    Ok(found)
}

/// The first program called `name` in `search`; a name with a slash is a path.
pub(crate) fn find_program(layout: &Layout, name: &str, search: &[PathBuf]) -> Option<PathBuf> {
    let is_program = |path: &Path| {
        let Ok(place) = Layout::new(&layout.host("")).add(path) else {
            return false;
        };
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(layout.host(&place))
            .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    if name.starts_with('/') {
        return Some(PathBuf::from(name)).filter(|path| is_program(path));
    }
    if name.is_empty() || name.contains('/') {
        return None;
    }
    search
        .iter()
        .map(|directory| directory.join(name))
        .find(|path| is_program(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_loader_lists() {
        let text = "\tlinux-vdso.so.1 (0x00007f95b979e000)\n\
                    \tlibz.so.1 => /lib/triple/libz.so.1 (0x00007f95b928b000)\n\
                    \tlibgone.so => not found\n\
                    \t/lib64/ld-linux.so.2 (0x00007f95b97a0000)\n\
                    \tstatically linked\n";
        assert_eq!(
            parse_list(text),
            [
                Listed::Found("libz.so.1".into(), "/lib/triple/libz.so.1".into()),
                Listed::Missing("libgone.so".into()),
                Listed::Found("ld-linux.so.2".into(), "/lib64/ld-linux.so.2".into()),
            ]
        );
    }

    #[test]
    fn files_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        fs::write(&script, "#! /usr/bin/env perl -w\nexit").unwrap();
        let words = ["/usr/bin/env", "perl", "-w"].map(str::to_owned).to_vec();
        assert_eq!(inspect(&script).unwrap(), Program::Script(words));
        let odd = dir.path().join("odd");
        for bytes in [&b""[..], b"\x7fELF", b"\x7fELF\x01\x01\x01", b"text"] {
            fs::write(&odd, bytes).unwrap();
            assert_eq!(inspect(&odd).unwrap(), Program::Data, "{bytes:?}");
        }
    }

    #[test]
    fn this_test_program_needs_a_loader_and_libc() {
        let program = std::env::current_exe().unwrap();
        let mut layout = Layout::new(Path::new("/"));
        let mut closure = Closure::new(Vec::new());
        closure.libraries_of(&mut layout, &program).unwrap();
        if let Some(loader) = closure.loader {
            assert!(layout.exists(&loader));
            assert!(layout.nodes().keys().any(|path| path.contains("libc.")));
        }
    }
}
