//! Attestations: what was built, from what, by which actions, behind which walls.
//!
//! The form is an in-toto statement (v1) whose predicate is SLSA provenance (v1). Nothing in it depends on the time,
//! the user or the checkout: two builds of the same thing write the same bytes.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::digest::{ActionKey, BlobDigest, Sha256, TreeDigest};

/// `_type` of the statement. Source: in-toto attestation framework, `spec/v1/statement.md`.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// `predicateType`. Source: SLSA, `spec/v1.0/provenance`.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// `buildType`: how the parameters are to be read; described in `ARCHITECTURE.md`.
pub const BUILD_TYPE: &str = "https://kiln.example.com/build/hermetic/v1";
/// `builder.id`: who ran the build. A build on a developer's machine vouches for nothing but itself.
pub const BUILDER_ID: &str = "https://kiln.example.com/builder/local/v1";

/// Digests of one thing by algorithm.
pub type DigestSet = BTreeMap<&'static str, String>;

/// An artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// Its path below the directory that the statement lies in.
    pub name: String,
    /// SHA-256 and BLAKE3 of its content.
    pub digest: DigestSet,
}

impl Subject {
    /// The artifact `name` with this content.
    pub fn new(name: String, sha256: Sha256, blake3: BlobDigest) -> Self {
        Self {
            name,
            digest: DigestSet::from([("sha256", sha256.to_hex()), ("blake3", blake3.to_hex())]),
        }
    }
}

/// Something that went into the build. Source: SLSA `ResourceDescriptor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Material {
    /// What it is, as a package URL where there is one.
    pub uri: String,
    /// Digests of its content: `sha256` of an archive, `kilnTree` (BLAKE3 of REAPI's `Directory`) of a tree.
    pub digest: DigestSet,
    /// What else is known of it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<&'static str, String>,
}

impl Material {
    /// A material of which the tree is known.
    pub fn tree(uri: String, tree: TreeDigest) -> Self {
        Self {
            uri,
            digest: DigestSet::from([("kilnTree", tree.to_hex())]),
            annotations: BTreeMap::new(),
        }
    }

    /// Adds the digest of the archive that it came in.
    #[must_use]
    pub fn with_archive(mut self, sha256: Sha256) -> Self {
        self.digest.insert("sha256", sha256.to_hex());
        self
    }

    /// Adds a remark.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.annotations.insert(name, value.into());
        self
    }
}

/// Which walls stood around every action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IsolationRecord {
    /// `full` or `landlock`.
    pub isolation: String,
    /// What was enforced on the actions when they ran, each kind once.
    pub enforced: Vec<serde_json::Value>,
    /// Digest of each sandbox profile.
    pub profiles: BTreeMap<String, String>,
    /// Whether the paths that actions saw are the same on every machine.
    pub canonical_paths: bool,
}

/// One action of the build and what it left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActionRecord {
    /// For people.
    pub label: String,
    /// Its key.
    pub key: ActionKey,
    /// Digests of its outputs by path.
    pub outputs: BTreeMap<String, String>,
}

/// What a statement is made of.
#[derive(Debug, Clone)]
pub struct Provenance {
    /// The artifacts.
    pub subjects: Vec<Subject>,
    /// What the user asked for: packages, features, profile, target.
    pub parameters: serde_json::Value,
    /// The walls.
    pub isolation: IsolationRecord,
    /// BLAKE3 of the locked action graph's JSON.
    pub graph: BlobDigest,
    /// Everything that went in.
    pub materials: Vec<Material>,
    /// Every action.
    pub actions: Vec<ActionRecord>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statement<'a> {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: &'a [Subject],
    predicate_type: &'static str,
    predicate: Predicate<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Predicate<'a> {
    build_definition: BuildDefinition<'a>,
    run_details: RunDetails<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition<'a> {
    build_type: &'static str,
    external_parameters: &'a serde_json::Value,
    internal_parameters: InternalParameters<'a>,
    resolved_dependencies: &'a [Material],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InternalParameters<'a> {
    sandbox: &'a IsolationRecord,
    graph: DigestSet,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunDetails<'a> {
    builder: Builder,
    byproducts: Vec<Byproduct<'a>>,
}

#[derive(Serialize)]
struct Builder {
    id: &'static str,
    version: BTreeMap<&'static str, &'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Byproduct<'a> {
    name: &'static str,
    annotations: BTreeMap<&'static str, &'a [ActionRecord]>,
}

impl Provenance {
    /// The statement as JSON with a line feed at the end; equal provenances have equal bytes.
    pub fn to_statement(&self) -> Vec<u8> {
        let statement = Statement {
            kind: STATEMENT_TYPE,
            subject: &self.subjects,
            predicate_type: PREDICATE_TYPE,
            predicate: Predicate {
                build_definition: BuildDefinition {
                    build_type: BUILD_TYPE,
                    external_parameters: &self.parameters,
                    internal_parameters: InternalParameters {
                        sandbox: &self.isolation,
                        graph: DigestSet::from([("blake3", self.graph.to_hex())]),
                    },
                    resolved_dependencies: &self.materials,
                },
                run_details: RunDetails {
                    builder: Builder {
                        id: BUILDER_ID,
                        version: BTreeMap::from([("kiln", env!("CARGO_PKG_VERSION"))]),
                    },
                    byproducts: vec![Byproduct {
                        name: "actions",
                        annotations: BTreeMap::from([("actions", self.actions.as_slice())]),
                    }],
                },
            },
        };
        let mut bytes =
            serde_json::to_vec_pretty(&statement).expect("texts, lists and maps have a JSON form");
        bytes.push(b'\n');
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_has_the_fields_that_in_toto_and_slsa_demand() {
        let provenance = Provenance {
            subjects: vec![Subject::new(
                "greet".to_owned(),
                Sha256::of(b"x"),
                BlobDigest::of(b"x"),
            )],
            parameters: serde_json::json!({"profile": "release"}),
            isolation: IsolationRecord {
                isolation: "full".to_owned(),
                enforced: vec![serde_json::json!({"landlockAbi": 7})],
                profiles: BTreeMap::new(),
                canonical_paths: true,
            },
            graph: BlobDigest::of(b"graph"),
            materials: vec![Material::tree(
                "pkg:cargo/serde@1.0.0".to_owned(),
                TreeDigest::from_bytes([1; 32]),
            )],
            actions: vec![],
        };
        let statement: serde_json::Value =
            serde_json::from_slice(&provenance.to_statement()).unwrap();
        assert_eq!(statement["_type"], STATEMENT_TYPE);
        assert_eq!(statement["predicateType"], PREDICATE_TYPE);
        assert_eq!(
            statement["subject"][0]["digest"]["sha256"],
            Sha256::of(b"x").to_hex()
        );
        let definition = &statement["predicate"]["buildDefinition"];
        assert_eq!(definition["buildType"], BUILD_TYPE);
        assert_eq!(definition["externalParameters"]["profile"], "release");
        assert_eq!(
            definition["resolvedDependencies"][0]["uri"],
            "pkg:cargo/serde@1.0.0"
        );
        assert_eq!(
            statement["predicate"]["runDetails"]["builder"]["id"],
            BUILDER_ID
        );
    }
}
