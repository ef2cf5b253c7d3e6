//! A server that answers what the file `status` of the live release says.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) struct Server {
    pub(crate) url: String,
    address: std::net::SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub(crate) fn of(root: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let status = root.join("current/code/status");
        let is_over = Arc::clone(&over);
        let thread = std::thread::spawn(move || serve(&listener, &status, &is_over));
        Self { url: format!("http://{address}/"), address, over, thread: Some(thread) }
    }
}

impl Server {
    /// The status of its answer.
    pub(crate) fn ask(&self) -> u16 {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let line = BufReader::new(stream).lines().next().unwrap().unwrap();
        line.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

fn serve(listener: &TcpListener, status: &PathBuf, over: &AtomicBool) {
    for stream in listener.incoming() {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let Ok(mut stream) = stream else { continue };
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let status = fs_err::read_to_string(status).unwrap_or_else(|_| "503".to_owned());
        let _ = write!(stream, "HTTP/1.1 {} \r\nContent-Length: 0\r\n\r\n", status.trim());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
