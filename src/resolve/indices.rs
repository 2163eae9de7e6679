//! A set of versions as a set of positions in the sorted list of a package's versions. A requirement such as `^1.2`
//! is no interval once pre-releases are there, but it always is such a set; and sets of positions are quick to
//! intersect and have one form each, as pubgrub demands.

use std::fmt;

use pubgrub::VersionSet;

/// A finite set of positions, or the complement of one. The last word is never zero, so equal sets are equal values.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Indices {
    complement: bool,
    words: Vec<u64>,
}

impl Indices {
    fn build(complement: bool, mut words: Vec<u64>) -> Self {
        while words.last() == Some(&0) {
            words.pop();
        }
        Self { complement, words }
    }

    fn word(&self, index: usize) -> u64 {
        self.words.get(index).copied().unwrap_or(0)
    }

    /// Whether the bit of `position` is set, whatever that means for the set.
    fn bit(&self, position: u32) -> bool {
        self.word(position as usize / 64) >> (position % 64) & 1 == 1
    }

    fn zip(&self, other: &Self, words: usize, combine: impl Fn(u64, u64) -> u64) -> Vec<u64> {
        (0..words)
            .map(|index| combine(self.word(index), other.word(index)))
            .collect()
    }

    /// How many of the positions below `end` are in the set.
    pub(super) fn count_below(&self, end: u32) -> usize {
        (0..end)
            .filter(|&position| self.contains(&position))
            .count()
    }

    /// The positions below `end` that are in the set, ascending.
    pub(super) fn below(&self, end: u32) -> impl Iterator<Item = u32> + '_ {
        (0..end).filter(|position| self.contains(position))
    }
}

impl FromIterator<u32> for Indices {
    fn from_iter<T: IntoIterator<Item = u32>>(positions: T) -> Self {
        let mut words = Vec::new();
        for position in positions {
            let index = position as usize / 64;
            if words.len() <= index {
                words.resize(index + 1, 0);
            }
            words[index] |= 1 << (position % 64);
        }
        Self::build(false, words)
    }
}

impl fmt::Display for Indices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.complement {
            f.write_str("not ")?;
        }
        let end = self.words.len() as u32 * 64;
        f.debug_set()
            .entries((0..end).filter(|&position| self.bit(position)))
            .finish()
    }
}

impl VersionSet for Indices {
    type V = u32;

    fn empty() -> Self {
        Self::build(false, Vec::new())
    }

    fn full() -> Self {
        Self::build(true, Vec::new())
    }

    fn singleton(position: u32) -> Self {
        [position].into_iter().collect()
    }

    fn complement(&self) -> Self {
        Self {
            complement: !self.complement,
            words: self.words.clone(),
        }
    }

    fn intersection(&self, other: &Self) -> Self {
        let longest = self.words.len().max(other.words.len());
        match (self.complement, other.complement) {
            (false, false) => {
                let shortest = self.words.len().min(other.words.len());
                Self::build(false, self.zip(other, shortest, |a, b| a & b))
            }
            (false, true) => Self::build(false, self.zip(other, self.words.len(), |a, b| a & !b)),
            (true, false) => Self::build(false, self.zip(other, other.words.len(), |a, b| !a & b)),
            (true, true) => Self::build(true, self.zip(other, longest, |a, b| a | b)),
        }
    }

    fn contains(&self, position: &u32) -> bool {
        self.bit(*position) != self.complement
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All sets over the positions 0, 1, 70 and "any other", by the four bits of `bits`.
    fn set(bits: u8) -> Indices {
        let members = [0, 1, 70];
        let in_rest = bits & 8 != 0;
        let listed: Indices = (0..3)
            .filter(|&index| (bits >> index & 1 == 1) != in_rest)
            .map(|index| members[index])
            .collect();
        if in_rest { listed.complement() } else { listed }
    }

    #[test]
    fn set_algebra_agrees_with_bits() {
        for a in 0..16u8 {
            assert_eq!(set(a).complement(), set(!a & 15));
            for (index, position) in [0, 1, 70, 200].into_iter().enumerate() {
                assert_eq!(set(a).contains(&position), a >> index & 1 == 1);
            }
            for b in 0..16u8 {
                assert_eq!(set(a).intersection(&set(b)), set(a & b));
                assert_eq!(set(a).union(&set(b)), set(a | b));
                assert_eq!(set(a).is_disjoint(&set(b)), a & b == 0);
                assert_eq!(set(a).subset_of(&set(b)), a & !b == 0);
            }
        }
        assert_eq!(set(0), Indices::empty());
        assert_eq!(set(15), Indices::full());
    }
}
