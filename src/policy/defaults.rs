//! The policies that kiln ships: the files of `policy/`, compiled in.

/// Name and text of each file.
pub(crate) const SHIPPED: [(&str, &str); 17] = [
    (
        "policy/autotools.toml",
        include_str!("../../policy/autotools.toml"),
    ),
    (
        "policy/aws-lc-sys.toml",
        include_str!("../../policy/aws-lc-sys.toml"),
    ),
    ("policy/cmake.toml", include_str!("../../policy/cmake.toml")),
    (
        "policy/git-metadata.toml",
        include_str!("../../policy/git-metadata.toml"),
    ),
    ("policy/git.toml", include_str!("../../policy/git.toml")),
    (
        "policy/jemalloc.toml",
        include_str!("../../policy/jemalloc.toml"),
    ),
    (
        "policy/libclang.toml",
        include_str!("../../policy/libclang.toml"),
    ),
    (
        "policy/libz-ng-sys.toml",
        include_str!("../../policy/libz-ng-sys.toml"),
    ),
    (
        "policy/makefiles.toml",
        include_str!("../../policy/makefiles.toml"),
    ),
    ("policy/nasm.toml", include_str!("../../policy/nasm.toml")),
    (
        "policy/openssl-src.toml",
        include_str!("../../policy/openssl-src.toml"),
    ),
    (
        "policy/own-sources.toml",
        include_str!("../../policy/own-sources.toml"),
    ),
    ("policy/perl.toml", include_str!("../../policy/perl.toml")),
    (
        "policy/pkg-config.toml",
        include_str!("../../policy/pkg-config.toml"),
    ),
    (
        "policy/protoc.toml",
        include_str!("../../policy/protoc.toml"),
    ),
    (
        "policy/python.toml",
        include_str!("../../policy/python.toml"),
    ),
    ("policy/shell.toml", include_str!("../../policy/shell.toml")),
];
