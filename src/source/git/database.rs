//! Repositories as git's objects: those of this machine where they are, those of servers in bare repositories of
//! kiln's own.
//!
//! From a server as little is fetched as will do: one commit without its history. Only a shortened commit id, which
//! no server can be asked for, takes everything. No configuration but a repository's own is read, and no program is
//! run.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gix::remote::{Direction, fetch};
use gix_transport::Protocol;
use gix_transport::client::blocking_io::http::Transport;
use url::Url;

use super::address::Address;
use super::error::{GitError, chain};
use super::http::Requests;
use crate::package::GitReference;
use crate::registry::{Network, RegistryError, SchemePolicy};

/// Where in kiln's own repositories what a server has is kept.
const KEPT: &str = "refs/kiln";

/// What is wanted of a repository.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// The newest that the reference means.
    Newest(&'a GitReference),
    /// A commit, 40 hexadecimal digits, that the reference led to once.
    Commit(&'a str, &'a GitReference),
}

/// A commit and the repository that has it.
pub(super) struct Found {
    pub(super) repository: gix::ThreadSafeRepository,
    pub(super) commit: gix::ObjectId,
}

/// The repositories of kiln's home.
#[derive(Debug, Clone)]
pub(super) struct Databases {
    directory: PathBuf,
    network: Arc<Network>,
}

/// Whether `text` is a whole commit id.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// A reference for a message.
pub(super) fn described(reference: &GitReference) -> String {
    let text = |what: &str, name: &str| format!("{what} `{}`", super::error::printable(name, 100));
    match reference {
        GitReference::Branch(name) => text("branch", name),
        GitReference::Tag(name) => text("tag", name),
        GitReference::Rev(name) => text("revision", name),
        GitReference::DefaultBranch => "default branch".to_owned(),
    }
}

impl Databases {
    pub(super) fn new(directory: PathBuf, network: Arc<Network>) -> Self {
        Self { directory, network }
    }

    /// Finds what is `wanted`, fetching it where that is needed.
    pub(super) fn find(&self, address: &Address, wanted: Wanted<'_>) -> Result<Found, GitError> {
        match address {
            Address::Local { path, .. } => local(address, path, wanted),
            Address::Server { url, policy } => self.remote(address, url, *policy, wanted),
        }
    }

    fn remote(
        &self,
        address: &Address,
        url: &Url,
        policy: SchemePolicy,
        wanted: Wanted<'_>,
    ) -> Result<Found, GitError> {
        let server = Server {
            network: &self.network,
            address,
            url,
            policy,
        };
        let shallow = self.directory.join(address.directory_name());
        let whole = self
            .directory
            .join(format!("{}-whole", address.directory_name()));
        let offline = self.network.config().offline;
        let missing = |what: String| GitError::Offline {
            url: address.shown(),
            what,
        };
        match wanted {
            Wanted::Newest(GitReference::Rev(revision)) if is_commit(revision) => self.remote(
                address,
                url,
                policy,
                Wanted::Commit(revision, &GitReference::DefaultBranch),
            ),
            Wanted::Newest(GitReference::Rev(revision)) if !revision.starts_with("refs/") => {
                let _lock = lock(&self.directory, &whole)?;
                if !offline {
                    server.fetch(&whole, &everything(), None)?;
                } else if !whole.exists() {
                    return Err(missing(described(&GitReference::Rev(revision.clone()))));
                }
                let repository = open(&whole, address)?;
                revision_in(&repository, revision, KEPT)
                    .map(|commit| found(&repository, commit))
                    .ok_or_else(|| not_found(address, &GitReference::Rev(revision.clone())))
            }
            Wanted::Newest(reference) => {
                let name = match reference {
                    GitReference::Branch(name) => format!("refs/heads/{name}"),
                    GitReference::Tag(name) => format!("refs/tags/{name}"),
                    GitReference::Rev(name) => name.clone(),
                    GitReference::DefaultBranch => "HEAD".to_owned(),
                };
                let kept = format!("{KEPT}/{name}");
                let _lock = lock(&self.directory, &shallow)?;
                if !offline {
                    if !server.fetch(&shallow, &[format!("+{name}:{kept}")], NonZeroU32::new(1))? {
                        return Err(not_found(address, reference));
                    }
                } else if !shallow.exists() {
                    return Err(missing(described(reference)));
                }
                let repository = open(&shallow, address)?;
                match peeled(&repository, &kept) {
                    Some(commit) => Ok(found(&repository, commit)),
                    None if offline => Err(missing(described(reference))),
                    None => Err(not_found(address, reference)),
                }
            }
            Wanted::Commit(commit, reference) => {
                let what = || format!("commit `{commit}`");
                for path in [&shallow, &whole] {
                    if path.exists()
                        && let repository = open(path, address)?
                        && let Some(id) = commit_in(&repository, commit)
                    {
                        return Ok(found(&repository, id));
                    }
                }
                if offline {
                    return Err(missing(what()));
                }
                let lock_of_shallow = lock(&self.directory, &shallow)?;
                let spec = format!("+{commit}:{KEPT}/commits/{commit}");
                let result = server.fetch(&shallow, &[spec], NonZeroU32::new(1));
                // Who cannot be reached cannot be asked for more, either.
                if let Err(error @ GitError::Request { .. }) = result {
                    return Err(error);
                }
                if result.is_ok()
                    && let repository = open(&shallow, address)?
                    && let Some(id) = commit_in(&repository, commit)
                {
                    return Ok(found(&repository, id));
                }
                drop(lock_of_shallow);
                // Some servers give no commit that no reference points at: then all of it, and the history.
                let _lock = lock(&self.directory, &whole)?;
                let mut specs = everything();
                if let GitReference::Rev(name) = reference
                    && name.starts_with("refs/")
                {
                    specs.push(format!("+{name}:{KEPT}/{name}"));
                }
                server.fetch(&whole, &specs, None)?;
                let repository = open(&whole, address)?;
                commit_in(&repository, commit)
                    .map(|id| found(&repository, id))
                    .ok_or_else(|| GitError::NotFound {
                        url: address.shown(),
                        what: what(),
                    })
            }
        }
    }
}

fn everything() -> Vec<String> {
    vec![
        format!("+HEAD:{KEPT}/HEAD"),
        format!("+refs/heads/*:{KEPT}/refs/heads/*"),
        format!("+refs/tags/*:{KEPT}/refs/tags/*"),
    ]
}

fn found(repository: &gix::ThreadSafeRepository, commit: gix::ObjectId) -> Found {
    Found {
        repository: repository.clone(),
        commit,
    }
}

fn not_found(address: &Address, reference: &GitReference) -> GitError {
    GitError::NotFound {
        url: address.shown(),
        what: described(reference),
    }
}

/// What is wanted of a repository of this machine.
fn local(address: &Address, path: &Path, wanted: Wanted<'_>) -> Result<Found, GitError> {
    let repository = open(path, address)?;
    let (commit, missing) = match wanted {
        Wanted::Commit(commit, _) => (commit_in(&repository, commit), format!("commit `{commit}`")),
        Wanted::Newest(reference) => {
            let commit = match reference {
                GitReference::Branch(name) => peeled(&repository, &format!("refs/heads/{name}")),
                GitReference::Tag(name) => peeled(&repository, &format!("refs/tags/{name}")),
                GitReference::DefaultBranch => peeled(&repository, "HEAD"),
                GitReference::Rev(name) if name.starts_with("refs/") => peeled(&repository, name),
                GitReference::Rev(name) => revision_in(&repository, name, ""),
            };
            (commit, described(reference))
        }
    };
    commit
        .map(|commit| found(&repository, commit))
        .ok_or_else(|| GitError::NotFound {
            url: address.shown(),
            what: missing,
        })
}

/// Opens a repository without looking at the user's or the machine's configuration.
fn open(path: &Path, address: &Address) -> Result<gix::ThreadSafeRepository, GitError> {
    options()
        .open(path)
        .map_err(|error| failed(address, &error))
}

fn options() -> gix::open::Options {
    gix::open::Options::isolated().config_overrides([
        "gitoxide.committer.nameFallback=kiln",
        "gitoxide.committer.emailFallback=kiln@example.com",
        "core.logAllRefUpdates=false",
    ])
}

fn failed(address: &Address, error: &dyn std::error::Error) -> GitError {
    GitError::Fetch {
        url: address.shown(),
        why: chain(error),
    }
}

/// The commit that the reference `name` leads to.
fn peeled(repository: &gix::ThreadSafeRepository, name: &str) -> Option<gix::ObjectId> {
    let repository = repository.to_thread_local();
    let mut reference = repository.try_find_reference(name).ok().flatten()?;
    let id = reference.peel_to_id().ok()?.detach();
    repository.find_commit(id).ok()?;
    Some(id)
}

/// The commit with that id.
fn commit_in(repository: &gix::ThreadSafeRepository, commit: &str) -> Option<gix::ObjectId> {
    let id = gix::ObjectId::from_hex(commit.as_bytes()).ok()?;
    let repository = repository.to_thread_local();
    repository.find_commit(id).ok()?;
    Some(id)
}

/// What somebody means by `revision`: a commit's id, whole or shortened, a tag or a branch.
fn revision_in(
    repository: &gix::ThreadSafeRepository,
    revision: &str,
    beneath: &str,
) -> Option<gix::ObjectId> {
    let slash = if beneath.is_empty() { "" } else { "/" };
    for namespace in ["tags", "heads"] {
        let name = format!("{beneath}{slash}refs/{namespace}/{revision}");
        if let Some(commit) = peeled(repository, &name) {
            return Some(commit);
        }
    }
    let local = repository.to_thread_local();
    let prefix = gix::hash::Prefix::from_hex(&revision.to_ascii_lowercase()).ok()?;
    let id = local.objects.lookup_prefix(prefix, None).ok()??.ok()?;
    let object = local
        .find_object(id)
        .ok()?
        .peel_to_kind(gix::object::Kind::Commit)
        .ok()?;
    Some(object.id)
}

/// A server and how to speak to it.
struct Server<'a> {
    network: &'a Arc<Network>,
    address: &'a Address,
    url: &'a Url,
    policy: SchemePolicy,
}

impl Server<'_> {
    /// Fetches what `specs` name into the repository at `path`, which is made if it is not there. `false`: the server
    /// has nothing of that name.
    fn fetch(
        &self,
        path: &Path,
        specs: &[String],
        depth: Option<NonZeroU32>,
    ) -> Result<bool, GitError> {
        let fail = |error: &dyn std::error::Error| failed(self.address, error);
        let repository = if path.join("HEAD").exists() {
            open(path, self.address)?
        } else {
            let create = gix::create::Options {
                destination_must_be_empty: Some(false),
                ..gix::create::Options::default()
            };
            gix::ThreadSafeRepository::init_opts(path, gix::create::Kind::Bare, create, options())
                .map_err(|error| fail(&error))?
        };
        let repository = repository.to_thread_local();
        let url = gix::url::parse(self.url.as_str()).map_err(|error| fail(&error))?;
        let (requests, first_error) = Requests::new(self.network.clone(), self.policy);
        let run = || -> Result<bool, gix::Error> {
            let remote = repository
                .remote_at_without_url_rewrite(url.clone())?
                .with_fetch_tags(fetch::Tags::None)
                .with_refspecs(specs.iter().map(String::as_str), Direction::Fetch)?;
            let transport = Transport::new_http(requests, url, Protocol::V2, false);
            let connection = remote.to_connection_with_transport(transport);
            let prepared = connection.prepare_fetch(
                gix::utils::progress::Discard,
                gix::remote::ref_map::Options::default(),
            )?;
            if prepared.ref_map().mappings.is_empty() {
                return Ok(false);
            }
            let shallow = depth.map_or(fetch::Shallow::NoChange, fetch::Shallow::DepthAtRemote);
            prepared
                .with_shallow(shallow)
                .receive(gix::utils::progress::Discard, &AtomicBool::new(false))?;
            Ok(true)
        };
        run().map_err(|error| match first_error.take() {
            Some(RegistryError::Unauthorized { .. }) => GitError::Fetch {
                url: self.address.shown(),
                why: "it demands a login, or does not exist".to_owned(),
            },
            Some(source) => GitError::Request {
                url: self.address.shown(),
                source: Box::new(source),
            },
            None => fail(&error),
        })
    }
}

/// Keeps other kilns from fetching into the same repository meanwhile; given up when dropped.
fn lock(directory: &Path, database: &Path) -> Result<std::fs::File, GitError> {
    let fail = |path: &Path, source| GitError::Io {
        what: "lock",
        path: path.to_owned(),
        source,
    };
    std::fs::create_dir_all(directory).map_err(|source| fail(directory, source))?;
    let path = database.with_extension("lock");
    let file = std::fs::File::create(&path).map_err(|source| fail(&path, source))?;
    file.lock().map_err(|source| fail(&path, source))?;
    Ok(file)
}
