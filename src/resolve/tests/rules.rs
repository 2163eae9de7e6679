//! One table for the rules of choosing: a registry, a workspace, and what is chosen.

use std::collections::BTreeSet;

use super::registry::{Memory, chosen, lock, options, registry, resolve, workspace};
use crate::manifest::model::ResolverVersion;
use crate::resolve::{ResolveError, Root, fresh, from_lock, narrow};

struct Case {
    rule: &'static str,
    registry: &'static str,
    members: &'static str,
    chosen: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        rule: "the highest version that will do",
        registry: "a 1.0.0\n a 1.2.0\n a 2.0.0",
        members: "m 0.1.0 | a ^1",
        chosen: &["a 1.2.0"],
    },
    Case {
        rule: "optional dependencies of members have to be there",
        registry: "a 1.0.0",
        members: "m 0.1.0 | a ^1 | b ^1 optional",
        chosen: &[],
    },
    Case {
        rule: "incompatible ranges of one package in one graph",
        registry: "a 0.1.3\n a 0.2.0\n a 1.0.0",
        members: "m 0.1.0 | a ^1\n n 0.1.0 | a ^0.1",
        chosen: &["a 0.1.3", "a 1.0.0"],
    },
    Case {
        rule: "withdrawn versions are out",
        registry: "a 1.0.0\n a 1.2.0 | yanked",
        members: "m 0.1.0 | a ^1",
        chosen: &["a 1.0.0"],
    },
    Case {
        rule: "pre-releases only where asked for",
        registry: "a 1.0.0\n a 1.1.0-rc.1\n b 1.0.0-alpha\n b 1.0.0-beta.2",
        members: "m 0.1.0 | a ^1 | b ^1.0.0-alpha",
        chosen: &["a 1.0.0", "b 1.0.0-beta.2"],
    },
    Case {
        rule: "a requirement over several ranges takes the highest of all",
        registry: "a 0.5.0\n a 1.0.0\n a 2.0.0\n b 1.0.0 | a ^1",
        members: "m 0.1.0 | a >=0.5 | b ^1",
        chosen: &["a 1.0.0", "a 2.0.0", "b 1.0.0"],
    },
    Case {
        rule: "what another package asks for more strictly is shared",
        registry: "a 1.0.0\n a 1.5.0\n b 1.0.0 | a <1.2",
        members: "m 0.1.0 | a ^1 | b ^1",
        chosen: &["a 1.0.0", "b 1.0.0"],
    },
    Case {
        rule: "an older dependent is taken where the newest asks for the impossible",
        registry: "a 1.0.0\n b 1.0.0 | a ^1\n b 1.1.0 | a ^9",
        members: "m 0.1.0 | b ^1",
        chosen: &["a 1.0.0", "b 1.0.0"],
    },
    Case {
        // `a` has fewer candidates than `b`, so it is decided first, and `b` has to give in.
        rule: "whoever has fewer candidates comes first",
        registry: "a 1.0.0 | c =1.0.0\n b 1.0.0 | c ^1\n b 1.1.0 | c =1.1.0\n c 1.0.0\n c 1.1.0",
        members: "m 0.1.0 | b ^1 | a ^1",
        chosen: &["a 1.0.0", "b 1.0.0", "c 1.0.0"],
    },
    Case {
        rule: "features switch optional dependencies on, `default` by itself",
        registry: "a 1.0.0 | b ^1 optional | c ^1 optional | d ^1 optional | feature default = b | feature x = dep:c\n\
            b 1.0.0\n c 1.0.0\n d 1.0.0",
        members: "m 0.1.0 | a ^1 +x",
        chosen: &["a 1.0.0", "b 1.0.0", "c 1.0.0"],
    },
    Case {
        rule: "`default-features = false`",
        registry: "a 1.0.0 | b ^1 optional | feature default = b\n b 1.0.0",
        members: "m 0.1.0 | a ^1 -default",
        chosen: &["a 1.0.0"],
    },
    Case {
        rule: "a weak feature counts as use of the dependency for the lock",
        registry: "a 1.0.0 | b ^1 optional | feature x = b?/y\n b 1.0.0 | c ^1 optional | feature y = dep:c\n c 1.0.0",
        members: "m 0.1.0 | a ^1 +x",
        chosen: &["a 1.0.0", "b 1.0.0", "c 1.0.0"],
    },
    Case {
        rule: "versions without the feature are passed over",
        registry: "a 1.0.0 | feature x =\n a 1.1.0",
        members: "m 0.1.0 | a ^1 +x",
        chosen: &["a 1.0.0"],
    },
    Case {
        rule: "members count with all features and dev-dependencies, others do not",
        registry: "a 1.0.0 | dev z ^1\n b 1.0.0\n c 1.0.0",
        members: "m 0.1.0 | a ^1 | b ^1 optional | dev c ^1",
        chosen: &["a 1.0.0", "b 1.0.0", "c 1.0.0"],
    },
    Case {
        rule: "one package may be there under two names",
        registry: "a 1.0.0\n a 2.0.0",
        members: "m 0.1.0 | a ^1 | a ^2 as:a2",
        chosen: &["a 1.0.0", "a 2.0.0"],
    },
    Case {
        rule: "only one package links a library",
        registry: "sys 1.0.0 | links z\n sys 2.0.0 | links z\n a 1.0.0 | sys ^1\n a 1.1.0 | sys ^2\n b 1.0.0 | sys =1.0.0",
        members: "m 0.1.0 | a ^1 | b ^1",
        chosen: &["a 1.0.0", "b 1.0.0", "sys 1.0.0"],
    },
    Case {
        rule: "a patch is preferred to what it patches",
        registry: "a 1.0.0\n a 1.5.0\n b 1.0.0 | a ^1",
        members: "m 0.1.0 | b ^1\n other a 1.2.0\n patch a",
        chosen: &["b 1.0.0"],
    },
    Case {
        rule: "a patch that does not fit is not used",
        registry: "a 1.5.0\n b 1.0.0 | a ^1.3",
        members: "m 0.1.0 | b ^1\n other a 1.2.0\n patch a",
        chosen: &["a 1.5.0", "b 1.0.0"],
    },
    Case {
        rule: "build metadata does not stand in the way",
        registry: "a 1.0.0+one\n b 1.0.0 | a =1.0.0",
        members: "m 0.1.0 | b ^1",
        chosen: &["a 1.0.0+one", "b 1.0.0"],
    },
];

#[test]
fn rules() {
    for case in CASES {
        let outcome = resolve(case.registry, case.members);
        if case.chosen.is_empty() {
            assert!(
                matches!(outcome, Err(ResolveError::NoSolution(_))),
                "{}: {outcome:?}",
                case.rule
            );
            continue;
        }
        let resolve = outcome.unwrap_or_else(|error| panic!("{}: {error}", case.rule));
        assert_eq!(chosen(&resolve), case.chosen, "{}", case.rule);

        // What was chosen is a lock that fits.
        let workspace = workspace(case.members);
        let mut registry = registry(case.registry);
        let lock = lock(&resolve, &workspace);
        let taken = from_lock(&workspace, &lock, &mut registry)
            .unwrap()
            .unwrap_or_else(|reason| panic!("{}: {reason}", case.rule));
        assert_eq!(taken.features, resolve.features, "{}", case.rule);
        assert_eq!(taken.dependencies, resolve.dependencies, "{}", case.rule);
        assert_eq!(
            taken.unused_patches, resolve.unused_patches,
            "{}",
            case.rule
        );
        let again = fresh(&workspace, Some(&lock), &mut registry, &options()).unwrap();
        assert_eq!(again.dependencies, resolve.dependencies, "{}", case.rule);
    }
}

#[test]
fn unused_patches_are_listed() {
    let resolve = resolve("b 1.0.0", "m 0.1.0 | b ^1\n other a 1.2.0\n patch a").unwrap();
    assert_eq!(resolve.unused_patches.len(), 1);
    assert_eq!(resolve.unused_patches[0].name(), "a");
}

#[test]
fn rust_versions_steer_the_choice() {
    let text = "a 1.0.0 | rust 1.60\n a 1.1.0 | rust 1.70\n a 1.2.0 | rust 1.90\n b 1.0.0\n b 1.1.0 | rust 1.99";
    let choose = |members: &str, resolver, honor| {
        let mut workspace = workspace(members);
        workspace.resolver = resolver;
        let mut options = options();
        options.honor_rust_version = honor;
        chosen(&fresh(&workspace, None, &mut registry(text), &options).unwrap())
    };
    let (v2, v3) = (ResolverVersion::V2, ResolverVersion::V3);
    let plain = "m 0.1.0 | a ^1 | b ^1";
    assert_eq!(choose(plain, v2, None), ["a 1.2.0", "b 1.1.0"]);
    // No member says: the rustc in use does, here 1.80.
    assert_eq!(choose(plain, v3, None), ["a 1.1.0", "b 1.0.0"]);
    assert_eq!(choose(plain, v2, Some(true)), ["a 1.1.0", "b 1.0.0"]);
    assert_eq!(choose(plain, v3, Some(false)), ["a 1.2.0", "b 1.1.0"]);
    let old = "m 0.1.0 | a ^1 | b ^1 | rust 1.65";
    assert_eq!(choose(old, v3, None), ["a 1.0.0", "b 1.0.0"]);
    // Nothing is ruled out: what must be newer is.
    let strict = "m 0.1.0 | a ^1.1 | b ^1.1 | rust 1.65";
    assert_eq!(choose(strict, v3, None), ["a 1.2.0", "b 1.1.0"]);
    // With several members, what more of them can use comes first.
    let two = "m 0.1.0 | a ^1 | rust 1.65\n n 0.1.0 | b ^1 | rust 1.75";
    assert_eq!(choose(two, v3, None), ["a 1.0.0", "b 1.0.0"]);
}

#[test]
fn versions_are_fetched_a_depth_at_a_time() {
    let text = "a 1.0.0 | c ^1 | d ^1\n b 1.0.0 | d ^1\n c 1.0.0 | e ^1\n d 1.0.0 | e ^1 | f ^1\n e 1.0.0\n f 1.0.0";
    let mut registry: Memory = registry(text);
    let workspace = workspace("m 0.1.0 | a ^1 | b ^1");
    fresh(&workspace, None, &mut registry, &options()).unwrap();
    let rounds: Vec<BTreeSet<&str>> = registry
        .rounds
        .iter()
        .map(|round| round.iter().map(String::as_str).collect())
        .collect();
    assert_eq!(
        rounds,
        [
            BTreeSet::from(["a", "b"]),
            BTreeSet::from(["c", "d"]),
            BTreeSet::from(["e", "f"])
        ]
    );
}

#[test]
fn circles_are_errors_but_for_dev_dependencies() {
    let circle = resolve("a 1.0.0 | b ^1\n b 1.0.0 | a ^1", "m 0.1.0 | a ^1");
    match circle {
        Err(ResolveError::CyclicDependency { cycle }) => assert_eq!(cycle.len(), 2),
        other => panic!("{other:?}"),
    }
    resolve("", "m 0.1.0 | dev path n\n n 0.1.0 | path m").unwrap();
}

#[test]
fn a_feature_that_names_itself_is_an_error() {
    let outcome = resolve("", "m 0.1.0 | feature f = f");
    assert!(
        matches!(outcome, Err(ResolveError::CyclicFeature { .. })),
        "{outcome:?}"
    );
}

#[test]
fn narrowing_leaves_what_one_command_uses() {
    let members =
        "m 0.1.0 | a ^1 optional | b ^1 -default | dev c ^1 | feature x = b/y\n n 0.1.0 | b ^1 +z";
    let text = "a 1.0.0\n b 1.0.0 | feature y = | feature z = | feature default = y\n c 1.0.0";
    let resolve = resolve(text, members).unwrap();
    let workspace = workspace(members);
    let member = |name: &str| {
        workspace
            .members
            .iter()
            .find(|id| id.name() == name)
            .unwrap()
            .clone()
    };
    let plain = Root {
        package: member("m"),
        all_features: false,
        default_features: true,
        features: Vec::new(),
        dev_dependencies: false,
    };
    let narrowed = narrow(&resolve, std::slice::from_ref(&plain)).unwrap();
    assert_eq!(chosen(&narrowed), ["b 1.0.0"]);
    let features = |resolve: &crate::resolve::Resolve, name: &str| -> Vec<String> {
        let (_, features) = resolve
            .features
            .iter()
            .find(|(id, _)| id.name() == name)
            .unwrap();
        features.iter().map(ToString::to_string).collect()
    };
    assert!(features(&narrowed, "b").is_empty());
    let with_x = Root {
        features: vec![crate::package::FeatureValue::Feature(
            crate::package::FeatureName::new("x").unwrap(),
        )],
        dev_dependencies: true,
        ..plain.clone()
    };
    let narrowed = narrow(&resolve, &[with_x]).unwrap();
    assert_eq!(chosen(&narrowed), ["b 1.0.0", "c 1.0.0"]);
    assert_eq!(features(&narrowed, "b"), ["y"]);
    let wrong = Root {
        features: vec![crate::package::FeatureValue::Feature(
            crate::package::FeatureName::new("nope").unwrap(),
        )],
        ..plain
    };
    assert!(narrow(&resolve, &[wrong]).is_err());
}
