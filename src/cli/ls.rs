//! `spelunk ls`: lists directories.

use super::image::ImageArgs;
use super::path::{self, Links};
use super::printer::Printer;
use super::{Error, Outcome, escape, json, size, time};
use spelunk_mount::walk::{self, Broken, Entries};
use spelunk_tree::{Attr, Error as TreeError, Kind, NodeId, Tree, limits};
use std::collections::HashSet;
use std::ffi::OsString;

/// List directories of an image
#[derive(clap::Args)]
#[command(
    disable_help_flag = true,
    after_help = "\
Examples:
  spelunk ls disk.vhdz
  spelunk ls -l disk.vhdz /home/me
  spelunk ls -lRh disk.vhdz p2/Windows/System32/config
  spelunk ls -0 disk.vhdz / | xargs -0 -n1

With -l: type and mode, links, owner, group, size, time, name. What the guest does not record is -,
modes are 0777 as in a mount; --json leaves them out. An entry that is damaged is listed with ? in
all columns and explained on stderr.

A name with control characters, or that is not UTF-8, is printed escaped as `ls -b` does, on a
terminal and elsewhere; -0 and --json give the true bytes."
)]
pub struct Args {
    #[command(flatten)]
    image: ImageArgs,

    /// What to list
    #[arg(default_value = "/", value_name = "PATH")]
    paths: Vec<OsString>,

    /// Show attributes
    #[arg(short = 'l', long)]
    long: bool,

    /// Show names that begin with a dot
    #[arg(short = 'a', long, short_alias = 'A')]
    all: bool,

    /// List subdirectories too
    #[arg(short = 'R', long)]
    recursive: bool,

    /// Print sizes as 1.5K, 20M
    #[arg(short = 'h', long)]
    human_readable: bool,

    /// List directories themselves, not what is in them
    #[arg(short = 'd', long, conflicts_with = "recursive")]
    directory: bool,

    /// Keep the guest's order; huge directories are then shown at once
    #[arg(short = 'U', long)]
    unsorted: bool,

    /// Show times to the nanosecond, with -l
    #[arg(long)]
    full_time: bool,

    /// Follow symbolic links given as PATH, inside the image
    #[arg(short = 'L', long)]
    follow: bool,

    /// End each line with a NUL, and escape nothing
    #[arg(short = '0', long, conflicts_with = "json")]
    zero: bool,

    /// Print one JSON object a line, with all attributes
    #[arg(long)]
    json: bool,

    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

/// Runs the command.
///
/// # Errors
/// When the image cannot be opened or stdout cannot be written.
pub fn run(args: &Args) -> Result<Outcome, Error> {
    let view = args.image.open()?;
    let with_headers = args.recursive || args.paths.len() > 1;
    let printer = Printer::new();
    let mut lister = Lister { tree: view.tree(), printer, args, with_headers, is_first: true };
    let links = if args.follow { Links::Follow } else { Links::Keep };
    let (mut directories, mut rows) = (Vec::new(), Vec::new());
    for path in &args.paths {
        let path = path::bytes(path);
        match view.resolve(path, links) {
            Err(error) => lister.printer.failed(&error),
            Ok(found) if found.attr.kind == Kind::Directory && !args.directory => {
                directories.push((path.to_vec(), found.node));
            }
            Ok(found) => rows.push(lister.row(path, path, found.node, &found.attr)),
        }
    }
    lister.is_first = rows.is_empty();
    lister.print_rows(rows)?;
    for (path, node) in directories {
        lister.tree(path, node)?;
    }
    lister.printer.finish()
}

/// Bytes of memory that directories take whose turn is yet to come: their paths may be long.
const PENDING_BYTES_MAX: usize = 256 << 20;

/// What one of them takes.
fn pending_size(path: &[u8]) -> usize {
    path.len() + size_of::<(Vec<u8>, NodeId, usize)>()
}

struct Lister<'a> {
    tree: &'a dyn Tree,
    printer: Printer,
    args: &'a Args,
    /// Whether each directory is introduced by its path.
    with_headers: bool,
    is_first: bool,
}

impl Lister<'_> {
    /// Lists a directory, and those below it when asked.
    fn tree(&mut self, path: Vec<u8>, node: NodeId) -> Result<(), Error> {
        let mut entered = HashSet::new();
        let mut pending_bytes = pending_size(&path);
        let mut pending = vec![(path, node, 1)];
        while let Some((path, node, depth)) = pending.pop() {
            pending_bytes -= pending_size(&path);
            if !entered.insert(node) {
                let error = TreeError::corrupt("a directory that is also elsewhere; not listed again");
                self.printer.broken(&path, &error);
                continue;
            }
            if depth > limits::DEPTH_MAX {
                let error = TreeError::limit(format!("directories more than {} deep", limits::DEPTH_MAX));
                self.printer.broken(&path, &error);
                continue;
            }
            self.header(&path)?;
            let mut below = self.directory(&path, node)?;
            let below_bytes: usize = below.iter().map(|(path, _)| pending_size(path)).sum();
            if pending_bytes + below_bytes > PENDING_BYTES_MAX || entered.len() >= walk::DIRECTORIES_MAX {
                self.printer.broken(&path, &TreeError::limit("more directories below than can be listed"));
                below.clear();
            } else {
                pending_bytes += below_bytes;
            }
            // The first of them is the next to be popped.
            let below = below.into_iter().rev().map(|(path, node)| (path, node, depth + 1));
            pending.extend(below);
        }
        Ok(())
    }

    fn header(&mut self, path: &[u8]) -> Result<(), Error> {
        if self.with_headers && !self.args.json && !self.args.zero {
            if !self.is_first {
                self.printer.line("")?;
            }
            self.printer.line(&format!("{}:", escape::escape(path)))?;
        }
        self.is_first = false;
        Ok(())
    }

    /// Lists one directory; returns the directories in it when they shall be listed too.
    fn directory(&mut self, path: &[u8], dir: NodeId) -> Result<Vec<(Vec<u8>, NodeId)>, Error> {
        let mut below = Vec::new();
        let failure = if self.args.unsorted {
            walk::pages(self.tree, dir, |page| self.lines(path, page, &mut below))?.err()
        } else {
            let (entries, failure) = walk::sorted(self.tree, dir, walk::HELD_BYTES_MAX);
            self.lines(path, entries, &mut below)?;
            failure
        };
        if let Some(error) = failure {
            self.printer.broken(path, &error);
        }
        Ok(below)
    }

    fn lines(
        &mut self,
        dir: &[u8],
        mut lines: Entries,
        below: &mut Vec<(Vec<u8>, NodeId)>,
    ) -> Result<(), Error> {
        if !self.args.all {
            lines.retain(|line| !line.as_ref().is_ok_and(|entry| entry.name.as_bytes().starts_with(b".")));
        }
        let mut rows = Vec::with_capacity(lines.len());
        for line in lines {
            match line {
                Ok(entry) => {
                    let path = path::join(dir, entry.name.as_bytes());
                    // Without headers only the path tells where a name belongs.
                    let is_bare = self.args.zero && self.with_headers;
                    let name = if is_bare { &path[..] } else { entry.name.as_bytes() };
                    rows.push(self.row(&path, name, entry.node, &entry.attr));
                    let is_below = self.args.recursive && entry.attr.kind == Kind::Directory;
                    // Some more than may be are enough to know it.
                    if is_below && below.len().saturating_mul(pending_size(&path)) <= 2 * PENDING_BYTES_MAX {
                        below.push((path, entry.node));
                    }
                }
                Err(broken) => rows.push(self.broken_row(dir, &broken)),
            }
        }
        self.print_rows(rows)
    }

    fn broken_row(&mut self, dir: &[u8], broken: &Broken) -> Row {
        let name = broken.name.as_ref().map_or(&b"?"[..], |name| name.as_bytes());
        let path = path::join(dir, name);
        self.printer.broken(&path, &broken.error);
        if self.args.json {
            return Row::of_json(&json::Broken::new(&path, &broken.error));
        }
        let cells = if self.args.long { BROKEN_CELLS.map(str::to_owned) } else { Default::default() };
        Row { cells, name: self.text(name) }
    }

    fn row(&mut self, path: &[u8], name: &[u8], node: NodeId, attr: &Attr) -> Row {
        let mut target = None;
        if self.args.long || self.args.json {
            target = json::link_target(self.tree, node, attr).unwrap_or_else(|error| {
                self.printer.broken(path, &error);
                Some(b"?".to_vec())
            });
        }
        if self.args.json {
            return Row::of_json(&json::Entry::new(path, node, attr, target.as_deref()));
        }
        let mut row = Row { cells: Default::default(), name: self.text(name) };
        if self.args.long {
            row.cells = self.cells(attr);
        }
        if let Some(target) = target {
            row.name.extend_from_slice(b" -> ");
            row.name.extend(self.text(&target));
        }
        row
    }

    /// A guest's bytes as they are to be printed.
    fn text(&self, bytes: &[u8]) -> Vec<u8> {
        if self.args.zero { bytes.to_vec() } else { escape::escape(bytes).into_owned().into_bytes() }
    }

    fn cells(&self, attr: &Attr) -> [String; COLUMNS] {
        let number = |value: Option<u32>| value.map_or(UNRECORDED.to_owned(), |value| value.to_string());
        let size = match attr.device {
            Some(device) => format!("{}, {}", device.major, device.minor),
            None if self.args.human_readable => size::short(attr.size),
            None => attr.size.to_string(),
        };
        let format = if self.args.full_time { time::full } else { time::short };
        let modified = attr.modified.map_or(UNRECORDED.to_owned(), format);
        [mode_text(attr), number(attr.links), number(attr.uid), number(attr.gid), size, modified]
    }

    fn print_rows(&mut self, rows: Vec<Row>) -> Result<(), Error> {
        let end = if self.args.zero { b"\0" } else { b"\n" };
        let mut widths = [0; COLUMNS];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(&row.cells) {
                *width = cell.len().max(*width);
            }
        }
        for row in rows {
            if self.args.long && !self.args.json {
                self.printer.write(aligned(&row.cells, &widths).as_bytes())?;
            }
            self.printer.write(&row.name)?;
            self.printer.write(end)?;
        }
        self.printer.end_record()
    }
}

/// Columns before the name: mode, links, owner, group, size, time.
const COLUMNS: usize = 6;
/// A cell for what the guest does not record: `?` would tell of damage.
const UNRECORDED: &str = "-";
const BROKEN_CELLS: [&str; COLUMNS] = ["??????????", "?", "?", "?", "?", "?"];

/// A line of the listing.
struct Row {
    cells: [String; COLUMNS],
    /// The name, or a whole object as JSON.
    name: Vec<u8>,
}

impl Row {
    fn of_json<T: serde::Serialize>(value: &T) -> Row {
        let mut name = Vec::new();
        // Writing to a Vec cannot fail.
        _ = json::write(&mut name, value, false);
        name.pop();
        Row { cells: Default::default(), name }
    }
}

/// Numbers to the right, the rest to the left, a space after each.
fn aligned(cells: &[String; COLUMNS], widths: &[usize; COLUMNS]) -> String {
    let [mode, links, uid, gid, size, time] = cells;
    let [w_mode, w_links, w_uid, w_gid, w_size, w_time] = *widths;
    format!("{mode:w_mode$} {links:>w_links$} {uid:>w_uid$} {gid:>w_gid$} {size:>w_size$} {time:w_time$} ")
}

/// `drwxr-xr-x`. Where the guest has no modes all is permitted, as in a mount.
fn mode_text(attr: &Attr) -> String {
    let kind = match attr.kind {
        Kind::File => '-',
        Kind::Directory => 'd',
        Kind::Symlink => 'l',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
        Kind::CharDevice => 'c',
        Kind::BlockDevice => 'b',
    };
    let mode = attr.mode.unwrap_or(0o777);
    let mut text = String::from(kind);
    // Of each class: its shift, its special bit, and that bit's letter with and without execution.
    for (shift, special, with, without) in
        [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')]
    {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => with,
            (true, false) => without,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(kind: Kind, mode: Option<u32>) -> String {
        mode_text(&Attr { mode, ..Attr::new(kind) })
    }

    #[test]
    fn modes_read_as_in_ls() {
        assert_eq!(mode(Kind::File, Some(0o644)), "-rw-r--r--");
        assert_eq!(mode(Kind::Directory, Some(0o1777)), "drwxrwxrwt");
        assert_eq!(mode(Kind::File, Some(0o6755)), "-rwsr-sr-x");
        assert_eq!(mode(Kind::File, Some(0o7644)), "-rwSr-Sr-T");
        assert_eq!(mode(Kind::BlockDevice, Some(0o660)), "brw-rw----");
        assert_eq!(mode(Kind::File, None), "-rwxrwxrwx");
    }
}
