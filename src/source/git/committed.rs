//! A file as a commit of this machine's repository has it.

use std::path::Path;

use gix::objs::Kind;

/// No larger file is read.
const LARGEST: usize = 256 << 20;

/// The text at `path` in `revision` of the repository that `directory` lies in: a reference by its full or short name, or a
/// commit's id, whole or shortened. `path` starts at the root of the repository; with `./`, at `directory`. No program is
/// run and nothing is fetched.
///
/// # Errors
/// In words, if there is no such repository, revision or file.
pub fn committed(directory: &Path, revision: &str, path: &str) -> Result<String, String> {
    let isolated = gix::open::Options::isolated;
    let trust = gix::sec::trust::Mapping {
        full: isolated(),
        reduced: isolated(),
    };
    let repository = gix::ThreadSafeRepository::discover_opts(directory, Default::default(), trust)
        .map_err(|_| "there is no git repository here".to_owned())?
        .to_thread_local();
    let unknown = || "there is no such revision".to_owned();
    let reference = repository.try_find_reference(revision).ok().flatten();
    let id = match reference {
        Some(mut reference) => reference.peel_to_id().map_err(|_| unknown())?.detach(),
        None => {
            let prefix = gix::hash::Prefix::from_hex(revision).map_err(|_| unknown())?;
            let found = repository.objects.lookup_prefix(prefix, None);
            let found = found.ok().flatten().and_then(Result::ok);
            found.ok_or_else(unknown)?
        }
    };
    let commit = repository
        .find_object(id)
        .ok()
        .and_then(|object| object.peel_to_kind(Kind::Commit).ok())
        .ok_or_else(unknown)?;
    let tree = commit.into_commit().tree().map_err(|_| unknown())?;
    let path = match path.strip_prefix("./") {
        Some(below) => {
            let root = repository
                .workdir()
                .and_then(|root| root.canonicalize().ok());
            let here = directory.canonicalize().ok();
            let prefix = root.zip(here).and_then(|(root, here)| {
                let prefix = here.strip_prefix(root).ok()?;
                Some(prefix.to_owned())
            });
            prefix.unwrap_or_default().join(below)
        }
        None => path.into(),
    };
    let entry = tree.lookup_entry_by_path(&path).ok().flatten();
    let object = entry
        .filter(|entry| entry.mode().is_blob())
        .and_then(|entry| entry.object().ok())
        .ok_or("there is no such file in it")?;
    if object.data.len() > LARGEST {
        return Err("it is too large".to_owned());
    }
    String::from_utf8(object.data.clone()).map_err(|_| "it is not UTF-8".to_owned())
}
