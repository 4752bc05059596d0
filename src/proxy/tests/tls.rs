//! TLS towards upstreams, with real sockets.
//!
//! Inside: whom we speak with. Kept out: what is said.

use super::*;

/// An origin that speaks TLS, and the file of its root.
async fn tls_origin(tasks: &LocalTasks, name: &str) -> (SocketAddr, tempfile::NamedTempFile) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), made.cert.pem()).expect("written");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a pair");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\n") && stream.read_buf(&mut seen).await.is_ok_and(|read| read > 0) {}
            stream.write_all(HELLO.as_bytes()).await.expect("sent");
            let _ = stream.shutdown().await;
        }
    });
    (address, file)
}

#[test]
fn a_tls_server_is_asked_only_where_its_certificate_is_for_its_name() {
    for (certificate_name, expected) in [("localhost", "200"), ("other.example", "502")] {
        on_worker(async {
            let tasks = LocalTasks::default();
            let (address, root) = tls_origin(&tasks, certificate_name).await;
            let metrics = Arc::new(Metrics::new(1, ["http".to_owned()]));
            let host = HostName::parse(b"localhost").expect("a host");
            let servers = vec![ServerConfig { host, port: address.port(), tls: true }];
            let config = UpstreamConfig { name: "origin".to_owned(), servers, ca: Some(root.path().to_path_buf()) };
            let upstream = Arc::new(Upstream::build(&config, &metrics, None).expect("an upstream"));
            crate::proxy::upstream::resolve_all(&[Arc::clone(&upstream)]).await;
            let edge = Edge::start_with(&tasks, Limits::default(), upstream, metrics).await;
            let answer = edge.ask(GET).await;
            assert_eq!(status(&answer), expected, "{answer}");
            let is_trusted = expected == "200";
            assert_eq!(edge.failure(), (!is_trusted).then_some(Failure::UpstreamTls));
            assert_eq!(edge.upstream.metrics().connects(ConnectResult::Tls), u64::from(!is_trusted));
        });
    }
}

#[test]
fn a_server_that_does_not_finish_its_handshake_is_504() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let origin = Origin::start(&tasks, &[&[WaitForEnd]]).await;
        let root = tempfile::NamedTempFile::new().expect("a file");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(root.path(), made.cert.pem()).expect("written");
        let metrics = Arc::new(Metrics::new(1, ["http".to_owned()]));
        let host = HostName::parse(b"127.0.0.1").expect("a host");
        let servers = vec![ServerConfig { host, port: origin.address.port(), tls: true }];
        let config = UpstreamConfig { name: "origin".to_owned(), servers, ca: Some(root.path().to_path_buf()) };
        let upstream = Arc::new(Upstream::build(&config, &metrics, None).expect("an upstream"));
        let limits = short(|limits| limits.upstream_connect_timeout = MILLISECONDS_100);
        let edge = Edge::start_with(&tasks, limits, upstream, metrics).await;
        assert_eq!(status(&edge.ask(GET).await), "504");
        assert_eq!(edge.failure(), Some(Failure::ConnectTimeout));
    });
}
