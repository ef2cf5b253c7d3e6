//! Hashes in the forms of locks and requirements files.

use std::fmt;

use wheelbarrow_artifact::manifest::Sha256;

/// One of the algorithms that pip takes for `--hash`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

/// An algorithm and its value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest {
    pub algorithm: Algorithm,
    /// Lower case.
    hex: String,
}

impl Digest {
    /// From `sha256:HEX`. `None` for another algorithm or a wrong length.
    pub fn parse(text: &str) -> Option<Self> {
        let (algorithm, hex) = text.trim().split_once(':')?;
        let (algorithm, length) = match algorithm.to_ascii_lowercase().as_str() {
            "sha256" => (Algorithm::Sha256, 64),
            "sha384" => (Algorithm::Sha384, 96),
            "sha512" => (Algorithm::Sha512, 128),
            _ => return None,
        };
        let hex = hex.to_ascii_lowercase();
        let good = hex.len() == length && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        good.then_some(Self { algorithm, hex })
    }

    /// Those of a lock's file that count: MD5 and SHA-1 can be forged.
    pub fn all(hashes: &std::collections::BTreeMap<String, String>) -> impl Iterator<Item = Self> {
        hashes.iter().filter_map(|(algorithm, hex)| Self::parse(&format!("{algorithm}:{hex}")))
    }

    /// The same as a SHA-256, if it is one.
    pub fn sha256(&self) -> Option<Sha256> {
        if self.algorithm == Algorithm::Sha256 { Sha256::from_hex(&self.hex) } else { None }
    }

    /// Of a whole file, streamed.
    pub fn of_file(algorithm: Algorithm, path: &std::path::Path) -> std::io::Result<Self> {
        let hex = match algorithm {
            Algorithm::Sha256 => hash::<sha2::Sha256>(path)?,
            Algorithm::Sha384 => hash::<sha2::Sha384>(path)?,
            Algorithm::Sha512 => hash::<sha2::Sha512>(path)?,
        };
        Ok(Self { algorithm, hex })
    }
}

impl From<Sha256> for Digest {
    fn from(sha256: Sha256) -> Self {
        Self { algorithm: Algorithm::Sha256, hex: sha256.to_string() }
    }
}

fn hash<H: sha2::Digest>(path: &std::path::Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut file = fs_err::File::open(path)?;
    let mut hasher = H::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(data_encoding::HEXLOWER.encode(&hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithm = match self.algorithm {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
        };
        write!(formatter, "{algorithm}:{}", self.hex)
    }
}
