//! The targets of a package: what its manifest declares, and what cargo's conventions find beside it.
//!
//! `src/lib.rs` is the library; `src/main.rs`, `src/bin/*.rs` and `src/bin/*/main.rs` are binaries; `examples`,
//! `tests` and `benches` hold the others in the same two shapes; `build.rs` is the build script. A declared target
//! may leave out its path, and `autobins` and its like turn the search off. Edition 2015 has rules of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cargo_util_schemas::manifest::{TomlManifest, TomlPackage, TomlPackageBuild, TomlTarget};

use super::error::{Checked, Fault, closest};
use super::model::{CrateType, Edition, Target, TargetKind};
use super::paths::normalize;

/// The kinds of target that come as lists of tables.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Bin,
    Example,
    Test,
    Bench,
}

impl Section {
    /// The key of its tables.
    fn key(self) -> &'static str {
        match self {
            Self::Bin => "bin",
            Self::Example => "example",
            Self::Test => "test",
            Self::Bench => "bench",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Bin => "binary",
            Self::Example => "example",
            Self::Test => "test",
            Self::Bench => "benchmark",
        }
    }

    /// The key that turns the search for more of them off.
    fn switch(self) -> &'static str {
        match self {
            Self::Bin => "autobins",
            Self::Example => "autoexamples",
            Self::Test => "autotests",
            Self::Bench => "autobenches",
        }
    }

    /// Where they are looked for.
    fn directory(self) -> &'static str {
        match self {
            Self::Bin => "src/bin",
            Self::Example => "examples",
            Self::Test => "tests",
            Self::Bench => "benches",
        }
    }
}

/// A target as declared or found: every one has a name and a path by now.
struct Found<'a> {
    name: &'a str,
    path: PathBuf,
    toml: std::borrow::Cow<'a, TomlTarget>,
}

/// What the search needs to know, and what it has to say.
pub(super) struct Search<'a> {
    /// The package's directory.
    pub(super) root: &'a Path,
    /// The package's name.
    pub(super) package: &'a str,
    /// Its edition.
    pub(super) edition: Edition,
    /// Remarks for the user.
    pub(super) warnings: &'a mut Vec<String>,
    /// What is wrong with targets. Cargo lets a dependency pass with these, without the target; not a member.
    pub(super) errors: &'a mut Vec<String>,
}

impl Search<'_> {
    /// All targets of the package, in cargo's order.
    pub(super) fn targets(
        &mut self,
        manifest: &TomlManifest,
        package: &TomlPackage,
    ) -> Checked<Vec<Arc<Target>>> {
        let mut targets = Vec::new();
        let library = self.library(manifest.lib.as_ref(), package.autolib)?;
        let has_library = library.is_some();
        targets.extend(library);
        let lists = [
            (Section::Bin, &manifest.bin, package.autobins),
            (Section::Example, &manifest.example, package.autoexamples),
            (Section::Test, &manifest.test, package.autotests),
            (Section::Bench, &manifest.bench, package.autobenches),
        ];
        for (section, declared, auto) in lists {
            targets.extend(self.section(section, declared.as_deref(), auto, has_library)?);
        }
        targets.extend(self.build_script(package.build.as_ref())?);
        Ok(targets.into_iter().map(Arc::new).collect())
    }

    fn exists(&self, relative: &str) -> bool {
        self.root.join(relative).exists()
    }

    fn library(
        &mut self,
        declared: Option<&TomlTarget>,
        auto: Option<bool>,
    ) -> Checked<Option<Target>> {
        let is_complete = auto == Some(false)
            && declared.is_none_or(|lib| lib.name.is_some() && lib.path.is_some());
        let found = !is_complete && self.exists("src/lib.rs");
        let default = TomlTarget::new();
        let toml = match declared {
            Some(toml) => toml,
            None if found => &default,
            None => return Ok(None),
        };
        let default_name = self.package.replace('-', "_");
        let name = toml.name.as_deref().unwrap_or(&default_name);
        self.check_name(name, "library", "lib")?;
        if !names_a_file(name) {
            return Err(Fault::new(format!(
                "the name `{name}` of the library cannot be the name of a file"
            ))
            .at(["lib", "name"]));
        }
        if name.contains('-') {
            return Err(Fault::new(format!(
                "the name `{name}` of the library has a hyphen in it"
            ))
            .help(format!("name it `{}`", name.replace('-', "_")))
            .at(["lib", "name"]));
        }
        self.check_spellings(toml, name, "library")?;
        let path = match &toml.path {
            Some(path) => path.0.clone(),
            None if found => PathBuf::from("src/lib.rs"),
            None => {
                let legacy = format!("src/{name}.rs");
                if self.edition != Edition::E2015 || !self.exists(&legacy) {
                    return Err(Fault::new(format!(
                        "the source of the library `{name}` is missing"
                    ))
                    .help("put it at `src/lib.rs`, or set `lib.path`")
                    .at(["lib"]));
                }
                self.warnings.push(format!(
                    "`{legacy}` is taken for the library `{name}`, which only edition 2015 does: name the file \
                     `src/lib.rs`, or set `lib.path`"
                ));
                PathBuf::from(legacy)
            }
        };
        let crate_types = match (toml.crate_types(), toml.proc_macro()) {
            (Some(types), _) => {
                let has = |wanted: &str| types.iter().any(|name| name == wanted);
                if has("dylib") && has("cdylib") {
                    return Err(Fault::new(format!(
                        "the library `{name}` cannot have the crate types `dylib` and `cdylib` at once"
                    ))
                    .at(["lib", "crate-type"]));
                }
                if has("proc-macro") {
                    self.warnings.push(format!(
                        "the library `{name}` should say `proc-macro = true` rather than set `crate-type`"
                    ));
                    if types.len() > 1 {
                        return Err(Fault::new(
                            "the crate type `proc-macro` cannot be mixed with others",
                        )
                        .at(["lib", "crate-type"]));
                    }
                }
                types
                    .iter()
                    .map(|name| CrateType::from(name.as_str()))
                    .collect()
            }
            (None, Some(true)) => vec![CrateType::ProcMacro],
            (None, _) => vec![CrateType::Lib],
        };
        let kind = TargetKind::Lib(crate_types);
        Ok(Some(self.target(toml, name, &path, kind, "library")?))
    }

    /// The targets of one section.
    fn section(
        &mut self,
        section: Section,
        declared: Option<&[TomlTarget]>,
        auto: Option<bool>,
        has_library: bool,
    ) -> Checked<Vec<Target>> {
        let is_complete = auto == Some(false)
            && declared
                .unwrap_or_default()
                .iter()
                .all(|target| target.name.is_some() && target.path.is_some());
        let files = if is_complete {
            Vec::new()
        } else {
            self.files(section)
        };
        let mut all: Vec<(
            Option<String>,
            Option<PathBuf>,
            std::borrow::Cow<'_, TomlTarget>,
        )> = declared
            .unwrap_or_default()
            .iter()
            .map(|toml| {
                let path = toml.path.as_ref().map(|path| path.0.clone());
                (toml.name.clone(), path, std::borrow::Cow::Borrowed(toml))
            })
            .collect();
        if !is_complete {
            let additional = self.additional(section, declared, auto, &files);
            all.extend(additional.into_iter().map(|(name, path)| {
                (
                    Some(name),
                    Some(path),
                    std::borrow::Cow::Owned(TomlTarget::new()),
                )
            }));
            all.sort_by(|a, b| a.0.cmp(&b.0));
        }

        let mut found = Vec::with_capacity(all.len());
        for (name, path, toml) in &all {
            let Some(name) = name else {
                return Err(Fault::new(format!("a {} has no name", section.words()))
                    .help(format!("set `{}.name`", section.key()))
                    .at([section.key()]));
            };
            self.check_name(name, section.words(), section.key())?;
            if !names_a_file(name) {
                self.errors.push(format!(
                    "the name `{name}` of a {} cannot be the name of a file",
                    section.words()
                ));
                continue;
            }
            if section == Section::Bin {
                self.check_binary(toml, name)?;
            }
            self.check_spellings(toml, name, section.words())?;
            let path = match path {
                Some(path) => path.clone(),
                None => match self.path_of(section, name, &files, has_library) {
                    Ok(path) => path,
                    Err(fault) if section == Section::Bin => return Err(fault),
                    Err(fault) => {
                        self.errors.push(fault.sentence());
                        continue;
                    }
                },
            };
            found.push(Found {
                name,
                path,
                toml: toml.clone(),
            });
        }

        let mut names = BTreeSet::new();
        if let Some(twice) = found.iter().find(|target| !names.insert(target.name)) {
            return Err(Fault::new(format!(
                "two {} targets are named `{}`",
                section.words(),
                twice.name
            ))
            .help("give each its own name")
            .at([section.key()]));
        }
        found
            .iter()
            .map(|found| {
                let kind = match section {
                    Section::Bin => TargetKind::Bin,
                    Section::Test => TargetKind::Test,
                    Section::Bench => TargetKind::Bench,
                    Section::Example => {
                        let types: Vec<CrateType> = found
                            .toml
                            .crate_types()
                            .into_iter()
                            .flatten()
                            .map(|name| CrateType::from(name.as_str()))
                            .collect();
                        if types.iter().all(|kind| *kind == CrateType::Bin) {
                            TargetKind::ExampleBin
                        } else {
                            TargetKind::ExampleLib(types)
                        }
                    }
                };
                self.target(&found.toml, found.name, &found.path, kind, section.words())
            })
            .collect()
    }

    /// What the convention finds for `section`: names and paths, sorted by path; `src/main.rs` first.
    fn files(&self, section: Section) -> Vec<(String, PathBuf)> {
        let mut files = Vec::new();
        let directory = self.root.join(section.directory());
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let file_name = entry.file_name();
            let Some(file_name) = file_name.to_str().filter(|name| !name.starts_with('.')) else {
                continue;
            };
            let relative = Path::new(section.directory()).join(file_name);
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let main = relative.join("main.rs");
                if self.root.join(&main).exists() {
                    files.push((file_name.to_owned(), main));
                }
            } else if let Some(stem) = file_name
                .strip_suffix(".rs")
                .filter(|stem| !stem.is_empty())
            {
                files.push((stem.to_owned(), relative));
            }
        }
        files.sort_by(|a, b| a.1.cmp(&b.1));
        if section == Section::Bin && self.exists("src/main.rs") {
            files.insert(0, (self.package.to_owned(), PathBuf::from("src/main.rs")));
        }
        files
    }

    /// Those of `files` that become targets beside the declared ones.
    fn additional(
        &mut self,
        section: Section,
        declared: Option<&[TomlTarget]>,
        auto: Option<bool>,
        files: &[(String, PathBuf)],
    ) -> Vec<(String, PathBuf)> {
        let Some(declared) = declared else {
            return if auto == Some(false) {
                Vec::new()
            } else {
                files.to_vec()
            };
        };
        let is_declared = |(name, path): &&(String, PathBuf)| {
            declared.iter().any(|target| {
                target.name.as_ref() == Some(name)
                    || target
                        .path
                        .as_ref()
                        .is_some_and(|declared| self.root.join(&declared.0) == self.root.join(path))
            })
        };
        let rest: Vec<_> = files
            .iter()
            .filter(|file| !is_declared(file))
            .cloned()
            .collect();
        match auto {
            Some(true) => rest,
            Some(false) => Vec::new(),
            None if self.edition != Edition::E2015 => rest,
            None => {
                if !rest.is_empty() {
                    let list: Vec<_> = rest
                        .iter()
                        .map(|(_, path)| format!("`{}`", path.display()))
                        .collect();
                    self.warnings.push(format!(
                        "in edition 2015 a `[[{}]]` section keeps other files from being found as a {}: {}. Later \
                         editions find them; set `package.{} = false` to keep it so, or `true` to have them now",
                        section.key(),
                        section.words(),
                        list.join(", "),
                        section.switch(),
                    ));
                }
                Vec::new()
            }
        }
    }

    /// The path of a declared target that has none.
    fn path_of(
        &mut self,
        section: Section,
        name: &str,
        files: &[(String, PathBuf)],
        has_library: bool,
    ) -> Checked<PathBuf> {
        let matching: Vec<&PathBuf> = files
            .iter()
            .filter(|(found, _)| found == name)
            .map(|(_, path)| path)
            .collect();
        if let [only] = *matching {
            return Ok(only.clone());
        }
        if self.edition == Edition::E2015
            && let Some(path) = self.legacy_path(section, name, has_library)
        {
            self.warnings.push(format!(
                "`{path}` is taken for the {} `{name}`, which only edition 2015 does: set `{}.path`",
                section.words(),
                section.key()
            ));
            return Ok(PathBuf::from(path));
        }
        let key = section.key();
        if let [first, second, ..] = *matching {
            return Err(Fault::new(format!(
                "`{}` and `{}` may both be the {} `{name}`",
                first.display(),
                second.display(),
                section.words()
            ))
            .help(format!("set `{key}.path`, or rename one of them"))
            .at([key]));
        }
        let directory = section.directory();
        let misplaced = match section {
            Section::Bin => "src/bins",
            _ => key,
        };
        let misplaced = [
            format!("{misplaced}/{name}.rs"),
            format!("{misplaced}/{name}/main.rs"),
        ]
        .into_iter()
        .find(|path| self.exists(path));
        let help = match (
            misplaced,
            closest(name, files.iter().map(|(name, _)| name.as_str())),
        ) {
            (Some(path), _) => {
                format!("`{path}` exists: move it to `{directory}`, or set `{key}.path`")
            }
            (None, Some(closest)) => format!("{closest}; or set `{key}.path`"),
            (None, None) => format!("put it at one of them, or set `{key}.path`"),
        };
        Err(Fault::new(format!(
            "the source of the {} `{name}` is neither at `{directory}/{name}.rs` nor at `{directory}/{name}/main.rs`",
            section.words()
        ))
        .help(help)
        .at([key]))
    }

    /// Where only edition 2015 looks.
    fn legacy_path(&self, section: Section, name: &str, has_library: bool) -> Option<String> {
        let candidates = match section {
            Section::Bin => [
                (!has_library).then(|| format!("src/{name}.rs")),
                Some("src/main.rs".to_owned()),
                Some("src/bin/main.rs".to_owned()),
            ],
            Section::Bench if name == "bench" => [Some("src/bench.rs".to_owned()), None, None],
            _ => return None,
        };
        candidates
            .into_iter()
            .flatten()
            .find(|path| self.exists(path))
    }

    fn build_script(&mut self, build: Option<&TomlPackageBuild>) -> Checked<Option<Target>> {
        let script = match build {
            None if self.root.join("build.rs").is_file() => PathBuf::from("build.rs"),
            None | Some(TomlPackageBuild::Auto(false)) => return Ok(None),
            Some(TomlPackageBuild::Auto(true)) => PathBuf::from("build.rs"),
            Some(TomlPackageBuild::SingleScript(path)) => normalize(Path::new(path)),
            Some(TomlPackageBuild::MultipleScript(_)) => {
                return Err(Fault::unsupported(
                    "more than one build script is nightly-only in cargo",
                )
                .at(["package", "build"]));
            }
        };
        let stem = script
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or("");
        Ok(Some(Target {
            name: format!("build-script-{stem}"),
            kind: TargetKind::CustomBuild,
            src_path: self.root.join(&script),
            edition: self.edition,
            tested: false,
            benched: false,
            documented: false,
            doctested: false,
            harness: true,
            for_host: true,
            required_features: None,
            doc_scrape_examples: false,
        }))
    }

    fn target(
        &mut self,
        toml: &TomlTarget,
        name: &str,
        path: &Path,
        kind: TargetKind,
        words: &str,
    ) -> Checked<Target> {
        if toml.filename.is_some() {
            return Err(Fault::unsupported(format!(
                "`filename` of the {words} `{name}` is nightly-only in cargo"
            )));
        }
        let edition = match &toml.edition {
            None => self.edition,
            Some(edition) => {
                self.warnings.push(format!(
                    "the {words} `{name}` sets `edition`, which is deprecated for targets"
                ));
                super::edition::parse_edition(edition)?
            }
        };
        let is_library = matches!(kind, TargetKind::Lib(_));
        let has_doctests = matches!(&kind, TargetKind::Lib(types) if types.iter().any(|kind| matches!(
            kind, CrateType::Lib | CrateType::Rlib | CrateType::ProcMacro)));
        let is_example = matches!(kind, TargetKind::ExampleBin | TargetKind::ExampleLib(_));
        Ok(Target {
            name: name.to_owned(),
            src_path: self.root.join(normalize(path)),
            edition,
            tested: toml
                .test
                .unwrap_or(!is_example && kind != TargetKind::Bench),
            benched: toml
                .bench
                .unwrap_or(!is_example && kind != TargetKind::Test),
            documented: toml.doc.unwrap_or(is_library || kind == TargetKind::Bin),
            doctested: has_doctests && toml.doctest.unwrap_or(true),
            harness: toml.harness.unwrap_or(true),
            for_host: toml.proc_macro().unwrap_or(false),
            // Cargo reads the key for libraries and forgets it.
            required_features: toml.required_features.clone().filter(|_| !is_library),
            doc_scrape_examples: toml.doc_scrape_examples == Some(true),
            kind,
        })
    }

    fn check_name(&self, name: &str, words: &str, key: &str) -> Checked<()> {
        if name.trim().is_empty() {
            return Err(Fault::new(format!("the name of a {words} is empty")).at([key]));
        }
        Ok(())
    }

    fn check_binary(&mut self, toml: &TomlTarget, name: &str) -> Checked<()> {
        if ["deps", "examples", "build", "incremental"].contains(&name) {
            return Err(Fault::new(format!(
                "a binary cannot be named `{name}`, since a directory of the build has that name"
            ))
            .at(["bin"]));
        }
        if let Some(types) = toml.crate_types().filter(|types| !types.is_empty()) {
            self.errors.push(format!(
                "the binary `{name}` cannot have crate types, but has `{}`",
                types.join("`, `")
            ));
        }
        if toml.proc_macro() == Some(true) {
            self.errors.push(format!(
                "the binary `{name}` cannot have `proc-macro = true`"
            ));
        }
        Ok(())
    }

    fn check_spellings(&mut self, toml: &TomlTarget, name: &str, words: &str) -> Checked<()> {
        let place = format!("the {words} `{name}`");
        deprecated_spelling(
            toml.proc_macro2.is_some(),
            toml.proc_macro.is_some(),
            "proc-macro",
            &place,
            self.edition,
            self.warnings,
        )?;
        deprecated_spelling(
            toml.crate_type2.is_some(),
            toml.crate_type.is_some(),
            "crate-type",
            &place,
            self.edition,
            self.warnings,
        )
    }
}

/// Whether files of the build can be named after a target of the name `name`.
fn names_a_file(name: &str) -> bool {
    !name.contains(['/', '\0']) && name != "." && name != ".." && name.len() <= 200
}

/// Keys that were once also spelt with an underscore: a remark, or an error from edition 2024 on.
pub(super) fn deprecated_spelling(
    has_old: bool,
    has_new: bool,
    new: &str,
    place: &str,
    edition: Edition,
    warnings: &mut Vec<String>,
) -> Checked<()> {
    if !has_old {
        return Ok(());
    }
    let old = new.replace('-', "_");
    if edition >= Edition::E2024 {
        return Err(Fault::new(format!(
            "`{old}` of {place} is not a key from edition 2024 on"
        ))
        .help(format!("write `{new}`")));
    }
    warnings.push(if has_new {
        format!("`{old}` of {place} is ignored, since `{new}` is there")
    } else {
        format!(
            "`{old}` of {place} is deprecated and not a key from edition 2024 on: write `{new}`"
        )
    });
    Ok(())
}

impl From<&str> for CrateType {
    fn from(name: &str) -> Self {
        match name {
            "bin" => Self::Bin,
            "lib" => Self::Lib,
            "rlib" => Self::Rlib,
            "dylib" => Self::Dylib,
            "cdylib" => Self::Cdylib,
            "staticlib" => Self::Staticlib,
            "proc-macro" => Self::ProcMacro,
            other => Self::Other(other.to_owned()),
        }
    }
}
