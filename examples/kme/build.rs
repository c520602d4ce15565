//! Compiles `proto/kx.proto`: the messages by prost, the service by tonic with this crate's own codec.

use std::error::Error;

use tonic_build::manual;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto/kx.proto");
    let files = protox::compile(["kx.proto"], ["proto"])?;
    for file in &files.file {
        for service in &file.service {
            let mut builder = manual::Service::builder().name(service.name()).package(file.package());
            for method in &service.method {
                let mut frames = manual::Method::builder()
                    .name(method.name().to_lowercase())
                    .route_name(method.name())
                    .input_type("crate::kx::codec::Frame")
                    .output_type("crate::kx::codec::Frame")
                    .codec_path("crate::kx::codec::FrameCodec");
                if method.client_streaming() {
                    frames = frames.client_streaming();
                }
                if method.server_streaming() {
                    frames = frames.server_streaming();
                }
                builder = builder.method(frames.build());
            }
            manual::Builder::new().build_transport(false).compile(&[builder.build()]);
        }
    }
    // A Hello holds a secret, and what can be printed will be.
    prost_build::Config::new().skip_debug(["."]).compile_fds(files)?;
    Ok(())
}
