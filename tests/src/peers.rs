//! The programs of others in the VM, run in a namespace of the lab: what they say is compared
//! with what ours says.
//!
//! `cargo xtask` puts them into the VMs that ask for them, from `xtask/src/peers.rs`. What they
//! are asked, and what their answers mean, is each test's.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail};

use crate::{netns::Netns, wait};

/// The tracer of scripts, 0.23; no suite has it but the benchmarks.
pub const BPFTRACE: &str = "/usr/bin/bpftrace";
/// The administrator's tool of IPVS, 1.31.
pub const IPVSADM: &str = "/usr/sbin/ipvsadm";
/// The exporter of hosts for Prometheus, with its collector of IPVS.
pub const NODE_EXPORTER: &str = "/usr/bin/prometheus-node-exporter";
/// The checker of what exporters print.
pub const PROMTOOL: &str = "/usr/bin/promtool";
/// A database of time series that takes the lines of Influx.
pub const VICTORIA_METRICS: &str = "/usr/bin/victoria-metrics";

/// What a program that has ended said.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output, to the byte.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

/// Runs a program in a namespace to its end, with `input` as its standard input.
pub fn run(netns: &Netns, program: &str, arguments: &[&str], input: &str) -> Result<Outcome> {
    let mut child = netns.spawn(
        Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    )?;
    let mut stdin = child.stdin.take().context("standard input is piped")?;
    let output = thread::scope(|scope| {
        // A program that ends before it has read everything is no error: its status says why.
        scope.spawn(move || stdin.write_all(input.as_bytes()));
        child.wait_with_output()
    })
    .with_context(|| format!("cannot wait for {program}"))?;
    let text =
        |bytes| String::from_utf8(bytes).with_context(|| format!("{program} printed no text"));
    Ok(Outcome {
        status: output.status,
        stdout: text(output.stdout)?,
        stderr: text(output.stderr)?,
    })
}

/// The same for a program that must succeed and say nothing on standard error: gives its
/// standard output.
pub fn output(netns: &Netns, program: &str, arguments: &[&str], input: &str) -> Result<String> {
    let outcome = run(netns, program, arguments, input)?;
    if !outcome.status.success() || !outcome.stderr.is_empty() {
        bail!("{program} {} went wrong: {outcome:?}", arguments.join(" "));
    }
    Ok(outcome.stdout)
}

/// A program that serves HTTP inside a namespace until it is dropped.
#[derive(Debug)]
pub struct HttpServer<'a> {
    netns: &'a Netns,
    child: Child,
    address: SocketAddr,
}

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// All that comes after the headers.
    pub body: String,
}

impl<'a> HttpServer<'a> {
    /// Starts a program and waits until it listens on `port` of the namespace's loopback, which
    /// its arguments have to say too.
    pub fn start(netns: &'a Netns, program: &str, arguments: &[&str], port: u16) -> Result<Self> {
        let child = netns.spawn(
            Command::new(program)
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::null()),
        )?;
        let mut server = Self {
            netns,
            child,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        };
        server.await_listening(program)?;
        Ok(server)
    }

    /// Asks for a path.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.request(&format!("GET {path} HTTP/1.0\r\n\r\n"))
    }

    /// Sends a body to a path.
    pub fn post(&self, path: &str, body: &str) -> Result<Answer> {
        let length = body.len();
        self.request(&format!(
            "POST {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    }

    fn await_listening(&mut self, program: &str) -> Result<()> {
        let Self {
            netns,
            child,
            address,
        } = self;
        netns.run(|| {
            wait::until(&format!("{program} to listen"), wait::PATIENCE, || {
                if let Some(status) = child.try_wait().context("cannot ask after a child")? {
                    bail!("{program} ended with {status}; why is on standard error");
                }
                Ok(TcpStream::connect(*address).ok().map(drop))
            })
        })
    }

    /// One request of HTTP/1.0, whose answer ends with the connection.
    fn request(&self, request: &str) -> Result<Answer> {
        self.netns.run(|| {
            let mut stream = TcpStream::connect(self.address)
                .with_context(|| format!("cannot connect to {}", self.address))?;
            stream.set_read_timeout(Some(wait::PATIENCE))?;
            stream
                .write_all(request.as_bytes())
                .context("cannot send a request")?;
            let mut answer = String::new();
            stream
                .read_to_string(&mut answer)
                .context("cannot read an answer")?;
            parse(&answer).with_context(|| format!("this is no answer of HTTP: {answer:?}"))
        })
    }
}

impl Drop for HttpServer<'_> {
    fn drop(&mut self) {
        // Both fail for a process that has ended, which is what is wanted.
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// The status line, headers, an empty line and the body.
fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?;
    Some(Answer {
        status: status.parse().ok()?,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_answer_is_its_status_and_its_body() {
        let answer = parse("HTTP/1.0 204 No Content\r\nX: y\r\n\r\na\r\n\r\nb").expect("it is one");
        assert_eq!((answer.status, answer.body.as_str()), (204, "a\r\n\r\nb"));
        assert!(parse("HTTP/1.0 200 OK\r\n").is_none());
        assert!(parse("").is_none());
    }
}
