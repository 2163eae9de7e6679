//! Paths that cannot escape or mix: where an action sees a file, and a path below some root.
//!
//! Host paths stay [`std::path::Path`]; they are formed only beside an effect, and nothing here converts one into
//! the other by accident.

use std::fmt;

/// Why a text is not one of this module's paths.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is not a valid path here: {why}")]
pub struct PathError {
    path: String,
    why: &'static str,
}

fn check_parts(path: &str, whole: &str) -> Result<(), PathError> {
    let fail = |why| {
        Err(PathError {
            path: whole.chars().take(200).collect(),
            why,
        })
    };
    if path.len() > 4000 {
        return fail("it is too long");
    }
    for part in path.split('/') {
        match part {
            "" => return fail("it has an empty component"),
            "." | ".." => return fail("it has a `.` or `..` component"),
            _ if part.contains('\0') => return fail("it contains a NUL byte"),
            _ if part.len() > 255 => return fail("a component is longer than 255 bytes"),
            _ => {}
        }
    }
    Ok(())
}

/// A relative path of at least one component: no `.` or `..`, no empty component, no NUL, no leading slash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct RelPath(String);

impl RelPath {
    /// Checks `path`.
    pub fn new(path: impl Into<String>) -> Result<Self, PathError> {
        let path = path.into();
        check_parts(&path, &path)?;
        Ok(Self(path))
    }

    /// The path as text, components separated by `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components, from the outermost in.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An absolute path as an action sees it, whatever the host calls the file. `/` itself is one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct SandboxPath(String);

impl SandboxPath {
    /// Checks `path`: absolute and normalised.
    pub fn new(path: impl Into<String>) -> Result<Self, PathError> {
        let path = path.into();
        match path.strip_prefix('/') {
            None => Err(PathError {
                path,
                why: "it is not absolute",
            }),
            Some("") => Ok(Self(path)),
            Some(rest) => check_parts(rest, &path).map(|()| Self(path)),
        }
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This path with `child` appended.
    #[must_use]
    pub fn join(&self, child: &RelPath) -> Self {
        if self.0 == "/" {
            Self(format!("/{child}"))
        } else {
            Self(format!("{}/{child}", self.0))
        }
    }

    /// Whether this is `other`, or a path below it.
    pub fn is_within(&self, other: &Self) -> bool {
        is_within(self.as_str(), other.as_str())
    }

    /// The path without its leading slash, or `None` for `/`.
    pub fn relative_to_root(&self) -> Option<RelPath> {
        (self.0 != "/").then(|| RelPath(self.0[1..].to_owned()))
    }
}

impl fmt::Display for SandboxPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! deserialize_checked {
    ($name:ident) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $name::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}
deserialize_checked!(RelPath);
deserialize_checked!(SandboxPath);

/// Whether `path` is `outer`, or a path below it. Both are written alike, and without a slash at the end.
pub fn is_within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_relative_path() {
        for good in ["a", "a/b", "a b/ç", "..a", "...", ".hidden"] {
            assert!(RelPath::new(good).is_ok(), "{good}");
        }
        for bad in [
            "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\0b",
        ] {
            assert!(RelPath::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_a_sandbox_path() {
        for good in ["/", "/a", "/kiln/src/x-1.0.0"] {
            assert!(SandboxPath::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "//", "/a/", "/a/..", "/a\0"] {
            assert!(SandboxPath::new(bad).is_err(), "{bad:?}");
        }
    }
}
