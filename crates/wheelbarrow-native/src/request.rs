//! The request of `__main__.py`, as JSON on standard input, one value on each line: a request and, if that
//! does not describe the interpreter, the facts about it. Python needs time to find the facts; meanwhile the
//! artifact is read.

use std::io::BufRead;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_base::json;
use wheelbarrow_install::store::{LinkMode, StoreOptions};
use wheelbarrow_install::{Compile, Existing, Options, Pip};

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    /// Absolute path of the artifact.
    pub(crate) artifact: PathBuf,
    #[serde(default)]
    interpreter: Option<Interpreter>,
    pub(crate) options: RequestOptions,
}

impl Request {
    /// Of an artifact that brings its interpreter.
    pub(crate) fn new(artifact: PathBuf, options: RequestOptions) -> Self {
        Self { artifact, interpreter: None, options }
    }
}

/// The values on a stream.
pub(crate) struct Requests<R: BufRead> {
    stream: R,
}

impl<R: BufRead> Requests<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self { stream }
    }

    /// The first value.
    pub(crate) fn request(&mut self) -> serde_json::Result<Request> {
        self.value()?.ok_or_else(|| serde::de::Error::custom("it is empty"))
    }

    /// The facts; none where whoever asked has thought better of it.
    pub(crate) fn interpreter(&mut self, request: &mut Request) -> serde_json::Result<Option<Interpreter>> {
        if let Some(interpreter) = request.interpreter.take() {
            return Ok(Some(interpreter));
        }
        self.value()
    }

    /// The next line; none at the end of the stream.
    fn value<T: DeserializeOwned>(&mut self) -> serde_json::Result<Option<T>> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).map_err(serde::de::Error::custom)?;
        if line.is_empty() { Ok(None) } else { json::from_slice(&line).map(Some) }
    }
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct RequestOptions {
    /// Absolute.
    pub(crate) destination: PathBuf,
    #[serde(default)]
    pub(crate) replace: bool,
    /// With `replace`: whatever was written into the destination goes too.
    #[serde(default)]
    pub(crate) discard_data: bool,
    pub(crate) pip: bool,
    #[serde(default)]
    pub(crate) compile: Compile,
    /// Look at everything, write nothing, and tell what would refuse the install.
    #[serde(default)]
    pub(crate) check: bool,
    /// Absolute.
    #[serde(default)]
    pub(crate) store: Option<PathBuf>,
    #[serde(default)]
    pub(crate) link_mode: LinkMode,
    #[serde(default)]
    pub(crate) quiet: bool,
    #[serde(default)]
    pub(crate) json: bool,
}

impl RequestOptions {
    pub(crate) fn to_options(&self) -> Options {
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
