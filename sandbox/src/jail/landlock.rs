//! Landlock: a ruleset that handles everything and allows nothing.

use super::Layer;
use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, Ruleset, RulesetAttr, RulesetStatus, Scope,
};

/// The newest rights that this build knows; older kernels take what they know.
const NEWEST: ABI = ABI::V9;

/// Takes from this thread, and those it starts, every access by path, to the network, and to the sockets
/// and processes outside.
pub(super) fn restrict() -> Layer {
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(NEWEST)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .and_then(|ruleset| ruleset.restrict_self())
        .map_err(|error| error.to_string())?;
    let kernel = match status.landlock {
        LandlockStatus::NotEnabled => return Err("switched off in this kernel".into()),
        LandlockStatus::NotImplemented => return Err("not in this kernel".into()),
        LandlockStatus::Available { effective_abi, .. } => effective_abi,
    };
    match status.ruleset {
        RulesetStatus::NotEnforced => Err("not enforced".into()),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => {
            Ok(format!("no path, no network, no process outside (ABI {kernel:?})"))
        }
    }
}
