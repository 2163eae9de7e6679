//! What a C compiler needs, by asking it: the programs that it runs, the start files and libraries that it links, the
//! headers that it finds by itself.

use std::fs;
use std::path::{Path, PathBuf};

use super::ask;
use super::elf::{Closure, find_program};
use super::error::ToolchainError;
use super::layout::{Layout, Node};
use super::packages::Packages;

/// The names by which a C compiler goes, in order of preference.
const COMPILERS: [&str; 3] = ["cc", "gcc", "clang"];
/// What stands in front of a compiler to cache or distribute its work; nothing a sandbox could use.
const WRAPPERS: [&str; 4] = ["ccache", "sccache", "distcc", "icecc"];
/// Programs that a compiler runs, and those that stand beside it for build scripts.
const PROGRAMS: [&str; 16] = [
    "cc1",
    "cc1plus",
    "collect2",
    "lto1",
    "lto-wrapper",
    "as",
    "ld",
    "ld.bfd",
    "ld.gold",
    "ld.lld",
    "ar",
    "ranlib",
    "nm",
    "objcopy",
    "objdump",
    "strip",
];
/// Other names of the compilers, and the forms of the archiver that load its plugin.
const BESIDE: [&str; 6] = ["cc", "gcc", "cpp", "gcc-ar", "gcc-nm", "gcc-ranlib"];
/// Start files, specs and the link plugin.
const FILES: [&str; 21] = [
    "crt1.o",
    "Scrt1.o",
    "rcrt1.o",
    "gcrt1.o",
    "grcrt1.o",
    "Mcrt1.o",
    "crti.o",
    "crtn.o",
    "crtbegin.o",
    "crtbeginS.o",
    "crtbeginT.o",
    "crtend.o",
    "crtendS.o",
    "crtfastmath.o",
    "crtprec32.o",
    "crtprec64.o",
    "crtprec80.o",
    "liblto_plugin.so",
    "specs",
    "libgomp.spec",
    "libgcc_s.so.1",
];
/// The libraries of C, of the compiler and of C++.
const LIBRARIES: [&str; 20] = [
    "c",
    "m",
    "pthread",
    "dl",
    "rt",
    "util",
    "resolv",
    "anl",
    "crypt",
    "mvec",
    "gcc",
    "gcc_eh",
    "gcc_s",
    "gcov",
    "atomic",
    "gomp",
    "ssp_nonshared",
    "stdc++",
    "stdc++fs",
    "supc++",
];
/// Linker scripts are short; what is longer is none.
const LONGEST_SCRIPT: u64 = 64 << 10;

/// A compiler and how to ask it.
pub(crate) struct Compiler {
    /// Its path on the host, as found.
    pub(crate) path: PathBuf,
}

/// Finds the compiler `name`, or the first customary one, in `search`.
pub(crate) fn find(
    layout: &mut Layout,
    name: Option<&str>,
    search: &[PathBuf],
) -> Result<Compiler, ToolchainError> {
    let names: Vec<&str> = match name {
        Some(name) => vec![name],
        None => COMPILERS.to_vec(),
    };
    for name in &names {
        for candidate in candidates(name, search) {
            let found = find_program(layout, &candidate.to_string_lossy(), &[]);
            if found.is_some() && !is_wrapper(&candidate) {
                return Ok(Compiler { path: candidate });
            }
            // One that is installed here later would be preferred.
            layout.watch(candidate);
        }
    }
    Err(ToolchainError::NoCompiler {
        names: names.into_iter().map(str::to_owned).collect(),
        searched: search.to_vec(),
    })
}

fn candidates(name: &str, search: &[PathBuf]) -> Vec<PathBuf> {
    if name.starts_with('/') {
        vec![PathBuf::from(name)]
    } else if name.is_empty() || name.contains('/') {
        Vec::new()
    } else {
        search
            .iter()
            .map(|directory| directory.join(name))
            .collect()
    }
}

fn is_wrapper(path: &Path) -> bool {
    let resolved = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    resolved
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| WRAPPERS.contains(&name))
}

/// The name of the C++ compiler that belongs to a C compiler of this name.
fn cxx_name(name: &str) -> Option<String> {
    [("clang", "clang++"), ("gcc", "g++"), ("cc", "c++")]
        .iter()
        .find_map(|(c, cxx)| {
            let at = name.rfind(c)?;
            Some(format!("{}{cxx}{}", &name[..at], &name[at + c.len()..]))
        })
}

/// Whether a program of this name is a C compiler: `cc`, `gcc`, `clang`, with a triple before it or a version behind.
pub(crate) fn is_compiler_name(name: &str) -> bool {
    let version = |part: &str| {
        part.bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    let name = match name.rsplit_once('-') {
        Some((before, last)) if version(last) => before,
        _ => name,
    };
    COMPILERS.contains(&name.rsplit('-').next().unwrap_or(name))
}

impl Compiler {
    /// Asks for one line, such as `-print-prog-name=ld`; `None` if it does not understand.
    fn line(&self, question: &str) -> Result<Option<String>, ToolchainError> {
        let answer = ask::ask_any(&self.path, &[question])?;
        let line = answer.line().lines().next().unwrap_or_default().to_owned();
        Ok((answer.success && !line.is_empty()).then_some(line))
    }

    /// The first line of `--version`.
    pub(crate) fn version(&self) -> Result<String, ToolchainError> {
        let answer = ask::ask(&self.path, &["--version"])?;
        let line = answer.stdout.lines().next().unwrap_or_default();
        Ok(line.to_owned())
    }

    /// The triple that it compiles for.
    pub(crate) fn machine(&self) -> Result<String, ToolchainError> {
        Ok(self.line("-dumpmachine")?.unwrap_or_default())
    }

    /// Where it has the file `name`, if it has one.
    pub(crate) fn file(&self, name: &str) -> Result<Option<PathBuf>, ToolchainError> {
        let line = self.line(&format!("-print-file-name={name}"))?;
        // A file that is not found is printed as it was asked for.
        Ok(line
            .map(PathBuf::from)
            .filter(|path| path.is_absolute() && path.exists()))
    }

    /// The directories in which `language` finds headers, in order.
    fn include_directories(&self, language: &str) -> Result<Vec<PathBuf>, ToolchainError> {
        let answer = ask::ask_any(&self.path, &["-E", "-v", "-x", language, "/dev/null"])?;
        Ok(parse_include_directories(&answer.stderr))
    }
}

fn parse_include_directories(text: &str) -> Vec<PathBuf> {
    text.lines()
        .skip_while(|line| !line.starts_with("#include <...>"))
        .skip(1)
        .take_while(|line| !line.starts_with("End of search list"))
        .map(|line| PathBuf::from(line.trim()))
        .filter(|path| path.is_absolute())
        .collect()
}

/// What was selected of a compiler.
pub(crate) struct Selected {
    /// The C++ compiler's path.
    pub(crate) cxx: Option<PathBuf>,
    /// The archiver's path.
    pub(crate) ar: Option<PathBuf>,
}

/// Selects all that `compiler` needs to compile and link C and C++ for its machine.
pub(crate) fn select(
    compiler: &Compiler,
    layout: &mut Layout,
    closure: &mut Closure,
    search: &[PathBuf],
) -> Result<Selected, ToolchainError> {
    closure.program(layout, &compiler.path, search)?;
    let name = compiler
        .path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut beside: Vec<PathBuf> = Vec::new();
    let parent = compiler.path.parent().map(Path::to_owned);
    let near: Vec<PathBuf> = parent.iter().chain(search).cloned().collect();
    let cxx = cxx_name(&name).and_then(|name| locate(layout, &name, &near));
    beside.extend(cxx.clone());
    if COMPILERS.contains(&name.as_str()) {
        for name in BESIDE.iter().chain(["c++", "g++"].iter()) {
            beside.extend(locate(layout, name, search).filter(|path| !is_wrapper(path)));
        }
    }
    for path in beside {
        closure.program(layout, &path, search)?;
    }

    let mut ar = None;
    for program in PROGRAMS {
        let answer = compiler.line(&format!("-print-prog-name={program}"))?;
        let path = match answer.map(PathBuf::from) {
            Some(path) if path.is_absolute() => path.exists().then_some(path),
            _ => locate(layout, program, search),
        };
        match path {
            Some(path) => {
                closure.program(layout, &path, search)?;
                if program == "ar" {
                    ar = Some(path);
                }
            }
            None if program == "ld" => {
                return Err(ToolchainError::IncompleteCompiler {
                    compiler: compiler.path.clone(),
                    part: program.to_owned(),
                });
            }
            None => {}
        }
    }
    link_files(compiler, layout, closure)?;
    headers(compiler, layout, cxx.is_some())?;
    Ok(Selected { cxx, ar })
}

/// Finds a program, and lets the selection depend on every place where it is looked for before.
fn locate(layout: &mut Layout, name: &str, search: &[PathBuf]) -> Option<PathBuf> {
    for candidate in candidates(name, search) {
        if find_program(layout, &candidate.to_string_lossy(), &[]).is_some() {
            return Some(candidate);
        }
        layout.watch(candidate);
    }
    None
}

fn link_files(
    compiler: &Compiler,
    layout: &mut Layout,
    closure: &mut Closure,
) -> Result<(), ToolchainError> {
    for name in FILES {
        if let Some(path) = compiler.file(name)? {
            let place = layout.add(&path)?;
            closure.needs(layout, &place, &[], false)?;
        } else if name == "crt1.o" || name == "crti.o" {
            return Err(ToolchainError::IncompleteCompiler {
                compiler: compiler.path.clone(),
                part: name.to_owned(),
            });
        }
    }
    for name in LIBRARIES {
        library(compiler, layout, closure, name)?;
    }
    // `ar` and `nm` read objects of link-time optimisation through the compiler's plugin, which they find here.
    let plugin = Path::new("/usr/lib/bfd-plugins/liblto_plugin.so");
    if layout.exists(plugin) {
        layout.add(plugin)?;
    }
    Ok(())
}

/// Selects the library `name` in its shared and its static form, and what either refers to. Says whether there is
/// one.
pub(crate) fn library(
    compiler: &Compiler,
    layout: &mut Layout,
    closure: &mut Closure,
    name: &str,
) -> Result<bool, ToolchainError> {
    let mut found = false;
    for suffix in ["so", "a"] {
        if let Some(path) = compiler.file(&format!("lib{name}.{suffix}"))? {
            found = true;
            link_input(compiler, layout, closure, &path, 8)?;
        }
    }
    Ok(found)
}

/// Selects a file that is linked: an archive, a shared library with what it needs, or a linker script with what it
/// names.
pub(crate) fn link_input(
    compiler: &Compiler,
    layout: &mut Layout,
    closure: &mut Closure,
    path: &Path,
    levels: usize,
) -> Result<(), ToolchainError> {
    let place = layout.add(path)?;
    closure.needs(layout, &place, &[], false)?;
    let Some(names) = script_inputs(&layout.host(&place)) else {
        return Ok(());
    };
    let Some(levels) = levels.checked_sub(1) else {
        return Ok(());
    };
    for name in names {
        let path = if let Some(library) = name.strip_prefix("-l") {
            match compiler.file(&format!("lib{library}.so"))? {
                Some(path) => Some(path),
                None => compiler.file(&format!("lib{library}.a"))?,
            }
        } else if name.starts_with('/') {
            Some(PathBuf::from(name)).filter(|path| path.exists())
        } else {
            let sibling = path.with_file_name(&name);
            if sibling.exists() {
                Some(sibling)
            } else {
                compiler.file(&name)?
            }
        };
        if let Some(path) = path {
            link_input(compiler, layout, closure, &path, levels)?;
        }
    }
    Ok(())
}

/// What the linker script at `path` takes in; `None` if it is no linker script.
fn script_inputs(path: &Path) -> Option<Vec<String>> {
    if fs::metadata(path).ok()?.len() > LONGEST_SCRIPT {
        return None;
    }
    let bytes = fs::read(path).ok()?;
    if bytes.starts_with(b"\x7fELF")
        || bytes.starts_with(b"!<arch>")
        || bytes.starts_with(b"!<thin>")
    {
        return None;
    }
    Some(parse_script(std::str::from_utf8(&bytes).ok()?))
}

/// The files in `INPUT(…)` and `GROUP(…)` of a linker script.
fn parse_script(text: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/*") {
        plain.push_str(before);
        plain.push(' ');
        rest = after.split_once("*/").map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    let spaced = plain
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace(',', " ");
    let (mut found, mut depth, mut taking) = (Vec::new(), 0_usize, false);
    for token in spaced.split_whitespace() {
        match token {
            "(" => depth += 1,
            ")" => {
                depth = depth.saturating_sub(1);
                taking &= depth > 0;
            }
            "INPUT" | "GROUP" if depth == 0 => taking = true,
            "AS_NEEDED" => {}
            name if taking && depth > 0 => found.push(name.trim_matches('"').to_owned()),
            _ => {}
        }
    }
    found
}

fn headers(compiler: &Compiler, layout: &mut Layout, cxx: bool) -> Result<(), ToolchainError> {
    let mut directories = compiler.include_directories("c")?;
    if cxx {
        directories.extend(compiler.include_directories("c++")?);
    }
    let mut wanted: Vec<(PathBuf, String)> = Vec::new();
    for directory in directories {
        if let Ok(place) = layout.add(&directory)
            && wanted.iter().all(|(_, known)| *known != place)
        {
            wanted.push((directory, place));
        }
    }
    let packages = Packages::detect(&layout.host(""));
    let mut owned = Vec::new();
    if let Some(packages) = &packages {
        layout.watch(packages.watched());
        owned = packages.toolchain_files();
    }
    for (directory, place) in &wanted {
        let shared = ["usr/include", "usr/local/include"]
            .iter()
            .any(|shared| place.starts_with(shared));
        let mut any = false;
        for file in &owned {
            let path = Path::new(file);
            if path.starts_with(directory) || path.starts_with(Path::new("/").join(place)) {
                match layout.host(file.trim_start_matches('/')).symlink_metadata() {
                    Ok(data) if !data.is_dir() => {
                        any = true;
                        // A header that is a link to nowhere is nobody's header.
                        if !data.is_symlink() || layout.exists(path) {
                            let end = layout.add(path)?;
                            if layout.nodes().get(&end) == Some(&Node::Directory) {
                                layout.add_whole(path, &|_| true)?;
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
        // Who keeps no record of packages, or has this directory outside of them, gets all of it.
        if !any && (owned.is_empty() || !shared) {
            layout.add_whole(directory, &|_| true)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_linker_script_takes_in() {
        for (text, expected) in [
            (
                "/* GNU ld script */\nOUTPUT_FORMAT(elf64-x86-64)\n\
                 GROUP ( /lib/libc.so.6 /usr/lib/libc_nonshared.a  AS_NEEDED ( /lib64/ld.so.2 ) )",
                vec![
                    "/lib/libc.so.6",
                    "/usr/lib/libc_nonshared.a",
                    "/lib64/ld.so.2",
                ],
            ),
            ("INPUT(-lgcc libfoo.a)", vec!["-lgcc", "libfoo.a"]),
            ("INPUT(a,b) /* INPUT(c) */ GROUP(d)", vec!["a", "b", "d"]),
            ("SECTIONS { .text : { *(.text) } }", vec![]),
            ("GROUP(", vec![]),
        ] {
            assert_eq!(parse_script(text), expected, "{text}");
        }
    }

    #[test]
    fn where_headers_are_looked_for() {
        let text = "#include \"...\" search starts here:\n#include <...> search starts here:\n \
                    /usr/lib/gcc/include\n /usr/include\nEnd of search list.\n /no";
        assert_eq!(
            parse_include_directories(text),
            [Path::new("/usr/lib/gcc/include"), Path::new("/usr/include")]
        );
    }

    #[test]
    fn the_cxx_compiler_goes_by_a_name_like_the_c_compilers() {
        for (c, cxx) in [
            ("cc", "c++"),
            ("gcc", "g++"),
            ("gcc-12", "g++-12"),
            ("clang", "clang++"),
            ("clang-14", "clang++-14"),
            ("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-g++"),
            ("aarch64-linux-gnu-gcc-12", "aarch64-linux-gnu-g++-12"),
        ] {
            assert_eq!(cxx_name(c).as_deref(), Some(cxx), "{c}");
            assert!(is_compiler_name(c), "{c}");
        }
        for other in ["ccache", "gcc-ar", "cmake", "g++", "cc1", "sh"] {
            assert!(!is_compiler_name(other), "{other}");
        }
    }
}
