//! A server of bytes, for what no well-behaved server does: answers that are cut, dribbled or never begun.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a connection gets, once its request was read.
#[derive(Clone)]
pub(super) enum Script {
    /// These bytes, then the end of the connection.
    Bytes(&'static str),
    /// These pieces with this pause between them.
    Dribble(&'static [&'static str], Duration),
    /// A reset.
    Reset,
    /// Nothing for ever.
    Silence,
}

/// A server that follows the scripts one by one, the last one for ever.
pub(super) struct Raw {
    pub(super) url: String,
    seen: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Raw {
    pub(super) async fn start(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let seen = Arc::new(AtomicUsize::new(0));
        let counter = seen.clone();
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (scripts, counter) = (scripts.clone(), counter.clone());
                tokio::spawn(async move { serve(stream, &scripts, &counter).await });
            }
        });
        Self { url, seen, task }
    }

    /// How many requests came.
    pub(super) fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, scripts: &[Script], counter: &AtomicUsize) {
    let mut head = Vec::new();
    // A request's head, or the first bytes of a TLS handshake.
    while !head.windows(4).any(|four| four == b"\r\n\r\n") && head.first() != Some(&0x16) {
        let mut piece = [0; 1024];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(size) => head.extend_from_slice(&piece[..size]),
        }
    }
    let at = counter.fetch_add(1, Ordering::SeqCst).min(scripts.len() - 1);
    match &scripts[at] {
        Script::Bytes(bytes) => {
            let _ = stream.write_all(bytes.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Script::Dribble(pieces, pause) => {
            for piece in *pieces {
                if stream.write_all(piece.as_bytes()).await.is_err() {
                    return;
                }
                tokio::time::sleep(*pause).await;
            }
        }
        Script::Reset => {
            let _ = stream.set_zero_linger();
        }
        Script::Silence => std::future::pending().await,
    }
}
