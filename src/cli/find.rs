//! `spelunk find`: searches an image.

use super::image::ImageArgs;
use super::path::{self, Links};
use super::printer::Printer;
use super::size::SizeTest;
use super::{Error, Outcome, escape, json, time};
use crate::glob::Glob;
use clap::ValueEnum;
use spelunk_mount::walk::{Order, Step, Walk};
use spelunk_tree::{Attr, Kind, NodeId, Time, Tree, limits};
use std::ffi::OsString;

/// Search an image by name, type, size, time
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  spelunk find disk.vhdz
  spelunk find disk.vhdz /home --iname '*.doc*' --type f
  spelunk find disk.vhdz p2/Users --size +100M --newer 7d
  spelunk find disk.vhdz / -name '*.pst' -print0 | xargs -0 -I{} spelunk cat disk.vhdz {} > all.pst

All conditions must hold. Those of find(1) with one dash work too: -name, -iname, -path, -type,
-size, -newer, -mindepth, -maxdepth, -print0. Entries come in the guest's own order.

A name with control characters, or that is not UTF-8, is printed escaped as `ls -b` does, on a
terminal and elsewhere; -0 and --json give the true bytes.")]
pub struct Args {
    #[command(flatten)]
    image: ImageArgs,

    /// Where to search
    #[arg(default_value = "/", value_name = "PATH")]
    path: OsString,

    /// The name matches this pattern (*, ?, [a-z])
    #[arg(long, value_name = "GLOB")]
    name: Option<String>,

    /// The same, ignoring case
    #[arg(long, value_name = "GLOB")]
    iname: Option<String>,

    /// The whole path, as printed, matches this pattern; * also matches /
    #[arg(long = "path", value_name = "GLOB")]
    path_glob: Option<String>,

    /// Only entries of these types
    #[arg(long = "type", value_name = "TYPES", value_enum, value_delimiter = ',')]
    types: Vec<Type>,

    /// Only files of this size: +1M at least, -1M at most, 1M exactly (k, M, G, T are powers of 1024)
    #[arg(long, value_name = "[+-]SIZE", allow_hyphen_values = true)]
    size: Vec<SizeTest>,

    /// Modified after this: 2026-01-31, '2026-01-31 14:05', 7d (ago), @seconds
    #[arg(long, value_name = "WHEN", value_parser = time::parse)]
    newer: Option<Time>,

    /// Modified before this
    #[arg(long, value_name = "WHEN", value_parser = time::parse)]
    older: Option<Time>,

    /// Skip what is fewer levels below PATH (which is level 0)
    #[arg(long, value_name = "LEVELS", default_value_t = 0)]
    mindepth: usize,

    /// Skip what is more levels below PATH
    #[arg(long, value_name = "LEVELS", default_value_t = limits::DEPTH_MAX, hide_default_value = true)]
    maxdepth: usize,

    /// End each path with a NUL, and escape nothing
    #[arg(short = '0', long, conflicts_with = "json")]
    print0: bool,

    /// Print one JSON object a line, with all attributes
    #[arg(long)]
    json: bool,
}

/// The types of entries, by find's letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Type {
    /// Regular file
    F,
    /// Directory
    D,
    /// Symbolic link
    L,
    /// Named pipe
    P,
    /// Socket
    S,
    /// Character device
    C,
    /// Block device
    B,
}

impl Type {
    /// The kind of nodes that it is.
    pub fn kind(self) -> Kind {
        match self {
            Type::F => Kind::File,
            Type::D => Kind::Directory,
            Type::L => Kind::Symlink,
            Type::P => Kind::Fifo,
            Type::S => Kind::Socket,
            Type::C => Kind::CharDevice,
            Type::B => Kind::BlockDevice,
        }
    }
}

/// find's own words for the options, which fingers know.
const SINGLE_DASHES: [(&str, &str); 11] = [
    ("-name", "--name"),
    ("-iname", "--iname"),
    ("-path", "--path"),
    ("-wholename", "--path"),
    ("-type", "--type"),
    ("-size", "--size"),
    ("-newer", "--newer"),
    ("-newermt", "--newer"),
    ("-mindepth", "--mindepth"),
    ("-maxdepth", "--maxdepth"),
    ("-print0", "--print0"),
];

/// The program's arguments, with find's own words for options in place of ours after `find`.
pub fn accept_single_dashes(arguments: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut is_find = false;
    arguments.enumerate().map(move |(index, argument)| {
        is_find = if index == 1 { argument == "find" } else { is_find && argument != "--" };
        let word = SINGLE_DASHES.iter().find(|(single, _)| is_find && argument == *single);
        word.map_or(argument, |(_, double)| OsString::from(double))
    })
}

/// Runs the command.
///
/// # Errors
/// When the image cannot be opened, the path does not exist, or stdout cannot be written.
pub fn run(args: &Args) -> Result<Outcome, Error> {
    let filter = Filter::new(args)?;
    let view = args.image.open()?;
    let tree = view.tree();
    let mut printer = Printer::new();
    let start = path::bytes(&args.path);
    let found = view.resolve(start, Links::Keep)?;
    let name = start.rsplit(|&byte| byte == b'/').find(|part| !part.is_empty()).unwrap_or(b"/");
    if args.mindepth == 0 && filter.takes(start, name, &found.attr) {
        print(tree, &mut printer, args, start, (found.node, &found.attr))?;
    }
    if found.attr.kind == Kind::Directory {
        search(tree, &mut printer, args, &filter, found.node)?;
    }
    printer.finish()
}

fn search(
    tree: &dyn Tree,
    printer: &mut Printer,
    args: &Args,
    filter: &Filter,
    start: NodeId,
) -> Result<(), Error> {
    let depth_max = args.maxdepth.min(limits::DEPTH_MAX);
    let mut walk = Walk::new(tree, start, path::bytes(&args.path), Order::AsStored, depth_max);
    while let Some(step) = walk.step() {
        match step {
            Step::Entry { path, entry, depth } => {
                if depth >= args.mindepth && filter.takes(path, entry.name.as_bytes(), &entry.attr) {
                    print(tree, printer, args, path, (entry.node, &entry.attr))?;
                }
            }
            Step::Broken { path, error } => printer.broken(path, &error),
        }
    }
    Ok(())
}

/// The conditions, all of which must hold.
struct Filter {
    names: Vec<Glob>,
    path: Option<Glob>,
    kinds: Vec<Kind>,
    sizes: Vec<SizeTest>,
    newer: Option<Time>,
    older: Option<Time>,
}

impl Filter {
    fn new(args: &Args) -> Result<Filter, Error> {
        let name = args.name.as_ref().map(|glob| Glob::new(glob, false));
        let iname = args.iname.as_ref().map(|glob| Glob::new(glob, true));
        let path = args.path_glob.as_ref().map(|glob| Glob::new(glob, false));
        Ok(Filter {
            names: name.into_iter().chain(iname).collect::<Result<_, _>>().map_err(Error::usage)?,
            path: path.transpose().map_err(Error::usage)?,
            kinds: args.types.iter().map(|t| t.kind()).collect(),
            sizes: args.size.clone(),
            newer: args.newer,
            older: args.older,
        })
    }

    fn takes(&self, path: &[u8], name: &[u8], attr: &Attr) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&attr.kind))
            && (self.sizes.is_empty() || attr.kind == Kind::File)
            && self.sizes.iter().all(|test| test.holds(attr.size))
            && self.newer.is_none_or(|bound| attr.modified.is_some_and(|time| time > bound))
            && self.older.is_none_or(|bound| attr.modified.is_some_and(|time| time < bound))
            && self.names.iter().all(|glob| glob.matches(name))
            && self.path.as_ref().is_none_or(|glob| glob.matches(path))
    }
}

fn print(
    tree: &dyn Tree,
    printer: &mut Printer,
    args: &Args,
    path: &[u8],
    (node, attr): (NodeId, &Attr),
) -> Result<(), Error> {
    if args.json {
        let target = match json::link_target(tree, node, attr) {
            Ok(target) => target,
            Err(error) => {
                printer.broken(path, &error);
                None
            }
        };
        return printer.json_line(&json::Entry::new(path, node, attr, target.as_deref()));
    }
    if args.print0 {
        printer.write(path)?;
        printer.write(b"\0")?;
        return printer.end_record();
    }
    printer.line(&escape::escape(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(arguments: &[&str]) -> Vec<OsString> {
        accept_single_dashes(arguments.iter().map(OsString::from)).collect()
    }

    #[test]
    fn words_of_find_are_taken_after_find_only() {
        assert_eq!(accepted(&["s", "find", "i", "-name", "x"]), ["s", "find", "i", "--name", "x"]);
        assert_eq!(accepted(&["s", "ls", "-name"]), ["s", "ls", "-name"]);
        assert_eq!(accepted(&["s", "find", "--", "-name"]), ["s", "find", "--", "-name"]);
        assert_eq!(accepted(&["s", "cat", "find", "-name"]), ["s", "cat", "find", "-name"]);
    }
}
