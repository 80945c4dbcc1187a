//! Commands that change the table, for a stream: which process gives them, and whether they were done.
//!
//! Each is told twice, when it begins and when it is over, so that whoever finds a change can name those who were at it.

#![expect(
    clippy::cast_possible_truncation,
    reason = "the reader takes differences of the low halves of counts; a command is an `int`"
)]

use aya_ebpf::{
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid},
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use ipvs_observer_common::{CommandEvent, Loss, StreamLoss};

use crate::{
    globals::frozen,
    kread::{read, read_at, read_start},
    maps::EVENTS,
    pairing::{enter, enter_with_packet, leave, now_ns, stack_pointer, stack_pointer_of_call},
    record::settle,
    stream::{counts, current_cpu, lose, wakeup},
};

/// `IPVS_CMD_ATTR_SERVICE` of the uapi header `ip_vs.h`.
const IPVS_CMD_ATTR_SERVICE: u64 = 1;
/// `struct nlattr`.
const ATTRIBUTE_HEADER_BYTES: u16 = 4;
/// What of `struct ip_vs_service_user` names the service.
const SERVICE_USER_BYTES: u16 = 16;
const SERVICE_BYTES: u16 = 64;

/// A call, as both of its probes see it.
#[derive(Clone, Copy)]
struct Call {
    way: u16,
    phase: u16,
    command: u32,
    /// The socket.
    socket: u64,
    /// Where the name of the service is, in the kernel or in the process; 0 where there is none.
    service: u64,
    /// Bytes of it.
    service_bytes: u16,
    /// See [`CommandEvent::call`].
    id: u64,
}

/// `static int ip_vs_genl_set_cmd(struct sk_buff *skb, struct genl_info *info)`, 5.16 to 7.2.
#[kprobe]
fn netlink_command(ctx: ProbeContext) -> u32 {
    settle(try_netlink(&ctx))
}

fn try_netlink(ctx: &ProbeContext) -> Result<(), Loss> {
    let skb: u64 = ctx.arg(0).ok_or(Loss::Unreadable)?;
    let info: u64 = ctx.arg(1).ok_or(Loss::Unreadable)?;
    enter(ctx, [0, 1])?;
    let id = stack_pointer(ctx.regs);
    tell(&by_netlink(skb, info, CommandEvent::BEGUN, id)?)
}

#[kretprobe]
fn netlink_command_return(ctx: RetProbeContext) -> u32 {
    settle(try_netlink_return(&ctx))
}

fn try_netlink_return(ctx: &RetProbeContext) -> Result<(), Loss> {
    let [skb, info] = leave(ctx)?.kept;
    let id = stack_pointer_of_call(ctx.regs);
    tell(&by_netlink(skb, info, phase(ctx), id)?)
}

/// `static int do_ip_vs_set_ctl(struct sock *sk, int cmd, sockptr_t ptr, unsigned int len)`, 5.16 to 7.2; `ptr` takes two
/// registers, of which the first is the address.
#[kprobe]
fn socket_command(ctx: ProbeContext) -> u32 {
    settle(try_socket(&ctx))
}

fn try_socket(ctx: &ProbeContext) -> Result<(), Loss> {
    let socket: u64 = ctx.arg(0).ok_or(Loss::Unreadable)?;
    let command: u64 = ctx.arg(1).ok_or(Loss::Unreadable)?;
    let service: u64 = ctx.arg(2).ok_or(Loss::Unreadable)?;
    enter_with_packet(ctx, [0, 1], 2)?;
    let id = stack_pointer(ctx.regs);
    tell(&by_socket(
        socket,
        command,
        service,
        CommandEvent::BEGUN,
        id,
    ))
}

#[kretprobe]
fn socket_command_return(ctx: RetProbeContext) -> u32 {
    settle(try_socket_return(&ctx))
}

fn try_socket_return(ctx: &RetProbeContext) -> Result<(), Loss> {
    let entry = leave(ctx)?;
    let [socket, command] = entry.kept;
    let id = stack_pointer_of_call(ctx.regs);
    tell(&by_socket(socket, command, entry.packet(), phase(ctx), id))
}

#[inline(always)]
fn phase(ctx: &RetProbeContext) -> u16 {
    if ctx.ret::<u32>() == 0 {
        CommandEvent::DONE
    } else {
        CommandEvent::FAILED
    }
}

#[inline(always)]
fn by_netlink(skb: u64, info: u64, phase: u16, id: u64) -> Result<Call, Loss> {
    let header: u64 = read(info, frozen!(LAYOUT.command.header.offset))?;
    let command: u8 = read_at(header)?;
    let attributes: u64 = read(info, frozen!(LAYOUT.command.attributes.offset))?;
    let service: u64 = read_at(attributes + IPVS_CMD_ATTR_SERVICE * 8)?;
    let mut call = Call {
        way: CommandEvent::NETLINK,
        phase,
        command: u32::from(command),
        socket: read(skb, frozen!(LAYOUT.command.sender.offset))?,
        service: 0,
        service_bytes: 0,
        id,
    };
    if service != 0 {
        let length: u16 = read_at(service)?;
        call.service = service + u64::from(ATTRIBUTE_HEADER_BYTES);
        call.service_bytes = length.saturating_sub(ATTRIBUTE_HEADER_BYTES);
    }
    Ok(call)
}

#[inline(always)]
fn by_socket(socket: u64, command: u64, service: u64, phase: u16, id: u64) -> Call {
    Call {
        way: CommandEvent::SOCKET_OPTION,
        phase,
        command: command as u32,
        socket,
        service,
        service_bytes: SERVICE_USER_BYTES,
        id,
    }
}

#[inline(always)]
fn tell(call: &Call) -> Result<(), Loss> {
    let net: u64 = read(call.socket, frozen!(LAYOUT.command.socket_net.offset))?;
    let netns: u32 = read(net, frozen!(LAYOUT.net_inum.offset))?;
    let observed = frozen!(SETTINGS.netns);
    if observed != 0 && observed != netns {
        return Ok(());
    }
    let Some(counts) = counts() else {
        return Err(Loss::Map);
    };
    // SAFETY: see `counts`.
    let lost = unsafe { (*counts).lost };
    let Some(mut entry) = EVENTS.reserve::<CommandEvent>(0) else {
        lose(StreamLoss::BufferFull);
        return Ok(());
    };
    // SAFETY: the entry is as large as an event, and every member is written.
    let event = unsafe { &mut *entry.as_mut_ptr() };
    event.at_ns = now_ns();
    event.lost = [lost[0] as u32, lost[1] as u32];
    event.call = call.id;
    event.name = bpf_get_current_comm().unwrap_or_default();
    event.service = [0; SERVICE_BYTES as usize];
    event.netns = netns;
    event.process = (bpf_get_current_pid_tgid() >> 32) as u32;
    event.cpu = current_cpu();
    event.command = call.command;
    event.way = call.way;
    event.phase = call.phase;
    event.service_bytes = name_service(&mut event.service, call);
    event.reserved = 0;
    entry.submit(wakeup(size_of::<CommandEvent>()));
    Ok(())
}

/// Puts what names the service into its place, and gives its length; 0 where it cannot be read.
#[inline(always)]
fn name_service(place: &mut [u8; SERVICE_BYTES as usize], call: &Call) -> u16 {
    if call.service == 0 {
        return 0;
    }
    // Of either way no more is asked for than there is room for.
    let bytes = call.service_bytes.min(SERVICE_BYTES);
    let is_of_process = call.way == CommandEvent::SOCKET_OPTION;
    match read_start(place, u32::from(bytes), call.service, is_of_process) {
        Ok(()) => bytes,
        Err(_) => 0,
    }
}
