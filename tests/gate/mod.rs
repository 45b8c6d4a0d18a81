//! A way to an engine that can be closed, so that the engine is away for one case alone and what runs on it runs on.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinHandle,
};

/// Where the way leads to.
#[derive(Debug, Clone)]
pub enum Target {
    /// A socket in the file system.
    #[allow(dead_code, reason = "each test binary has its own kind of engine")]
    Unix(PathBuf),
    /// A port.
    #[allow(dead_code, reason = "each test binary has its own kind of engine")]
    Tcp(String),
}

/// Listens on the loopback and passes everything on, while it is open.
#[derive(Debug)]
pub struct Gate {
    pub address: SocketAddr,
    open: watch::Sender<bool>,
    listener: JoinHandle<()>,
}

impl Gate {
    #[allow(dead_code, reason = "not every test binary's containers share this machine's network")]
    pub async fn to(target: Target) -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into(), target).await
    }

    /// Listens on this address instead: one that containers reach.
    pub async fn at(address: IpAddr, target: Target) -> Self {
        let listener = TcpListener::bind((address, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let (open, state) = watch::channel(true);
        let listener = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (target, mut state) = (target.clone(), state.clone());
                tokio::spawn(async move {
                    if !*state.borrow_and_update() {
                        return;
                    }
                    tokio::select! {
                        _ = pass(stream, target) => {}
                        _ = state.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self { address, open, listener }
    }

    /// Breaks all connections, and lets no new ones through.
    #[allow(dead_code, reason = "not every test binary closes it")]
    pub fn close(&self) {
        self.open.send_replace(false);
    }

    #[allow(dead_code, reason = "not every test binary closes it")]
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn pass(mut near: TcpStream, target: Target) -> io::Result<()> {
    match target {
        Target::Unix(path) => copy_bidirectional(&mut near, &mut UnixStream::connect(path).await?).await,
        Target::Tcp(address) => copy_bidirectional(&mut near, &mut TcpStream::connect(address).await?).await,
    }
    .map(|_| ())
}
