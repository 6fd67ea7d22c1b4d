//! Who the worker is: nobody, who may do nothing.

use super::Layer;
use rustix::process::{geteuid, getuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, Gid, Uid, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

/// The user and group that own nothing.
const NOBODY: u32 = 65534;

/// No program that is executed can give privileges back. Seccomp needs it as well.
pub(super) fn no_new_privs() -> Layer {
    set_no_new_privs(true).map_err(|errno| errno.to_string())?;
    Ok("set".into())
}

/// Root becomes nobody, without groups. (The process has one thread, so its identity is the thread's.)
pub(super) fn become_nobody() -> Layer {
    if !getuid().is_root() && !geteuid().is_root() {
        return Ok(format!("as the host: {}", getuid().as_raw()));
    }
    empty_bounding_set();
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    set_thread_groups(&[]).map_err(|errno| format!("groups: {errno}"))?;
    set_thread_res_gid(gid, gid, gid).map_err(|errno| format!("group: {errno}"))?;
    set_thread_res_uid(uid, uid, uid).map_err(|errno| format!("user: {errno}"))?;
    Ok(format!("root became {NOBODY}, no groups"))
}

/// No capability is left, not even in a user namespace of one's own.
pub(super) fn drop_capabilities() -> Layer {
    empty_bounding_set();
    // Fails only where there are no ambient capabilities (old kernels).
    let _ = clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .map_err(|errno| errno.to_string())?;
    Ok("none".into())
}

/// Takes from the bounding set what may be taken: nothing for who has no privilege, and then it does not
/// matter, since there is no way to get one back (no_new_privs).
fn empty_bounding_set() {
    for capability in CapabilitySet::all().iter() {
        let _ = remove_capability_from_bounding_set(capability);
    }
}
