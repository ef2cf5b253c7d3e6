//! What `__main__.py` asks of the native installer, as JSON on its standard input: a request, and, where it says nothing
//! of the interpreter, the facts of that as a second value. What they are takes Python a while; meanwhile the artifact
//! is read.

use std::io::Read;
use std::path::PathBuf;

use serde::Deserialize;
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
pub struct Requests<R: Read> {
    values: serde_json::StreamDeserializer<'static, serde_json::de::IoRead<R>, serde_json::Value>,
}

impl<R: Read> Requests<R> {
    pub fn new(stream: R) -> Self {
        Self { values: serde_json::Deserializer::from_reader(stream).into_iter() }
    }

    /// The first value.
    pub fn request(&mut self) -> serde_json::Result<Request> {
        match self.values.next() {
            Some(value) => serde_json::from_value(value?),
            None => Err(serde::de::Error::custom("it is empty")),
        }
    }

    /// The facts; none where whoever asked has thought better of it.
    pub fn interpreter(&mut self, request: &mut Request) -> serde_json::Result<Option<Interpreter>> {
        if let Some(interpreter) = request.interpreter.take() {
            return Ok(Some(interpreter));
        }
        self.values.next().map(|value| serde_json::from_value(value?)).transpose()
    }
}

#[derive(Debug, Deserialize)]
pub struct RequestOptions {
    /// Absolute.
    pub destination: PathBuf,
    #[serde(default)]
    pub replace: bool,
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
            existing: if self.replace { Existing::Replace } else { Existing::Refuse },
            pip: if self.pip { Pip::With } else { Pip::Without },
            store: self.store.clone().map(|path| StoreOptions { path, link_mode: self.link_mode }),
            compile: self.compile,
        }
    }
}
