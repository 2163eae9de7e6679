//! What configuration says of programs and their surroundings: linkers, runners, compilers in the place of the
//! toolchain's, and the variables of `[env]`.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use cargo_platform::{Cfg, CfgExpr};

use super::value::{Origin, Value};
use super::{Config, ConfigError};
use crate::manifest::paths::normalize;

/// A program as configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredProgram {
    /// What it is.
    pub program: ProgramName,
    /// The key that names it, for messages: `target.x86_64-unknown-linux-gnu.linker`.
    pub key: String,
    /// The file or variable that does, for messages.
    pub origin: String,
    /// Whether a file below the workspace or above it says so, rather than the user's own: cargo's home, the environment,
    /// the command line.
    pub by_checkout: bool,
}

/// How a program is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramName {
    /// Without a slash: it is looked for.
    Name(String),
    /// An absolute path.
    Path(PathBuf),
}

impl fmt::Display for ProgramName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What runs the programs that were built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredRunner {
    /// The program.
    pub program: ConfiguredProgram,
    /// Its arguments, before the program that it runs.
    pub arguments: Vec<String>,
}

/// A variable of `[env]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredVariable {
    /// Its name.
    pub name: String,
    /// Its value; with `relative = true` an absolute path.
    pub value: String,
    /// Whether the value is a path that was made absolute.
    pub relative: bool,
    /// Whether it replaces one of the user's environment.
    pub force: bool,
    /// The file that says so.
    pub origin: String,
}

/// `[target.TRIPLE.LINKS]`: what stands in for the build script of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinksOverride {
    /// The `links` of the package.
    pub links: String,
    /// What its build script would have printed: (directive, value).
    pub directives: Vec<(String, String)>,
}

/// Variables that cargo does not take from `[env]`.
const NOT_FOR_ENV: [&str; 3] = ["CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"];

impl Config {
    fn program(
        &self,
        text: &str,
        key: &[&str],
        origin: &Origin,
    ) -> Result<ConfiguredProgram, ConfigError> {
        let joined = key.join(".");
        if text.is_empty() {
            return Err(origin.error(&joined, "it is empty"));
        }
        Ok(ConfiguredProgram {
            program: if text.contains('/') {
                ProgramName::Path(normalize(&origin.base(self.layers.start()).join(text)))
            } else {
                ProgramName::Name(text.to_owned())
            },
            key: joined,
            origin: origin.to_string(),
            by_checkout: self.layers.is_of_checkout(origin),
        })
    }

    fn named(&self, key: &[&str]) -> Result<Option<ConfiguredProgram>, ConfigError> {
        match self.layers.string(key)? {
            None => Ok(None),
            Some((text, origin)) => self.program(&text, key, &origin).map(Some),
        }
    }

    /// As [`Config::named`], but `variable` goes before all, and an empty text means none.
    fn replacing(
        &self,
        variable: &str,
        key: &[&str],
    ) -> Result<Option<ConfiguredProgram>, ConfigError> {
        let found = match self.layers.raw_variable(variable) {
            Some(text) => Some((text, Origin::Environment(variable.to_owned()))),
            None => self.layers.string(key)?,
        };
        match found {
            Some((text, origin)) if !text.is_empty() => self.program(&text, key, &origin).map(Some),
            _ => Ok(None),
        }
    }

    /// `build.rustc`, or `RUSTC`.
    pub fn rustc(&self) -> Result<Option<ConfiguredProgram>, ConfigError> {
        self.replacing("RUSTC", &["build", "rustc"])
    }

    /// `build.rustdoc`, or `RUSTDOC`.
    pub fn rustdoc(&self) -> Result<Option<ConfiguredProgram>, ConfigError> {
        self.replacing("RUSTDOC", &["build", "rustdoc"])
    }

    /// `build.rustc-wrapper`, or `RUSTC_WRAPPER`.
    pub fn rustc_wrapper(&self) -> Result<Option<ConfiguredProgram>, ConfigError> {
        self.replacing("RUSTC_WRAPPER", &["build", "rustc-wrapper"])
    }

    /// `build.rustc-workspace-wrapper`, or `RUSTC_WORKSPACE_WRAPPER`.
    pub fn rustc_workspace_wrapper(&self) -> Result<Option<ConfiguredProgram>, ConfigError> {
        self.replacing(
            "RUSTC_WORKSPACE_WRAPPER",
            &["build", "rustc-workspace-wrapper"],
        )
    }

    /// The keys `target.'cfg(…)'` that match `cfg` and have `name`; more than one is an error, as in cargo.
    fn of_matching_cfg(&self, cfg: &[Cfg], name: &str) -> Result<Option<String>, ConfigError> {
        let mut matching = self
            .layers
            .keys(&["target"])
            .into_iter()
            .filter(|key| CfgExpr::matches_key(key, cfg))
            .filter(|key| self.layers.find(&["target", key, name]).is_some());
        let first = matching.next();
        match (&first, matching.next()) {
            (Some(first), Some(second)) => {
                Err(self.layers.origin(&["target", &second, name]).error(
                    &format!("target.'{second}'.{name}"),
                    format!("`target.'{first}'.{name}` applies as well: only one of them can"),
                ))
            }
            _ => Ok(first),
        }
    }

    /// The linker for what is compiled for `triple`, whose cfg values are `cfg`.
    pub fn linker(
        &self,
        triple: &str,
        cfg: &[Cfg],
    ) -> Result<Option<ConfiguredProgram>, ConfigError> {
        if let Some(linker) = self.named(&["target", triple, "linker"])? {
            return Ok(Some(linker));
        }
        match self.of_matching_cfg(cfg, "linker")? {
            Some(key) => self.named(&["target", &key, "linker"]),
            None => Ok(None),
        }
    }

    /// What runs programs for `triple`, whose cfg values are `cfg`.
    pub fn runner(
        &self,
        triple: &str,
        cfg: &[Cfg],
    ) -> Result<Option<ConfiguredRunner>, ConfigError> {
        if let Some(runner) = self.runner_at(triple)? {
            return Ok(Some(runner));
        }
        match self.of_matching_cfg(cfg, "runner")? {
            Some(key) => self.runner_at(&key),
            None => Ok(None),
        }
    }

    fn runner_at(&self, target: &str) -> Result<Option<ConfiguredRunner>, ConfigError> {
        let key = ["target", target, "runner"];
        let Some(words) = self.layers.words(&key)? else {
            return Ok(None);
        };
        let origin = self.layers.origin(&key);
        let mut words = words.into_iter();
        let Some(program) = words.next() else {
            return Err(origin.error(&key.join("."), "it names no program"));
        };
        Ok(Some(ConfiguredRunner {
            program: self.program(&program, &key, &origin)?,
            arguments: words.collect(),
        }))
    }

    /// `[env]`, sorted by name.
    pub fn environment(&self) -> Result<Vec<ConfiguredVariable>, ConfigError> {
        let mut variables = Vec::new();
        for name in self.layers.keys(&["env"]) {
            let Some(value) = self.layers.find(&["env", &name]) else {
                continue;
            };
            let origin = value.origin();
            let key = format!("env.{name}");
            if NOT_FOR_ENV.contains(&name.as_str()) {
                return Err(origin.error(&key, "this variable cannot be set in `[env]`"));
            }
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(origin.error(&key, "no variable can have this name"));
            }
            let (text, force, relative) = match value {
                Value::Scalar(toml::Value::String(text), _) => (text.clone(), false, false),
                Value::Table(..) => {
                    let Some((text, _)) = self.layers.string(&["env", &name, "value"])? else {
                        return Err(origin.error(&key, "the table has no `value`"));
                    };
                    let flag = |flag| {
                        Ok::<_, ConfigError>(
                            self.layers.boolean(&["env", &name, flag])?.unwrap_or(false),
                        )
                    };
                    (text, flag("force")?, flag("relative")?)
                }
                other => {
                    return Err(origin.error(
                        &key,
                        format!(
                            "it is {}, and a string or a table is expected",
                            other.words()
                        ),
                    ));
                }
            };
            let value = if relative {
                let path = origin.base(self.layers.start()).join(&text);
                path.to_str()
                    .map(str::to_owned)
                    .ok_or_else(|| origin.error(&key, "the path is not UTF-8"))?
            } else {
                text
            };
            variables.push(ConfiguredVariable {
                name,
                value,
                relative,
                force,
                origin: origin.to_string(),
            });
        }
        Ok(variables)
    }

    /// The triple and the `links` of each build script that something stands in for.
    pub fn overridden_links(&self) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for triple in self.layers.keys(&["target"]) {
            if triple.starts_with("cfg(") {
                continue;
            }
            // What is wrong with one was said when the configuration was read.
            for one in self.links_overrides(&triple).unwrap_or_default() {
                found.insert((triple.clone(), one.links));
            }
        }
        found
    }

    /// The build scripts that `[target.TRIPLE.LINKS]` stands in for.
    pub fn links_overrides(&self, triple: &str) -> Result<Vec<LinksOverride>, ConfigError> {
        let mut overrides = Vec::new();
        for links in self.layers.keys(&["target", triple]) {
            if ["ar", "linker", "runner", "rustflags", "rustdocflags"].contains(&links.as_str()) {
                continue;
            }
            let Some(value) = self.layers.find(&["target", triple, &links]) else {
                continue;
            };
            let table = value.as_table().ok_or_else(|| {
                value.origin().error(
                    &format!("target.{triple}.{links}"),
                    format!("it is {}, and a table is expected", value.words()),
                )
            })?;
            let mut directives = Vec::new();
            for name in table.keys() {
                self.override_entry(&["target", triple, &links, name], name, &mut directives)?;
            }
            overrides.push(LinksOverride { links, directives });
        }
        Ok(overrides)
    }

    fn override_entry(
        &self,
        key: &[&str],
        name: &str,
        directives: &mut Vec<(String, String)>,
    ) -> Result<(), ConfigError> {
        const LISTS: [&str; 11] = [
            "rustc-link-lib",
            "rustc-link-search",
            "rustc-link-arg-cdylib",
            "rustc-cdylib-link-arg",
            "rustc-link-arg-bins",
            "rustc-link-arg",
            "rustc-link-arg-tests",
            "rustc-link-arg-benches",
            "rustc-link-arg-examples",
            "rustc-cfg",
            "rustc-check-cfg",
        ];
        let text = |key: &[&str]| -> Result<String, ConfigError> {
            Ok(self.layers.file_string(key)?.unwrap_or_default())
        };
        if LISTS.contains(&name) {
            for item in self.layers.file_list(key)? {
                directives.push((name.to_owned(), item));
            }
        } else if name == "rustc-flags" {
            directives.push((name.to_owned(), text(key)?));
        } else if name == "rustc-env" {
            for variable in self.layers.keys(key) {
                let value = text(&[key, &[variable.as_str()]].concat())?;
                directives.push((name.to_owned(), format!("{variable}={value}")));
            }
        } else if ["warning", "rerun-if-changed", "rerun-if-env-changed"].contains(&name) {
            return Err(self
                .layers
                .origin(key)
                .error(&key.join("."), "a build script's override cannot hold this"));
        } else {
            directives.push(("metadata".to_owned(), format!("{name}={}", text(key)?)));
        }
        Ok(())
    }
}
