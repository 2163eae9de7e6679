//! The decision: what a package is granted, and on whose word.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::defaults::SHIPPED;
use super::error::PolicyError;
use super::file::{AppliesTo, Bundle, CrateSection, Crates, FILE_NAME, General, Pins, PolicyFile};
use crate::package::PackageId;
use crate::sandbox::request::Limits;

/// Which grants count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildMode {
    /// `kiln build`: those of `[dev]`, too.
    Development,
    /// `kiln build --hermetic`.
    Hermetic,
}

impl BuildMode {
    /// The mode of a build with `--hermetic` or without.
    pub fn of(hermetic: bool) -> Self {
        match hermetic {
            true => Self::Hermetic,
            false => Self::Development,
        }
    }
}

/// Who grants something, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Origin {
    /// The file: `kiln.toml`, or one of kiln's own (`policy/….toml`).
    pub file: String,
    /// The section: `crate.NAME`, with the bundle through which it came.
    pub section: String,
    /// The reason that it states.
    pub reason: Option<String>,
}

/// One thing that is granted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// Whether it is an error if the machine does not have it.
    pub required: bool,
    /// Who grants it: all who do, so that nobody thinks it gone after removing one.
    pub origins: BTreeSet<Origin>,
}

/// All that a package is granted. Keys are the granted things, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Grants {
    /// Programs by name or absolute path.
    pub exec: BTreeMap<String, Grant>,
    /// Absolute paths or patterns of paths.
    pub read: BTreeMap<String, Grant>,
    /// Libraries by their name in pkg-config. Whatever links the package needs them as well.
    pub pkg_config: BTreeMap<String, Grant>,
    /// Libraries by their name for the linker. Whatever links the package needs them as well.
    pub link: BTreeMap<String, Grant>,
    /// Paths below the package that its build script may write to, in a copy.
    pub write: BTreeMap<String, Grant>,
    /// Paths below the root of the workspace that its actions read besides its own directory, `.` for all of it. They
    /// mean something for packages of the workspace only.
    pub workspace: BTreeMap<String, Grant>,
    /// Variables whose value is passed on from the user's environment.
    pub env: BTreeMap<String, Grant>,
    /// Variables with a fixed value, and who fixes it.
    pub set_env: BTreeMap<String, (String, Origin)>,
    /// Bounds over those of the profiles.
    pub limits: Limits,
}

impl Grants {
    /// Whether nothing is granted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The granted things by the keys that grant them, without variables of a fixed value and limits.
    pub fn lists(&self) -> [(&'static str, &BTreeMap<String, Grant>); 7] {
        [
            ("exec", &self.exec),
            ("read", &self.read),
            ("pkg-config", &self.pkg_config),
            ("link", &self.link),
            ("write", &self.write),
            ("workspace", &self.workspace),
            ("env", &self.env),
        ]
    }

    /// The limits that are set, by the keys that set them.
    pub fn bounds(&self) -> Vec<(String, u64)> {
        let limits = serde_json::to_value(&self.limits).unwrap_or_default();
        let limits = limits.as_object().into_iter().flatten();
        limits
            .filter_map(|(name, value)| Some((name.clone(), value.as_u64()?)))
            .collect()
    }

    /// What of it is needed wherever the package is linked: the libraries.
    #[must_use]
    pub fn at_link_time(&self) -> Self {
        Self {
            pkg_config: self.pkg_config.clone(),
            link: self.link.clone(),
            ..Self::default()
        }
    }

    /// What of it a compiler of the package's crates gets.
    #[must_use]
    pub fn when_compiling(&self) -> Self {
        Self {
            workspace: self.workspace.clone(),
            env: self.env.clone(),
            set_env: self.set_env.clone(),
            limits: self.limits.clone(),
            ..self.at_link_time()
        }
    }

    /// Adds all of `other`; of two values for one variable the later wins, of two bounds the wider.
    pub fn extend(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.exec, &other.exec),
            (&mut self.read, &other.read),
            (&mut self.pkg_config, &other.pkg_config),
            (&mut self.link, &other.link),
            (&mut self.write, &other.write),
            (&mut self.workspace, &other.workspace),
            (&mut self.env, &other.env),
        ] {
            for (key, grant) in theirs {
                let mine = mine.entry(key.clone()).or_default();
                mine.required |= grant.required;
                mine.origins.extend(grant.origins.iter().cloned());
            }
        }
        self.set_env.extend(other.set_env.clone());
        widen(&mut self.limits, &other.limits);
    }

    /// The keys of `grants` that are required, and those that are there if the machine has them.
    pub fn split(grants: &BTreeMap<String, Grant>) -> (Vec<String>, Vec<String>) {
        let keys = |required: bool| {
            grants
                .iter()
                .filter(|(_, grant)| grant.required == required)
                .map(|(key, _)| key.clone())
                .collect()
        };
        (keys(true), keys(false))
    }

    fn add(&mut self, lists: &Bundle, origin: &Origin) {
        let none = Vec::new();
        for (map, required, if_present) in [
            (&mut self.exec, &lists.exec, &lists.exec_if_present),
            (&mut self.read, &lists.read, &lists.read_if_present),
            (
                &mut self.pkg_config,
                &lists.pkg_config,
                &lists.pkg_config_if_present,
            ),
            (&mut self.link, &lists.link, &lists.link_if_present),
            (&mut self.write, &lists.write, &none),
            (&mut self.workspace, &lists.workspace, &none),
            (&mut self.env, &lists.env, &none),
        ] {
            let values = required
                .iter()
                .map(|value| (value, true))
                .chain(if_present.iter().map(|value| (value, false)));
            for (value, required) in values {
                let grant = map.entry(value.clone()).or_default();
                grant.required |= required;
                grant.origins.insert(origin.clone());
            }
        }
        for (name, value) in &lists.set_env {
            self.set_env
                .insert(name.clone(), (value.clone(), origin.clone()));
        }
    }
}

/// Whether what kiln ships is for `package`. It was judged for the crates of the default registry; the same name from
/// elsewhere is somebody else's code. Packages on disk count as well, so that a crate builds in its own checkout: whoever
/// can name one could write the `kiln.toml` beside it.
pub(super) fn defaults_apply(package: &PackageId) -> bool {
    package.source().is_crates_io() || package.source().is_path()
}

fn widen(mine: &mut Limits, theirs: &Limits) {
    for (mine, theirs) in [
        (&mut mine.memory_bytes, theirs.memory_bytes),
        (&mut mine.cpu_seconds, theirs.cpu_seconds),
        (&mut mine.file_size_bytes, theirs.file_size_bytes),
        (&mut mine.open_files, theirs.open_files),
        (&mut mine.processes, theirs.processes),
        (&mut mine.written_bytes, theirs.written_bytes),
        (&mut mine.tmp_bytes, theirs.tmp_bytes),
        (&mut mine.wall_seconds, theirs.wall_seconds),
        (&mut mine.output_bytes, theirs.output_bytes),
    ] {
        *mine = (*mine).max(theirs);
    }
}

/// The policy of one workspace: its own file over the shipped ones.
#[derive(Debug, Clone)]
pub struct Policy {
    pub(crate) workspace: PolicyFile,
    pub(crate) shipped: Vec<PolicyFile>,
}

impl Policy {
    /// Reads `kiln.toml` in `workspace_root`, if there is one.
    ///
    /// # Errors
    /// If it cannot be read, or says something that makes no sense.
    pub fn load(workspace_root: &Path) -> Result<Self, PolicyError> {
        let path = workspace_root.join(FILE_NAME);
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::parse(""),
            Err(source) => Err(PolicyError::Read { path, source }),
        }
    }

    /// The policy of a workspace whose `kiln.toml` is `text`.
    ///
    /// # Errors
    /// If it says something that makes no sense.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let policy = Self {
            workspace: PolicyFile::parse(FILE_NAME, text)?,
            shipped: SHIPPED
                .iter()
                .map(|(name, text)| PolicyFile::parse(name, text))
                .collect::<Result<_, _>>()?,
        };
        policy.check_bundles()?;
        Ok(policy)
    }

    /// What `[policy]` says.
    pub fn general(&self) -> General {
        self.workspace.general
    }

    /// The digests that `[toolchain]` pins.
    pub fn pins(&self) -> Pins {
        self.workspace.pins
    }

    /// The programs that `[toolchain]` adds to the C toolchain.
    pub fn toolchain_programs(&self) -> &[String] {
        &self.workspace.programs
    }

    /// The paths that `[toolchain]` adds to the C toolchain.
    pub fn toolchain_paths(&self) -> &[String] {
        &self.workspace.read
    }

    /// What `package` is granted. `uses` are the packages that act within its build script: all that the script
    /// depends on, directly or not; empty for a package without one.
    pub fn grants_for<'a>(
        &self,
        package: &PackageId,
        uses: impl IntoIterator<Item = &'a PackageId>,
        mode: BuildMode,
    ) -> Grants {
        let mut grants = Grants::default();
        self.grant(&mut grants, package, AppliesTo::Itself, mode);
        let uses: BTreeSet<&PackageId> = uses.into_iter().collect();
        for used in uses {
            self.grant(&mut grants, used, AppliesTo::Users, mode);
        }
        grants
    }

    /// Whether members see whatever of the workspace their source names.
    pub fn references(&self) -> bool {
        self.workspace.references
    }

    /// Whether `package` gets what it would get without any `kiln.toml`, too.
    pub fn defaults_count(&self, package: &PackageId) -> bool {
        let sections = self.workspace.crates.get(package.name().as_str());
        let mut own = sections.into_iter().flatten();
        self.workspace.general.defaults
            && own.all(|section| section.defaults || !section.is_for(package))
    }

    /// What the build scripts are granted that use `package`, for its sake.
    pub fn grants_to_users_of(&self, package: &PackageId, mode: BuildMode) -> Grants {
        let mut grants = Grants::default();
        self.grant(&mut grants, package, AppliesTo::Users, mode);
        grants
    }

    /// The sections of the workspace's own file that are for none of `packages`.
    pub fn unused_sections<'a>(
        &self,
        packages: impl Iterator<Item = &'a PackageId> + Clone,
    ) -> Vec<String> {
        let own = |prefix: &'static str, crates: &'_ Crates| -> Vec<String> {
            let mut unused = Vec::new();
            for (name, sections) in crates {
                let mut ids = packages.clone().filter(|id| id.name().as_str() == name);
                if !ids.any(|id| sections.iter().any(|section| section.is_for(id))) {
                    unused.push(format!("{prefix}.{name}"));
                }
            }
            unused
        };
        let mut unused = own("crate", &self.workspace.crates);
        unused.extend(own("dev.crate", &self.workspace.dev));
        unused
    }

    /// What `text`, a few lines for `kiln.toml`, would grant to `package` by itself; `None` if it is no valid policy. It
    /// may use the bundles of this one.
    pub fn grants_by(&self, package: &PackageId, text: &str) -> Option<Grants> {
        let file = PolicyFile::parse(FILE_NAME, text).ok()?;
        let mut grants = Grants::default();
        for section in file.crates.get(package.name().as_str())? {
            let origin = Origin {
                file: FILE_NAME.to_owned(),
                section: format!("crate.{}", package.name()),
                reason: section.lists.reason.clone(),
            };
            self.add(&mut grants, &section.lists, &origin, &mut BTreeSet::new());
        }
        Some(grants)
    }

    fn grant(&self, grants: &mut Grants, package: &PackageId, to: AppliesTo, mode: BuildMode) {
        let name = package.name().as_str();
        let matching = |sections: &'_ [CrateSection]| -> Vec<CrateSection> {
            sections
                .iter()
                .filter(|section| section.is_for(package))
                .cloned()
                .collect()
        };
        let own = matching(self.workspace.crates.get(name).map_or(&[], Vec::as_slice));
        let dev = match mode {
            BuildMode::Development => {
                matching(self.workspace.dev.get(name).map_or(&[], Vec::as_slice))
            }
            BuildMode::Hermetic => Vec::new(),
        };
        let defaults = self.workspace.general.defaults
            && defaults_apply(package)
            && own.iter().chain(&dev).all(|section| section.defaults);
        let shipped = self.shipped.iter().filter(|_| defaults);
        let layers = shipped
            .flat_map(|file| {
                let sections = matching(file.crates.get(name).map_or(&[], Vec::as_slice));
                sections
                    .into_iter()
                    .map(move |section| (file.name.as_str(), "crate", section))
            })
            .chain(own.into_iter().map(|section| (FILE_NAME, "crate", section)))
            .chain(
                dev.into_iter()
                    .map(|section| (FILE_NAME, "dev.crate", section)),
            );
        for (file, prefix, section) in layers.filter(|(_, _, section)| section.applies_to == to) {
            let origin = Origin {
                file: file.to_owned(),
                section: format!("{prefix}.{name}"),
                reason: section.lists.reason.clone(),
            };
            self.add(grants, &section.lists, &origin, &mut BTreeSet::new());
            widen(&mut grants.limits, &section.limits);
        }
    }

    /// Adds lists and the bundles that they use.
    fn add(
        &self,
        grants: &mut Grants,
        lists: &Bundle,
        origin: &Origin,
        seen: &mut BTreeSet<String>,
    ) {
        for name in &lists.r#use {
            if let Some(bundle) = self.bundle(name)
                && seen.insert(name.clone())
            {
                let through = Origin {
                    section: format!("{}, bundle `{name}`", origin.section),
                    reason: bundle.reason.clone().or_else(|| origin.reason.clone()),
                    file: origin.file.clone(),
                };
                self.add(grants, &bundle, &through, seen);
            }
        }
        grants.add(lists, origin);
    }

    /// The bundle `name`; the workspace's own comes first.
    pub(crate) fn bundle(&self, name: &str) -> Option<Cow<'_, Bundle>> {
        std::iter::once(&self.workspace)
            .chain(&self.shipped)
            .find_map(|file| file.bundles.get(name))
            .map(Cow::Borrowed)
            .or_else(|| Bundle::described(name).map(Cow::Owned))
    }

    /// The names of all bundles.
    pub fn bundles(&self) -> BTreeSet<&str> {
        std::iter::once(&self.workspace)
            .chain(&self.shipped)
            .flat_map(|file| file.bundles.keys().map(String::as_str))
            .collect()
    }

    fn check_bundles(&self) -> Result<(), PolicyError> {
        for file in std::iter::once(&self.workspace).chain(&self.shipped) {
            let crates = file
                .crates
                .iter()
                .map(|entry| ("crate", entry))
                .chain(file.dev.iter().map(|entry| ("dev.crate", entry)));
            let users = crates
                .flat_map(|(prefix, (name, sections))| {
                    let section = format!("{prefix}.{name}");
                    sections
                        .iter()
                        .map(move |one| (section.clone(), &one.lists))
                })
                .chain(
                    file.bundles
                        .iter()
                        .map(|(name, lists)| (format!("bundle.{name}"), lists)),
                );
            for (section, lists) in users {
                if let Some(unknown) = lists.r#use.iter().find(|name| self.bundle(name).is_none()) {
                    return Err(PolicyError::UnknownBundle {
                        file: file.name.clone(),
                        section,
                        bundle: unknown.clone(),
                        known: self.bundles().into_iter().map(str::to_owned).collect(),
                    });
                }
            }
            for name in file.bundles.keys() {
                if self.reaches(name, name, &mut BTreeSet::new()) {
                    return Err(PolicyError::BundleCycle {
                        file: file.name.clone(),
                        bundle: name.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    fn reaches(&self, from: &str, to: &str, seen: &mut BTreeSet<String>) -> bool {
        self.bundle(from).is_some_and(|bundle| {
            bundle.r#use.iter().any(|name| {
                name == to || (seen.insert(name.clone()) && self.reaches(name, to, seen))
            })
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::package::{PackageName, SourceId, SourceKind};

    pub(in crate::policy) fn package(name: &str, version: &str, registry: bool) -> PackageId {
        let source = if registry {
            SourceId::default_registry()
        } else {
            SourceId::new(SourceKind::Registry {
                is_crates_io: false,
                url: "https://registry.example.com/index/".into(),
            })
        };
        PackageId::new(
            PackageName::new(name).unwrap(),
            version.parse().unwrap(),
            source,
        )
    }

    #[test]
    fn what_is_shipped_is_complete_has_reasons_and_demands_nothing_of_the_machine() {
        let policy = Policy::parse("").unwrap();
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("policy");
        let mut there: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| format!("policy/{}", entry.unwrap().file_name().to_str().unwrap()))
            .collect();
        there.sort();
        let listed: Vec<String> = SHIPPED.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(listed, there);
        let mut names = BTreeSet::new();
        for file in &policy.shipped {
            assert!(file.dev.is_empty() && file.pins == Pins::default());
            assert_eq!(file.general, General::default());
            for (name, sections) in &file.crates {
                assert!(names.insert(name), "{name} twice");
                for section in sections {
                    let lists = &section.lists;
                    assert!(lists.reason.is_some(), "{name}");
                    assert!(lists.exec.is_empty() && lists.read.is_empty(), "{name}");
                    assert!(
                        lists.pkg_config.is_empty() && lists.link.is_empty(),
                        "{name}"
                    );
                    assert!(lists.env.is_empty(), "{name}");
                }
            }
            for (name, bundle) in &file.bundles {
                assert!(bundle.reason.is_some() && bundle.exec.is_empty(), "{name}");
            }
        }
    }

    #[test]
    fn who_gets_what() {
        let text = "[crate.a]\nversion = \"^1\"\nexec = [\"protoc\"]\nuse = [\"own\"]\nreason = \"why\"\n\
                    [bundle.own]\nread = [\"/usr/share/own\"]\n\
                    [crate.tikv-jemalloc-sys]\ndefaults = false\nexec = [\"sh\"]\n\
                    [dev.crate.a]\nenv = [\"X\"]\n";
        let policy = Policy::parse(text).unwrap();
        let grants = |id: &PackageId, mode| policy.grants_for(id, [], mode);
        let hermetic = grants(&package("a", "1.2.0", false), BuildMode::Hermetic);
        assert!(hermetic.exec["protoc"].required && hermetic.env.is_empty());
        let origin = hermetic.exec["protoc"].origins.first().unwrap();
        assert_eq!(
            (origin.file.as_str(), origin.section.as_str()),
            ("kiln.toml", "crate.a")
        );
        assert_eq!(origin.reason.as_deref(), Some("why"));
        assert!(hermetic.read.contains_key("/usr/share/own"));
        let development = grants(&package("a", "1.2.0", false), BuildMode::Development);
        assert!(development.env.contains_key("X"));
        assert!(grants(&package("a", "2.0.0", false), BuildMode::Hermetic).is_empty());
        assert!(grants(&package("b", "1.0.0", true), BuildMode::Hermetic).is_empty());
        // The shipped grants go to the default registry's crate only, and can be turned off.
        let jemalloc = |text: &str, registry| {
            let id = package("tikv-jemalloc-sys", "0.6.0", registry);
            Policy::parse(text)
                .unwrap()
                .grants_for(&id, [], BuildMode::Hermetic)
        };
        assert!(jemalloc("", true).exec.contains_key("make"));
        assert!(jemalloc("", false).is_empty());
        assert_eq!(jemalloc(text, true).exec.keys().collect::<Vec<_>>(), ["sh"]);
        assert!(jemalloc("[policy]\ndefaults = false", true).is_empty());
    }

    #[test]
    fn a_grant_may_be_for_one_source_only() {
        let registry = "https://registry.example.com/index";
        for (source, crates_io, other) in [
            ("crates-io", true, false),
            ("path", false, false),
            (registry, false, true),
            (&format!("sparse+{registry}/"), false, true),
            ("https://registry.example.com/other", false, false),
        ] {
            let text = format!("[crate.a]\nsource = \"{source}\"\nexec = [\"sh\"]\n");
            let policy = Policy::parse(&text).unwrap();
            let granted = |registry| {
                let id = package("a", "1.0.0", registry);
                !policy.grants_for(&id, [], BuildMode::Hermetic).is_empty()
            };
            assert_eq!(
                (granted(true), granted(false)),
                (crates_io, other),
                "{source}"
            );
        }
    }

    #[test]
    fn there_is_a_bundle_for_each_library() {
        let id = package("a", "1.0.0", false);
        let policy = Policy::parse("[crate.a]\nuse = [\"pkg-config:openssl\"]\n").unwrap();
        let grants = policy.grants_for(&id, [], BuildMode::Hermetic);
        assert!(grants.pkg_config["openssl"].required);
        for text in [
            "[crate.a]\nuse = [\"pkg-config:\"]\n",
            "[crate.a]\nuse = [\"pkg-config:--eval\"]\n",
            "[crate.a]\nuse = [\"link:ssl\"]\n",
        ] {
            assert!(Policy::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_build_helper_grants_to_the_scripts_that_use_it() {
        let policy = Policy::parse("").unwrap();
        let helper = package("prost-build", "0.14.0", true);
        let user = package("app", "0.1.0", false);
        let granted = |id, uses: &[PackageId]| policy.grants_for(id, uses, BuildMode::Hermetic);
        assert!(
            granted(&user, std::slice::from_ref(&helper))
                .exec
                .contains_key("protoc")
        );
        assert!(granted(&user, &[]).is_empty());
        assert!(granted(&helper, &[]).is_empty());
    }

    #[test]
    fn bundles_exist_and_do_not_use_themselves() {
        for (text, unknown) in [
            ("[crate.a]\nuse = [\"nothing\"]", true),
            ("[dev.crate.a]\nuse = [\"nothing\"]", true),
            (
                "[bundle.a]\nuse = [\"b\"]\n[bundle.b]\nuse = [\"a\"]",
                false,
            ),
            ("[bundle.a]\nuse = [\"a\"]", false),
        ] {
            match Policy::parse(text).unwrap_err() {
                PolicyError::UnknownBundle { .. } => assert!(unknown, "{text}"),
                PolicyError::BundleCycle { .. } => assert!(!unknown, "{text}"),
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn grants_are_united() {
        let policy = Policy::parse("[crate.a]\nexec-if-present = [\"x\"]\nlink = [\"z\"]\n[crate.b]\nexec = [\"x\"]\nlimits = { wall-seconds = 9 }\n").unwrap();
        let grants =
            |name| policy.grants_for(&package(name, "1.0.0", false), [], BuildMode::Hermetic);
        let mut both = grants("a");
        both.extend(&grants("b"));
        assert!(both.exec["x"].required);
        assert_eq!(both.exec["x"].origins.len(), 2);
        assert_eq!(both.limits.wall_seconds, Some(9));
        assert_eq!(Grants::split(&both.exec), (vec!["x".to_owned()], vec![]));
        assert_eq!(both.at_link_time().link.len(), 1);
        assert!(both.at_link_time().exec.is_empty());
    }
}
