//! A registry on loopback and crates packed for it: what the registry tests share.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kiln::digest::Sha256;
use kiln::source::Worker;

/// One request as the server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What the server does about it.
pub(crate) enum Reply {
    /// Status, headers, body.
    Full(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Status, headers, announced length; then these bytes only, and the connection is closed.
    Cut(u16, Vec<(&'static str, String)>, usize, Vec<u8>),
    /// Headers that announce so many bytes, and then silence.
    Silence(usize),
}

impl Reply {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::Full(200, Vec::new(), body.into())
    }

    pub(crate) fn status(status: u16) -> Self {
        Self::Full(status, Vec::new(), Vec::new())
    }
}

pub(crate) struct Server {
    pub(crate) address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers each request by `handler`, which is also told how many requests for the same path came before.
    pub(crate) fn start(
        handler: impl Fn(&Server, &Request, usize) -> Reply + Send + Sync + 'static,
    ) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        let server = Arc::new(Self {
            address: format!("http://127.0.0.1:{port}"),
            requests: Arc::default(),
        });
        let handler = Arc::new(handler);
        let shared = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (server, handler) = (shared.clone(), handler.clone());
                std::thread::spawn(move || serve(&server, stream, &*handler));
            }
        });
        server
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths: Vec<_> = self
            .requests()
            .into_iter()
            .map(|request| request.path)
            .collect();
        paths.sort();
        paths
    }

    pub(crate) fn forget(&self) {
        self.requests.lock().expect("no panic").clear();
    }
}

fn serve(
    server: &Server,
    stream: TcpStream,
    handler: &(impl Fn(&Server, &Request, usize) -> Reply + ?Sized),
) {
    let mut writer = stream.try_clone().expect("a socket");
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let method = line.split(' ').next().unwrap_or_default().to_owned();
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            match line.trim().split_once(':') {
                Some((name, value)) => {
                    headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
                }
                None => break,
            }
        }
        let length = headers
            .get("content-length")
            .and_then(|length: &String| length.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let request = Request {
            method,
            path,
            headers,
            body,
        };
        let before = {
            let mut requests = server.requests.lock().expect("no panic");
            let before = requests
                .iter()
                .filter(|each| each.path == request.path)
                .count();
            requests.push(request.clone());
            before
        };
        let (status, headers, length, body, more) = match handler(server, &request, before) {
            Reply::Full(status, headers, body) => (status, headers, body.len(), body, true),
            Reply::Cut(status, headers, length, body) => (status, headers, length, body, false),
            Reply::Silence(length) => (200, Vec::new(), length, Vec::new(), true),
        };
        let silent = body.len() < length && more;
        let mut head = format!("HTTP/1.1 {status} x\r\n");
        if status != 304 {
            head.push_str(&format!("content-length: {length}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        if writer.write_all(head.as_bytes()).is_err() || writer.write_all(&body).is_err() {
            return;
        }
        if silent {
            std::thread::sleep(Duration::from_secs(20));
        }
        if !more {
            let _ = writer.shutdown(std::net::Shutdown::Both);
            let _ = reader.read_to_end(&mut Vec::new());
            return;
        }
    }
}

/// A line of the index.
pub(crate) fn entry(name: &str, version: &str, sha256: &Sha256) -> String {
    format!(
        "{{\"name\":\"{name}\",\"vers\":\"{version}\",\"deps\":[],\"features\":{{}},\"cksum\":\"{sha256}\",\"yanked\":false}}\n"
    )
}

/// A gzip-compressed tar archive of regular files; the paths go into it as they are.
pub(crate) fn pack(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(
        Vec::new(),
        flate2::Compression::fast(),
    ));
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, *content).expect("in memory");
    }
    builder
        .into_inner()
        .and_then(|encoder| encoder.finish())
        .expect("in memory")
}

/// The real worker.
pub(crate) fn worker() -> Worker {
    Worker {
        program: env!("CARGO_BIN_EXE_kiln").into(),
        arguments: vec!["unpack-worker".into()],
    }
}
