//! Inputs: those of the corpus, changed. The same seed, target and number give the same input, whatever ran before.

/// SplitMix64.
pub(crate) struct Random(u64);

/// The largest input, in bytes.
const LARGEST: usize = 1 << 16;

/// Bytes that parsers care about, alone or as a number of a zip.
const WORDS: [&[u8]; 22] = [
    b"\0",
    b"\xff",
    b"\n",
    b"\r\n",
    b" ",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"=",
    b":",
    b"../",
    b"/",
    b"PK\x01\x02",
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"\xff\xff\xff\xff",
    b"\xef\xbb\xbf",
    b"\xc3\xa9",
];

impl Random {
    pub(crate) fn new(seed: u64, target: &str, number: u64) -> Self {
        let name =
            target.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut random = Self(name ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `end`, which is at least 1.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or(0)
    }
}

/// An input out of a corpus that is not empty. A few are as they are.
pub(crate) fn input(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut data = corpus[random.below(corpus.len())].clone();
    // Mostly one change or a few: a parser refuses much more at its first line.
    let changes = [0, 1, 1, 1, 2, 2, 3, 4, 8, 32][random.below(10)];
    for _ in 0..changes {
        change(&mut data, corpus, random);
    }
    data.truncate(LARGEST);
    data
}

fn change(data: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let place = random.below(data.len() + 1);
    let end = place + random.below((data.len() - place).min(64) + 1);
    match random.below(10) {
        0 => flip(data, place, random),
        1 => set(data, place, &[random.next().to_le_bytes()[0]]),
        2 => set(data, place, WORDS[random.below(WORDS.len())]),
        3 => insert(data, place, WORDS[random.below(WORDS.len())]),
        4 => drop(data.drain(place..end)),
        5 => {
            let part = data[place..end].to_vec();
            let times = 1 + random.below(8);
            insert(data, place, &part.repeat(times));
        }
        6 => data.truncate(place),
        7 => {
            let other = &corpus[random.below(corpus.len())];
            let start = random.below(other.len() + 1);
            let stop = start + random.below((other.len() - start).min(256) + 1);
            insert(data, place, &other[start..stop]);
        }
        8 => add(data, place, random),
        _ => {
            let part: Vec<u8> = data.drain(place..end).collect();
            let place = random.below(data.len() + 1);
            insert(data, place, &part);
        }
    }
}

fn flip(data: &mut [u8], place: usize, random: &mut Random) {
    if let Some(byte) = data.get_mut(place) {
        *byte ^= 1 << random.below(8);
    }
}

fn set(data: &mut [u8], place: usize, word: &[u8]) {
    data[place..].iter_mut().zip(word).for_each(|(byte, new)| *byte = *new);
}

fn insert(data: &mut Vec<u8>, place: usize, part: &[u8]) {
    if data.len() + part.len() <= LARGEST {
        drop(data.splice(place..place, part.iter().copied()));
    }
}

/// Changes a number of one, two or four bytes a little.
fn add(data: &mut [u8], place: usize, random: &mut Random) {
    let width = [1, 2, 4][random.below(3)];
    let Some(bytes) = data.get_mut(place..place + width) else { return };
    let mut number = [0; 4];
    number[..width].copy_from_slice(bytes);
    let difference = u32::try_from(random.below(33)).unwrap_or(0).wrapping_sub(16);
    let changed = u32::from_le_bytes(number).wrapping_add(difference).to_le_bytes();
    bytes.copy_from_slice(&changed[..width]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_gives_the_same_input() {
        let corpus = [b"{\"a\": 1}".to_vec(), b"other".to_vec()];
        let make = |seed, target, number| input(&corpus, &mut Random::new(seed, target, number));
        let inputs: Vec<_> = (0..200).map(|number| make(1, "zip", number)).collect();
        assert!((0..200).all(|number| make(1, "zip", number) == inputs[usize::try_from(number).unwrap()]));
        let different: std::collections::BTreeSet<_> = inputs.iter().collect();
        assert!(different.len() > 100);
        assert!((0..200).any(|number| make(2, "zip", number) != make(1, "zip", number)));
        assert!((0..200).any(|number| make(1, "pack", number) != make(1, "zip", number)));
    }
}
