//! A checksum, computed by C.

unsafe extern "C" {
    fn example_checksum(bytes: *const u8, length: usize) -> u32;
}

/// FNV-1a, 32 bits.
pub fn checksum(bytes: &[u8]) -> u32 {
    // SAFETY: the function reads `length` bytes from `bytes` on, which is exactly what the slice holds.
    unsafe { example_checksum(bytes.as_ptr(), bytes.len()) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn known_values() {
        for (text, expected) in [
            ("", 0x811c_9dc5),
            ("a", 0xe40c_292c),
            ("foobar", 0xbf9c_f968),
        ] {
            assert_eq!(super::checksum(text.as_bytes()), expected);
        }
    }
}
