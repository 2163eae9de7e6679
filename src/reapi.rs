//! Messages of the Bazel Remote Execution API v2, in the part that kiln uses.
//!
//! These are wire types: what an action, a directory and a result look like as protobuf, with the field numbers of
//! `build/bazel/remote/execution/v2/remote_execution.proto`. They are derived by hand, so that the build needs no
//! `protoc`. Fields that kiln neither sets nor reads are left out; a decoder skips them, as protobuf allows.
//!
//! **Canonical bytes.** Digests are taken of encoded messages, so equal values have to give equal bytes:
//! - fields in ascending order of their numbers, default values left out (what prost writes);
//! - `Directory`: files, directories and symlinks each sorted by name as UTF-8 bytes, names unique over all three
//!   and of one segment (comment on message `Directory`);
//! - `Command`: `environment_variables` sorted by name, `output_paths` sorted and without repetition (comments on
//!   those fields); the deprecated `output_files`, `output_directories` and `platform` are never written;
//! - `Platform`: properties sorted by name, then by value (comment on message `Platform`);
//! - `NodeProperties`: properties sorted by name (comment on message `Directory`); kiln writes none at all, since a
//!   mode or a time of a file would be a second truth beside its content.
//!
//! [`Command::canonical`], [`Platform::canonical`] and [`crate::tree`] put values into that form; nothing else in
//! kiln should encode these messages for the purpose of hashing.
//!
//! Absent on purpose: services and requests (they belong to the remote client), `google.protobuf.Any`, and every
//! check of meaning. A [`Digest`] here is a claim by whoever sent it.

use crate::digest::{ActionKey, BlobDigest, ParseDigestError, TreeDigest};

/// Why a wire digest does not name anything kiln could have hashed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The hash is not that of a BLAKE3-256 digest.
    #[error("digest in a message: {0}")]
    Hash(#[from] ParseDigestError),
    /// The size is negative.
    #[error("digest in a message: the size `{0}` is negative")]
    Size(i64),
    /// A field that has to hold a digest is absent.
    #[error("digest in a message: the field is absent")]
    Absent,
}

/// Message `Digest`: hash as lower-case hexadecimal, and the size in bytes of what was hashed.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Message)]
pub struct Digest {
    /// Lower-case hexadecimal BLAKE3-256.
    #[prost(string, tag = "1")]
    pub hash: String,
    /// Size of the content in bytes.
    #[prost(int64, tag = "2")]
    pub size_bytes: i64,
}

impl Digest {
    /// The wire form of a digest given as its raw bytes.
    fn new(bytes: &[u8; 32], size_bytes: u64) -> Self {
        Self {
            hash: blake3::Hash::from_bytes(*bytes).to_hex().to_string(),
            size_bytes: i64::try_from(size_bytes).unwrap_or(i64::MAX),
        }
    }

    /// The digest of a blob of `size_bytes` bytes.
    pub fn of_blob(digest: &BlobDigest, size_bytes: u64) -> Self {
        Self::new(digest.as_bytes(), size_bytes)
    }

    /// The digest of a directory whose top-level message has `size_bytes` bytes.
    pub fn of_tree(digest: &TreeDigest, size_bytes: u64) -> Self {
        Self::new(digest.as_bytes(), size_bytes)
    }

    /// The digest of an encoded [`Action`] of `size_bytes` bytes.
    pub fn of_action(key: &ActionKey, size_bytes: u64) -> Self {
        Self::new(key.as_bytes(), size_bytes)
    }

    /// Hashes `bytes`, an encoded message or a blob.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self::new(blake3::hash(bytes).as_bytes(), bytes.len() as u64)
    }

    /// The size, if it is one.
    pub fn checked_size(&self) -> Result<u64, DigestError> {
        u64::try_from(self.size_bytes).map_err(|_| DigestError::Size(self.size_bytes))
    }

    /// Reads it as the digest of a blob, and its size.
    pub fn to_blob(&self) -> Result<(BlobDigest, u64), DigestError> {
        Ok((self.hash.parse()?, self.checked_size()?))
    }

    /// Reads it as the digest of a directory, and the size of its top-level message.
    pub fn to_tree(&self) -> Result<(TreeDigest, u64), DigestError> {
        Ok((self.hash.parse()?, self.checked_size()?))
    }
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Message)]
pub struct Timestamp {
    /// Seconds since the Unix epoch.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds, from 0 to 999 999 999.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Message)]
pub struct Duration {
    /// Seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds, of the same sign as the seconds.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl From<std::time::Duration> for Duration {
    fn from(value: std::time::Duration) -> Self {
        Self {
            seconds: i64::try_from(value.as_secs()).unwrap_or(i64::MAX),
            nanos: value.subsec_nanos().cast_signed(),
        }
    }
}

/// `google.protobuf.UInt32Value`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct UInt32Value {
    /// The value.
    #[prost(uint32, tag = "1")]
    pub value: u32,
}

/// Message `NodeProperty`: a server-defined attribute of a file, directory or symlink.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct NodeProperty {
    /// Name of the attribute.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Value of the attribute.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// Message `NodeProperties`. kiln writes none and ignores what it reads.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct NodeProperties {
    /// Attributes, sorted by name.
    #[prost(message, repeated, tag = "1")]
    pub properties: Vec<NodeProperty>,
    /// Time of the last modification.
    #[prost(message, optional, tag = "2")]
    pub mtime: Option<Timestamp>,
    /// Unix permission bits.
    #[prost(message, optional, tag = "3")]
    pub unix_mode: Option<UInt32Value>,
}

/// Message `FileNode`: a file of a directory.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct FileNode {
    /// Name, one segment.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Digest of the content.
    #[prost(message, optional, tag = "2")]
    pub digest: Option<Digest>,
    /// Whether it may be executed.
    #[prost(bool, tag = "4")]
    pub is_executable: bool,
    /// Attributes.
    #[prost(message, optional, tag = "6")]
    pub node_properties: Option<NodeProperties>,
}

/// Message `DirectoryNode`: a sub-directory, named by the digest of its own `Directory`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct DirectoryNode {
    /// Name, one segment.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Digest of the encoded [`Directory`].
    #[prost(message, optional, tag = "2")]
    pub digest: Option<Digest>,
}

/// Message `SymlinkNode`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct SymlinkNode {
    /// Name, one segment.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Target: relative to the link's directory, or absolute.
    #[prost(string, tag = "2")]
    pub target: String,
    /// Attributes.
    #[prost(message, optional, tag = "4")]
    pub node_properties: Option<NodeProperties>,
}

/// Message `Directory`: one level of a tree. Canonical form: see the module.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Directory {
    /// Files, sorted by name.
    #[prost(message, repeated, tag = "1")]
    pub files: Vec<FileNode>,
    /// Sub-directories, sorted by name.
    #[prost(message, repeated, tag = "2")]
    pub directories: Vec<DirectoryNode>,
    /// Symbolic links, sorted by name.
    #[prost(message, repeated, tag = "3")]
    pub symlinks: Vec<SymlinkNode>,
    /// Attributes.
    #[prost(message, optional, tag = "5")]
    pub node_properties: Option<NodeProperties>,
}

/// Message `Tree`: a directory and all directories below it.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Tree {
    /// The top level.
    #[prost(message, optional, tag = "1")]
    pub root: Option<Directory>,
    /// Every other level, once.
    #[prost(message, repeated, tag = "2")]
    pub children: Vec<Directory>,
}

/// Message `Platform.Property`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Message)]
pub struct PlatformProperty {
    /// Name, such as `OSFamily`.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// Message `Platform`: what a worker has to offer.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Platform {
    /// Properties, sorted by name, then by value.
    #[prost(message, repeated, tag = "1")]
    pub properties: Vec<PlatformProperty>,
}

impl Platform {
    /// A platform of these properties, in canonical order.
    pub fn canonical(properties: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut properties: Vec<_> = properties
            .into_iter()
            .map(|(name, value)| PlatformProperty { name, value })
            .collect();
        properties.sort();
        properties.dedup();
        Self { properties }
    }
}

/// Message `Command.EnvironmentVariable`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Message)]
pub struct EnvironmentVariable {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// Values of `Command.OutputDirectoryFormat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum OutputDirectoryFormat {
    /// Output directories come as one `Tree` each.
    TreeOnly = 0,
    /// Output directories come as separately stored `Directory` messages.
    DirectoryOnly = 1,
    /// Both.
    TreeAndDirectory = 2,
}

/// Message `Command`: what a process does. Deprecated fields are left out.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Command {
    /// Program and arguments.
    #[prost(string, repeated, tag = "1")]
    pub arguments: Vec<String>,
    /// The environment, sorted by name.
    #[prost(message, repeated, tag = "2")]
    pub environment_variables: Vec<EnvironmentVariable>,
    /// Working directory, relative to the input root.
    #[prost(string, tag = "6")]
    pub working_directory: String,
    /// Declared outputs relative to the working directory: sorted, without repetition.
    #[prost(string, repeated, tag = "7")]
    pub output_paths: Vec<String>,
    /// Names of attributes that outputs should carry, sorted.
    #[prost(string, repeated, tag = "8")]
    pub output_node_properties: Vec<String>,
    /// How output directories are to be stored.
    #[prost(enumeration = "OutputDirectoryFormat", tag = "9")]
    pub output_directory_format: i32,
}

impl Command {
    /// This command with everything whose order has no meaning in canonical order. Of two variables of one name the
    /// order is by value; a caller that means something by it has a bug that canonical form cannot mend.
    #[must_use]
    pub fn canonical(mut self) -> Self {
        self.environment_variables.sort();
        self.output_paths.sort();
        self.output_paths.dedup();
        self.output_node_properties.sort();
        self.output_node_properties.dedup();
        self
    }
}

/// Message `Action`: a command on an input tree. Its digest is the key of the action cache.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Action {
    /// Digest of the encoded [`Command`].
    #[prost(message, optional, tag = "1")]
    pub command_digest: Option<Digest>,
    /// Digest of the encoded top-level [`Directory`] of the inputs.
    #[prost(message, optional, tag = "2")]
    pub input_root_digest: Option<Digest>,
    /// Bound on the time of execution.
    #[prost(message, optional, tag = "6")]
    pub timeout: Option<Duration>,
    /// Whether the result must not be cached.
    #[prost(bool, tag = "7")]
    pub do_not_cache: bool,
    /// Bytes that keep otherwise equal actions apart.
    #[prost(bytes = "vec", tag = "9")]
    pub salt: Vec<u8>,
    /// What the worker has to offer.
    #[prost(message, optional, tag = "10")]
    pub platform: Option<Platform>,
}

/// Message `OutputFile`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct OutputFile {
    /// Path relative to the working directory.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Digest of the content.
    #[prost(message, optional, tag = "2")]
    pub digest: Option<Digest>,
    /// Whether it may be executed.
    #[prost(bool, tag = "4")]
    pub is_executable: bool,
    /// The content itself, where it was asked to be inlined.
    #[prost(bytes = "vec", tag = "5")]
    pub contents: Vec<u8>,
    /// Attributes.
    #[prost(message, optional, tag = "7")]
    pub node_properties: Option<NodeProperties>,
}

/// Message `OutputDirectory`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct OutputDirectory {
    /// Path relative to the working directory; empty is that directory itself.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Digest of an encoded [`Tree`].
    #[prost(message, optional, tag = "3")]
    pub tree_digest: Option<Digest>,
    /// Whether that `Tree` holds each level once, parents before children.
    #[prost(bool, tag = "4")]
    pub is_topologically_sorted: bool,
    /// Digest of the encoded top-level [`Directory`].
    #[prost(message, optional, tag = "5")]
    pub root_directory_digest: Option<Digest>,
}

/// Message `OutputSymlink`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct OutputSymlink {
    /// Path relative to the working directory.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Target.
    #[prost(string, tag = "2")]
    pub target: String,
    /// Attributes.
    #[prost(message, optional, tag = "4")]
    pub node_properties: Option<NodeProperties>,
}

/// Message `ExecutedActionMetadata`: who executed, and when. `auxiliary_metadata` is left out.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ExecutedActionMetadata {
    /// Name of the worker.
    #[prost(string, tag = "1")]
    pub worker: String,
    /// When the action was added to the queue.
    #[prost(message, optional, tag = "2")]
    pub queued_timestamp: Option<Timestamp>,
    /// When the worker received the action.
    #[prost(message, optional, tag = "3")]
    pub worker_start_timestamp: Option<Timestamp>,
    /// When the worker had completed the action, all stages included.
    #[prost(message, optional, tag = "4")]
    pub worker_completed_timestamp: Option<Timestamp>,
    /// When the worker started to fetch inputs.
    #[prost(message, optional, tag = "5")]
    pub input_fetch_start_timestamp: Option<Timestamp>,
    /// When the worker had fetched the inputs.
    #[prost(message, optional, tag = "6")]
    pub input_fetch_completed_timestamp: Option<Timestamp>,
    /// When the command was started.
    #[prost(message, optional, tag = "7")]
    pub execution_start_timestamp: Option<Timestamp>,
    /// When the command had ended.
    #[prost(message, optional, tag = "8")]
    pub execution_completed_timestamp: Option<Timestamp>,
    /// When the worker started to upload outputs.
    #[prost(message, optional, tag = "9")]
    pub output_upload_start_timestamp: Option<Timestamp>,
    /// When the worker had uploaded the outputs.
    #[prost(message, optional, tag = "10")]
    pub output_upload_completed_timestamp: Option<Timestamp>,
    /// Time of execution as the worker would have it without waiting.
    #[prost(message, optional, tag = "12")]
    pub virtual_execution_duration: Option<Duration>,
}

/// Message `ActionResult`. The deprecated lists of symlinks by kind are read (an older server sends them) and never
/// written by kiln.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ActionResult {
    /// Files among the outputs.
    #[prost(message, repeated, tag = "2")]
    pub output_files: Vec<OutputFile>,
    /// Directories among the outputs.
    #[prost(message, repeated, tag = "3")]
    pub output_directories: Vec<OutputDirectory>,
    /// Exit code of the command.
    #[prost(int32, tag = "4")]
    pub exit_code: i32,
    /// Standard output, where it is inlined.
    #[prost(bytes = "vec", tag = "5")]
    pub stdout_raw: Vec<u8>,
    /// Digest of standard output, where it is stored as a blob.
    #[prost(message, optional, tag = "6")]
    pub stdout_digest: Option<Digest>,
    /// Standard error, where it is inlined.
    #[prost(bytes = "vec", tag = "7")]
    pub stderr_raw: Vec<u8>,
    /// Digest of standard error, where it is stored as a blob.
    #[prost(message, optional, tag = "8")]
    pub stderr_digest: Option<Digest>,
    /// Who executed, and when.
    #[prost(message, optional, tag = "9")]
    pub execution_metadata: Option<ExecutedActionMetadata>,
    /// Symlinks to files among the outputs; superseded by `output_symlinks`.
    #[prost(message, repeated, tag = "10")]
    pub output_file_symlinks: Vec<OutputSymlink>,
    /// Symlinks to directories among the outputs; superseded by `output_symlinks`.
    #[prost(message, repeated, tag = "11")]
    pub output_directory_symlinks: Vec<OutputSymlink>,
    /// Symlinks among the outputs.
    #[prost(message, repeated, tag = "12")]
    pub output_symlinks: Vec<OutputSymlink>,
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    /// Bytes written down by hand from the protobuf wire format, to hold the field numbers in place.
    #[test]
    fn field_numbers_are_those_of_the_specification() {
        let digest = Digest {
            hash: "ab".into(),
            size_bytes: 3,
        };
        let d = b"\x0a\x02ab\x10\x03";
        assert_eq!(digest.encode_to_vec(), d);

        let directory = Directory {
            files: vec![FileNode {
                name: "f".into(),
                digest: Some(digest.clone()),
                is_executable: true,
                node_properties: None,
            }],
            directories: vec![DirectoryNode {
                name: "d".into(),
                digest: Some(digest.clone()),
            }],
            symlinks: vec![SymlinkNode {
                name: "s".into(),
                target: "t".into(),
                node_properties: None,
            }],
            node_properties: None,
        };
        let mut expected: Vec<u8> = Vec::new();
        expected.extend(b"\x0a\x0d\x0a\x01f\x12\x06");
        expected.extend(d);
        expected.extend(b"\x20\x01\x12\x0b\x0a\x01d\x12\x06");
        expected.extend(d);
        expected.extend(b"\x1a\x06\x0a\x01s\x12\x01t");
        assert_eq!(directory.encode_to_vec(), expected);

        let action = Action {
            command_digest: Some(digest.clone()),
            input_root_digest: Some(digest.clone()),
            timeout: Some(std::time::Duration::new(1, 2).into()),
            do_not_cache: true,
            salt: vec![7],
            platform: Some(Platform::canonical([("n".into(), "v".into())])),
        };
        let mut expected: Vec<u8> = Vec::new();
        for tag in [0x0a, 0x12] {
            expected.extend([tag, 6]);
            expected.extend(d);
        }
        expected.extend(b"\x32\x04\x08\x01\x10\x02\x38\x01\x4a\x01\x07");
        expected.extend(b"\x52\x08\x0a\x06\x0a\x01n\x12\x01v");
        assert_eq!(action.encode_to_vec(), expected);

        let command = Command {
            arguments: vec!["a".into()],
            environment_variables: vec![EnvironmentVariable {
                name: "n".into(),
                value: "v".into(),
            }],
            working_directory: "w".into(),
            output_paths: vec!["o".into()],
            output_node_properties: vec![],
            output_directory_format: OutputDirectoryFormat::TreeAndDirectory.into(),
        };
        assert_eq!(
            command.encode_to_vec(),
            b"\x0a\x01a\x12\x06\x0a\x01n\x12\x01v\x32\x01w\x3a\x01o\x48\x02"
        );

        let result = ActionResult {
            output_files: vec![OutputFile {
                path: "p".into(),
                digest: None,
                is_executable: true,
                contents: vec![1],
                node_properties: None,
            }],
            output_directories: vec![OutputDirectory {
                path: "q".into(),
                tree_digest: None,
                is_topologically_sorted: true,
                root_directory_digest: Some(digest.clone()),
            }],
            exit_code: 1,
            stdout_raw: vec![2],
            stderr_digest: Some(digest),
            output_symlinks: vec![OutputSymlink {
                path: "s".into(),
                target: "t".into(),
                node_properties: None,
            }],
            ..ActionResult::default()
        };
        let mut expected: Vec<u8> = Vec::new();
        expected.extend(b"\x12\x08\x0a\x01p\x20\x01\x2a\x01\x01");
        expected.extend(b"\x1a\x0d\x0a\x01q\x20\x01\x2a\x06");
        expected.extend(d);
        expected.extend(b"\x20\x01\x2a\x01\x02\x42\x06");
        expected.extend(d);
        expected.extend(b"\x62\x06\x0a\x01s\x12\x01t");
        assert_eq!(result.encode_to_vec(), expected);
        assert_eq!(ActionResult::decode(expected.as_slice()), Ok(result));
    }

    #[test]
    fn canonical_form_ignores_the_order_in_which_values_were_given() {
        let pair = |name: &str, value: &str| EnvironmentVariable {
            name: name.into(),
            value: value.into(),
        };
        let command = |variables: Vec<EnvironmentVariable>, outputs: &[&str]| {
            Command {
                environment_variables: variables,
                output_paths: outputs.iter().map(|path| (*path).to_owned()).collect(),
                ..Command::default()
            }
            .canonical()
            .encode_to_vec()
        };
        assert_eq!(
            command(vec![pair("B", "1"), pair("A", "2")], &["b", "a", "b"]),
            command(vec![pair("A", "2"), pair("B", "1")], &["a", "b"])
        );
        assert_ne!(
            command(vec![pair("A", "1")], &[]),
            command(vec![pair("A", "2")], &[])
        );
        let property = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            Platform::canonical([property("a", "2"), property("a", "1")]),
            Platform::canonical([property("a", "1"), property("a", "2"), property("a", "1")])
        );
    }

    #[test]
    fn a_wire_digest_is_checked_when_it_is_read() {
        let good = Digest::of_bytes(b"kiln");
        assert_eq!(good.to_blob(), Ok((BlobDigest::of(b"kiln"), 4)));
        for (hash, size) in [("", 0), ("zz", 0), (good.hash.as_str(), -1)] {
            let digest = Digest {
                hash: hash.into(),
                size_bytes: size,
            };
            assert!(digest.to_tree().is_err(), "{hash} {size}");
        }
    }
}
