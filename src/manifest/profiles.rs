//! `[profile.*]`, checked by cargo's rules. What the profiles mean for a unit is decided in [`crate::unit`].

use cargo_util_schemas::manifest::{StringOrBool, TomlProfile, TomlProfiles};

use super::error::{Checked, Fault};

/// Checks all profiles of a manifest.
pub(super) fn check(profiles: &TomlProfiles, warnings: &mut Vec<String>) -> Checked<()> {
    for (name, profile) in profiles.get_all() {
        check_profile(name.as_ref(), profile, warnings)?;
    }
    Ok(())
}

/// Checks one profile, of a manifest or of a configuration file.
pub(super) fn check_profile(
    name: &str,
    profile: &TomlProfile,
    warnings: &mut Vec<String>,
) -> Checked<()> {
    let at = |fault: Box<Fault>, key: &str| fault.at(["profile", name, key]);
    check_layer(name, profile)?;
    if let Some(layer) = &profile.build_override {
        check_override(name, "build-override", layer)?;
        check_layer(name, layer)?;
    }
    for layer in profile
        .package
        .iter()
        .flat_map(|packages| packages.values())
    {
        check_override(name, "package", layer)?;
        check_layer(name, layer)?;
    }
    if profile.dir_name.is_some() {
        return Err(at(
            Fault::unsupported(format!(
                "`dir-name` of the profile `{name}`: its directory has the name of the profile"
            )),
            "dir-name",
        ));
    }
    if profile.inherits.as_deref() == Some("debug") {
        return Err(at(
            Fault::new(format!(
                "the profile `{name}` inherits `debug`, which is no profile"
            ))
            .help("write `inherits = \"dev\"`"),
            "inherits",
        ));
    }
    match name {
        "doc" => warnings.push("the profile `doc` is deprecated and has no effect".to_owned()),
        "test" | "bench" if profile.panic.is_some() => {
            warnings.push(format!("`panic` of the profile `{name}` has no effect"));
        }
        _ => {}
    }
    if let Some(panic) = &profile.panic
        && !["unwind", "abort"].contains(&panic.as_str())
    {
        return Err(at(
            Fault::new(format!(
                "`panic = \"{panic}\"` of the profile `{name}` means nothing"
            ))
            .help("write `unwind` or `abort`"),
            "panic",
        ));
    }
    if let Some(StringOrBool::String(lto)) = &profile.lto
        && (lto == "true" || lto == "false")
    {
        return Err(at(
            Fault::new(format!(
                "`lto = \"{lto}\"` of the profile `{name}` is a string"
            ))
            .help(format!(
                "write `lto = {lto}`, or one of `\"thin\"`, `\"fat\"`, `\"off\"`"
            )),
            "lto",
        ));
    }
    Ok(())
}

/// What only a nightly cargo takes.
fn check_layer(name: &str, layer: &TomlProfile) -> Checked<()> {
    let keys = [
        ("codegen-backend", layer.codegen_backend.is_some()),
        ("rustflags", layer.rustflags.is_some()),
        ("trim-paths", layer.trim_paths.is_some()),
        ("panic", layer.panic.as_deref() == Some("immediate-abort")),
    ];
    match keys.into_iter().find(|(_, is_there)| *is_there) {
        None => Ok(()),
        Some((key, _)) => Err(Fault::unsupported(format!(
            "`{key}` of the profile `{name}` is nightly-only in cargo"
        ))
        .at(["profile", name, key])),
    }
}

/// What an override of a profile cannot say.
fn check_override(name: &str, which: &str, layer: &TomlProfile) -> Checked<()> {
    let keys = [
        ("package", layer.package.is_some()),
        ("build-override", layer.build_override.is_some()),
        ("panic", layer.panic.is_some()),
        ("lto", layer.lto.is_some()),
        ("rpath", layer.rpath.is_some()),
    ];
    match keys.into_iter().find(|(_, is_there)| *is_there) {
        None => Ok(()),
        Some((key, _)) => Err(Fault::new(format!(
            "`{key}` cannot stand in `{which}` of the profile `{name}`"
        ))
        .help("set it for the whole profile")
        .at(["profile", name, which])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_profiles_cannot_say() {
        let good = [
            "[dev]\nopt-level = 1\n[release]\nlto = 'thin'\npanic = 'abort'\n",
            "[dev.package.'*']\nopt-level = 2\n[dev.build-override]\nopt-level = 3\n",
            "[custom]\ninherits = 'release'\nstrip = true\n",
        ];
        for text in good {
            let profiles = toml::from_str(text).expect(text);
            assert!(check(&profiles, &mut Vec::new()).is_ok(), "{text}");
        }
        let bad = [
            ("[dev]\npanic = 'x'\n", "write `unwind` or `abort`"),
            ("[dev]\nlto = 'true'\n", "write `lto = true`"),
            ("[x]\ninherits = 'debug'\n", "inherits `debug`"),
            (
                "[dev.package.a]\npanic = 'abort'\n",
                "cannot stand in `package`",
            ),
            (
                "[dev.build-override]\nlto = true\n",
                "cannot stand in `build-override`",
            ),
            ("[dev]\nrustflags = []\n", "nightly-only"),
            ("[dev]\ndir-name = 'x'\n", "dir-name"),
        ];
        for (text, expected) in bad {
            let profiles = toml::from_str(text).expect(text);
            let fault = check(&profiles, &mut Vec::new()).expect_err(text);
            assert!(
                fault.sentence().contains(expected),
                "{} for {text}",
                fault.sentence()
            );
        }
    }
}
