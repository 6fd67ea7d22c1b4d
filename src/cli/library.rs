//! The library that a command is about, and the index that goes with it.

use super::image::{OpenArgs, PlaceArgs};
use super::{Error, escape};
use crate::index::{Index, Selection};
use crate::library::{Library, Moment, Place};
use sha2::{Digest, Sha256};
use spelunk_tree::Name;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which library is meant.
#[derive(clap::Args, Clone, Debug)]
pub struct LibraryArgs {
    /// A directory with backups; may be given several times, for one library of several places
    #[arg(long = "library", value_name = "DIR", required = true)]
    places: Vec<PathBuf>,

    #[command(flatten)]
    place: PlaceArgs,

    #[command(flatten)]
    open: OpenArgs,
}

/// Which library is meant, and which index.
#[derive(clap::Args, Clone, Debug)]
pub struct IndexedArgs {
    #[command(flatten)]
    library: LibraryArgs,

    /// The index of this library; it can be deleted at any time [default: a file in ~/.cache/spelunk]
    #[arg(long, value_name = "FILE")]
    index: Option<PathBuf>,
}

impl LibraryArgs {
    /// Opens the library. What is in it is opened when somebody looks.
    ///
    /// # Errors
    /// When a directory, or all that is in them, cannot be read.
    pub fn open(&self) -> Result<Arc<Library>, Error> {
        let places: Vec<Place> = self.places.iter().map(|path| self.place.place(path)).collect();
        let library = Library::open(&places, self.open.options()).map_err(Error::image)?;
        library.catalogue().map_err(Error::image)?;
        Ok(library)
    }
}

impl IndexedArgs {
    /// Opens the library.
    ///
    /// # Errors
    /// As [`LibraryArgs::open`].
    pub fn open_library(&self) -> Result<Arc<Library>, Error> {
        self.library.open()
    }

    /// Opens the index, or makes an empty one.
    ///
    /// # Errors
    /// When it cannot be read, or there is no place for it.
    pub fn open_index(&self) -> Result<Arc<Index>, Error> {
        let path = match &self.index {
            Some(path) => path.clone(),
            None => default_index(&self.library.places)?,
        };
        Ok(Index::open(&path)?)
    }
}

/// Where the index of these places is: the same file for the same places, in the user's own cache.
fn default_index(places: &[PathBuf]) -> Result<PathBuf, Error> {
    const HASH_BYTES: usize = 8;
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    let folder = cache
        .ok_or_else(|| Error::usage("there is no home for the index").hint("name a file with --index FILE"))?
        .join("spelunk");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|error| {
        spelunk_tree::Error::from_io(format!("making {}", escape::escape(bytes(&folder))), &error)
    })?;
    let mut real: Vec<PathBuf> =
        places.iter().map(|place| place.canonicalize().unwrap_or_else(|_| place.clone())).collect();
    real.sort();
    let mut hash = Sha256::new();
    real.iter().for_each(|place| hash.update([bytes(place), b"\0"].concat()));
    let digits = super::json::hex_digits(&hash.finalize()[..HASH_BYTES]);
    Ok(folder.join(format!("index-{digits}.sqlite")))
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// Takes `CLIENT`, `CLIENT/TIME`, `CLIENT/TIME/ITEM`, as they are listed.
///
/// # Errors
/// What is wrong with it, for people.
pub fn parse_selection(text: &str) -> Result<Selection, String> {
    let mut names = text.trim_matches('/').splitn(3, '/');
    let mut name =
        || names.next().map(|name| Name::new(name.as_bytes()).map_err(|error| error.to_string())).transpose();
    let (client, moment, item) = (name()?, name()?, name()?);
    let moment = match moment {
        None => None,
        Some(moment) => {
            let parsed = std::str::from_utf8(moment.as_bytes()).ok().and_then(Moment::parse);
            Some(parsed.ok_or("times of backups are written as `ls` lists them: 2026-01-31_0243")?)
        }
    };
    Ok(Selection { client, moment, item })
}
