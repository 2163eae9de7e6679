//! A value of the configuration and where it comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ConfigError;

/// A table of values.
pub(super) type Table = BTreeMap<String, Value>;

/// What sets a value. The order is that of precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// A file; all files are alike here, since the order in which they are merged decides between them.
    File(Arc<PathBuf>),
    /// A variable.
    Environment(String),
    /// `--config`: `key=value`, or a file.
    Override(Option<Arc<PathBuf>>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "the variable `{name}`"),
            Self::Override(None) => f.write_str("`--config`"),
            Self::Override(Some(path)) => write!(f, "{} (of `--config`)", path.display()),
        }
    }
}

impl Origin {
    pub(super) fn error(&self, key: &str, message: impl Into<String>) -> ConfigError {
        ConfigError::Value {
            origin: self.to_string(),
            key: key.to_owned(),
            message: message.into(),
        }
    }

    /// What relative paths are relative to: for a file, the directory that holds its `.cargo`.
    pub(super) fn base(&self, start: &Path) -> PathBuf {
        match self {
            Self::File(path) | Self::Override(Some(path)) => path
                .parent()
                .and_then(Path::parent)
                .unwrap_or(start)
                .to_owned(),
            Self::Environment(_) | Self::Override(None) => start.to_owned(),
        }
    }
}

/// A value; lists remember for each entry where it comes from, since lists of several files are joined.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Scalar(toml::Value, Origin),
    List(Vec<(toml::Value, Origin)>, Origin),
    Table(Table, Origin),
}

impl Value {
    pub(super) fn new(value: toml::Value, origin: &Origin) -> Self {
        match value {
            toml::Value::Array(list) => Self::List(
                list.into_iter()
                    .map(|value| (value, origin.clone()))
                    .collect(),
                origin.clone(),
            ),
            toml::Value::Table(table) => Self::Table(table_of(table, origin), origin.clone()),
            scalar => Self::Scalar(scalar, origin.clone()),
        }
    }

    pub(super) fn origin(&self) -> &Origin {
        match self {
            Self::Scalar(_, origin) | Self::List(_, origin) | Self::Table(_, origin) => origin,
        }
    }

    pub(super) fn as_table(&self) -> Option<&Table> {
        match self {
            Self::Table(table, _) => Some(table),
            _ => None,
        }
    }

    pub(super) fn words(&self) -> &'static str {
        match self {
            Self::Scalar(toml::Value::String(_), _) => "a string",
            Self::Scalar(toml::Value::Boolean(_), _) => "a boolean",
            Self::Scalar(toml::Value::Integer(_), _) => "an integer",
            Self::Scalar(..) => "a number or date",
            Self::List(..) => "a list",
            Self::Table(..) => "a table",
        }
    }

    /// This value as plain TOML.
    pub(super) fn plain(&self) -> toml::Value {
        match self {
            Self::Scalar(value, _) => value.clone(),
            Self::List(list, _) => {
                toml::Value::Array(list.iter().map(|(value, _)| value.clone()).collect())
            }
            Self::Table(table, _) => toml::Value::Table(
                table
                    .iter()
                    .map(|(key, value)| (key.clone(), value.plain()))
                    .collect(),
            ),
        }
    }

    /// Puts `higher` over this value: tables key by key, lists one after the other, the more significant last.
    fn put(&mut self, higher: Value, key: &str) -> Result<(), ConfigError> {
        match (self, higher) {
            (Self::Table(lower, _), Self::Table(higher, _)) => merge(lower, higher, key),
            (Self::List(lower, origin), Self::List(higher, new_origin)) => {
                // A runner and a credential provider are one command, not a list of several.
                if key.ends_with(".runner") || key.ends_with("credential-provider") {
                    *lower = higher;
                } else {
                    lower.extend(higher);
                }
                *origin = new_origin;
                Ok(())
            }
            (lower @ Self::Scalar(..), higher @ Self::Scalar(..)) => {
                *lower = higher;
                Ok(())
            }
            (lower, higher) => Err(higher.origin().error(
                key,
                format!(
                    "it is {} here and {} in {}: they cannot be joined",
                    higher.words(),
                    lower.words(),
                    lower.origin()
                ),
            )),
        }
    }
}

/// The values of a TOML table.
pub(super) fn table_of(table: toml::Table, origin: &Origin) -> Table {
    table
        .into_iter()
        .map(|(key, value)| (key, Value::new(value, origin)))
        .collect()
}

/// Puts the table `higher` over `lower`; `prefix` is where both stand.
pub(super) fn merge(lower: &mut Table, higher: Table, prefix: &str) -> Result<(), ConfigError> {
    for (name, value) in higher {
        let key = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        match lower.get_mut(&name) {
            Some(there) => there.put(value, &key)?,
            None => {
                lower.insert(name, value);
            }
        }
    }
    Ok(())
}
