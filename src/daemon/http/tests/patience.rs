//! Over real sockets: nobody uses up the door by silence.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;

/// No test waits longer for what must come.
const DEADLINE: Duration = Duration::from_secs(60);
/// Short, where the test is about its end.
const SOON: Duration = Duration::from_millis(100);

/// Where nothing is about to end.
fn patient() -> Limits {
    Limits { header: DEADLINE, body: DEADLINE, answer: DEADLINE, connection: DEADLINE, ..Limits::default() }
}

async fn listen(door: &Door, limits: Limits) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it has one");
    tokio::spawn(serve(listener, door.view.clone().within(limits)));
    address
}

/// Tries with a limit within which something has to be done before it runs out, and on a machine that is too slow for it with a
/// longer one.
async fn in_time<T>(mut attempt: impl AsyncFnMut(Duration) -> Option<T>) -> T {
    let mut limit = SOON;
    loop {
        if let Some(done) = attempt(limit).await {
            return done;
        }
        limit *= 4;
        assert!(limit < DEADLINE, "not even {limit:?} is enough");
    }
}

async fn say(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("somebody listens");
    stream.write_all(text.as_bytes()).await.expect("sent");
    stream
}

/// All that comes until the other side ends the connection.
async fn heard(mut stream: TcpStream) -> String {
    let mut all = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut all)).await.expect("the connection ends").expect("UTF-8");
    all
}

const LIVEZ: &str = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

fn order(path: &str, more: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {OPS}\r\n{more}\r\n")
}

#[tokio::test]
async fn half_a_header_is_not_waited_for_and_an_idle_connection_neither() {
    let door = Door::open(false).await;
    let address = listen(&door, Limits { header: SOON, ..patient() }).await;
    for half in ["GET / HT", "GET /livez HTTP/1.1\r\nHost: lo", ""] {
        let answer = heard(say(address, half).await).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{half:?}: {answer}");
    }
    let once = in_time(async |header| {
        let address = listen(&door, Limits { header, ..patient() }).await;
        let once = heard(say(address, "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n").await).await;
        (!once.is_empty()).then_some(once)
    });
    let once = once.await;
    assert!(once.starts_with("HTTP/1.1 404"), "it is kept open, and then not for ever: {once}");
}

#[tokio::test]
async fn half_a_body_is_not_waited_for() {
    let door = Door::open(false).await;
    let address = listen(&door, Limits { body: SOON, ..patient() }).await;
    for length in ["Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n"] {
        let headers = format!("Content-Type: application/json\r\n{length}");
        let answer = heard(say(address, &order("/api/v1/release", &headers)).await).await;
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("urn:rosterd:problem:too-slow"), "{answer}");
    }
}

#[tokio::test]
async fn a_connection_ends_however_slowly_its_answer_is_taken() {
    let mut door = Door::open(false).await;
    let heard = in_time(async |connection| {
        let address = listen(&door, Limits { connection, ..patient() }).await;
        let asks = heard(say(address, &order("/api/v1/jobs/staff/run", "Content-Length: 0\r\n")).await);
        let mut asks = std::pin::pin!(asks);
        tokio::select! {
            biased;
            Some(Order::Run(unanswered)) = door.orders.recv() => {
                let heard = asks.await;
                drop(unanswered);
                Some(heard)
            }
            // It ended before the request was taken in.
            _ = asks.as_mut() => None,
        }
    });
    assert_eq!(heard.await, "");
}

#[tokio::test]
async fn there_are_only_so_many_connections_at_once() {
    let mut door = Door::open(false).await;
    let address = listen(&door, Limits { connections: 1, ..patient() }).await;
    let first = say(address, &order("/api/v1/jobs/staff/run", "Content-Length: 0\r\n")).await;
    let Some(Order::Run(ask)) = door.orders.recv().await else { panic!("a run is asked for") };
    let mut second = say(address, LIVEZ).await;
    let early = timeout(SOON, second.read_u8()).await;
    assert!(early.is_err(), "the second waits while the first is at work");
    ask.answer(Ok(()));
    assert!(heard(first).await.starts_with("HTTP/1.1 202"));
    assert!(heard(second).await.contains("HTTP/1.1 "), "and is then answered");
}

/// Connects from an address of this machine's own network.
async fn connect_from(own: [u8; 4], address: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((own, 0))).expect("the whole of 127/8 is this machine");
    socket.connect(address).await.expect("somebody listens")
}

/// What is answered to a look at health on this connection; nothing if it is closed.
async fn alive_over(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    // Whoever is turned away may find it closed while writing, or reset while reading.
    if stream.write_all(LIVEZ.as_bytes()).await.is_ok() {
        let _ = timeout(DEADLINE, stream.read_to_end(&mut all)).await.expect("the connection ends");
    }
    String::from_utf8(all).expect("UTF-8")
}

#[tokio::test]
async fn one_address_leaves_connections_to_others_and_gets_them_back() {
    const GREEDY: [u8; 4] = [127, 0, 0, 1];
    const OTHER: [u8; 4] = [127, 0, 0, 2];
    let door = Door::open(false).await;
    let address = listen(&door, Limits { connections: 4, ..patient() }).await;
    let silent = [connect_from(GREEDY, address).await, connect_from(GREEDY, address).await];
    for _ in 0..5 {
        assert_eq!(alive_over(connect_from(GREEDY, address).await).await, "", "half of them is its share");
        assert!(alive_over(connect_from(OTHER, address).await).await.starts_with("HTTP/1.1 "), "another finds room");
    }
    drop(silent);
    // That they are gone is heard of in its time.
    let until = tokio::time::Instant::now() + DEADLINE;
    while alive_over(connect_from(GREEDY, address).await).await.is_empty() {
        assert!(tokio::time::Instant::now() < until, "what is given up is not given back");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_looks_waits_for_a_seat_and_not_for_ever() {
    let door = Door::open(false).await;
    let view = door.view.clone().within(Limits { looking: 0, answer: SOON, ..patient() });
    let door = Door { router: router(view), ..door };
    door.get("/api/v1/jobs").await.is(503, "unavailable");
    door.post("/api/v1/release", r#"{"what":"nobody","reason":"x"}"#).await.is(404, "unknown");
    let open = Door { router: router(door.view.clone().within(Limits { looking: 1, ..patient() })), ..door };
    assert_eq!(open.get("/api/v1/jobs").await.status, 200);
    assert_eq!(open.get("/api/v1/jobs").await.status, 200, "a seat is given back");
}
