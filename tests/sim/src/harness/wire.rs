//! A bare HTTP/1.1 client for the simulators' own tests: it shows each header line as it came, and a broken connection
//! as one, which a comfortable client would hide.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Got {
    /// The first value of a header, by its name in lower case; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }
    /// All values of a header.
    pub(crate) fn lines(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    }
    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }
    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

/// Sends one request on a connection of its own. `url` is absolute. An answer shorter than it promised is an error.
pub(crate) async fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> io::Result<Got> {
    let rest = url.strip_prefix("http://").expect("an absolute URL");
    let at = rest.find('/').unwrap_or(rest.len());
    let (host, target) = (&rest[..at], if at == rest.len() { "/" } else { &rest[at..] });
    let mut request = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    if !body.is_empty() || method != "GET" {
        request += &format!("content-length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += "\r\n";
    request += body;
    let mut stream = TcpStream::connect(host).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).await?;
    parse(&raw)
}

/// A GET with a value for `Authorization`.
pub(crate) async fn get(url: &str, authorization: &str) -> Got {
    send("GET", url, &[("authorization", authorization)], "").await.expect("an answer")
}

fn parse(raw: &[u8]) -> io::Result<Got> {
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let end = raw.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(short)?;
    let head = std::str::from_utf8(&raw[..end]).expect("headers are text");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|l| l.split(' ').nth(1)).and_then(|s| s.parse().ok()).ok_or_else(short)?;
    let headers: Vec<_> = lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())).collect();
    let body = raw[end + 4..].to_vec();
    let got = Got { status, headers, body };
    match got.header("content-length").parse::<usize>() {
        Ok(length) if length != got.body.len() => Err(short()),
        _ => Ok(got),
    }
}
