use std::path::PathBuf;

use super::*;
use crate::manifest::model::Edition;

fn target(kind: TargetKind) -> Target {
    Target {
        name: "p-q".to_owned(),
        kind,
        src_path: PathBuf::from("/w/src/x.rs"),
        edition: Edition::E2021,
        tested: true,
        benched: true,
        documented: true,
        doctested: false,
        harness: true,
        for_host: false,
        required_features: None,
        doc_scrape_examples: false,
    }
}

#[test]
fn targets_as_cargo_describes_them() {
    for (kind, kinds, crate_types) in [
        (
            TargetKind::Lib(vec![CrateType::Cdylib, CrateType::Rlib]),
            &["cdylib", "rlib"][..],
            &["cdylib", "rlib"][..],
        ),
        (
            TargetKind::Lib(vec![CrateType::ProcMacro]),
            &["proc-macro"],
            &["proc-macro"],
        ),
        (TargetKind::Bin, &["bin"], &["bin"]),
        (TargetKind::Test, &["test"], &["bin"]),
        (TargetKind::Bench, &["bench"], &["bin"]),
        (TargetKind::ExampleBin, &["example"], &["bin"]),
        (
            TargetKind::ExampleLib(vec![CrateType::Staticlib]),
            &["example"],
            &["staticlib"],
        ),
        (TargetKind::CustomBuild, &["custom-build"], &["bin"]),
    ] {
        let object = TargetObject::from(&target(kind));
        assert_eq!(object.kind, kinds);
        assert_eq!(object.crate_types, crate_types);
    }
}

#[test]
fn lines_as_cargo_writes_them() {
    let mut bin = target(TargetKind::Bin);
    bin.required_features = Some(vec!["x".to_owned()]);
    let artifact = |debuginfo, target: &Target, executable: Option<&str>| {
        Line::CompilerArtifact(CompilerArtifact {
            package_id: "path+file:///w#p-q@0.1.0".into(),
            manifest_path: "/w/Cargo.toml".into(),
            target: target.into(),
            profile: ArtifactProfile {
                opt_level: "0".into(),
                debuginfo,
                debug_assertions: true,
                overflow_checks: true,
                test: false,
            },
            features: vec!["default".into(), "x".into()],
            filenames: vec!["/w/target/debug/p".into()],
            executable: executable.map(str::to_owned),
            fresh: false,
        })
        .to_json()
    };
    assert_eq!(
        artifact(DebugInfo::Full.into(), &bin, Some("/w/target/debug/p")),
        r#"{"reason":"compiler-artifact","package_id":"path+file:///w#p-q@0.1.0","manifest_path":"/w/Cargo.toml","target":{"kind":["bin"],"crate_types":["bin"],"name":"p-q","src_path":"/w/src/x.rs","edition":"2021","required-features":["x"],"doc":true,"doctest":false,"test":true},"profile":{"opt_level":"0","debuginfo":2,"debug_assertions":true,"overflow_checks":true,"test":false},"features":["default","x"],"filenames":["/w/target/debug/p"],"executable":"/w/target/debug/p","fresh":false}"#
    );
    let lib = target(TargetKind::Lib(vec![CrateType::Lib]));
    let line = artifact(DebugInfo::LineTablesOnly.into(), &lib, None);
    assert!(line.contains(r#""debuginfo":"line-tables-only","#));
    assert!(line.contains(r#""executable":null"#));
    assert!(!line.contains("required-features"));

    assert_eq!(
        Line::BuildScriptExecuted(BuildScriptExecuted {
            package_id: "p".into(),
            linked_libs: vec!["dylib=c".into()],
            linked_paths: vec!["native=/x".into()],
            cfgs: vec!["abc".into()],
            env: vec![("A".into(), "B".into())],
            out_dir: "/o".into(),
        })
        .to_json(),
        r#"{"reason":"build-script-executed","package_id":"p","linked_libs":["dylib=c"],"linked_paths":["native=/x"],"cfgs":["abc"],"env":[["A","B"]],"out_dir":"/o"}"#
    );
    assert_eq!(
        Line::BuildFinished { success: false }.to_json(),
        r#"{"reason":"build-finished","success":false}"#
    );
    let message = RawValue::from_string(r#"{ "b":1,"a":2}"#.to_owned()).unwrap();
    assert!(
        Line::CompilerMessage(CompilerMessage {
            package_id: "p".into(),
            manifest_path: "/w/Cargo.toml".into(),
            target: TargetObject::from(&lib),
            message,
        })
        .to_json()
        .ends_with(r#","doc":true,"doctest":false,"test":true},"message":{ "b":1,"a":2}}"#)
    );
}
