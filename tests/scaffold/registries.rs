//! Logins that are tried when they are set, and images that are pinned.

use std::{
    io::{BufRead, Write},
    process::Command,
};

use haulier::engines::contract::skipped;
use serde_json::json;

use crate::{
    project::{infra, program},
    service::{Cli, Running, Service, eventually},
};

fn set(cli: &Cli, server: &str, user: &str, password: &str, more: &[&str]) -> (i32, String) {
    let args = ["registry", "set", "private", "--server", server, "--username", user];
    let ended = cli.with_input(&[&args[..], more].concat(), password);
    (ended.code, ended.stderr)
}

#[test]
fn a_login_is_tried_when_it_is_set() {
    const TEST: &str = "a_login_is_tried_when_it_is_set";
    let Some(server) = infra(TEST, "HAULIER_TEST_REGISTRY_AUTH") else { return };
    let Some(user) = infra(TEST, "HAULIER_TEST_REGISTRY_USER") else { return };
    let Some(password) = infra(TEST, "HAULIER_TEST_REGISTRY_PASSWORD") else { return };
    let cli = Service::start();
    let (code, told) = set(&cli, &server, &user, "wrong", &[]);
    assert!(code == 1 && told.contains("refuses this login") && told.contains("--no-check"), "{told}");
    let (code, told) = set(&cli, "127.0.0.1:1", &user, &password, &[]);
    assert!(code == 1 && told.contains("cannot be reached"), "{told}");
    let (code, told) = set(&cli, "registry.invalid", &user, &password, &[]);
    assert!(code == 1 && told.contains("registry.invalid cannot be reached"), "{told}");
    let (code, told) = set(&cli, "127.0.0.2:5000", &user, &password, &[]);
    assert!(code == 1 && told.contains("registries.allow"), "{told}");
    let (code, told) = set(&cli, "localhost:5000", &user, &password, &[]);
    assert!(code == 1 && !told.contains("is set"), "{told}");
    assert_eq!(cli.json(&["registry", "list"]), json!([]));
    assert_eq!(set(&cli, "registry.invalid", &user, &password, &["--no-check"]).0, 0);
    assert_eq!(set(&cli, &server, &user, &password, &[]), (0, "private is set\n".to_owned()));
    assert_eq!(cli.json(&["registry", "list"])[0]["server"], json!(server));
}

/// A server of this machine with a certificate that nobody has signed, and its address; `None` leaves a visible skip.
fn untrusted_server(test: &str, dir: &std::path::Path) -> Option<(Running, String)> {
    program(test, "openssl")?;
    // No packet is sent by this: it asks the system which address it would use.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let outside = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()).map(|address| address.ip());
    let Some(address) = outside.ok().filter(|address| !address.is_loopback()) else {
        skipped(test, "this machine has no address but its loopback one");
        return None;
    };
    let port = std::net::TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port();
    let make =
        ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-keyout", "key.pem", "-out", "cert.pem"];
    let subject = ["-subj", "/CN=registry.example.com"];
    let made = Command::new("openssl").args(make).args(subject).current_dir(dir).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let server = format!("{address}:{port}");
    let mut serve = Command::new("openssl");
    serve.args(["s_server", "-accept", &server, "-key", "key.pem", "-cert", "cert.pem", "-www"]).current_dir(dir);
    let running = Running::start(&mut serve);
    eventually(|| std::net::TcpStream::connect(&server).ok());
    Some((running, server))
}

#[test]
fn a_certificate_that_is_not_trusted_is_told() {
    let dir = tempfile::TempDir::new().unwrap();
    let found = untrusted_server("a_certificate_that_is_not_trusted_is_told", dir.path());
    let Some((_running, server)) = found else { return };
    let (address, _) = server.split_once(':').unwrap();
    let settings = format!("registries.allow = ['{address}']\n[engines.simulated]\nkind = 'simulated'\n");
    let (code, told) = set(&Service::with(&settings), &server, "user", "password", &[]);
    assert!(code == 1 && told.contains("no certificate that is trusted"), "{told}");
}

/// A registry that wants tokens of a service of its own, like those of clouds: takes `user:right`.
fn token_registry() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = String::new();
            let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
            while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
            let head = head.to_ascii_lowercase();
            let is = |part: &str| head.contains(part);
            let (status, header, body) = if is("get /token?service=here") {
                // "user:right" in base64.
                let right = is("authorization: basic dxnlcjpyawdoda==");
                if right { ("200 OK", String::new(), r#"{"token": "t-1"}"#) } else { ("401 No", String::new(), "{}") }
            } else if is("authorization: bearer t-1") {
                ("200 OK", String::new(), "{}")
            } else {
                let header = format!("www-authenticate: Bearer realm=\"http://{address}/token\",service=\"here\"\r\n");
                ("401 No", header, "{}")
            };
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status}\r\n{header}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address.to_string()
}

#[test]
fn registries_with_token_services_are_asked_their_way() {
    let (cli, server) = (Service::start(), token_registry());
    let (code, told) = set(&cli, &server, "user", "wrong", &[]);
    assert!(code == 1 && told.contains("refuses this login"), "{told}");
    assert_eq!(set(&cli, &server, "user", "right", &[]), (0, "private is set\n".to_owned()));
}

#[test]
fn a_pinned_job_keeps_the_digest() {
    const TEST: &str = "a_pinned_job_keeps_the_digest";
    let Some(server) = infra(TEST, "HAULIER_TEST_REGISTRY_AUTH") else { return };
    let Some(user) = infra(TEST, "HAULIER_TEST_REGISTRY_USER") else { return };
    let Some(password) = infra(TEST, "HAULIER_TEST_REGISTRY_PASSWORD") else { return };
    let cli = Service::start();
    let image = format!("{server}/haulier-test/busybox:1");
    let file = cli.file("job.yaml", &format!("name: a\nimage: {image}\n"));
    let nobody = cli.run(&["job", "apply", "-f", &file, "--pin"]);
    assert!(nobody.code == 1 && nobody.stderr.contains("the project has none for it"), "{nobody:?}");
    assert_eq!(set(&cli, &server, &user, &password, &[]).0, 0);
    assert_eq!(cli.stdout(&["job", "apply", "-f", &file, "--pin"]), "a revision 1 (registered)\n");
    let pinned = cli.json(&["job", "show", "a"])["spec"]["image"].as_str().unwrap().to_owned();
    assert!(pinned.starts_with(&format!("{server}/haulier-test/busybox@sha256:")), "{pinned}");
    assert_eq!(cli.stdout(&["job", "apply", "-f", &file, "--pin"]), "a revision 1 (unchanged)\n");
    // What is shown can be applied again.
    let shown = cli.stdout(&["job", "show", "a"]);
    assert_eq!(cli.with_input(&["job", "apply", "-f", "-"], &shown).stdout, "a revision 1 (unchanged)\n");
    let missing = cli.file("missing.yaml", &format!("name: b\nimage: {server}/none:1\npin: true\n"));
    let missing = cli.run(&["job", "apply", "-f", &missing]);
    assert!(missing.code == 1 && missing.stderr.contains("is not in its registry"), "{missing:?}");
}

#[test]
fn images_that_the_project_does_not_allow_are_told() {
    let cli = Service::start();
    cli.stdout(&["project", "images", "default", "registry.example.com/data/*"]);
    let file = cli.file("job.yaml", "name: a\nimage: miner.example.com/x\n");
    let refused = cli.run(&["job", "apply", "-f", &file, "--dry-run"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("registry.example.com/data/*"), "{refused:?}");
}
