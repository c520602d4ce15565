//! The yardstick: hyper and rustls as a KME uses them, and nothing behind.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use transport::tls::{self, Credentials, Northbound, Pem, Trust};

use crate::failure::Failure;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The folder of the certificates, as `kme pki` makes it.
    #[arg(long)]
    pki: PathBuf,
    /// The KME whose certificate to show.
    #[arg(long, default_value = "north")]
    kme: String,
}

/// Serves on a free port, which it prints as a KME does, until standard input closes.
pub(crate) async fn serve(arguments: &Arguments) -> Result<(), Failure> {
    let file = |name: &str| Pem::file(arguments.pki.join(name));
    let own = Credentials { certificate: file(&format!("{}.pem", arguments.kme)), key: file(&format!("{}.key", arguments.kme)) };
    let trust = Trust::roots(file("ca.pem")).with_crl(file("crl.pem"));
    let acceptor = TlsAcceptor::from(tls::northbound_server(&own, &trust, &Northbound::default())?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", json!({"ready": true, "northbound": listener.local_addr()?.to_string()}));
    exit_with_parent();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // A client that goes away is none of the server's business.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(hello)).await;
        });
    }
}

async fn hello(_request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(b"hello, red\n"))))
}

fn exit_with_parent() {
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        std::process::exit(0);
    });
}
