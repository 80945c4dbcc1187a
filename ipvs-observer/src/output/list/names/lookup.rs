//! Threads that ask for names of hosts.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

/// How many lookups there are at a time. Each is one packet and a wait, so they are many more than processors.
const MAX_THREADS: usize = 32;

/// Asks for the name of a host, for as long as it takes.
pub(super) type Lookup = fn(IpAddr) -> Option<String>;

type Answer = (IpAddr, Option<String>);

/// Lookups under way.
#[derive(Debug)]
pub(super) struct Lookups {
    lookup: Lookup,
    questions: Sender<IpAddr>,
    queue: Arc<Mutex<Receiver<IpAddr>>>,
    answered: Sender<Answer>,
    answers: Receiver<Answer>,
    n_threads: usize,
}

impl Lookups {
    pub(super) fn new(lookup: Lookup) -> Self {
        let (questions, queue) = channel();
        let (answered, answers) = channel();
        Self {
            lookup,
            questions,
            queue: Arc::new(Mutex::new(queue)),
            answered,
            answers,
            n_threads: 0,
        }
    }

    /// Asks for a name. A question that no thread can be had for has no answer.
    pub(super) fn ask(&mut self, address: IpAddr) {
        if self.n_threads < MAX_THREADS && self.begin_thread().is_ok() {
            self.n_threads += 1;
        }
        // The receiver is kept here, so that sending cannot fail.
        let _ = self.questions.send(address);
    }

    /// Waits for the next answer to any question.
    pub(super) fn answer(&self, patience: Duration) -> Option<Answer> {
        self.answers.recv_timeout(patience).ok()
    }

    fn begin_thread(&self) -> std::io::Result<()> {
        let (lookup, queue, answered) =
            (self.lookup, Arc::clone(&self.queue), self.answered.clone());
        let thread = thread::Builder::new().name("names".to_owned());
        thread.spawn(move || {
            while let Some(address) = next(&queue)
                && answered.send((address, lookup(address))).is_ok()
            {}
        })?;
        Ok(())
    }
}

/// The next question, or none when nobody can ask any more.
fn next(queue: &Mutex<Receiver<IpAddr>>) -> Option<IpAddr> {
    queue.lock().ok()?.recv().ok()
}

/// The name that the C library has for a host. Whoever owns an address chooses its name, so one that is not made of what
/// names of hosts are made of is none.
pub(super) fn host(address: IpAddr) -> Option<String> {
    let name = dns_lookup::lookup_addr(&address).ok()?;
    is_host_name(&name).then_some(name)
}

fn is_host_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::is_host_name;

    #[test]
    fn a_name_that_no_host_has_is_none() {
        for name in ["localhost", "a-1.example.org", "_srv.Example"] {
            assert!(is_host_name(name), "{name}");
        }
        for name in ["", "a b", "a\u{1b}[2J", "a:80", "b\u{fc}cher.example"] {
            assert!(!is_host_name(name), "{name:?}");
        }
    }
}
