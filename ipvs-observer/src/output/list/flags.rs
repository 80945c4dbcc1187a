//! The names of the flags that mean something else to each scheduler.

use crate::ipvs::table::Service;

/// `IP_VS_SVC_F_SCHED1` of the uapi header `ip_vs.h`; `_SH_FALLBACK` and `_MH_FALLBACK` are the same bit.
const IP_VS_SVC_F_SCHED1: u32 = 0x8;
/// `IP_VS_SVC_F_SCHED2`; `_SH_PORT` and `_MH_PORT` are the same bit.
const IP_VS_SVC_F_SCHED2: u32 = 0x10;
/// `IP_VS_SVC_F_SCHED3`, which no scheduler of the kernel gives a meaning.
const IP_VS_SVC_F_SCHED3: u32 = 0x20;

/// The scheduler's flags that `service` has, by the names that ipvsadm takes and prints.
pub(super) fn scheduler_flags(service: &Service) -> impl Iterator<Item = &'static str> {
    let [first, second] = match service.scheduler.as_str() {
        "sh" => ["sh-fallback", "sh-port"],
        "mh" => ["mh-fallback", "mh-port"],
        _ => ["flag-1", "flag-2"],
    };
    let flags = service.flags;
    [
        (IP_VS_SVC_F_SCHED1, first),
        (IP_VS_SVC_F_SCHED2, second),
        (IP_VS_SVC_F_SCHED3, "flag-3"),
    ]
    .into_iter()
    .filter(move |&(bit, _)| flags & bit != 0)
    .map(|(_, name)| name)
}
