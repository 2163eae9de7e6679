//! What the system's package manager knows about files: which belong to a package, and to which package one belongs.
//!
//! It narrows what is taken of directories that everybody shares: `/usr/include` holds the headers of whatever is
//! installed, and only libc's, the kernel's and the compiler's are part of the C toolchain. Formats: dpkg's
//! `info/*.list`, apk's `installed`, pacman's `local/*/files`; rpm's databases are read by asking `rpm`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::ask;

/// A package manager's database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Packages {
    /// dpkg: a directory of `NAME[:ARCH].list` files.
    Dpkg(PathBuf),
    /// apk: one file.
    Apk(PathBuf),
    /// pacman: a directory of `NAME-VERSION-RELEASE/files`.
    Pacman(PathBuf),
    /// rpm: the program and the database's directory.
    Rpm(PathBuf, PathBuf),
}

/// Names of packages with the headers and start files of the C and C++ toolchain, by their database.
fn is_toolchain_package(database: &Packages, name: &str) -> bool {
    match database {
        Packages::Dpkg(_) => {
            let name = name
                .strip_suffix("-cross")
                .and_then(|name| name.rsplit_once("-dev-"))
                .map_or(name.to_owned(), |(package, _)| format!("{package}-dev"));
            let exact = [
                "libc6-dev",
                "libc6.1-dev",
                "libc-dev",
                "musl-dev",
                "linux-libc-dev",
                "libcrypt-dev",
            ];
            let versioned = [
                "libstdc++-",
                "libgcc-",
                "libc++-",
                "libc++abi-",
                "libclang-common-",
            ];
            exact.contains(&name.as_str())
                || (name.ends_with("-dev")
                    && versioned.iter().any(|prefix| {
                        name.strip_prefix(prefix)
                            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
                    }))
        }
        Packages::Apk(_) => [
            "musl-dev",
            "linux-headers",
            "libstdc++-dev",
            "gcc",
            "g++",
            "fortify-headers",
            "libc-dev",
        ]
        .contains(&name),
        Packages::Pacman(_) => ["glibc", "linux-api-headers", "gcc", "libxcrypt"].contains(&name),
        Packages::Rpm(..) => [
            "glibc-devel",
            "glibc-headers",
            "glibc-headers-x86",
            "kernel-headers",
            "linux-glibc-devel",
            "libxcrypt-devel",
            "libstdc++-devel",
            "gcc",
            "gcc-c++",
        ]
        .contains(&name),
    }
}

impl Packages {
    /// The database of this machine, if it is of a known kind.
    pub(crate) fn detect(root: &Path) -> Option<Self> {
        let dpkg = root.join("var/lib/dpkg/info");
        if dpkg.is_dir() {
            return Some(Self::Dpkg(dpkg));
        }
        let apk = root.join("lib/apk/db/installed");
        if apk.is_file() {
            return Some(Self::Apk(apk));
        }
        let pacman = root.join("var/lib/pacman/local");
        if pacman.is_dir() {
            return Some(Self::Pacman(pacman));
        }
        let program = root.join("usr/bin/rpm");
        let database = ["usr/lib/sysimage/rpm", "var/lib/rpm"]
            .map(|path| root.join(path))
            .into_iter()
            .find(|path| path.is_dir())?;
        program.is_file().then_some(Self::Rpm(program, database))
    }

    /// What changes whenever a package is installed or removed.
    pub(crate) fn watched(&self) -> PathBuf {
        match self {
            Self::Dpkg(path) | Self::Apk(path) | Self::Pacman(path) => path.clone(),
            Self::Rpm(_, directory) => ["rpmdb.sqlite", "Packages.db", "Packages"]
                .map(|name| directory.join(name))
                .into_iter()
                .find(|path| path.is_file())
                .unwrap_or_else(|| directory.clone()),
        }
    }

    /// The files of the C and C++ toolchain's packages, as absolute paths; directories may be among them.
    pub(crate) fn toolchain_files(&self) -> Vec<String> {
        self.files(&|name, _| is_toolchain_package(self, name))
    }

    /// The files of the package that holds `path`.
    fn files_beside(&self, path: &Path) -> Vec<String> {
        let Some(path) = path.to_str() else {
            return Vec::new();
        };
        if let Self::Rpm(program, _) = self {
            return match ask::ask(program, &["-qlf", path]) {
                Ok(answer) => lines(&answer.stdout).collect(),
                Err(_) => Vec::new(),
            };
        }
        self.files(&|_, files| files.iter().any(|file| file == path))
    }

    /// The files of each package that `wanted` accepts by its name and files.
    fn files(&self, wanted: &dyn Fn(&str, &[String]) -> bool) -> Vec<String> {
        let mut all = Vec::new();
        let mut take = |name: &str, files: Vec<String>| {
            if wanted(name, &files) {
                all.extend(files);
            }
        };
        match self {
            Self::Dpkg(directory) => {
                for (name, path) in dpkg_lists(directory) {
                    let text = fs::read_to_string(path).unwrap_or_default();
                    take(&name, lines(&text).collect());
                }
            }
            Self::Apk(file) => {
                let text = fs::read_to_string(file).unwrap_or_default();
                for package in text.split("\n\n") {
                    let (name, files) = apk_package(package);
                    take(name, files);
                }
            }
            Self::Pacman(directory) => {
                for (name, path) in entries(directory) {
                    let mut parts = name.rsplitn(3, '-');
                    let name = parts.nth(2).unwrap_or(&name);
                    let text = fs::read_to_string(path.join("files")).unwrap_or_default();
                    let files = text
                        .lines()
                        .take_while(|line| !line.starts_with("%BACKUP%"))
                        .filter(|line| !line.is_empty() && !line.starts_with('%'))
                        .map(|line| format!("/{}", line.trim_end_matches('/')));
                    take(name, files.collect());
                }
            }
            Self::Rpm(program, _) => {
                let Ok(names) = ask::ask(program, &["-qa", "--qf", "%{NAME}\\n"]) else {
                    return all;
                };
                for name in lines(&names.stdout).filter(|name| is_toolchain_package(self, name)) {
                    if let Ok(answer) = ask::ask(program, &["-ql", name.as_str()]) {
                        take(&name, lines(&answer.stdout).collect());
                    }
                }
            }
        }
        all.sort();
        all.dedup();
        all
    }
}

/// What is known of the packages that libraries' descriptions (`.pc` files) come in, read once.
pub(crate) struct DevelopmentPackages {
    packages: Packages,
    /// dpkg's lists of files, by package.
    lists: BTreeMap<String, PathBuf>,
    /// dpkg's packages by the descriptions in them.
    owners: BTreeMap<String, Vec<String>>,
    dependencies: BTreeMap<String, Vec<String>>,
    /// dpkg's packages whose files have been given.
    given: BTreeSet<String>,
}

impl DevelopmentPackages {
    /// Reads what `packages` says of all of them.
    pub(crate) fn of(packages: Packages) -> Self {
        let mut lists = BTreeMap::new();
        let mut dependencies = BTreeMap::new();
        if let Packages::Dpkg(directory) = &packages {
            lists = dpkg_lists(directory);
            dependencies = dpkg_dependencies(directory);
        }
        let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, list) in &lists {
            let text = fs::read_to_string(list).unwrap_or_default();
            for description in text.lines().filter(|line| line.ends_with(".pc")) {
                let owners = owners.entry(description.to_owned()).or_default();
                owners.push(name.clone());
            }
        }
        Self {
            packages,
            lists,
            owners,
            dependencies,
            given: BTreeSet::new(),
        }
    }

    /// The files of the package with the description at `path`, and of those that it depends on: its headers may include
    /// theirs without a word in a `.pc` file. Only dpkg's dependencies are followed, and of its packages each is given
    /// once. `None` if no package has the description.
    pub(crate) fn files_with(&mut self, path: &Path) -> Option<Vec<String>> {
        if !matches!(self.packages, Packages::Dpkg(_)) {
            return Some(self.packages.files_beside(path)).filter(|files| !files.is_empty());
        }
        let mut queue = self.owners.get(path.to_str()?)?.clone();
        let mut files = Vec::new();
        while let Some(name) = queue.pop() {
            if is_toolchain_package(&self.packages, &name) || !self.given.insert(name.clone()) {
                continue;
            }
            let text = self.lists.get(&name).map(fs::read_to_string);
            files.extend(lines(&text.and_then(Result::ok).unwrap_or_default()));
            let dependencies = self.dependencies.get(&name).into_iter().flatten();
            queue.extend(dependencies.filter(|name| name.ends_with("-dev")).cloned());
        }
        files.sort();
        Some(files)
    }
}

fn lines(text: &str) -> impl Iterator<Item = String> + '_ {
    text.lines()
        .filter(|line| line.starts_with('/') && *line != "/.")
        .map(str::to_owned)
}

fn entries(directory: &Path) -> Vec<(String, PathBuf)> {
    let mut found: Vec<(String, PathBuf)> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .collect();
    found.sort();
    found
}

/// dpkg's lists of files, by package.
fn dpkg_lists(directory: &Path) -> BTreeMap<String, PathBuf> {
    entries(directory)
        .into_iter()
        .filter_map(|(name, path)| {
            let name = name.strip_suffix(".list")?;
            let name = name.split(':').next().unwrap_or(name);
            Some((name.to_owned(), path))
        })
        .collect()
}

/// What each of dpkg's packages depends on. Of alternatives, all: those that are not installed have no files.
fn dpkg_dependencies(directory: &Path) -> BTreeMap<String, Vec<String>> {
    let status = directory.with_file_name("status");
    let text = fs::read_to_string(status).unwrap_or_default();
    text.split("\n\n")
        .filter_map(|package| {
            let field = |name: &str| {
                package
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            };
            let names = field("Depends")?
                .split([',', '|'])
                .filter_map(|one| one.split_whitespace().next())
                .map(|one| one.split(':').next().unwrap_or(one).to_owned())
                .collect();
            Some((field("Package")?.to_owned(), names))
        })
        .collect()
}

/// One paragraph of apk's database: `P:` name, `F:` directory, `R:` file in it.
fn apk_package(text: &str) -> (&str, Vec<String>) {
    let mut name = "";
    let mut directory = "";
    let mut files = Vec::new();
    for line in text.lines() {
        match line.split_once(':') {
            Some(("P", value)) => name = value,
            Some(("F", value)) => directory = value,
            Some(("R", value)) => files.push(format!("/{directory}/{value}")),
            _ => {}
        }
    }
    (name, files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), text).unwrap();
    }

    #[test]
    fn databases_name_the_toolchains_files_and_neighbours() {
        let dpkg = tempfile::tempdir().unwrap();
        write(
            dpkg.path(),
            "var/lib/dpkg/info/libc6-dev:amd64.list",
            "/.\n/usr\n/usr/include/stdio.h\n",
        );
        write(
            dpkg.path(),
            "var/lib/dpkg/info/libssl-dev:amd64.list",
            "/usr/include/openssl/ssl.h\n/usr/lib/pc/openssl.pc\n",
        );
        let apk = tempfile::tempdir().unwrap();
        write(
            apk.path(),
            "lib/apk/db/installed",
            "P:musl-dev\nV:1\nF:usr/include\nR:stdio.h\nZ:Q1\n\nP:openssl-dev\nF:usr/include/openssl\nR:ssl.h\nF:usr/lib/pc\nR:openssl.pc\n",
        );
        let pacman = tempfile::tempdir().unwrap();
        write(
            pacman.path(),
            "var/lib/pacman/local/glibc-2.40-1/files",
            "%FILES%\nusr/\nusr/include/stdio.h\n\n%BACKUP%\netc/x\t0\n",
        );
        write(
            pacman.path(),
            "var/lib/pacman/local/openssl-3-1/files",
            "%FILES%\nusr/include/openssl/ssl.h\nusr/lib/pc/openssl.pc\n",
        );
        for root in [dpkg, apk, pacman] {
            let packages = Packages::detect(root.path()).unwrap();
            let files = packages.toolchain_files();
            assert!(
                files.iter().any(|file| file == "/usr/include/stdio.h"),
                "{packages:?}"
            );
            assert!(
                !files.iter().any(|file| file.contains("openssl")),
                "{packages:?}"
            );
            let mut development = DevelopmentPackages::of(packages);
            let mut of = |path: &str| development.files_with(Path::new(path));
            assert_eq!(
                of("/usr/lib/pc/openssl.pc").unwrap(),
                ["/usr/include/openssl/ssl.h", "/usr/lib/pc/openssl.pc"]
            );
            assert_eq!(of("/usr/lib/pc/of-nobody.pc"), None);
        }
    }

    #[test]
    fn development_packages_bring_those_that_they_depend_on() {
        let root = tempfile::tempdir().unwrap();
        for (name, path) in [
            ("libxml2-dev", "/usr/lib/libxml.pc"),
            ("libicu-dev", "/usr/include/unicode.h"),
            ("libicu72", "/usr/lib/libicu.so.72"),
            ("libc6-dev", "/usr/include/stdio.h"),
        ] {
            write(
                root.path(),
                &format!("var/lib/dpkg/info/{name}:amd64.list"),
                &format!("/.\n{path}\n"),
            );
        }
        write(
            root.path(),
            "var/lib/dpkg/status",
            "Package: libxml2-dev\nDepends: libc6-dev | libc-dev, libicu-dev (>= 72), gone-dev\n\n\
             Package: libicu-dev\nDepends: libicu72 (= 72), libxml2-dev:any\n\n",
        );
        let mut development = DevelopmentPackages::of(Packages::detect(root.path()).unwrap());
        let description = Path::new("/usr/lib/libxml.pc");
        let files = development.files_with(description).unwrap();
        assert_eq!(files, ["/usr/include/unicode.h", "/usr/lib/libxml.pc"]);
        // The second time nothing is new, but it is known whose the file is.
        let again = development.files_with(description);
        assert_eq!(again, Some(Vec::new()));
    }

    #[test]
    fn debian_package_names() {
        let dpkg = Packages::Dpkg(PathBuf::new());
        for (name, expected) in [
            ("libc6-dev", true),
            ("libstdc++-12-dev", true),
            ("libgcc-12-dev", true),
            ("libc6-dev-arm64-cross", true),
            ("libstdc++-12-dev-arm64-cross", true),
            ("libgcc-s1", false),
            ("libgcrypt20-dev", false),
            ("libc6-dev-i386", false),
            ("libssl-dev", false),
            ("libgcc-jit-dev", false),
        ] {
            assert_eq!(is_toolchain_package(&dpkg, name), expected, "{name}");
        }
    }
}
