//! Traffic whose every number is known: servers that answer a fixed request by a
//! fixed response, and clients that say exactly how many they had answered.
//!
//! Requests and responses fit one segment each, and the client closes first and
//! waits for the server's close, so that all packets of a session but the last ACK
//! are over when its call returns. Where either runs is `director`'s.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Error, Result, bail, ensure};
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use crate::netns::Netns;

/// What a client sends for one request.
pub const REQUEST: [u8; 64] = [b'?'; 64];
/// What a server sends for one response.
pub const RESPONSE: [u8; 128] = [b'!'; 128];
/// Longer than anything here is delayed by: who waits this long is stuck.
pub const STUCK: Duration = Duration::from_secs(60);

/// A TCP server in a namespace; it stops when dropped.
#[derive(Debug)]
pub struct Server {
    state: Arc<ServerState>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct ServerState {
    listener: TcpListener,
    answer_after: Duration,
    answered: AtomicU64,
    /// Connections by the address that they came to, of which a server may have many.
    accepted: Mutex<BTreeMap<SocketAddr, u64>>,
    /// By number, so that a connection can take itself out when it ends.
    open: Mutex<BTreeMap<u64, TcpStream>>,
}

impl Server {
    /// Listens on `address` in `netns` and answers each request `answer_after` it
    /// came.
    pub fn start(netns: &Netns, address: SocketAddr, answer_after: Duration) -> Result<Self> {
        let listener = netns.run(|| {
            TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))
        })?;
        let state = Arc::new(ServerState {
            listener,
            answer_after,
            answered: AtomicU64::new(0),
            accepted: Mutex::default(),
            open: Mutex::default(),
        });
        let for_acceptor = Arc::clone(&state);
        let acceptor = thread::spawn(move || for_acceptor.accept());
        Ok(Self {
            state,
            acceptor: Some(acceptor),
        })
    }

    /// How many requests it has answered.
    pub fn answered(&self) -> u64 {
        self.state.answered.load(Ordering::SeqCst)
    }

    /// How many connections it has accepted, by the address that they came to.
    pub fn accepted(&self) -> BTreeMap<SocketAddr, u64> {
        self.state.lock_accepted().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stop();
        if let Some(acceptor) = self.acceptor.take() {
            let _panic_already_printed = acceptor.join();
        }
    }
}

impl ServerState {
    /// Accepts until stopped, and then ends every connection that is still open.
    fn accept(&self) {
        thread::scope(|scope| {
            for number in 0.. {
                let Ok((stream, _client)) = self.listener.accept() else {
                    break;
                };
                let Ok(twin) = stream.try_clone() else { break };
                let Ok(address) = stream.local_addr() else {
                    break;
                };
                *self.lock_accepted().entry(address).or_default() += 1;
                self.lock_open().insert(number, twin);
                scope.spawn(move || {
                    self.serve(stream);
                    self.lock_open().remove(&number);
                });
            }
            for stream in self.lock_open().values() {
                let _already_closed = stream.shutdown(Shutdown::Both);
            }
        });
    }

    /// Answers until the client closes; a client that resets ends it too.
    fn serve(&self, mut stream: TcpStream) {
        let _works_without = stream.set_nodelay(true);
        let mut request = REQUEST;
        while stream.read_exact(&mut request).is_ok() {
            if !self.answer_after.is_zero() {
                thread::sleep(self.answer_after);
            }
            if stream.write_all(&RESPONSE).is_err() {
                break;
            }
            self.answered.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Shutting a listener down wakes its `accept` with an error.
    fn stop(&self) {
        let _already_stopped = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
    }

    fn lock_accepted(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, u64>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_open(&self) -> MutexGuard<'_, BTreeMap<u64, TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One whole session from the calling thread's namespace: connect, `requests` times
/// request and response, FIN, and the server's FIN.
pub fn connect_once(target: SocketAddr, requests: u32) -> Result<()> {
    paced_session(target, requests, Duration::ZERO)
}

/// The same, with a pause between two requests.
pub fn paced_session(target: SocketAddr, requests: u32, pause: Duration) -> Result<()> {
    let mut stream = open(target)?;
    for request in 0..requests {
        if request > 0 {
            thread::sleep(pause);
        }
        exchange(&mut stream)
            .with_context(|| format!("in request {request} of {requests} to {target}"))?;
    }
    close(stream)
}

/// `sessions` sessions one after another from `netns`, of `requests` requests each.
pub fn sessions(netns: &Netns, target: SocketAddr, sessions: u32, requests: u32) -> Result<()> {
    netns.run(|| {
        for session in 0..sessions {
            connect_once(target, requests)
                .with_context(|| format!("in session {session} of {sessions}"))?;
        }
        Ok(())
    })
}

/// Connects `attempts` times from `netns`, each a whole session of one request where
/// it is accepted, and says how many were refused.
pub fn attempts(netns: &Netns, target: SocketAddr, attempts: u32) -> Result<u32> {
    netns.run(|| {
        let mut refused = 0;
        for attempt in 0..attempts {
            match connect_once(target, 1) {
                Ok(()) => {}
                Err(error) if is_refusal(&error) => refused += 1,
                Err(error) => {
                    return Err(error).with_context(|| format!("in attempt {attempt}"));
                }
            }
        }
        Ok(refused)
    })
}

/// Connects from the calling thread's namespace.
pub fn open(target: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&target, STUCK)
        .with_context(|| format!("cannot connect to {target}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STUCK))?;
    Ok(stream)
}

/// The same with a mark on every packet, the SYN included.
pub fn open_marked(target: SocketAddr, mark: u32) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)
        .context("cannot make a socket")?;
    socket.set_mark(mark).context("cannot mark a socket")?;
    socket
        .connect_timeout(&target.into(), STUCK)
        .with_context(|| format!("cannot connect to {target} with mark {mark}"))?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STUCK))?;
    Ok(stream)
}

/// Sends one SYN and gives up before anybody can answer it.
pub fn knock(target: SocketAddr) -> Result<()> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)
        .context("cannot make a socket")?;
    socket.set_nonblocking(true)?;
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => Ok(()),
        Ok(()) => bail!("{target} has answered at once"),
        Err(error) => Err(error).with_context(|| format!("cannot connect to {target}")),
    }
}

/// Sends one request and reads its response.
pub fn exchange(stream: &mut TcpStream) -> Result<()> {
    stream
        .write_all(&REQUEST)
        .context("cannot send a request")?;
    await_response(stream)
}

/// Reads the response to a request that was sent already.
pub fn await_response(stream: &mut TcpStream) -> Result<()> {
    let mut response = RESPONSE;
    stream
        .read_exact(&mut response)
        .context("cannot read a response")?;
    ensure!(response == RESPONSE, "the response is not the server's");
    Ok(())
}

/// Closes first and waits until the server has closed too.
pub fn close(mut stream: TcpStream) -> Result<()> {
    stream
        .shutdown(Shutdown::Write)
        .context("cannot close a connection")?;
    let rest = stream
        .read(&mut [0])
        .context("cannot wait for the server to close")?;
    ensure!(rest == 0, "the server sent more than its responses");
    Ok(())
}

fn is_refusal(error: &Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}
