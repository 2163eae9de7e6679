//! The archive: gzip around tar, byte for byte a function of the files' content, names and executable bits.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use super::{ArchiveFile, Content};
use crate::driver::DriverError;

/// The time of every entry, seconds since 1970: what cargo stamps into its archives.
const TIME: u64 = 1_153_704_088;

/// Writes the archive of `files` to `path`; `generated` has the text of those that are not on the disk. Everything lies in
/// the directory `base`. Returns the bytes of all files together.
pub(super) fn write(
    path: &Path,
    base: &str,
    files: &[ArchiveFile],
    generated: &dyn Fn(&Content) -> Option<Vec<u8>>,
) -> Result<u64, DriverError> {
    let failed = |path: &Path, verb| {
        let path = path.to_owned();
        move |source| DriverError::File { path, verb, source }
    };
    let file = File::create(path).map_err(failed(path, "written"))?;
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let encoder = GzBuilder::new()
        .filename(name)
        .write(io::BufWriter::new(file), Compression::best());
    let mut archive = Builder::new(encoder);
    archive.sparse(false);
    let mut total = 0;
    for entry in files {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::file());
        header.set_mtime(TIME);
        header.set_mode(0o644);
        let at = format!("{base}/{}", entry.path);
        let mut append = |header: &mut Header, bytes: &mut dyn io::Read, size: u64| {
            header.set_size(size);
            header.set_cksum();
            total += size;
            archive
                .append_data(header, &at, bytes)
                .map_err(failed(path, "written"))
        };
        if let Content::OnDisk(disk) = &entry.content {
            let file = File::open(disk).map_err(failed(disk, "read"))?;
            let data = file.metadata().map_err(failed(disk, "read"))?;
            header.set_uid(0);
            header.set_gid(0);
            if data.permissions().mode() & 0o100 != 0 {
                header.set_mode(0o755);
            }
            // A file that grows meanwhile must not run into the next entry.
            let mut bytes = file.take(data.len());
            append(&mut header, &mut bytes, data.len())?;
        } else if let Some(bytes) = generated(&entry.content) {
            let size = bytes.len() as u64;
            append(&mut header, &mut &bytes[..], size)?;
        }
    }
    let finish = || -> io::Result<()> {
        let encoder = archive.into_inner()?;
        encoder.finish()?.flush()
    };
    finish().map_err(failed(path, "written"))?;
    Ok(total)
}
