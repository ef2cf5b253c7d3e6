//! `memcmp` by words. musl's compares byte by byte, and most comparisons here are of paths with long common
//! beginnings: a third of the instructions of `verify`, without hashing, were in it.

use std::ffi::{c_int, c_void};

/// As the C library has it.
///
/// # Safety
///
/// Both must have `length` bytes that may be read.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn memcmp(one: *const c_void, other: *const c_void, length: usize) -> c_int {
    const WORD: usize = size_of::<u64>();
    let (one, other) = (one.cast::<u8>(), other.cast::<u8>());
    let mut place = 0;
    while place + WORD <= length {
        // SAFETY: all of the word is within both, and need not be aligned.
        let (one, other) = unsafe {
            (one.add(place).cast::<u64>().read_unaligned(), other.add(place).cast::<u64>().read_unaligned())
        };
        if one != other {
            // The first byte that differs decides, which is the highest in this order.
            return if one.to_be() < other.to_be() { -1 } else { 1 };
        }
        place += WORD;
    }
    while place < length {
        // SAFETY: the byte is within both.
        let (one, other) = unsafe { (*one.add(place), *other.add(place)) };
        if one != other {
            return c_int::from(one) - c_int::from(other);
        }
        place += 1;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_differs_decides() {
        let ordered = |one: &[u8], other: &[u8]| {
            // SAFETY: both have that many bytes.
            unsafe { memcmp(one.as_ptr().cast(), other.as_ptr().cast(), one.len()) }.cmp(&0)
        };
        let plain: Vec<u8> = (0..40).map(|place| place * 6 + 3).collect();
        for length in 0..plain.len() {
            for start in 0..8.min(length) {
                let one = &plain[start..length];
                let same = one.to_vec();
                assert_eq!(ordered(one, &same), std::cmp::Ordering::Equal);
                for place in 0..one.len() {
                    let mut other = one.to_vec();
                    // What comes after it does not count.
                    other[place..].fill(0xff);
                    assert_eq!(ordered(one, &other), one.cmp(&other), "{one:?} {other:?}");
                    assert_eq!(ordered(&other, one), other.as_slice().cmp(one));
                }
            }
        }
    }
}
