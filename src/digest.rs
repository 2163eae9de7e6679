//! Typed digests: a fixed-size array per kind of thing named, with no public way from one kind to another.
//!
//! A digest computed here from bytes is a fact; a digest that came from a lock file, an index or a server is a
//! claim, and is kept as [`Claimed`] until the bytes themselves were hashed.

use std::fmt;
use std::str::FromStr;

/// A text that is not a digest: it must be 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a digest: 64 lower-case hexadecimal digits are expected")]
pub struct ParseDigestError(String);

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The raw 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The digest whose raw bytes are `bytes`; for decoders of stored values.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// 64 lower-case hexadecimal digits.
            pub fn to_hex(&self) -> String {
                blake3::Hash::from_bytes(self.0).to_hex().to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), &self.to_hex()[..12])
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let wrong = || ParseDigestError(text.chars().take(80).collect());
                if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
                    return Err(wrong());
                }
                let hash = blake3::Hash::from_hex(text).map_err(|_| wrong())?;
                Ok(Self(*hash.as_bytes()))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.to_hex())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

digest!(
    /// BLAKE3-256 of a file's content.
    BlobDigest
);
digest!(
    /// BLAKE3-256 of the canonical bytes of a directory (REAPI `Directory`), which name its whole closure.
    TreeDigest
);
digest!(
    /// BLAKE3-256 of the canonical bytes of an action of the locked graph, in which the outputs of earlier actions
    /// are named by (action id, output name). Known before anything runs.
    ActionId
);
digest!(
    /// BLAKE3-256 of the canonical bytes of a REAPI `Action`: every input is named by its content. The action cache
    /// is looked up by it.
    ActionKey
);
digest!(
    /// SHA-256 of a crate archive, as cargo's index and `Cargo.lock` state it.
    Sha256
);

impl BlobDigest {
    /// Hashes `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl TreeDigest {
    /// Hashes the canonical bytes of a directory; only [`crate::tree`] makes such bytes.
    pub(crate) fn of_canonical(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl ActionId {
    /// Hashes the canonical bytes of a symbolic action.
    pub(crate) fn of_canonical(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl ActionKey {
    /// Hashes the canonical bytes of a keyed action.
    pub(crate) fn of_canonical(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl Sha256 {
    /// Hashes `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }
}

/// A digest that somebody else stated (a lock file, an index, a server) and nobody has checked yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claimed<T>(pub T);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_rejects_other_text() {
        let digest = BlobDigest::of(b"kiln");
        assert_eq!(digest.to_hex().parse::<BlobDigest>(), Ok(digest));
        for text in [
            "",
            "00",
            &digest.to_hex().to_uppercase(),
            &format!("{digest}0"),
        ] {
            assert!(text.parse::<BlobDigest>().is_err(), "{text}");
        }
    }

    #[test]
    fn sha256_is_the_standard_one() {
        assert_eq!(
            Sha256::of(b"abc").to_hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
