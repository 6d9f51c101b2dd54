//! A real server, for one test each.

use crate::crowd::LONG;
use crate::support::Directory;
use redis::{AsyncConnectionConfig, Client};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server with nothing in it, which keeps nothing, and ends with this, or with the process however that ends.
pub(crate) struct Server {
    /// A shell: it ends the server when its standard input does.
    shell: Child,
    pub(crate) port: u16,
    directory: Directory,
}

/// Starts the server, waits for the end of standard input, and ends it.
const SCRIPT: &str = r#"redis-server "$@" > "$LOG" 2>&1 & server=$!; cat > /dev/null; kill $server 2> /dev/null; wait $server"#;

impl Server {
    pub(crate) fn start() -> Server {
        let version = Command::new("redis-server").arg("--version").output();
        assert!(
            version.is_ok_and(|version| version.status.success()),
            "this test needs redis-server, which is not there: \
             `apt-get install redis-server`, as .ci/run does it"
        );
        let mut log = String::new();
        // Somebody else may take the port before the server does.
        for _ in 0..10 {
            match Server::try_start() {
                Ok(server) => return server,
                Err(said) => log = said,
            }
            if !log.contains("already in use") {
                break;
            }
        }
        panic!("redis-server has not started: {log}");
    }

    fn try_start() -> Result<Server, String> {
        let directory = Directory::new();
        let port = free_port();
        let socket = directory.join("socket");
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "redis-server"])
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--unixsocket", socket.to_str().unwrap()])
            .args(["--dir", directory.join(".").to_str().unwrap()])
            .args(["--save", "", "--appendonly", "no"])
            .env("LOG", directory.join("log"))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let server = Server {
            shell,
            port,
            directory,
        };
        let start = Instant::now();
        // The Unix socket comes last.
        while UnixStream::connect(&socket).is_err() {
            let log = server.log();
            if log.contains("already in use") || start.elapsed() > LONG {
                return Err(log);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    pub(crate) fn over_tcp(&self) -> Client {
        Client::open(format!("redis://127.0.0.1:{}/", self.port)).unwrap()
    }

    pub(crate) fn over_unix(&self) -> Client {
        Client::open(format!("unix://{}", self.socket().display())).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        drop(self.shell.wait());
    }
}

/// One that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Its default is to wait half a second for an answer, which is not much beside other tests.
pub(crate) fn patient() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
}
