//! A pack of objects and its index (`gitformat-pack`, version 2 of both), the same bytes for the same objects.

use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::{Compression, Crc, write::ZlibEncoder};
use gix::ObjectId;
use gix::objs::Kind;

/// The pack, its index, and the name of both. No object is told as a difference from another.
pub(super) fn write(
    objects: &BTreeMap<ObjectId, (Kind, Vec<u8>)>,
) -> Result<(Vec<u8>, Vec<u8>, String), String> {
    let wrong = |error: &dyn std::error::Error| error.to_string();
    let count = u32::try_from(objects.len()).map_err(|error| wrong(&error))?;
    let mut pack = Vec::new();
    pack.extend_from_slice(b"PACK");
    pack.extend_from_slice(&2_u32.to_be_bytes());
    pack.extend_from_slice(&count.to_be_bytes());
    let mut places = Vec::with_capacity(objects.len());
    for (kind, data) in objects.values() {
        let start = pack.len();
        let mut size = data.len();
        let mut byte = (number(*kind) << 4) | low(size, 4);
        size >>= 4;
        while size > 0 {
            pack.push(byte | 0x80);
            byte = low(size, 7);
            size >>= 7;
        }
        pack.push(byte);
        let mut encoder = ZlibEncoder::new(&mut pack, Compression::default());
        encoder.write_all(data).map_err(|error| wrong(&error))?;
        encoder.finish().map_err(|error| wrong(&error))?;
        let mut checksum = Crc::new();
        checksum.update(&pack[start..]);
        let start = u32::try_from(start)
            .ok()
            .filter(|start| start >> 31 == 0)
            .ok_or("its history has too many bytes")?;
        places.push((start, checksum.sum()));
    }
    let name = trailer(&mut pack)?;
    let mut index = Vec::new();
    index.extend_from_slice(b"\xfftOc");
    index.extend_from_slice(&2_u32.to_be_bytes());
    let mut firsts = [0_u32; 256];
    for id in objects.keys() {
        firsts[usize::from(id.as_slice()[0])] += 1;
    }
    let mut sum = 0;
    for first in firsts {
        sum += first;
        index.extend_from_slice(&u32::to_be_bytes(sum));
    }
    for id in objects.keys() {
        index.extend_from_slice(id.as_slice());
    }
    for (_, checksum) in &places {
        index.extend_from_slice(&checksum.to_be_bytes());
    }
    for (start, _) in &places {
        index.extend_from_slice(&start.to_be_bytes());
    }
    index.extend_from_slice(name.as_slice());
    trailer(&mut index)?;
    Ok((pack, index, name.to_string()))
}

/// The lowest bits.
fn low(number: usize, bits: u32) -> u8 {
    u8::try_from(number & ((1 << bits) - 1)).unwrap_or_default()
}

fn number(kind: Kind) -> u8 {
    match kind {
        Kind::Commit => 1,
        Kind::Tree => 2,
        Kind::Blob => 3,
        Kind::Tag => 4,
    }
}

/// Appends the digest of what is there.
fn trailer(bytes: &mut Vec<u8>) -> Result<ObjectId, String> {
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(bytes);
    let digest = hasher.try_finalize().map_err(|error| error.to_string())?;
    bytes.extend_from_slice(digest.as_slice());
    Ok(digest)
}
