//! A name server that knows nobody, and remembers what it was asked.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use ipvs_observer_tests::netns::Netns;

/// Where the C library looks for a name server if nothing tells it.
const ADDRESS: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 53);
/// Bytes before the question: RFC 1035, section 4.1.1.
const HEADER_BYTES: usize = 12;

/// A server on the loopback of a namespace; it stops when dropped.
pub(super) struct NameServer<'a> {
    netns: &'a Netns,
    questions: Arc<Mutex<BTreeSet<Vec<u8>>>>,
    thread: Option<JoinHandle<()>>,
}

impl<'a> NameServer<'a> {
    pub(super) fn start(netns: &'a Netns) -> Self {
        let socket = netns.run(|| Ok(UdpSocket::bind(ADDRESS)?));
        let socket = socket.expect("port 53 is free");
        let questions = Arc::default();
        let for_thread = Arc::clone(&questions);
        Self {
            netns,
            questions,
            thread: Some(thread::spawn(move || answer(&socket, &for_thread))),
        }
    }

    /// The questions so far, which it forgets. One that is sent again for want of an answer has
    /// the same number and counts once.
    pub(super) fn questions(&self) -> Vec<Vec<u8>> {
        let mut questions = self
            .questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let questions = std::mem::take(&mut *questions).into_iter();
        questions
            .map(|mut datagram| datagram.split_off(HEADER_BYTES))
            .collect()
    }
}

impl Drop for NameServer<'_> {
    fn drop(&mut self) {
        let told = self.netns.run(|| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            Ok(socket.send_to(&[], ADDRESS)?)
        });
        if let (Ok(_), Some(thread)) = (told, self.thread.take()) {
            let _panic_already_printed = thread.join();
        }
    }
}

/// Says of every name that it does not exist, until something comes that is no question.
fn answer(socket: &UdpSocket, questions: &Mutex<BTreeSet<Vec<u8>>>) {
    let mut buffer = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let datagram = &mut buffer[..length];
        if datagram.len() < HEADER_BYTES {
            return;
        }
        let mut questions = questions.lock().unwrap_or_else(PoisonError::into_inner);
        questions.insert(datagram.to_vec());
        drop(questions);
        datagram[2] |= 0x80;
        datagram[3] = 3;
        if socket.send_to(datagram, from).is_err() {
            return;
        }
    }
}
