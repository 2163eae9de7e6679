//! Directory trees as the Remote Execution API encodes them (`Directory`): one message per level, entries sorted by
//! name, sub-directories named by digest. A [`TreeDigest`](crate::digest::TreeDigest) is the digest of the top level.
