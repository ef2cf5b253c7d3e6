//! What `__main__.py` asks of the native installer, as JSON on its standard input, a value on each line: a request, and, if
//! that does not describe the interpreter, the facts about it. Python needs a while to find them; meanwhile the artifact is
//! read.

use std::io::BufRead;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use wheelbarrow_artifact::interpreter::Interpreter;

use crate::store::{LinkMode, StoreOptions};
use crate::{Compile, Existing, Options, Pip};

#[derive(Debug, Deserialize)]
pub struct Request {
    /// Absolute path of the artifact.
    pub artifact: PathBuf,
    #[serde(default)]
    interpreter: Option<Interpreter>,
    pub options: RequestOptions,
}

/// The values on a stream.
pub struct Requests<R: BufRead> {
    stream: R,
}

impl<R: BufRead> Requests<R> {
    pub fn new(stream: R) -> Self {
        Self { stream }
    }

    /// The first value.
    pub fn request(&mut self) -> serde_json::Result<Request> {
        self.value()?.ok_or_else(|| serde::de::Error::custom("it is empty"))
    }

    /// The facts; none where whoever asked has thought better of it.
    pub fn interpreter(&mut self, request: &mut Request) -> serde_json::Result<Option<Interpreter>> {
        if let Some(interpreter) = request.interpreter.take() {
            return Ok(Some(interpreter));
        }
        self.value()
    }

    /// The next line; none at the end of the stream.
    fn value<T: DeserializeOwned>(&mut self) -> serde_json::Result<Option<T>> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).map_err(serde::de::Error::custom)?;
        if line.is_empty() { Ok(None) } else { serde_json::from_slice(&line).map(Some) }
    }
}

#[derive(Debug, Deserialize)]
pub struct RequestOptions {
    /// Absolute.
    pub destination: PathBuf,
    #[serde(default)]
    pub replace: bool,
    /// With `replace`: whatever was written into the destination goes too.
    #[serde(default)]
    pub discard_data: bool,
    pub pip: bool,
    #[serde(default)]
    pub compile: Compile,
    /// Look at everything, write nothing, and tell what would refuse the install.
    #[serde(default)]
    pub check: bool,
    /// Absolute.
    #[serde(default)]
    pub store: Option<PathBuf>,
    #[serde(default)]
    pub link_mode: LinkMode,
    #[serde(default)]
    pub quiet: bool,
    #[serde(default)]
    pub json: bool,
}

impl RequestOptions {
    pub fn to_options(&self) -> Options {
        Options {
            destination: self.destination.clone(),
            existing: match (self.replace, self.discard_data) {
                (false, _) => Existing::Refuse,
                (true, false) => Existing::Replace,
                (true, true) => Existing::ReplaceData,
            },
            pip: if self.pip { Pip::With } else { Pip::Without },
            store: self.store.clone().map(|path| StoreOptions { path, link_mode: self.link_mode }),
            compile: self.compile,
        }
    }
}
