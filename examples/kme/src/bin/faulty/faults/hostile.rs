//! KMEs that want to harm whoever asks them: a test has to end, in bounded time and memory, and with a report.

use std::sync::Arc;
use std::time::Duration;

use kme::serve::Door;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::sta::set;
use crate::exchange::Said;
use crate::fault::Fault;
use crate::front::Kme;

pub(super) static FAULTS: &[Fault] = &[
    Fault::new("H01", "never answers").front(|door, kme| Box::pin(serve(door, kme, Attack::Silence))),
    Fault::new("H02", "announces a body of 10^12 octets, and sends on and on").front(|door, kme| {
        Box::pin(serve(door, kme, Attack::Flood(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n", b"", b"")))
    }),
    Fault::new("H03", "a header without end")
        .front(|door, kme| Box::pin(serve(door, kme, Attack::Flood(b"HTTP/1.1 200 OK\r\nX: ", b"", b"")))),
    Fault::new("H04", "chunks without end").front(|door, kme| {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        Box::pin(serve(door, kme, Attack::Flood(head, b"4000\r\n", b"\r\n")))
    }),
    Fault::new("H05", "closes the connection in place of an answer").front(|door, kme| Box::pin(serve(door, kme, Attack::Close))),
    Fault::new("H06", "what a terminal or a browser would obey, in message, key_ID and header").response(|_, _, said| {
        let body = "{\"message\":\"\\u001b[2J\\u001b]0;x\\u0007<script>alert(1)</script>\u{202e}\",\"keys\":[{\"key_ID\":\"\\u001b[31m\",\"key\":\"AAAA\"}]}";
        said.status = 400;
        said.body = body.into();
        said.header("server", "<img src=x onerror=alert(1)>");
    }),
    Fault::new("H07", "JSON nested a million deep").response(|_, _, said| said.body = "[".repeat(1_000_000).into()),
    Fault::new("H08", "a number of many digits in Status, and no end").front(|door, kme| {
        let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n{\"key_size\":";
        Box::pin(serve(door, kme, Attack::Flood(head, b"9", b"9")))
    }),
    Fault::new("H09", "an octet every 200 ms").front(|door, kme| Box::pin(serve(door, kme, Attack::Drip))),
    Fault::new("H10", "absurd numbers in Status").response(|_, asked, said| {
        for limit in ["key_size", "max_key_per_request", "max_key_size", "max_SAE_ID_count", "max_key_count", "stored_key_count"] {
            set(asked, said, limit, json!(u64::MAX));
        }
    }),
    Fault::new("H11", "a hundred thousand keys in an answer").around(|kme, asked| {
        Box::pin(async move {
            let said = kme.ask(&asked).await;
            match said.keys().as_slice() {
                [] => said,
                [first, ..] => Said::container(&vec![first.clone(); 100_000]),
            }
        })
    }),
];

#[derive(Clone, Copy)]
enum Attack {
    Silence,
    Close,
    Drip,
    /// A beginning; then, for ever, octets between these two.
    Flood(&'static [u8], &'static [u8], &'static [u8]),
}

async fn serve(door: Door, _: Arc<Kme>, attack: Attack) -> usize {
    let tls = TlsAcceptor::from(door.tls.current());
    let mut stopped = std::pin::pin!(door.until_stopped());
    loop {
        let stream = tokio::select! {
            () = &mut stopped => return 0,
            accepted = door.listener.accept() => accepted,
        };
        let (tls, Ok((stream, _))) = (tls.clone(), stream) else { continue };
        tokio::spawn(async move {
            // Nobody is attacked for ever, or stopping would have to wait.
            let attacked = async {
                if let Ok(stream) = tls.accept(stream).await {
                    let _ = harm(stream, attack).await;
                }
            };
            let _ = tokio::time::timeout(Duration::from_secs(60), attacked).await;
        });
    }
}

async fn harm(mut stream: TlsStream<TcpStream>, attack: Attack) -> std::io::Result<()> {
    if stream.read(&mut [0; 4096]).await? == 0 {
        return Ok(());
    }
    match attack {
        Attack::Silence => std::future::pending().await,
        Attack::Close => stream.shutdown().await,
        Attack::Drip => loop {
            stream.write_all(b"H").await?;
            stream.flush().await?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        },
        Attack::Flood(head, before, after) => {
            stream.write_all(head).await?;
            let flood = [before, &[b'x'; 0x4000], after].concat();
            loop {
                stream.write_all(&flood).await?;
            }
        }
    }
}
