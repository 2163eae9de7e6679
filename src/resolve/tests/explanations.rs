//! Failures in plain words.

use super::registry::resolve;
use crate::resolve::ResolveError;

/// What the user reads, the hint at the end.
fn explain(registry: &str, members: &str) -> String {
    match resolve(registry, members) {
        Err(error @ ResolveError::NoSolution(_)) => match error.help() {
            Some(help) => format!("{error}\n{help}"),
            None => error.to_string(),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn failures_are_explained() {
    let cases: &[(&str, &str, &str)] = &[
        (
            "a 1.0.0\n a 1.1.0\n a 2.0.0-rc.1",
            "m 0.1.0 | a ^2",
            "no version of `a = \"^2\"` can be used\n  \
             - `m v0.1.0` requires `a = \"^2\"`, but registry `crates-io` has only `2.0.0-rc.1`, `1.1.0`, `1.0.0`\n\
             a pre-release is only used if it is asked for: `a = \"2.0.0-rc.1\"`",
        ),
        (
            "a 1.0.0\n a 2.0.0 | yanked",
            "m 0.1.0 | a ^2",
            "no version of `a = \"^2\"` can be used\n  \
             - `m v0.1.0` requires `a = \"^2\"`, but what would do was yanked from registry `crates-io`: `2.0.0`; \
             available: `1.0.0`\nask for a version that is there: `a = \"1.0.0\"`",
        ),
        (
            "a_b 1.0.0",
            "m 0.1.0 | a-b ^1",
            "there is no package `a-b` in registry `crates-io`\n  \
             - `m v0.1.0` requires `a-b = \"^1\"`, but registry `crates-io` has no package of that name; it does have \
             `a_b`\nif another package than `a-b` is meant, correct its name: `a_b`",
        ),
        (
            "a 1.0.0 | feature serde = | feature std = ",
            "m 0.1.0 | a ^1 +sarde",
            "`a` has no feature `sarde`\n  \
             - `m v0.1.0` requires `a = \"^1\"` with feature `sarde`, but no version that would do (`1.0.0`) has the \
             feature `sarde`; it has the features `serde`, `std`\n\
             if `serde` is meant, correct the name of the feature",
        ),
        (
            "a 1.0.0 | b ^1 optional | feature x = dep:b\n b 1.0.0",
            "m 0.1.0 | a ^1 +b",
            "`a` has no feature `b`\n  \
             - `m v0.1.0` requires `a = \"^1\"` with feature `b`, but no version that would do (`1.0.0`) has the \
             feature `b`; it has an optional dependency of that name, but offers no feature for it (`dep:`); it is switched on by `x`\n\
             ask for the feature `x` instead",
        ),
        (
            "a 1.0.0 | b ^1\n b 1.0.0",
            "m 0.1.0 | a ^1 +b",
            "`a` has no feature `b`\n  \
             - `m v0.1.0` requires `a = \"^1\"` with feature `b`, but no version that would do (`1.0.0`) has the \
             feature `b`; it has a dependency of that name, but only optional dependencies can be used as features\n\
             take `b` out of the features that are asked for: the dependency is there anyway",
        ),
        (
            "a 1.0.0 | c =1.0.0\n b 1.0.0 | c ^1.1\n b 1.1.0 | c ^1.1\n c 1.0.0\n c 1.1.0",
            "m 0.1.0 | a ^1 | b ^1",
            "no version of `c` meets all requirements\n  \
             - `m v0.1.0` requires `a = \"^1\"`, which is `1.0.0`\n  \
             - `m v0.1.0` requires `b = \"^1\"`, which is one of `1.1.0`, `1.0.0`\n  \
             - `a v1.0.0` requires `c = \"=1.0.0\"`, which is `1.0.0`\n  \
             - `b` `1.1.0`, `1.0.0` require `c = \"^1.1\"`, which is `1.1.0`\n  \
             - there can be only one version of `c` that is compatible with `1`",
        ),
        (
            "sys 1.0.0 | links z\n sys 2.0.0 | links z\n a 1.0.0 | sys ^1\n b 1.0.0 | sys ^2",
            "m 0.1.0 | a ^1 | b ^1",
            "more than one package would link the native library `z`\n  \
             - `m v0.1.0` requires `a = \"^1\"`, which is `1.0.0`\n  \
             - `m v0.1.0` requires `b = \"^1\"`, which is `1.0.0`\n  \
             - `a v1.0.0` requires `sys = \"^1\"`, which is `1.0.0`\n  \
             - `b v1.0.0` requires `sys = \"^2\"`, which is `2.0.0`\n  \
             - `sys v1.0.0`, `sys v2.0.0` link the native library `z`, and only one package in a graph may\n\
             adjust the requirements so that only one package which links `z` is needed; often all who use it have to \
             agree on one range of versions",
        ),
        (
            "",
            "m 0.1.0 | path n ^2\n other n 1.0.0",
            "no version of `n = \"^2\"` can be used\n  \
             - `m v0.1.0` requires `n = \"^2\"`, but directory `/members/n` has only `1.0.0`\n\
             ask for a version that is there: `n = \"1.0.0\"`",
        ),
    ];
    for (registry, members, expected) in cases {
        assert_eq!(&explain(registry, members), expected);
    }
}
