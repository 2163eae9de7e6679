//! `[policy] build-scripts = "approved"`: nothing runs that nobody has approved.

use super::registry::{Crate, Registry, UserOf};

/// `with-script` has a build script made of `helper`; `derives` is a procedural macro; `plain` only compiles.
fn crates() -> Vec<Crate> {
    vec![
        Crate::new("helper", "1.0.0"),
        Crate::new("with-script", "1.0.0")
            .file("build.rs", "fn main() { println!(\"cargo::rustc-env=SAID={}\", helper::text()); }\n")
            .file("src/lib.rs", "pub fn said() -> &'static str { env!(\"SAID\") }\n")
            .needs("helper", "build"),
        Crate::new("derives", "1.0.0").manifest("[lib]\nproc-macro = true").file(
            "src/lib.rs",
            "extern crate proc_macro;\n#[proc_macro]\npub fn made(_: proc_macro::TokenStream) -> proc_macro::TokenStream { \"1\".parse().unwrap() }\n",
        ),
        Crate::new("plain", "1.0.0"),
    ]
}

fn user(registry: &Registry, name: &str) -> UserOf {
    let user = registry.workspace(
        name,
        &["with-script", "derives", "plain"],
        "fn main() { println!(\"{} {} {}\", with_script::said(), derives::made!(), plain::text()); }\n",
    );
    user.workspace
        .write("kiln.toml", "[policy]\nbuild-scripts = \"approved\"\n");
    user
}

#[test]
fn nothing_runs_that_nobody_approved() {
    let registry = Registry::new(&crates());
    let user = user(&registry, "policy-approved");
    let program = "target/kiln/debug/policy-approved";
    let refused = user.kiln(["build"]).run();
    refused.refuses(&[
        "policy::approval",
        "code of 3 packages",
        "`derives v1.0.0`: a procedural macro",
        "`helper v1.0.0`: part of the build script of `with-script`",
        "`with-script v1.0.0`: a build script",
        "kiln policy approve derives@1.0.0 helper@1.0.0 with-script@1.0.0",
    ]);
    // Not even what needs no approval was compiled.
    assert!(!refused.stderr.contains("Compiling"), "{refused}");
    for command in ["check", "test", "plan", "doc"] {
        user.kiln([command]).run().refuses(&["policy::approval"]);
    }
    user.kiln(["policy", "approve", "--dry-run"])
        .ok()
        .says(&["with-script"]);
    assert!(!user.workspace.root().join("kiln-approved.toml").exists());
    user.kiln(["policy", "approve", "derives", "helper@1.0.0"])
        .ok();
    user.kiln(["build"]).run().refuses(&["code of 1 package "]);
    user.kiln(["policy", "approve"])
        .ok()
        .says(&["Approved", "with-script"]);
    user.kiln(["build"]).ok();
    assert_eq!(user.workspace.run(program), "good 1 good\n");
    let list = user.text("kiln-approved.toml");
    let names: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    assert_eq!(
        names,
        ["derives@1.0.0", "helper@1.0.0", "with-script@1.0.0"]
    );
    user.kiln(["policy", "approve"]).ok().says(&["Unchanged"]);
    // A list that says less is noticed, though there is nothing else to do.
    user.workspace.write("kiln-approved.toml", "[approved]\n");
    user.kiln(["build"]).run().refuses(&["code of 3 packages"]);
    user.kiln(["policy", "approve", "nobody"])
        .run()
        .refuses(&["`nobody`"]);
    // An update is one more question.
    user.workspace.write("kiln-approved.toml", &list);
    registry.change(|crates| {
        let mut newer = crates[0].clone();
        newer.version = "1.0.1";
        crates.push(newer);
    });
    user.kiln(["update"]).ok();
    user.kiln(["build"])
        .run()
        .refuses(&["code of 1 package ", "`helper v1.0.1`"]);
    user.kiln(["policy", "approve"]).ok();
    user.kiln(["build"]).ok();
    assert!(!user.text("kiln-approved.toml").contains("helper@1.0.0"));
}
