#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where HTTP is
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: std::net::SocketAddr,
    /// Where HTTPS is
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen_tls: std::net::SocketAddr,
    /// Where the admin endpoint is
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9180")]
    admin: std::net::SocketAddr,
    /// A blocklist of your own instead of the sample
    #[arg(long, value_name = "FILE")]
    blocklist: Option<std::path::PathBuf>,
}
pub(super) fn run(_: &Arguments) -> super::Exit {
    super::Exit::Failed
}
