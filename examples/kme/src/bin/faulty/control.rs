//! How `faulty hook` reaches the process that serves: a line there, a line back, on a loopback port whose address is in DIR/control.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::cli::Failure;
use crate::site::Laboratory;

const FILE: &str = "control";
const MAX_LINE: u64 = 256;
const PATIENCE: Duration = Duration::from_secs(60);

/// Has the serving process do it, and waits until it is done.
pub(crate) fn ask(dir: &Path, hook: &str) -> Result<(), Failure> {
    let file = dir.join(FILE);
    let address =
        fs::read_to_string(&file).map_err(|error| format!("{}: {error}: does `faulty serve` run there?", file.display()))?;
    let mut stream = TcpStream::connect(address.trim())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    writeln!(stream, "{hook}")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    match answer.trim() {
        "done" => Ok(()),
        "" => Err("the serving process has ended".into()),
        failed => Err(failed.into()),
    }
}

/// Listens for hooks, and writes where.
pub(crate) async fn listen(dir: &Path, laboratory: Arc<Laboratory>) -> Result<JoinHandle<()>, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    fs::write(dir.join(FILE), listener.local_addr()?.to_string())?;
    Ok(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (read, mut write) = stream.split();
            let mut line = String::new();
            if tokio::io::BufReader::new(read.take(MAX_LINE)).read_line(&mut line).await.is_ok() {
                let answer = match laboratory.perform(line.trim()).await {
                    Ok(()) => "done\n".to_owned(),
                    Err(error) => format!("{error}\n"),
                };
                let _ = write.write_all(answer.as_bytes()).await;
            }
        }
    }))
}
