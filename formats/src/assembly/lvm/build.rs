//! From a volume group's description and its physical volumes to the bytes of its logical volumes.

use super::group::{Group, Kind, Logical, Physical, Place, Segment};
use super::mirror;
use super::thin::{self, Pool};
use crate::assembly::stripe::Striped;
use crate::bytes::{add, count, mul};
use crate::slice::Slice;
use crate::splice::{Whole, Zeros, splice};
use spelunk_tree::{Error, ErrorKind, ReadAt, Result, ResultExt};
use std::collections::HashMap;
use std::sync::Arc;

/// Logical volumes on logical volumes: a thin volume on a pool on a RAID on its legs has four.
const DEPTH_MAX: usize = 8;

/// A volume's bytes, or why there are none.
type Bytes = Result<Arc<dyn ReadAt>>;

/// Makes logical volumes, each once.
pub(super) struct Builder<'a> {
    group: &'a Group,
    /// The physical volumes by their names, with their bytes or why there are none.
    physical: HashMap<&'a str, (&'a Physical, Bytes)>,
    logical: HashMap<&'a str, &'a Logical>,
    built: HashMap<&'a str, Bytes>,
    pools: HashMap<&'a str, Result<Arc<Pool>>>,
    /// The volumes that are being made, each for the one before.
    underway: Vec<&'a str>,
    /// What was found out about the volume that is being made.
    notes: Vec<String>,
}

impl<'a> Builder<'a> {
    /// A builder for `group`, whose physical volumes' bytes stand in its order.
    pub(super) fn new(group: &'a Group, bytes: Vec<Bytes>) -> Builder<'a> {
        let physical = group.physical.iter().zip(bytes);
        Builder {
            group,
            physical: physical.map(|(it, bytes)| (it.name.as_str(), (it, bytes))).collect(),
            logical: group.logical.iter().map(|it| (it.name.as_str(), it)).collect(),
            built: HashMap::new(),
            pools: HashMap::new(),
            underway: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// What was found out since it was asked last.
    pub(super) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The bytes of the logical volume `name`.
    pub(super) fn volume(&mut self, name: &str) -> Result<Arc<dyn ReadAt>> {
        let logical = *self.logical.get(name).ok_or_else(|| unknown(name))?;
        let name = logical.name.as_str();
        if let Some(built) = self.built.get(name) {
            return built.clone();
        }
        self.enter(name)?;
        let built = self.build(logical).context(|| format!("logical volume {name}"));
        self.underway.pop();
        self.built.insert(name, built.clone());
        built
    }

    /// Begins to make a volume, unless it is a part of itself.
    fn enter(&mut self, name: &'a str) -> Result<()> {
        if self.underway.contains(&name) {
            return Err(Error::corrupt(format!("logical volume {name} is made of itself")));
        }
        if self.underway.len() >= DEPTH_MAX {
            return Err(Error::limit(format!("more than {DEPTH_MAX} logical volumes on one another")));
        }
        self.underway.push(name);
        Ok(())
    }

    fn build(&mut self, logical: &Logical) -> Result<Arc<dyn ReadAt>> {
        let segments = logical.segments.as_ref().map_err(Clone::clone)?;
        if let [segment] = &segments[..] {
            return self.segment(segment);
        }
        let is_plain = |segment: &Segment| {
            matches!(segment.kind, Kind::Striped { .. } | Kind::Mirror { .. } | Kind::Zero)
        };
        if let Some(other) = segments.iter().find(|segment| !is_plain(segment)) {
            return Err(Error::unsupported(format!("a {} segment that is one of several", other.kind)));
        }
        splice(segments.iter().map(|segment| self.segment(segment)).collect::<Result<_>>()?)
    }

    /// The bytes of one segment.
    fn segment(&mut self, segment: &Segment) -> Result<Arc<dyn ReadAt>> {
        let bytes = self.bytes_of(segment.extents)?;
        match &segment.kind {
            Kind::Striped { places, stripe_bytes } => self.striped(places, *stripe_bytes, segment.extents),
            Kind::Mirror { legs, has_log } => self.mirror(legs, *has_log, segment.extents),
            Kind::Raid1 { legs } => self.raid1(legs, bytes),
            Kind::Raid0 { legs, stripe_bytes } => {
                let at_start = |volume: &String| Place { volume: volume.clone(), extent: 0 };
                let places: Vec<Place> = legs.iter().map(at_start).collect();
                self.striped(&places, *stripe_bytes, segment.extents)
            }
            Kind::Thin { pool, device, external_origin } => {
                let pool = self.pool(pool)?;
                let origin = external_origin.as_deref().map(|name| self.volume(name)).transpose();
                let origin = origin.context(|| "its external origin")?;
                thin::open(&pool, *device, bytes, origin)
            }
            Kind::Zero => Ok(Arc::new(Zeros::new(bytes))),
            Kind::Snapshot { .. } => {
                Err(Error::unsupported(format!("a {}, which is not thin", segment.kind)))
            }
            Kind::ThinPool { .. } | Kind::Other(_) => {
                Err(Error::unsupported(format!("{} volumes", segment.kind)))
            }
        }
    }

    fn bytes_of(&self, extents: u64) -> Result<u64> {
        mul(extents, self.group.extent_bytes)
    }

    /// Stripes over all places; the extents are spread over them.
    fn striped(&mut self, places: &[Place], stripe_bytes: u64, extents: u64) -> Result<Arc<dyn ReadAt>> {
        let each = extents.checked_div(count(places.len())).unwrap_or(0);
        if mul(each, count(places.len()))? != extents || each == 0 {
            return Err(Error::corrupt(format!("{extents} extents on {} stripes", places.len())));
        }
        let mut legs = places.iter().map(|place| self.place(place, each)).collect::<Result<Vec<_>>>()?;
        match legs.pop() {
            Some(only) if legs.is_empty() => Ok(only),
            last => {
                legs.extend(last);
                Ok(Arc::new(Whole(Striped::new(legs, self.bytes_of(each)?, stripe_bytes)?)))
            }
        }
    }

    /// So many extents from a place on.
    fn place(&mut self, place: &Place, extents: u64) -> Result<Arc<dyn ReadAt>> {
        let (start, len) = (self.bytes_of(place.extent)?, self.bytes_of(extents)?);
        let end = add(place.extent, extents)?;
        if let Some((physical, bytes)) = self.physical.get(place.volume.as_str()) {
            if end > physical.extents {
                return Err(Error::corrupt(format!(
                    "extents up to {end} of the {} of physical volume {}",
                    physical.extents, physical.id
                )));
            }
            let start = add(physical.start_bytes, start)?;
            return Ok(Arc::new(Slice::new(bytes.clone()?, start, len)));
        }
        let volume = self.volume(&place.volume)?;
        if add(start, len)? > volume.size() {
            return Err(Error::corrupt(format!("extents up to {end} of logical volume {}", place.volume)));
        }
        Ok(Arc::new(Slice::new(volume, start, len)))
    }

    /// The first leg, from which a mirror copies to the others; another one only when the first is missing.
    fn mirror(&mut self, legs: &[Place], has_log: bool, extents: u64) -> Result<Arc<dyn ReadAt>> {
        let mut missing = None;
        for (number, leg) in legs.iter().enumerate() {
            match self.place(leg, extents) {
                Ok(bytes) if number == 0 => return Ok(bytes),
                Ok(bytes) => {
                    let known = if has_log { "its log is not read" } else { "nothing says" };
                    self.notes.push(format!("leg {number} of the mirror is shown, since the first is missing; {known} whether it was up to date"));
                    return Ok(bytes);
                }
                Err(error) if error.kind() == ErrorKind::Storage => missing = missing.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        Err(missing.unwrap_or_else(|| Error::corrupt("a mirror without legs")))
    }

    /// The first leg that is there and up to date.
    fn raid1(&mut self, legs: &[(String, String)], bytes: u64) -> Result<Arc<dyn ReadAt>> {
        let mut opened = Vec::new();
        let mut missing = None;
        for (number, (state, data)) in legs.iter().enumerate() {
            match (self.volume(state), self.volume(data)) {
                (Ok(state), Ok(data)) => opened.push((number, mirror::State::read(&*state)?, data)),
                (Err(error), _) | (_, Err(error)) if error.kind() == ErrorKind::Storage => {
                    missing = missing.or(Some(error));
                }
                (Err(error), _) | (_, Err(error)) => return Err(error),
            }
        }
        if opened.is_empty() {
            return Err(missing.unwrap_or_else(|| Error::corrupt("a mirror without legs")));
        }
        let states: Vec<_> = opened.iter().map(|(number, state, _)| (*number, state.as_ref())).collect();
        let best = mirror::best(&states)?;
        self.notes.extend(mirror::notes(&states, legs.len(), best));
        let data = opened.into_iter().find(|(number, _, _)| *number == best).map(|(_, _, data)| data);
        let data = data.ok_or_else(|| Error::internal("a leg that is not there"))?;
        if data.size() < bytes {
            return Err(Error::corrupt("a leg of a mirror that is too short"));
        }
        Ok(Arc::new(Slice::new(data, 0, bytes)))
    }

    fn pool(&mut self, name: &str) -> Result<Arc<Pool>> {
        let logical = *self.logical.get(name).ok_or_else(|| unknown(name))?;
        let name = logical.name.as_str();
        if let Some(pool) = self.pools.get(name) {
            return pool.clone();
        }
        self.enter(name)?;
        let pool = self.open_pool(logical).context(|| format!("thin pool {name}"));
        self.underway.pop();
        self.pools.insert(name, pool.clone());
        pool
    }

    fn open_pool(&mut self, logical: &Logical) -> Result<Arc<Pool>> {
        match &logical.segments.as_ref().map_err(Clone::clone)?[..] {
            [Segment { kind: Kind::ThinPool { metadata, data, chunk_bytes }, .. }] => {
                let (metadata, data) = (self.volume(metadata)?, self.volume(data)?);
                Ok(Arc::new(Pool::open(metadata, data, *chunk_bytes)?))
            }
            _ => Err(Error::corrupt("it is none")),
        }
    }
}

fn unknown(name: &str) -> Error {
    Error::corrupt(format!("there is no volume {name}"))
}
