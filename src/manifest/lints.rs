//! `[lints]` to rustc's flags.

use std::cmp::Reverse;

use cargo_util_schemas::manifest::{TomlLintLevel, TomlLints};

use super::error::{Checked, Fault};

const TOOLS: [&str; 4] = ["cargo", "clippy", "rust", "rustdoc"];

/// Checks the names in a lint table; `table` is `lints` or `workspace.lints`, for the place of an error.
pub(super) fn check(lints: &TomlLints, table: &[&str], warnings: &mut Vec<String>) -> Checked<()> {
    for (tool, lints) in lints {
        if !TOOLS.contains(&tool.as_str()) {
            warnings.push(format!(
                "`lints.{tool}` names no lint tool that is known (`{}`): it may come to mean something else",
                TOOLS.join("`, `")
            ));
            continue;
        }
        if tool == "cargo" {
            warnings.push("unused manifest key: lints.cargo (nightly-only in cargo)".to_owned());
        }
        for (name, lint) in lints {
            if let Some((prefix, suffix)) = name.split_once("::") {
                let fault = Fault::new(format!("`lints.{tool}.{name}` is not the name of a lint"))
                    .at(table.iter().copied().chain([tool.as_str(), name.as_str()]));
                let belongs_elsewhere =
                    tool == prefix || (tool == "rust" && TOOLS.contains(&prefix));
                return Err(if belongs_elsewhere {
                    fault.help(format!("write `lints.{prefix}.{suffix}`"))
                } else {
                    fault
                });
            }
            for key in lint.config().into_iter().flat_map(|config| config.keys()) {
                if !(tool == "rust" && name == "unexpected_cfgs" && key == "check-cfg") {
                    warnings.push(format!("unused manifest key: `lints.{tool}.{name}.{key}`"));
                }
            }
        }
    }
    Ok(())
}

/// The flags, in cargo's order: by priority, then by name backwards (so that `all` comes late), then `--check-cfg`.
/// The lints of `cargo` itself are not for rustc.
pub(super) fn rustflags(lints: &TomlLints) -> Checked<Vec<String>> {
    let mut flags: Vec<(i8, Reverse<&String>, String)> = lints
        .iter()
        .filter(|(tool, _)| *tool != "cargo")
        .flat_map(|(tool, lints)| {
            lints.iter().map(move |(name, lint)| {
                let level = match lint.level() {
                    TomlLintLevel::Forbid => "forbid",
                    TomlLintLevel::Deny => "deny",
                    TomlLintLevel::Warn => "warn",
                    TomlLintLevel::Allow => "allow",
                };
                let flag = if tool == "rust" {
                    format!("--{level}={name}")
                } else {
                    format!("--{level}={tool}::{name}")
                };
                (lint.priority(), Reverse(name), flag)
            })
        })
        .collect();
    flags.sort();
    let mut flags: Vec<String> = flags.into_iter().map(|(_, _, flag)| flag).collect();
    let check_cfg = lints
        .get("rust")
        .and_then(|lints| lints.get("unexpected_cfgs"))
        .and_then(|lint| lint.config())
        .and_then(|config| config.get("check-cfg"));
    if let Some(check_cfg) = check_cfg {
        let list: Vec<String> = check_cfg.clone().try_into().map_err(|_| {
            Fault::new("`lints.rust.unexpected_cfgs.check-cfg` is not a list of strings").at([
                "lints",
                "rust",
                "unexpected_cfgs",
                "check-cfg",
            ])
        })?;
        for cfg in list {
            flags.extend(["--check-cfg".to_owned(), cfg]);
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lints(text: &str) -> TomlLints {
        toml::from_str(text).expect(text)
    }

    #[test]
    fn flags_come_in_cargos_order() {
        let lints = lints(
            r#"
            cargo.x = "warn"
            clippy.all = { level = "warn", priority = -1 }
            clippy.dbg_macro = "deny"
            rust.unsafe_code = "forbid"
            rust.b = "allow"
            rust.unexpected_cfgs = { level = "warn", check-cfg = ['cfg(a)', 'cfg(b, values("c"))'] }
            "#,
        );
        assert_eq!(
            rustflags(&lints).expect("valid"),
            [
                "--warn=clippy::all",
                "--forbid=unsafe_code",
                "--warn=unexpected_cfgs",
                "--deny=clippy::dbg_macro",
                "--allow=b",
                "--check-cfg",
                "cfg(a)",
                "--check-cfg",
                "cfg(b, values(\"c\"))",
            ]
        );
    }

    #[test]
    fn misplaced_names_are_refused_and_unknown_keys_told() {
        for text in [
            "rust.\"clippy::x\" = 'warn'",
            "clippy.\"clippy::x\" = 'warn'",
        ] {
            let fault = check(&lints(text), &["lints"], &mut Vec::new()).expect_err(text);
            assert!(
                fault.sentence().contains("write `lints.clippy.x`"),
                "{text}"
            );
        }
        let mut warnings = Vec::new();
        let text = "other.x = 'warn'\nclippy.y = { level = 'warn', z = 1 }";
        check(&lints(text), &["lints"], &mut warnings).expect("only remarks");
        assert_eq!(warnings.len(), 2);
        assert_eq!(warnings[0], "unused manifest key: `lints.clippy.y.z`");
    }
}
