//! What the example programs share to speak HTTPS: TLS settings, certificates, a server and a client.
//!
//! The crates for the standards know neither socket nor TLS. This one supplies both, for the reference KME, the emulated
//! QKD link and the SAE client:
//!
//! - [`tls`] builds rustls configurations: [`tls::northbound_server`] for SAEs (TLS 1.2 and 1.3, client certificate
//!   required), [`tls::inter_kme_server`] between KMEs (TLS 1.3 with X25519MLKEM768, nothing else), and the same for clients.
//! - [`identity`] reads the SAE ID or KME ID from a certificate.
//! - [`server`] accepts connections, keeps to [`server::Limits`], and hands each request with its [`server::Peer`] to a
//!   [`server::Handler`].
//! - [`client`] sends requests over kept-alive connections and gives bodies back in buffers that are wiped on drop.
//! - [`stop`] is how a program is told to stop.
//! - [`pki`] makes throw-away certificates for tests and demonstrations.
//!
//! # What is wiped, and what is not
//!
//! Response bodies reach the caller of [`client::HttpsClient`] in a [`zeroize::Zeroizing`] vector, and a server response
//! made with [`bytes::Bytes::from_owner`] is wiped by its owner once sent. In between, rustls and hyper keep plaintext in
//! buffers of their own which they do not wipe; process-wide measures (no swap, no core dump) cover those.

pub mod client;
pub mod identity;
pub mod pki;
pub mod server;
pub mod stop;
pub mod tls;
