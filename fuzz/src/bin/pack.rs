//! `pack IMAGES CORPUS`: makes seeds of the images that the mutation test leaves in a directory, each called
//! `CONTAINER-GUEST-NAME.img`.

use spelunk_fuzz::image::Sparse;
use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let (Some(images), Some(corpus)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::other("usage: pack IMAGES CORPUS"));
    };
    for entry in fs::read_dir(images)? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        let mut parts = stem.splitn(3, '-');
        let (Some(container), Some(guest), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let target = match (container, name) {
            (_, "gpt" | "mbr") => name,
            (_, name) if name.starts_with("lvm-") || name.starts_with("md-") => "assembly",
            ("raw", _) => guest,
            _ => container,
        };
        fs::create_dir_all(corpus.join(target))?;
        fs::write(corpus.join(target).join(name), Sparse::pack(&fs::read(&path)?))?;
    }
    Ok(())
}
