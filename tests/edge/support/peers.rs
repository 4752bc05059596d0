//! Other people's programs that prove what we say: nginx, curl, promtool, h2load, chromium.
//!
//! Inside: finding them, and saying clearly where a test was skipped for want of one. Kept out: what they are asked.

use std::env;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};

use tempfile::TempDir;

use super::eventually;

/// nginx as the origin; it ends when it is dropped.
pub struct Nginx {
    child: Child,
    address: SocketAddr,
    place: TempDir,
}

impl Nginx {
    /// Serves the files of `www` and what these `location` blocks say; none where it is not installed.
    pub fn start(locations: &str, files: &[(&str, &str)]) -> Option<Self> {
        let nginx = find("nginx")?;
        let place = TempDir::new().expect("a fresh directory");
        let address = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
        let root = place.path().display();
        let configuration = format!(
            "daemon off; master_process off; pid {root}/pid; error_log {root}/error.log;\nevents {{}}\nhttp {{ \
             access_log off; keepalive_requests 1000000; client_body_temp_path {root}/body; proxy_temp_path \
             {root}/proxy; fastcgi_temp_path {root}/fastcgi; uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi; \
             server {{ listen {address}; root {root}/www; {locations} }} }}\n"
        );
        fs::create_dir(place.path().join("www")).expect("a fresh directory");
        for (name, text) in files {
            fs::write(place.path().join("www").join(name), text).expect("a fresh directory");
        }
        fs::write(place.path().join("nginx.conf"), configuration).expect("a fresh directory");
        let mut command = Command::new(nginx);
        command.arg("-p").arg(place.path()).args(["-e", "error.log", "-c"]).arg(place.path().join("nginx.conf"));
        let nginx = Self { child: command.spawn().expect("nginx starts"), address, place };
        eventually("nginx accepts", || TcpStream::connect(address).is_ok());
        Some(nginx)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, from PATH or the system's own folders. Where it is missing, says so and gives none; with
/// `SLUIS_REQUIRE_PEERS=1` (as in CI) the test fails instead, so that nothing is skipped unseen.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/usr/local/sbin", "/usr/bin"]);
    let found = folders.map(|folder| PathBuf::from(folder).join(program)).find(|file| file.is_file());
    if found.is_none() {
        assert!(env::var("SLUIS_REQUIRE_PEERS").is_err(), "{program} is not installed, and SLUIS_REQUIRE_PEERS is set");
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        eprintln!("skipped: {test}: {program} is not installed");
    }
    found
}
