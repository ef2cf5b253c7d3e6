//! A server that does to downloads what real ones do on bad days.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use url::Url;

pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// As in the request line: a path, or a host and port where a proxy is asked.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: HashMap<String, String>,
    /// How many came before it.
    pub(crate) number: usize,
}

impl Request {
    /// The first byte that is asked for.
    pub(crate) fn start(&self) -> Option<usize> {
        self.headers.get("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

impl Server {
    /// Answers every request by `answer`, until the test's process ends. A connection is good for as many requests as the
    /// client likes, unless the answer says otherwise.
    pub(crate) fn start(answer: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen) = (Arc::new(answer), Arc::clone(&requests));
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                counted.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || serve(stream, &*answer, &seen));
            }
        });
        Self { address, requests, connections }
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}/{path}", self.address)).unwrap()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(
    stream: TcpStream,
    answer: &(dyn Fn(&Request, &mut TcpStream) + Send + Sync),
    seen: &Mutex<Vec<Request>>,
) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let connect = line.starts_with("CONNECT ");
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).is_err() || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let request = {
        let mut seen = seen.lock().unwrap();
        let request = Request { target, headers, number: seen.len() };
        seen.push(request.clone());
        request
    };
    let mut stream = reader.into_inner();
    if connect {
        // A proxy that answers for everybody.
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        return serve(stream, answer, seen);
    }
    answer(&request, &mut stream);
    // A client that was told to close does, and the next line does not come.
    serve(stream, answer, seen);
}

/// Writes a response head and a body; a client that went away is no matter.
pub(crate) fn respond(stream: &mut TcpStream, head: &str, body: &[u8]) {
    let _ = stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes());
    let _ = stream.write_all(body);
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

/// The whole of `body`, and the connection stays.
pub(crate) fn kept(stream: &mut TcpStream, body: &[u8]) {
    let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
    let _ = stream.write_all(body);
}

/// The whole of `body`, or what is asked of it, as a good server does.
pub(crate) fn well(request: &Request, stream: &mut TcpStream, body: &[u8]) {
    match request.start() {
        Some(start) => partial(stream, body, start, body.len()),
        None => respond(stream, &format!("200 OK\r\nContent-Length: {}", body.len()), body),
    }
}

/// Promises everything from `start` on, and stops before `end`.
pub(crate) fn partial(stream: &mut TcpStream, body: &[u8], start: usize, end: usize) {
    let (last, all) = (body.len() - 1, body.len());
    let head = format!(
        "206 Partial Content\r\nContent-Range: bytes {start}-{last}/{all}\r\nContent-Length: {}",
        all - start
    );
    respond(stream, &head, &body[start..end]);
}
