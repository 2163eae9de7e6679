//! Small workspaces put together at random, with everything in them that decides a unit graph: features of all forms,
//! optional, renamed, dev-, build- and platform dependencies, procedural macros, build scripts with `links`, targets of
//! all kinds, profiles with overrides, all resolvers, members and path packages that are none.

use std::fmt::Write as _;
use std::path::Path;

/// A generator of numbers: the same seed gives the same workspace.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(
            seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)
                .wrapping_add(0x1234_5678_9ABC_DEF1),
        )
    }

    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).expect("a small number")
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let index = self.below(items.len());
        &items[index]
    }
}

struct Dependency {
    to: usize,
    key: String,
    table: &'static str,
    platform: Option<&'static str>,
    optional: bool,
    default_features: bool,
    features: Vec<String>,
}

struct Package {
    name: String,
    directory: String,
    member: bool,
    proc_macro: bool,
    has_library: bool,
    /// Names that exist before its own `[features]` values are made.
    features: Vec<String>,
    dependencies: Vec<Dependency>,
}

const PLATFORMS: &[&str] = &[
    "cfg(unix)",
    "cfg(windows)",
    "cfg(not(windows))",
    "cfg(target_arch = \"wasm32\")",
    "x86_64-unknown-linux-gnu",
    "cfg(any(target_os = \"macos\", target_env = \"musl\"))",
];

/// Writes a workspace below `directory` and returns its root and the names of its packages, members first.
pub(crate) fn write(directory: &Path, random: &mut Random) -> (std::path::PathBuf, Vec<String>) {
    let count = 4 + random.below(6);
    let root_package = random.chance(60);
    let mut packages: Vec<Package> = (0..count)
        .map(|index| {
            let member = index == 0 || random.chance(60);
            let proc_macro = index > 0 && random.chance(20);
            let name = format!("p{index}{}", random.pick(&["", "-x", "_y"]));
            Package {
                directory: if index == 0 && root_package {
                    "ws".to_owned()
                } else if member {
                    format!("ws/m{index}")
                } else {
                    format!("ext/e{index}")
                },
                name,
                member,
                proc_macro,
                has_library: proc_macro || index > 0 || random.chance(70),
                features: (0..random.below(4)).map(|f| format!("f{f}")).collect(),
                dependencies: Vec::new(),
            }
        })
        .collect();
    for index in 0..count {
        let dependencies = dependencies(index, &packages, random);
        packages[index].dependencies = dependencies;
    }
    let ws = directory.join("ws");
    for index in 0..count {
        let mut manifest = manifest(index, &packages, random);
        if index == 0 && root_package {
            manifest.push_str(&workspace_tables(&packages, random, true));
        }
        save(
            directory,
            &packages[index].directory,
            "Cargo.toml",
            &manifest,
        );
    }
    if !root_package {
        let tables = workspace_tables(&packages, random, false);
        save(directory, "ws", "Cargo.toml", &tables);
    }
    let mut names: Vec<(bool, String)> = packages
        .iter()
        .map(|package| (!package.member, package.name.clone()))
        .collect();
    names.sort();
    (ws, names.into_iter().map(|(_, name)| name).collect())
}

fn save(directory: &Path, package: &str, file: &str, content: &str) {
    let path = directory.join(package).join(file);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    std::fs::write(path, content).expect("a file");
    for source in content
        .lines()
        .filter_map(|line| line.strip_prefix("# file "))
    {
        let path = directory.join(package).join(source);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, "").expect("a file");
    }
}

fn workspace_tables(packages: &[Package], random: &mut Random, in_package: bool) -> String {
    let mut out = String::from("\n[workspace]\n");
    let members: Vec<String> = packages
        .iter()
        .filter(|package| package.member && package.directory != "ws")
        .map(|package| format!("{:?}", package.directory.trim_start_matches("ws/")))
        .collect();
    let _ = writeln!(out, "members = [{}]", members.join(", "));
    if !in_package && members.len() > 1 && random.chance(40) {
        let _ = writeln!(
            out,
            "default-members = [{}]",
            members[..members.len() / 2 + 1].join(", ")
        );
    }
    if random.chance(85) {
        let _ = writeln!(out, "resolver = \"{}\"", random.pick(&["1", "2", "2", "3"]));
    }
    for profile in ["dev", "release", "test", "bench", "custom"] {
        if profile != "custom" && random.chance(55) {
            continue;
        }
        let _ = writeln!(out, "[profile.{profile}]");
        if profile == "custom" {
            let _ = writeln!(
                out,
                "inherits = \"{}\"",
                random.pick(&["dev", "release", "test"])
            );
        }
        settings(&mut out, random, true);
        if random.chance(30) {
            let _ = writeln!(out, "[profile.{profile}.build-override]");
            settings(&mut out, random, false);
        }
        if random.chance(25) {
            let _ = writeln!(out, "[profile.{profile}.package.\"*\"]");
            settings(&mut out, random, false);
        }
        if random.chance(25) {
            let name = &random.pick(packages).name;
            let _ = writeln!(out, "[profile.{profile}.package.{name}]");
            settings(&mut out, random, false);
        }
    }
    out
}

fn settings(out: &mut String, random: &mut Random, whole: bool) {
    let lines: &[&str] = &[
        "debug = true",
        "debug = 1",
        "debug = false",
        "debug = \"line-tables-only\"",
        "opt-level = 1",
        "opt-level = \"s\"",
        "codegen-units = 7",
        "strip = true",
        "strip = \"none\"",
        "strip = \"debuginfo\"",
        "incremental = false",
        "incremental = true",
        "debug-assertions = false",
        "overflow-checks = true",
        "split-debuginfo = \"packed\"",
        "panic = \"abort\"",
        "lto = true",
        "lto = \"thin\"",
        "lto = \"off\"",
        "lto = false",
        "rpath = true",
    ];
    let usable = if whole { lines.len() } else { 15 };
    let mut keys: Vec<&str> = Vec::new();
    for _ in 0..random.below(4) {
        let line = lines[random.below(usable)];
        let key = line.split(' ').next().unwrap_or_default();
        if !keys.contains(&key) {
            keys.push(key);
            let _ = writeln!(out, "{line}");
        }
    }
}

fn dependencies(index: usize, packages: &[Package], random: &mut Random) -> Vec<Dependency> {
    let mut out: Vec<Dependency> = Vec::new();
    for _ in 0..random.below(6) {
        let table = *random.pick(&[
            "dependencies",
            "dependencies",
            "dependencies",
            "build-dependencies",
            "dev-dependencies",
        ]);
        let to = if table == "dev-dependencies" {
            random.below(packages.len())
        } else if index + 1 < packages.len() {
            index + 1 + random.below(packages.len() - index - 1)
        } else {
            continue;
        };
        // `cargo metadata` leaves out dependencies on packages without a library.
        if to == index || !packages[to].has_library {
            continue;
        }
        // One name for one package: two would be refused.
        let known = out.iter().find(|other| other.to == to);
        let key = match known {
            Some(other) => other.key.clone(),
            None if random.chance(15) => format!("renamed-{to}"),
            None => packages[to].name.clone(),
        };
        let platform = random.chance(25).then(|| *random.pick(PLATFORMS));
        let twice = out
            .iter()
            .any(|other| other.key == key && other.table == table && other.platform == platform);
        if twice {
            continue;
        }
        let features = packages[to]
            .features
            .iter()
            .filter(|_| random.chance(35))
            .cloned()
            .collect();
        out.push(Dependency {
            to,
            key,
            table,
            platform,
            optional: table != "dev-dependencies" && random.chance(40),
            default_features: random.chance(70),
            features,
        });
    }
    out
}

fn feature_values(
    own: &Package,
    packages: &[Package],
    skip: &str,
    random: &mut Random,
) -> Vec<String> {
    let mut values = Vec::new();
    for _ in 0..random.below(4) {
        if random.chance(35) || own.dependencies.is_empty() {
            let candidates: Vec<&String> =
                own.features.iter().filter(|name| *name != skip).collect();
            if !candidates.is_empty() {
                values.push((*random.pick(&candidates)).clone());
            }
            continue;
        }
        let dependency = random.pick(&own.dependencies);
        if dependency.table == "dev-dependencies" && random.chance(80) {
            continue;
        }
        let key = &dependency.key;
        let optional = own
            .dependencies
            .iter()
            .any(|other| other.key == *key && other.optional);
        let of = &packages[dependency.to].features;
        match random.below(4) {
            0 | 1 if !of.is_empty() => {
                let weak = if optional && random.chance(60) {
                    "?"
                } else {
                    ""
                };
                values.push(format!("{key}{weak}/{}", random.pick(of)));
            }
            2 if optional => values.push(format!("dep:{key}")),
            _ => {}
        }
    }
    values
}

fn manifest(index: usize, packages: &[Package], random: &mut Random) -> String {
    let own = &packages[index];
    let mut out = String::new();
    let _ = writeln!(
        out,
        "[package]\nname = \"{}\"\nversion = \"0.{index}.0\"",
        own.name
    );
    let _ = writeln!(
        out,
        "edition = \"{}\"",
        random.pick(&["2015", "2018", "2021", "2021", "2024"])
    );
    if random.chance(40) {
        let _ = writeln!(out, "# file build.rs");
        if random.chance(50) {
            let _ = writeln!(out, "links = \"native{index}\"");
        }
    }
    if random.chance(10) {
        let _ = writeln!(out, "autotests = false");
    }
    if own.has_library {
        let _ = writeln!(out, "# file src/lib.rs");
    }
    let bins = if own.has_library {
        random.below(3)
    } else {
        1 + random.below(2)
    };
    let mut tables = String::new();
    if own.has_library && (own.proc_macro || random.chance(40)) {
        tables.push_str("[lib]\n");
        if own.proc_macro {
            tables.push_str("proc-macro = true\n");
        } else if random.chance(50) {
            let types = random.pick(&[
                "\"rlib\"",
                "\"cdylib\", \"rlib\"",
                "\"dylib\"",
                "\"lib\", \"staticlib\"",
                "\"cdylib\"",
            ]);
            let _ = writeln!(tables, "crate-type = [{types}]");
        }
        target_settings(&mut tables, own, random, false);
        if random.chance(20) {
            tables.push_str("doctest = false\n");
        }
        if random.chance(15) {
            let _ = writeln!(tables, "name = \"lib_of_{index}\"");
        }
    }
    for bin in 0..bins {
        if bin == 0 && random.chance(60) {
            let _ = writeln!(out, "# file src/main.rs");
        } else {
            let _ = writeln!(out, "# file src/bin/b{bin}.rs");
            if random.chance(50) {
                let _ = writeln!(tables, "[[bin]]\nname = \"b{bin}\"");
                target_settings(&mut tables, own, random, true);
            }
        }
    }
    for (kind, directory) in [
        ("example", "examples"),
        ("test", "tests"),
        ("bench", "benches"),
    ] {
        for at in 0..random.below(3) {
            let _ = writeln!(out, "# file {directory}/{kind}{at}.rs");
            if random.chance(40) {
                let _ = writeln!(tables, "[[{kind}]]\nname = \"{kind}{at}\"");
                target_settings(&mut tables, own, random, true);
                if kind == "example" && random.chance(30) {
                    let types = random.pick(&["staticlib", "cdylib", "rlib"]);
                    let _ = writeln!(tables, "crate-type = [\"{types}\"]");
                }
                if kind == "example" && random.chance(25) {
                    tables.push_str("doc-scrape-examples = true\n");
                }
                if kind == "test" && random.chance(20) {
                    tables.push_str("harness = false\n");
                }
            }
        }
    }
    for dependency in &own.dependencies {
        let to = &packages[dependency.to];
        let up = match own.directory.as_str() {
            "ws" => "..",
            _ => "../..",
        };
        let prefix = dependency
            .platform
            .map(|platform| format!("target.'{platform}'."))
            .unwrap_or_default();
        let key = &dependency.key;
        let _ = writeln!(tables, "[{prefix}{}.{key}]", dependency.table);
        let _ = writeln!(tables, "path = \"{up}/{}\"", to.directory);
        if *key != to.name {
            let _ = writeln!(tables, "package = \"{}\"", to.name);
        }
        if dependency.optional {
            tables.push_str("optional = true\n");
        }
        if !dependency.default_features {
            tables.push_str("default-features = false\n");
        }
        if !dependency.features.is_empty() {
            let _ = writeln!(tables, "features = {:?}", dependency.features);
        }
    }
    out.push_str(&tables);
    if !own.features.is_empty() {
        out.push_str("[features]\n");
        if random.chance(60) {
            let values = feature_values(own, packages, "", random);
            let _ = writeln!(out, "default = {values:?}");
        }
        for name in &own.features {
            let values = feature_values(own, packages, name, random);
            let _ = writeln!(out, "{name} = {values:?}");
        }
    }
    out
}

fn target_settings(out: &mut String, own: &Package, random: &mut Random, may_require: bool) {
    for key in ["test", "bench", "doc"] {
        if random.chance(15) {
            let _ = writeln!(out, "{key} = {}", random.chance(50));
        }
    }
    if may_require && random.chance(30) {
        let mut required: Vec<String> = Vec::new();
        if !own.features.is_empty() {
            required.push(random.pick(&own.features).clone());
        }
        if let Some(dependency) = own.dependencies.first()
            && !dependency.features.is_empty()
            && random.chance(40)
        {
            required.push(format!("{}/{}", dependency.key, dependency.features[0]));
        }
        let _ = writeln!(out, "required-features = {required:?}");
    }
}

/// Command lines for a workspace with packages of these names.
pub(crate) fn command_line(names: &[String], random: &mut Random) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let command = *random.pick(&["build", "build", "check", "test", "bench", "doc"]);
    out.push(command.to_owned());
    match random.below(6) {
        0 if command != "bench" => out.push("--release".to_owned()),
        1 => out.extend(["--profile".to_owned(), "custom".to_owned()]),
        _ => {}
    }
    match random.below(5) {
        0 => out.push("--workspace".to_owned()),
        1 => out.extend(["-p".to_owned(), random.pick(names).clone()]),
        2 => {
            out.extend(["-p".to_owned(), random.pick(names).clone()]);
            out.extend(["-p".to_owned(), random.pick(names).clone()]);
        }
        3 if random.chance(40) => {
            out.extend(["--workspace", "--exclude"].map(str::to_owned));
            out.push(random.pick(names).clone());
        }
        _ => {}
    }
    if command != "doc" && random.chance(50) {
        out.push(
            (*random.pick(&[
                "--all-targets",
                "--all-targets",
                "--lib",
                "--bins",
                "--examples",
                "--tests",
                "--benches",
            ]))
            .to_owned(),
        );
    } else if command != "doc" && random.chance(20) {
        let (flag, name) = *random.pick(&[
            ("--bin", "b1"),
            ("--test", "test0"),
            ("--example", "example*"),
            ("--bench", "bench1"),
        ]);
        out.extend([flag.to_owned(), name.to_owned()]);
    }
    match random.below(8) {
        0 => out.push("--all-features".to_owned()),
        1 => out.push("--no-default-features".to_owned()),
        2 => out.extend(["--features", "f0"].map(str::to_owned)),
        3 => out.extend(["--features", "f0,f1", "--no-default-features"].map(str::to_owned)),
        4 => {
            let feature = format!("{}/f0", random.pick(names));
            out.extend(["--features".to_owned(), feature]);
        }
        _ => {}
    }
    match random.below(6) {
        0 => out.extend(["--target", "x86_64-unknown-linux-gnu"].map(str::to_owned)),
        1 => out.extend(["--target", "wasm32-unknown-unknown"].map(str::to_owned)),
        2 if random.chance(50) => out.extend(
            [
                "--target",
                "x86_64-pc-windows-msvc",
                "--target",
                "aarch64-apple-darwin",
            ]
            .map(str::to_owned),
        ),
        _ => {}
    }
    if command == "doc" && random.chance(30) {
        out.push("--no-deps".to_owned());
    }
    out
}
