//! What the filters of a stream say of a client and a server.

use ipvs_observer_common::{PATTERNS, Pattern, ServerKey, protocol_bit, sample_hash};

use crate::{
    globals::{forget, frozen},
    kread::{AF_INET, Peer},
    maps::SERVER_KEYS,
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Wanted,
    Filtered,
    Sampled,
}

/// What the filters say of the client and the server.
#[inline(always)]
pub(super) fn judge(peer: &Peer, slot: u32) -> Verdict {
    let protocols = frozen!(STREAM.protocols);
    if protocols != 0 && protocols & protocol_bit(peer.protocol) == 0 {
        return Verdict::Filtered;
    }
    if frozen!(STREAM.clients) != 0 && !is_client(peer) {
        return Verdict::Filtered;
    }
    let has_patterns = frozen!(STREAM.services) != 0 || frozen!(STREAM.servers) != 0;
    if has_patterns && is_server(slot) == 0 {
        return Verdict::Filtered;
    }
    let sample = frozen!(STREAM.sample);
    if sample > 1 {
        let is_v4 = peer.family == AF_INET;
        let hash = sample_hash(peer.address, is_v4, peer.port, peer.protocol as u8);
        // A client that is not known has no place in a sample.
        if peer.family == 0 || hash.checked_rem(sample) != Some(0) {
            return Verdict::Sampled;
        }
    }
    Verdict::Wanted
}

#[inline(always)]
fn is_client(peer: &Peer) -> bool {
    let clients = frozen!(STREAM.clients) as usize;
    let mut is_wanted = false;
    for index in 0..PATTERNS {
        if index >= clients {
            break;
        }
        let family = frozen!(STREAM.client_family[index]);
        let prefix = frozen!(STREAM.client[index]);
        let mut rest = u32::from(family ^ peer.family);
        for word in 0..4 {
            rest |= (peer.address[word] & prefix.mask[word]) ^ prefix.address[word];
        }
        is_wanted |= rest == 0;
    }
    is_wanted
}

/// Not 0 if the services and the real servers that are asked for have the one in `slot`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn is_server(slot: u32) -> u32 {
    let Some(key) = SERVER_KEYS.get(slot) else {
        return 0;
    };
    let services = frozen!(STREAM.services) as usize;
    let mut is_service = services == 0;
    for index in 0..PATTERNS {
        if index >= services {
            break;
        }
        is_service |= names_service(&frozen!(STREAM.service[index]), key);
    }
    let servers = frozen!(STREAM.servers) as usize;
    let mut is_server = servers == 0;
    for index in 0..PATTERNS {
        if index >= servers {
            break;
        }
        is_server |= names_server(&frozen!(STREAM.server[index]), key);
    }
    u32::from(is_service && is_server)
}

#[inline(always)]
fn names_service(pattern: &Pattern, key: &ServerKey) -> bool {
    let mut rest = pattern.firewall_mark ^ key.firewall_mark;
    if pattern.family != 0 {
        rest |= u32::from(pattern.family ^ key.family);
    }
    if pattern.firewall_mark == 0 {
        rest |= u32::from(pattern.protocol ^ key.protocol);
        rest |= difference(pattern.address, &key.virtual_address);
        if pattern.ports != Pattern::ANY_PORT {
            rest |= u32::from(pattern.port ^ key.virtual_port);
        }
    }
    forget(u64::from(rest)) == 0
}

#[inline(always)]
fn names_server(pattern: &Pattern, key: &ServerKey) -> bool {
    let mut rest = u32::from(pattern.family ^ key.server_family);
    rest |= difference(pattern.address, &key.address);
    rest |= match pattern.ports {
        Pattern::ANY_PORT => 0,
        Pattern::SERVICE_PORT => u32::from(key.virtual_port ^ key.port),
        _ => u32::from(pattern.port ^ key.port),
    };
    forget(u64::from(rest)) == 0
}

#[inline(always)]
fn difference(words: [u32; 4], bytes: &[u8; 16]) -> u32 {
    let mut difference = 0;
    for (word, bytes) in words.into_iter().zip(bytes.as_chunks::<4>().0) {
        difference |= word ^ u32::from_le_bytes(*bytes);
    }
    difference
}
