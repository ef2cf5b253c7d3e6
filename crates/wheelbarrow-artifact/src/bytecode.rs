//! Packs of bytecode: the modules of one wheel, or of the project, compiled by one minor version of Python.
//!
//! Each pack, and each frame of a pack, can be read alone, so that every core can write files at the same
//! time:
//!
//! ```text
//! 8 bytes   "WBCODE1\n"
//! 4 bytes   length of the index, little-endian
//! index     a zstd frame of JSON: {"magic": "a70d0d0a", "frames": [{"compressed": n, "size": n,
//!           "files": [["pkg/module.py", n], ...]}, ...]}
//! frames    zstd frames of `compressed` bytes each; inflated, the marshalled code objects of `files` one after the
//!           other, n bytes each
//! ```
//!
//! The code is stored without the first sixteen bytes of a `.pyc` (PEP 552): they contain the time and size
//! of the installed source, which only the installer knows.

use std::io::Read;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use wheelbarrow_base::json;
use zstd::zstd_safe::CParameter;

use crate::manifest::check_values;

/// Changes with whatever shapes a pack.
pub const VERSION: u32 = 2;

const SIGNATURE: &[u8; 8] = b"WBCODE1\n";

/// Frames hold at most so many bytes, uncompressed, or a single module: many enough to share between cores, large enough to
/// compress well. An installer needs a buffer of that size for each thread.
pub const FRAME: usize = 8 << 20;

/// No frame is larger. Of a module whose code is, no bytecode is packed.
pub const LARGEST_FRAME: usize = 64 << 20;

/// No index is larger: 65,535 modules of a few hundred bytes.
const LARGEST_INDEX: u64 = 16 << 20;

/// The most memory that an index may ask for while it is inflated: 2 to the power of this.
const LARGEST_WINDOW: u32 = 24;

/// Of zstd, with [`SHORTEST_MATCH`]. `docs/decisions/0005-bytecode.md` has sizes and times.
const LEVEL: i32 = 10;

/// The level looks for matches of 5 bytes. Bytecode repeats in shorter pieces, too.
const SHORTEST_MATCH: u32 = 4;

/// The most bytes before the code in a timestamp `.pyc`.
pub const PYC_HEADER: usize = 16;

/// What the path of every pack begins with.
pub const BYTECODE: &str = ".wheelbarrow/bytecode/";

/// Where the packs of a version stand.
pub fn pack_path(cache_tag: &str, of: &str) -> String {
    format!("{BYTECODE}{cache_tag}/{of}.pack")
}

/// What the pack of the project's own code is called.
pub const PROJECT_PACK: &str = "project";

/// A pack that was read.
#[derive(Clone, Debug)]
pub struct Pack<'a> {
    bytes: &'a [u8],
    /// Hexadecimal, as in [`crate::interpreter::Interpreter::magic`].
    pub magic: String,
    pub frames: Vec<Frame>,
}

/// A part of a pack.
#[derive(Clone, Debug)]
pub struct Frame {
    range: Range<usize>,
    /// Bytes, uncompressed.
    pub size: usize,
    /// Members of the wheel (or paths in the project) with the length of their code in bytes.
    pub files: Vec<(String, usize)>,
}

#[derive(thiserror::Error)]
#[error("the bytecode pack is damaged: {reason}")]
pub struct PackError {
    reason: String,
}

wheelbarrow_base::debug_error!(PackError);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    magic: String,
    frames: Vec<IndexFrame>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IndexFrame {
    compressed: usize,
    size: usize,
    files: Vec<(String, usize)>,
}

/// Packs modules, in their order, with the magic number they were compiled for.
pub fn pack(magic: &str, modules: &[(String, Vec<u8>)]) -> std::io::Result<Vec<u8>> {
    let mut index = Index { magic: magic.to_owned(), frames: Vec::new() };
    let mut frames = Vec::new();
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    compressor.set_parameter(CParameter::MinMatch(SHORTEST_MATCH))?;
    compressor.set_parameter(CParameter::WindowLog(FRAME.ilog2()))?;
    let kept: Vec<_> = modules.iter().filter(|(_, code)| code.len() <= LARGEST_FRAME).collect();
    let mut rest = kept.as_slice();
    while !rest.is_empty() {
        let mut plain = Vec::new();
        let mut files = Vec::new();
        while let Some(((path, code), behind)) = rest.split_first() {
            if !plain.is_empty() && plain.len() + code.len() > FRAME {
                break;
            }
            plain.extend_from_slice(code);
            files.push((path.clone(), code.len()));
            rest = behind;
        }
        let compressed = compressor.compress(&plain)?;
        index.frames.push(IndexFrame { compressed: compressed.len(), size: plain.len(), files });
        frames.extend_from_slice(&compressed);
    }
    let index = zstd::bulk::compress(&serde_json::to_vec(&index)?, LEVEL)?;
    let mut pack = SIGNATURE.to_vec();
    pack.extend_from_slice(&u32::try_from(index.len()).map_err(std::io::Error::other)?.to_le_bytes());
    pack.extend_from_slice(&index);
    pack.extend_from_slice(&frames);
    Ok(pack)
}

impl<'a> Pack<'a> {
    /// Reads the index.
    pub fn open(bytes: &'a [u8]) -> Result<Self, PackError> {
        let damaged = |reason: &str| PackError { reason: reason.to_owned() };
        let rest = bytes.strip_prefix(SIGNATURE).ok_or_else(|| damaged("it does not begin as one"))?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(|| damaged("it is cut off"))?;
        let length = u32::from_le_bytes(*length) as usize;
        let index = rest.get(..length).ok_or_else(|| damaged("it is cut off in its index"))?;
        let plain = inflate_index(index).map_err(|error| damaged(&error.to_string()))?;
        if plain.len() as u64 > LARGEST_INDEX {
            return Err(damaged("its index is too large"));
        }
        let index: Index = check_values(&plain)
            .and_then(|()| json::from_slice(&plain))
            .map_err(|error| damaged(&error.to_string()))?;
        let mut frames = Vec::with_capacity(index.frames.len());
        let mut start = SIGNATURE.len() + 4 + length;
        for IndexFrame { compressed, size, files } in index.frames {
            let end = start.checked_add(compressed).filter(|&end| end <= bytes.len());
            let end = end.ok_or_else(|| damaged("a frame reaches outside"))?;
            let sum = files.iter().try_fold(0usize, |sum, (_, length)| sum.checked_add(*length));
            if sum != Some(size) || size > LARGEST_FRAME {
                return Err(damaged("a frame's files do not add up"));
            }
            frames.push(Frame { range: start..end, size, files });
            start = end;
        }
        Ok(Self { bytes, magic: index.magic, frames })
    }

    /// The compressed bytes of a frame.
    pub fn raw(&self, frame: &Frame) -> &'a [u8] {
        &self.bytes[frame.range.clone()]
    }
}

/// Inflates frames. Each thread has one, which makes its decompressor for the first frame.
#[derive(Default)]
pub struct FrameInflater {
    decompressor: Option<zstd::bulk::Decompressor<'static>>,
}

impl FrameInflater {
    /// Inflates the bytes of [`Pack::raw`] into `plain`; gives how many bytes these are.
    pub fn inflate(&mut self, raw: &[u8], plain: &mut [u8]) -> std::io::Result<usize> {
        let decompressor = match &mut self.decompressor {
            Some(decompressor) => decompressor,
            none => none.insert(zstd::bulk::Decompressor::new()?),
        };
        decompressor.decompress_to_buffer(raw, plain)
    }
}

/// One byte more than [`LARGEST_INDEX`] at most.
fn inflate_index(index: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut decoder = zstd::stream::read::Decoder::new(index)?;
    decoder.window_log_max(LARGEST_WINDOW)?;
    let mut plain = Vec::new();
    decoder.take(LARGEST_INDEX + 1).read_to_end(&mut plain)?;
    Ok(plain)
}

/// The first magic number with [PEP 552](https://peps.python.org/pep-0552/), of Python 3.7.
const FIRST_WITH_FLAGS: u16 = 3392;

/// A `.pyc` file of `code` that is never compared with its source (PEP 552), for the magic number in hexadecimal digits.
pub fn unchecked_pyc(magic: &str, code: &[u8]) -> std::io::Result<Vec<u8>> {
    const HASH_BASED: u32 = 1;
    let magic =
        base16ct::lower::decode_vec(magic).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok([&magic[..], &HASH_BASED.to_le_bytes(), &[0; 8], code].concat())
}

/// The first bytes of a `.pyc` that is checked by the source's time and size: the magic number, flags of 0 (from Python 3.7
/// on), the time in seconds since 1970 and the size in bytes, both modulo 2^32.
pub fn pyc_header(magic: [u8; 4], source_time: u32, source_size: u64) -> Vec<u8> {
    let mut header = magic.to_vec();
    if u16::from_le_bytes([magic[0], magic[1]]) >= FIRST_WITH_FLAGS {
        header.extend_from_slice(&[0; 4]);
    }
    header.extend_from_slice(&source_time.to_le_bytes());
    #[allow(clippy::cast_possible_truncation, reason = "as Python does")]
    header.extend_from_slice(&(source_size as u32).to_le_bytes());
    header
}

/// Where the bytecode of a module goes: `pkg/module.py` to `pkg/__pycache__/module.cpython-312.pyc` (PEP 3147).
pub fn pyc_path(source: &str, cache_tag: &str) -> String {
    let (directory, name) =
        source.rsplit_once('/').map_or(("", source), |(directory, name)| (directory, name));
    let stem = name.strip_suffix(".py").unwrap_or(name);
    let slash = if directory.is_empty() { "" } else { "/" };
    format!("{directory}{slash}__pycache__/{stem}.{cache_tag}.pyc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_inflates_to_too_much_is_refused() {
        let index = zstd::bulk::compress(&vec![b' '; 64 << 20], LEVEL).unwrap();
        let length = u32::try_from(index.len()).unwrap().to_le_bytes();
        let error = Pack::open(&[&SIGNATURE[..], &length, &index].concat()).unwrap_err();
        assert!(error.to_string().contains("too large"), "{error}");
    }

    #[test]
    fn an_index_of_more_files_than_an_artifact_has_is_refused() {
        let files = vec![r#"["",0]"#; 1_000_000].join(",");
        let index = format!(r#"{{"magic":"","frames":[{{"compressed":0,"size":0,"files":[{files}]}}]}}"#);
        let index = zstd::bulk::compress(index.as_bytes(), LEVEL).unwrap();
        let length = u32::try_from(index.len()).unwrap().to_le_bytes();
        let error = Pack::open(&[&SIGNATURE[..], &length, &index].concat()).unwrap_err();
        assert!(error.to_string().contains("more than"), "{error}");
    }

    #[test]
    fn a_module_that_is_too_large_is_left_out() {
        let modules = [("a.py".to_owned(), vec![0; LARGEST_FRAME + 1]), ("b.py".to_owned(), vec![0])];
        let packed = pack("a70d0d0a", &modules).unwrap();
        let pack = Pack::open(&packed).unwrap();
        assert_eq!(pack.frames[0].files, [("b.py".to_owned(), 1)]);
    }

    #[test]
    fn a_pack_gives_back_what_went_in() {
        let modules: Vec<_> = (0..20usize)
            .map(|number| (format!("pkg/module{number}.py"), vec![b'x'; number * 100_000]))
            .collect();
        let packed = pack("a70d0d0a", &modules).unwrap();
        let pack = Pack::open(&packed).unwrap();
        assert_eq!(pack.magic, "a70d0d0a");
        assert!(pack.frames.len() > 1);
        let (mut inflater, mut found) = (FrameInflater::default(), Vec::new());
        for frame in &pack.frames {
            let mut plain = vec![0; frame.size];
            assert_eq!(inflater.inflate(pack.raw(frame), &mut plain).unwrap(), frame.size);
            let mut rest = plain.as_slice();
            for (path, length) in &frame.files {
                let (code, behind) = rest.split_at(*length);
                found.push((path.clone(), code.to_vec()));
                rest = behind;
            }
        }
        assert_eq!(found, modules);
    }

    #[test]
    fn cut_off_packs_are_refused() {
        let packed = pack("a70d0d0a", &[("a.py".to_owned(), vec![1; 5000])]).unwrap();
        for length in 0..packed.len() {
            assert!(Pack::open(&packed[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn headers_as_python_has_them() {
        assert_eq!(
            pyc_header([0x33, 0x0d, 0x0d, 0x0a], 1, 2),
            [0x33, 0x0d, 0x0d, 0x0a, 1, 0, 0, 0, 2, 0, 0, 0]
        );
        assert_eq!(pyc_header([0x42, 0x0d, 0x0d, 0x0a], 1, 2)[4..], [0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
    }

    #[test]
    fn names_as_python_has_them() {
        assert_eq!(pyc_path("pkg/a.py", "cpython-312"), "pkg/__pycache__/a.cpython-312.pyc");
        assert_eq!(pyc_path("a.b.py", "cpython-312"), "__pycache__/a.b.cpython-312.pyc");
    }
}
