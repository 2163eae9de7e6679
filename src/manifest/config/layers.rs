//! Files, variables and `--config` put over each other, and looked up by key.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::value::{Origin, Table, Value, merge, table_of};
use super::{ConfigError, ConfigInputs, names_file};
use crate::manifest::paths::normalize;
use crate::manifest::text::Place;

/// All of the configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Layers {
    /// Files and `--config`; variables are looked up when their key is.
    pub(super) root: Table,
    pub(super) files: Vec<PathBuf>,
    pub(super) warnings: Vec<String>,
    environment: BTreeMap<String, String>,
    start: PathBuf,
    /// The files in cargo's home: those of the user, not of a checkout.
    of_user: HashSet<PathBuf>,
}

/// How deep `include` may go.
const MAX_INCLUDES: usize = 16;

impl Layers {
    pub(super) fn read(inputs: &ConfigInputs<'_>) -> Result<Self, ConfigError> {
        let mut layers = Self {
            root: Table::new(),
            files: Vec::new(),
            warnings: Vec::new(),
            environment: inputs
                .environment
                .iter()
                .filter(|(name, _)| name.starts_with("CARGO_") || name.starts_with("RUST"))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            start: inputs.start.clone(),
            of_user: HashSet::new(),
        };
        let mut directories: Vec<PathBuf> = inputs
            .start
            .ancestors()
            .map(|directory| directory.join(".cargo"))
            .collect();
        if let Some(home) = &inputs.home
            && !directories.contains(home)
        {
            directories.push(home.clone());
        }
        // The more significant are put over the less.
        for directory in directories.iter().rev() {
            if let Some(path) = layers.file_in(directory) {
                let table = layers.file(&path, 0, &Origin::File)?;
                if inputs.home.as_ref() == Some(directory) {
                    layers.of_user.extend(layers.files.iter().cloned());
                }
                merge(&mut layers.root, table, "")?;
            }
        }
        for argument in inputs.overrides {
            let table = layers.argument(argument)?;
            merge(&mut layers.root, table, "")?;
        }
        layers.files.reverse();
        Ok(layers)
    }

    /// `config.toml` in `directory`; the old name `config` goes first, if both are there.
    fn file_in(&mut self, directory: &Path) -> Option<PathBuf> {
        let old = directory.join("config");
        let new = directory.join("config.toml");
        if !old.is_file() {
            return new.is_file().then_some(new);
        }
        let are_one = || Some(old.canonicalize().ok()? == new.canonicalize().ok()?);
        if !new.is_file() {
            self.warnings.push(format!(
                "`{}` is deprecated: name it `config.toml`",
                old.display()
            ));
        } else if are_one() != Some(true) {
            self.warnings.push(format!(
                "`{}` is ignored, since `{}` is there",
                new.display(),
                old.display()
            ));
        }
        Some(old)
    }

    /// The table of one file and of what it includes; `origin` makes the origin of its values.
    fn file(
        &mut self,
        path: &Path,
        depth: usize,
        origin_of: &dyn Fn(Arc<PathBuf>) -> Origin,
    ) -> Result<Table, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let table: toml::Table = toml::from_str(&text).map_err(|error| ConfigError::Toml {
            place: Box::new(Place::new(path, &text, error.span().unwrap_or(0..0))),
            message: error.message().to_owned(),
        })?;
        let origin = origin_of(Arc::new(path.to_owned()));
        let mut table = table_of(table, &origin);
        // What a file includes lies below the file itself; the later of two includes lies over the earlier.
        let mut root = Table::new();
        if let Some(include) = table.remove("include") {
            if depth >= MAX_INCLUDES {
                return Err(origin.error("include", "the files include each other"));
            }
            let directory = path.parent().unwrap_or(Path::new("/"));
            for (file, is_optional) in includes(&include)? {
                let file = normalize(&directory.join(file));
                if is_optional && !file.exists() {
                    continue;
                }
                let included = self.file(&file, depth + 1, origin_of)?;
                merge(&mut root, included, "")?;
            }
        }
        merge(&mut root, table, "")?;
        self.files.push(path.to_owned());
        Ok(root)
    }

    fn argument(&mut self, argument: &str) -> Result<Table, ConfigError> {
        if let Some(path) = names_file(&self.start.clone(), argument) {
            return self.file(&path, 0, &|path| Origin::Override(Some(path)));
        }
        let error = |message: &str| ConfigError::Override {
            argument: argument.to_owned(),
            message: message.to_owned(),
        };
        let table: toml::Table = toml::from_str(argument).map_err(|why| error(why.message()))?;
        // One key, however it is dotted; anything else would be a file's worth of TOML on a command line.
        let mut level = &table;
        loop {
            let mut values = level.values();
            match (values.next(), values.next()) {
                (Some(toml::Value::Table(inner)), None) if !inner.is_empty() => level = inner,
                (Some(_), None) => break,
                _ => return Err(error("it does not set exactly one key")),
            }
        }
        if argument.trim_start().starts_with(['[', '#']) || argument.contains('\n') {
            return Err(error("it is not `key=value`"));
        }
        Ok(table_of(table, &Origin::Override(None)))
    }

    /// What files and `--config` say of `key`.
    pub(super) fn find(&self, key: &[&str]) -> Option<&Value> {
        let (last, tables) = key.split_last()?;
        let mut table = &self.root;
        for name in tables {
            table = table.get(*name)?.as_table()?;
        }
        table.get(*last)
    }

    /// Whether `--config` sets the key, which then goes over the environment.
    pub(super) fn is_overridden(&self, key: &[&str]) -> bool {
        self.find(key)
            .is_some_and(|value| matches!(value.origin(), Origin::Override(_)))
    }

    /// Where the value of `key` comes from, for messages about it.
    pub(super) fn origin(&self, key: &[&str]) -> Origin {
        let variable = self.variable(key).map(|(_, origin)| origin);
        variable
            .or_else(|| self.find(key).map(|value| value.origin().clone()))
            .unwrap_or(Origin::Override(None))
    }

    /// The directory that the user is in.
    pub(super) fn start(&self) -> &Path {
        &self.start
    }

    /// Whether a checkout says so, not the user.
    pub(super) fn is_of_checkout(&self, origin: &Origin) -> bool {
        matches!(origin, Origin::File(path) if !self.of_user.contains(&**path))
    }

    /// A variable by its own name: one of `CARGO_*` or `RUST*`.
    pub(super) fn raw_variable(&self, name: &str) -> Option<String> {
        self.environment.get(name).cloned()
    }

    /// The variable for `key`.
    fn any_variable(&self, key: &[&str]) -> Option<(&String, Origin)> {
        let name = format!(
            "CARGO_{}",
            key.join("_").to_uppercase().replace(['-', '.'], "_")
        );
        let value = self.environment.get(&name)?;
        Some((value, Origin::Environment(name)))
    }

    /// The variable for `key`, unless `--config` sets the key.
    fn variable(&self, key: &[&str]) -> Option<(&String, Origin)> {
        self.any_variable(key).filter(|_| !self.is_overridden(key))
    }

    /// What the variable for `key` says, as the kind of value that it looks like.
    pub(super) fn environment_value(&self, key: &[&str]) -> Option<toml::Value> {
        let (text, _) = self.variable(key)?;
        Some(match (text.as_str(), text.parse::<i64>()) {
            ("true", _) => toml::Value::Boolean(true),
            ("false", _) => toml::Value::Boolean(false),
            (_, Ok(number)) => toml::Value::Integer(number),
            _ => toml::Value::String(text.clone()),
        })
    }

    /// The names that variables `PREFIX NAME SUFFIX` stand for, in lower case and with dashes: all that can be known.
    pub(super) fn environment_names(&self, prefix: &str, suffix: &str) -> Vec<String> {
        self.environment
            .keys()
            .filter_map(|name| name.strip_prefix(prefix)?.strip_suffix(suffix))
            .filter(|name| !name.is_empty())
            .map(|name| name.to_lowercase().replace('_', "-"))
            .collect()
    }

    /// The keys of a table.
    pub(super) fn keys(&self, key: &[&str]) -> Vec<String> {
        let table = self.find(key).and_then(Value::as_table);
        table
            .into_iter()
            .flat_map(|table| table.keys().cloned())
            .collect()
    }

    fn wrong<T>(key: &[&str], value: &Value, expected: &str) -> Result<T, ConfigError> {
        Err(value.origin().error(
            &key.join("."),
            format!("it is {}, and {expected} is expected", value.words()),
        ))
    }

    pub(super) fn string(&self, key: &[&str]) -> Result<Option<(String, Origin)>, ConfigError> {
        if let Some((text, origin)) = self.variable(key) {
            return Ok(Some((text.clone(), origin)));
        }
        match self.find(key) {
            None => Ok(None),
            Some(Value::Scalar(toml::Value::String(text), origin)) => {
                Ok(Some((text.clone(), origin.clone())))
            }
            Some(other) => Self::wrong(key, other, "a string"),
        }
    }

    /// A path, relative ones to where the key is set.
    pub(super) fn path(&self, key: &[&str]) -> Result<Option<PathBuf>, ConfigError> {
        match self.string(key)? {
            None => Ok(None),
            Some((text, origin)) if text.is_empty() => {
                Err(origin.error(&key.join("."), "it is empty"))
            }
            Some((text, origin)) => Ok(Some(normalize(&origin.base(&self.start).join(text)))),
        }
    }

    pub(super) fn boolean(&self, key: &[&str]) -> Result<Option<bool>, ConfigError> {
        if let Some((text, origin)) = self.variable(key) {
            return match text.as_str() {
                "true" => Ok(Some(true)),
                "false" => Ok(Some(false)),
                _ => Err(origin.error(
                    &key.join("."),
                    format!("`{text}` is neither `true` nor `false`"),
                )),
            };
        }
        match self.find(key) {
            None => Ok(None),
            Some(Value::Scalar(toml::Value::Boolean(value), _)) => Ok(Some(*value)),
            Some(other) => Self::wrong(key, other, "`true` or `false`"),
        }
    }

    pub(super) fn integer(&self, key: &[&str]) -> Result<Option<i64>, ConfigError> {
        if let Some((text, origin)) = self.variable(key) {
            return text
                .parse()
                .map(Some)
                .map_err(|_| origin.error(&key.join("."), format!("`{text}` is not a number")));
        }
        match self.find(key) {
            None => Ok(None),
            Some(Value::Scalar(toml::Value::Integer(value), _)) => Ok(Some(*value)),
            Some(other) => Self::wrong(key, other, "a number"),
        }
    }

    /// A number or a string, as text.
    pub(super) fn number_or_text(
        &self,
        key: &[&str],
    ) -> Result<Option<(String, Origin)>, ConfigError> {
        match self.find(key) {
            Some(Value::Scalar(toml::Value::Integer(number), origin))
                if self.variable(key).is_none() =>
            {
                Ok(Some((number.to_string(), origin.clone())))
            }
            _ => self.string(key),
        }
    }

    /// A list of strings: a list, or a string of words. The variable's words come after those of files and before those
    /// of `--config`.
    pub(super) fn list(&self, key: &[&str]) -> Result<Option<Vec<String>>, ConfigError> {
        let variable = self.any_variable(key);
        let mut list: Vec<(Origin, String)> = Vec::new();
        let found = self.find(key);
        match found {
            None => {}
            Some(Value::Scalar(toml::Value::String(text), origin)) => {
                list.extend(words(text).map(|word| (origin.clone(), word)));
            }
            Some(Value::List(entries, _)) => {
                for (entry, origin) in entries {
                    list.push((origin.clone(), string_entry(key, entry, origin)?));
                }
            }
            Some(other) => return Self::wrong(key, other, "a string or a list of strings"),
        };
        if let Some((text, origin)) = &variable {
            list.extend(words(text).map(|word| (origin.clone(), word)));
        }
        // A stable sort: files stay in their order.
        list.sort_by_key(|(origin, _)| match origin {
            Origin::File(_) => 0,
            Origin::Environment(_) => 1,
            Origin::Override(_) => 2,
        });
        let is_said = found.is_some() || variable.is_some();
        Ok(is_said.then(|| list.into_iter().map(|(_, word)| word).collect()))
    }

    /// One string, or a list of them; only lists are joined.
    pub(super) fn one_or_many(&self, key: &[&str]) -> Result<Vec<String>, ConfigError> {
        match self.find(key) {
            None | Some(Value::Scalar(..)) => Ok(self
                .string(key)?
                .map(|(text, _)| text)
                .into_iter()
                .collect()),
            Some(_) => Ok(self.list(key)?.unwrap_or_default()),
        }
    }

    /// The words of one command line, a string or a list, which are never joined with those of another place.
    pub(super) fn words(&self, key: &[&str]) -> Result<Option<Vec<String>>, ConfigError> {
        if let Some((text, _)) = self.variable(key) {
            return Ok(Some(words(text).collect()));
        }
        match self.find(key) {
            None => Ok(None),
            Some(Value::Scalar(toml::Value::String(text), _)) => Ok(Some(words(text).collect())),
            Some(Value::List(entries, _)) => entries
                .iter()
                .map(|(entry, origin)| string_entry(key, entry, origin))
                .collect::<Result<_, _>>()
                .map(Some),
            Some(other) => Self::wrong(key, other, "a string or a list of strings"),
        }
    }

    /// A string of files or `--config`; variables do not count.
    pub(super) fn file_string(&self, key: &[&str]) -> Result<Option<String>, ConfigError> {
        match self.find(key) {
            None => Ok(None),
            Some(Value::Scalar(toml::Value::String(text), _)) => Ok(Some(text.clone())),
            Some(other) => Self::wrong(key, other, "a string"),
        }
    }

    /// A list of strings, or one string that is one entry, of files or `--config`; variables do not count.
    pub(super) fn file_list(&self, key: &[&str]) -> Result<Vec<String>, ConfigError> {
        match self.find(key) {
            None => Ok(Vec::new()),
            Some(Value::Scalar(toml::Value::String(text), _)) => Ok(vec![text.clone()]),
            Some(Value::List(entries, _)) => entries
                .iter()
                .map(|(entry, origin)| string_entry(key, entry, origin))
                .collect(),
            Some(other) => Self::wrong(key, other, "a string or a list of strings"),
        }
    }

    /// The table at `key` as plain TOML, empty where there is none, and where it comes from.
    pub(super) fn plain_table(&self, key: &[&str]) -> Result<(toml::Table, Origin), ConfigError> {
        match self.find(key) {
            None => Ok((
                toml::Table::new(),
                Origin::Environment(format!("CARGO_{}_…", key.join("_").to_uppercase())),
            )),
            Some(value) => match value.plain() {
                toml::Value::Table(table) => Ok((table, value.origin().clone())),
                _ => Self::wrong(key, value, "a table"),
            },
        }
    }
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split_whitespace().map(str::to_owned)
}

fn string_entry(key: &[&str], entry: &toml::Value, origin: &Origin) -> Result<String, ConfigError> {
    match entry {
        toml::Value::String(text) => Ok(text.clone()),
        _ => Err(origin.error(&key.join("."), "the list holds something that is no string")),
    }
}

/// The files that `include` names, and whether each may be missing.
fn includes(value: &Value) -> Result<Vec<(PathBuf, bool)>, ConfigError> {
    let wrong = |message: &str| value.origin().error("include", message);
    let entries: Vec<toml::Value> = match value {
        Value::List(list, _) => list.iter().map(|(entry, _)| entry.clone()).collect(),
        _ => return Err(wrong("it is not a list of paths")),
    };
    let mut files = Vec::with_capacity(entries.len());
    let mut seen = HashSet::new();
    for entry in entries {
        let (path, is_optional) = match &entry {
            toml::Value::String(path) => (path.as_str(), false),
            toml::Value::Table(table) => (
                table
                    .get("path")
                    .and_then(toml::Value::as_str)
                    .ok_or_else(|| wrong("an entry has no `path`"))?,
                table
                    .get("optional")
                    .and_then(toml::Value::as_bool)
                    .unwrap_or(false),
            ),
            _ => return Err(wrong("an entry is neither a path nor a table with one")),
        };
        if !path.ends_with(".toml") {
            return Err(wrong("a file's name does not end in `.toml`"));
        }
        if seen.insert(path.to_owned()) {
            files.push((PathBuf::from(path), is_optional));
        }
    }
    Ok(files)
}
