//! The index over trees in memory: whatever happens from backup to backup, it finds what a look at all of it finds.

use super::update::{Counts, Stop, Stored};
use super::*;
use crate::glob::Glob;
use crate::library::Catalogue;
use spelunk_testkit::peer::Directory;
use spelunk_tree::{
    Attr, Cursor, Entry, Kind, Listed, NodeId, Page, StreamInfo, Time, Tree, TreeInfo, Xattr,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

/// Directories with entries, by node; what is not there is broken.
pub(super) struct Memory {
    info: TreeInfo,
    directories: HashMap<u64, Vec<Entry>>,
}

/// All of a backup: by path, without a slash before it.
pub(super) type Files = BTreeMap<Vec<u8>, Attr>;

impl Memory {
    pub(super) fn new(files: &Files) -> Memory {
        let mut nodes: HashMap<&[u8], u64> = HashMap::from([(&b""[..], 1)]);
        let mut directories = HashMap::from([(1, Vec::new())]);
        for (path, attr) in files {
            let (parent, name) = split(path);
            let number = u64::try_from(nodes.len()).unwrap() + 1;
            nodes.insert(path, number);
            let entry = Entry {
                name: Name::new(name).unwrap(),
                node: NodeId::new(number).unwrap(),
                attr: attr.clone(),
            };
            directories.get_mut(&nodes[parent]).expect("a directory").push(entry);
            if attr.kind == Kind::Directory {
                directories.insert(number, Vec::new());
            }
        }
        Memory { info: TreeInfo::new("memory"), directories }
    }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

impl Tree for Memory {
    fn info(&self) -> &TreeInfo {
        &self.info
    }

    fn root(&self) -> NodeId {
        NodeId::new(1).unwrap()
    }

    fn list(&self, dir: NodeId, cursor: Cursor, max: usize) -> Result<Page> {
        let entries = self.directories.get(&dir.get()).ok_or_else(|| Error::corrupt("a broken directory"))?;
        let start = usize::try_from(cursor.0).unwrap();
        let listed = entries.iter().enumerate().skip(start).take(max).map(|(index, entry)| Listed::Entry {
            entry: entry.clone(),
            next: Cursor(u64::try_from(index + 1).unwrap()),
        });
        let next = (start + max < entries.len()).then(|| Cursor(u64::try_from(start + max).unwrap()));
        Ok(Page { entries: listed.collect(), next })
    }

    fn lookup(&self, _: NodeId, _: &Name) -> Result<Entry> {
        Err(Error::unsupported("not here"))
    }

    fn attr(&self, _: NodeId) -> Result<Attr> {
        Err(Error::unsupported("not here"))
    }

    fn read(&self, _: NodeId, _: Option<&Name>, _: u64, _: &mut [u8]) -> Result<usize> {
        Err(Error::unsupported("not here"))
    }

    fn link_target(&self, _: NodeId) -> Result<Vec<u8>> {
        Err(Error::unsupported("not here"))
    }

    fn xattrs(&self, _: NodeId) -> Result<Vec<Xattr>> {
        Ok(Vec::new())
    }

    fn streams(&self, _: NodeId) -> Result<Vec<StreamInfo>> {
        Ok(Vec::new())
    }
}

/// Numbers that look random and are the same in each run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % end
    }

    pub(super) fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

/// Names of all kinds: alike, short, long, in any case, no UTF-8, hostile.
fn name(random: &mut Random) -> Vec<u8> {
    const WORDS: [&[u8]; 16] = [
        b"a",
        b"B",
        b"report",
        b"Report",
        b"IMG_",
        b"x\xff",
        b"\xc3\x9cbung",
        b"u\xcc\x88bung",
        b"\n",
        b"\x1b[31m",
        b"..",
        b"%_*",
        b"\"'",
        "\u{202e}".as_bytes(),
        "写真".as_bytes(),
        b"\xed\xa0\x80",
    ];
    const ENDINGS: [&[u8]; 6] = [b"", b".txt", b".TXT", b".jpg", b".", b".c"];
    let mut name = random.one(&WORDS).to_vec();
    if random.below(2) == 0 {
        name.extend_from_slice(random.one(&WORDS));
    }
    name.extend_from_slice(random.below(20).to_string().as_bytes());
    if random.below(50) == 0 {
        name.extend_from_slice(&[b'l'; 900]);
    }
    name.extend_from_slice(random.one(&ENDINGS));
    name
}

fn attr(random: &mut Random, kind: Kind) -> Attr {
    let sizes = [0, 1, 4096, 1 << 20, 1 << 40, u64::MAX];
    let times = [
        None,
        Some(Time::from_seconds(0)),
        Time::new(1_700_000_000, 1).ok(),
        Time::new(1_700_000_000, 2).ok(),
        Some(Time::from_seconds(i64::MIN)),
    ];
    Attr { size: random.one(&sizes), modified: random.one(&times), ..Attr::new(kind) }
}

/// Adds, changes, removes and moves some of the files.
fn change(files: &mut Files, random: &mut Random) {
    for _ in 0..random.below(60) {
        let directories: Vec<Vec<u8>> = files
            .iter()
            .filter(|(_, attr)| attr.kind == Kind::Directory)
            .map(|(path, _)| path.clone())
            .collect();
        let parent = if directories.is_empty() { Vec::new() } else { random.one(&directories) };
        let path = spelunk_mount::path::join(&parent, &name(random));
        let kind = random.one(&[Kind::File, Kind::File, Kind::File, Kind::Directory, Kind::Symlink]);
        let known: Vec<Vec<u8>> = files.keys().cloned().collect();
        match random.below(6) {
            0 if !known.is_empty() => remove(files, &random.one(&known)),
            1 if !known.is_empty() => {
                let path = random.one(&known);
                let kind = files[&path].kind;
                files.insert(path, attr(random, kind));
            }
            2 if !directories.is_empty() => {
                let from = random.one(&directories);
                let is_inside = path == from || path.starts_with(&[&from[..], b"/"].concat());
                if !is_inside && !files.contains_key(&path) {
                    for (old, attr) in files.clone() {
                        if old == from || old.starts_with(&[&from[..], b"/"].concat()) {
                            files.insert([&path[..], &old[from.len()..]].concat(), attr);
                        }
                    }
                    remove(files, &from);
                }
            }
            _ => {
                remove(files, &path);
                let attr = attr(random, kind);
                files.insert(path, attr);
            }
        }
    }
}

fn remove(files: &mut Files, path: &[u8]) {
    let below = [path, b"/"].concat();
    files.retain(|known, _| known != path && !known.starts_with(&below));
}

fn index() -> (Directory, Arc<Index>) {
    let directory = Directory::new().unwrap();
    let index = Index::open(&directory.path().join("index.sqlite")).unwrap();
    (directory, index)
}

fn put(index: &Index, client: &Name, minute: i64, files: &Files) -> Option<Counts> {
    put_tree(index, client, minute, Arc::new(Memory::new(files)))
}

pub(super) fn put_tree(index: &Index, client: &Name, minute: i64, tree: Arc<Memory>) -> Option<Counts> {
    let item = Name::new(*b"C").unwrap();
    let at = Stored { client, item: &item, minute, key: "key" };
    index.put(&at, || Ok(tree), &mut |_| (), &AtomicBool::new(false)).map_err(|_| ()).unwrap()
}

pub(super) fn client(name: &str) -> Name {
    Name::new(name.as_bytes()).unwrap()
}

/// What a query finds: for each path as it was, in how many backups it was so.
type Answer = HashMap<(Vec<u8>, Kind, u64, Option<Time>), u64>;

fn found(index: &Index, query: &Query) -> Answer {
    let mut answer = Answer::new();
    let found = index.search(query, |_| true).unwrap();
    assert!(!found.is_incomplete && !found.has_more && found.total == found.hits.len());
    for hit in found.hits {
        let backups = if query.within.moment.is_some() || query.latest { 1 } else { hit.backups };
        assert!(hit.backups > 0 && hit.first <= hit.moment && hit.moment <= hit.last);
        *answer.entry((hit.path, hit.kind, hit.size, hit.modified)).or_default() += backups;
    }
    answer
}

/// What is found by looking at everything.
fn expected(backups: &BTreeMap<i64, Files>, query: &Query) -> Answer {
    let mut answer = Answer::new();
    let wanted = query.within.moment.map(Moment::minute);
    let newest = backups.keys().last().copied();
    for (minute, files) in backups {
        if wanted.is_some_and(|wanted| wanted != *minute) || query.latest && newest != Some(*minute) {
            continue;
        }
        for (path, attr) in files.iter().filter(|(path, attr)| is_wanted(query, split(path).1, attr)) {
            *answer.entry((path.clone(), attr.kind, attr.size, attr.modified)).or_default() += 1;
        }
    }
    answer
}

fn is_wanted(query: &Query, name: &[u8], attr: &Attr) -> bool {
    let text = String::from_utf8_lossy(name).to_lowercase().replace("u\u{308}", "ü");
    let is_called = match &query.name {
        NameTest::Any => true,
        NameTest::Part(part) => text.contains(&part.to_lowercase()),
        NameTest::Glob(glob) => Glob::new(glob, true).unwrap().matches(text.as_bytes()),
    };
    is_called
        && query.extension.as_ref().is_none_or(|extension| text.ends_with(&format!(".{extension}")))
        && (query.kinds.is_empty() || query.kinds.contains(&attr.kind))
        && (query.size == (0..=u64::MAX) || attr.kind == Kind::File && query.size.contains(&attr.size))
        && query.after.is_none_or(|after| attr.modified.is_some_and(|time| time > after))
        && query.before.is_none_or(|before| attr.modified.is_some_and(|time| time < before))
}

fn some_query(random: &mut Random, backups: &BTreeMap<i64, Files>) -> Query {
    let parts = [
        "r",
        "re",
        "rep",
        "REPORT",
        "ü",
        "Übung",
        "img_1",
        "1",
        ".txt",
        "写真",
        "zz",
        "zzzz",
        "\u{fffd}",
        "\n",
        "\"",
        "\"'1",
        "%_*",
        "lllllllllllll",
        "\u{1b}[31m",
        "port1",
        "..",
    ];
    let globs =
        ["*", "rep*", "*.txt", "?1*", "*[0-4].JPG", "img_*9*", "a?", "*\\*1*", "Übung*", "zz*", "*写*"];
    let name = match random.below(3) {
        0 => NameTest::Any,
        1 => NameTest::Part(random.one(&parts).to_owned()),
        _ => NameTest::Glob(random.one(&globs).to_owned()),
    };
    let times = [None, None, Time::new(1_700_000_000, 1).ok(), Some(Time::from_seconds(-1))];
    let moments: Vec<i64> = backups.keys().copied().collect();
    let moment = (random.below(2) == 0).then(|| Moment::of_minute(random.one(&moments)));
    Query {
        within: Selection { moment, ..Selection::default() },
        latest: random.below(5) == 0 && moment.is_none(),
        name,
        kinds: random.one(&[vec![], vec![], vec![Kind::File], vec![Kind::Directory, Kind::Symlink]]),
        extension: random.one(&[None, None, None, Some("txt".to_owned()), Some("c".to_owned())]),
        size: random.one(&[0..=u64::MAX, 0..=u64::MAX, 1..=4096, 1 << 20..=u64::MAX, 0..=0]),
        after: random.one(&times),
        before: random.one(&times),
        limit: usize::MAX,
        ..Query::default()
    }
}

#[track_caller]
fn assert_finds_what_is_there(index: &Index, backups: &BTreeMap<i64, Files>, random: &mut Random) {
    for _ in 0..25 {
        let query = some_query(random, backups);
        let (found, expected) = (found(index, &query), expected(backups, &query));
        let only = |one: &Answer, other: &Answer| -> Vec<String> {
            let only = one.iter().filter(|(row, count)| other.get(*row) != Some(*count));
            only.map(|(row, count)| format!("{}: {row:?} {count}", row.0.escape_ascii())).collect()
        };
        let (too_much, missing) = (only(&found, &expected), only(&expected, &found));
        assert!(found == expected, "{query:?}\ntoo much: {too_much:#?}\nmissing: {missing:#?}");
    }
}

/// A catalogue of one client with these backups.
fn catalogue(name: &Name, minutes: impl Iterator<Item = i64>) -> Catalogue {
    let item = || Item { slot: 1, ..Item::new(client("C"), "key".to_owned()) };
    let backup = |minute| Backup { moment: Moment::of_minute(minute), items: vec![item()] };
    let backups = minutes.map(backup).collect();
    Catalogue { clients: vec![Client { name: name.clone(), backups }], is_complete: true }
}

#[test]
fn searches_find_what_a_look_at_all_backups_finds_in_whatever_order_they_came_and_went() {
    for seed in 1..=8 {
        let random = &mut Random(seed << 32 | 0x9E37_79B9);
        let (_directory, index) = index();
        let alice = client("alice");
        let mut files = Files::new();
        let mut all = BTreeMap::new();
        for number in 0..7 {
            change(&mut files, random);
            all.insert(29_000_000 + number * 1440, files.clone());
        }
        let mut backups = BTreeMap::new();
        while let Some(minute) = all.keys().copied().nth(random.below(all.len().max(1))) {
            let files = all.remove(&minute).unwrap();
            let counts = put(&index, &alice, minute, &files).expect("it is new");
            assert_eq!(counts, Counts { entries: files.len().try_into().unwrap(), damaged: 0 });
            assert_eq!(put(&index, &alice, minute, &files), None, "it is known");
            backups.insert(minute, files);
            if random.below(3) == 0 && backups.len() > 1 {
                let gone = random.below(backups.len());
                let minute = *backups.keys().nth(gone).unwrap();
                // Some are to come again.
                let files = backups.remove(&minute).unwrap();
                if random.below(2) == 0 {
                    all.insert(minute, files);
                }
                let left = catalogue(&alice, backups.keys().copied());
                assert_eq!(index.remove_gone(&left, &Selection::default()), Ok(1));
            }
            assert_finds_what_is_there(&index, &backups, random);
        }
        let none = Catalogue { clients: Vec::new(), is_complete: true };
        index.remove_gone(&none, &Selection::default()).unwrap();
        assert_is_empty(&index);
    }
}

/// When the last backup is gone nothing is left of it.
#[track_caller]
fn assert_is_empty(index: &Index) {
    for table in ["volume", "backup", "directory", "block"] {
        let count: i64 =
            index.writer().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(count, 0, "{table}");
    }
    let check = "INSERT INTO trigram (trigram) VALUES ('integrity-check')";
    index.writer().execute(check, []).unwrap();
    let terms = "CREATE VIRTUAL TABLE temp.terms USING fts5vocab(main, trigram, row)";
    index.writer().execute(terms, []).unwrap();
    let count: i64 =
        index.writer().query_row("SELECT count(*) FROM temp.terms", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 0, "trigrams of what is gone");
}

fn some_files(names: &[&str]) -> Files {
    names.iter().map(|name| (name.as_bytes().to_vec(), Attr::new(Kind::File))).collect()
}

#[test]
fn clients_are_found_by_those_alone_who_may_see_them() {
    let (_directory, index) = index();
    for name in ["alice", "bob", "carol"] {
        put(&index, &client(name), 1, &some_files(&["secret.txt"]));
    }

    let query = Query { name: NameTest::Part("secret".to_owned()), ..Query::default() };
    let of = |query: &Query, may: &dyn Fn(&Name) -> bool| -> Vec<Name> {
        index.search(query, may).unwrap().hits.into_iter().map(|hit| hit.client).collect()
    };

    assert_eq!(of(&query, &|name| *name != client("bob")), [client("alice"), client("carol")]);
    assert_eq!(of(&query, &|_| false), []);
    let within = Selection { client: Some(client("bob")), ..Selection::default() };
    assert_eq!(of(&Query { within: within.clone(), ..query.clone() }, &|_| true), [client("bob")]);
    assert_eq!(of(&Query { within, ..query }, &|name| *name == client("alice")), []);
}

#[test]
fn search_for_more_text_than_a_name_may_have_is_over_the_limit() {
    let (_directory, index) = index();
    let name = |len: usize| Query { name: NameTest::of_text(&"x".repeat(len)), ..Query::default() };

    assert!(index.search(&name(1024), |_| true).is_ok());
    let error = index.search(&name(1025), |_| true).map(|found| found.total).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
}

#[test]
fn hits_come_best_first_in_pages_and_say_when_there_are_too_many() {
    let (_directory, index) = index();
    let names: Vec<String> = (0..12_000).map(|number| format!("some note {number:05}")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.extend(["NOTE", "notes"]);
    put(&index, &client("alice"), 1, &some_files(&names));
    let page = |text: &str, offset, limit| {
        let name = NameTest::of_text(text);
        index.search(&Query { name, offset, limit, ..Query::default() }, |_| true).unwrap()
    };
    let names = |found: &Found| -> Vec<String> {
        found.hits.iter().map(|hit| String::from_utf8_lossy(&hit.path).into_owned()).collect()
    };

    let few = page("note 0001", 2, 3);
    let many = page("note", 0, 3);

    assert_eq!(names(&few), ["some note 00012", "some note 00013", "some note 00014"]);
    assert_eq!((few.total, few.has_more), (10, false));
    assert_eq!((many.total, many.has_more, many.is_incomplete), (10_000, true, false));
    assert_eq!(names(&page("note?", 0, 9)), ["notes"]);
    assert_eq!(names(&page("notes", 0, 9)), ["notes"]);
    assert_eq!(names(&page("NOTE", 0, 1)), ["NOTE"]);
}

#[test]
fn a_search_ends_when_its_time_is_up_and_says_so() {
    let (_directory, index) = index();
    let names: Vec<String> = (0..30_000).map(|number| format!("d{number}")).collect();
    let files: Files =
        names.iter().map(|name| (name.as_bytes().to_vec(), Attr::new(Kind::Directory))).collect();
    let below = |name: &String| (format!("{name}/x").into_bytes(), Attr::new(Kind::File));
    let files: Files = files.into_iter().chain(names.iter().map(below)).collect();
    put(&index, &client("alice"), 1, &files);
    let query = Query { name: NameTest::of_text("zz"), ..Query::default() };

    let in_time = index.search(&query, |_| true).unwrap();
    let at_once = index.search(&Query { deadline: Duration::ZERO, ..query }, |_| true).unwrap();

    assert_eq!((in_time.total, in_time.is_incomplete), (0, false));
    assert!(at_once.is_incomplete);
}

#[test]
fn what_is_interrupted_or_fails_leaves_what_was_complete() {
    let (_directory, index) = index();
    let (alice, item) = (client("alice"), client("C"));
    put(&index, &alice, 1, &some_files(&["one"]));
    let many: Vec<String> = (0..5000).map(|number| number.to_string()).collect();
    let many = some_files(&many.iter().map(String::as_str).collect::<Vec<_>>());
    let at = Stored { client: &alice, item: &item, minute: 2, key: "key" };
    let cancel = AtomicBool::new(false);

    // It is told to stop while it reads.
    let stop = &mut |entries| cancel.store(entries > 2000, Ordering::Relaxed);
    let stopped = index.put(&at, || Ok(Arc::new(Memory::new(&many))), stop, &cancel);
    let failed = index.put(&at, || Err(Error::corrupt("no image")), &mut |_| (), &AtomicBool::new(false));

    assert!(matches!(stopped, Err(Stop::Cancelled)) && matches!(failed, Err(Stop::Item(_))));
    let everything = Query { limit: usize::MAX, ..Query::default() };
    let one = BTreeMap::from([(1, some_files(&["one"]))]);
    assert_eq!(found(&index, &everything), expected(&one, &everything));
    assert_eq!(put(&index, &alice, 2, &many).map(|counts| counts.entries), Some(5000));
}

#[test]
fn damaged_directories_are_counted_and_an_item_of_nothing_else_fails() {
    let (_directory, index) = index();
    let (alice, item) = (client("alice"), client("C"));
    let mut files = some_files(&["a", "z"]);
    files.insert(b"broken".to_vec(), Attr::new(Kind::Directory));
    files.insert(b"broken/x".to_vec(), Attr::new(Kind::File));
    let mut tree = Memory::new(&files);
    let broken = tree.directories[&1].iter().find(|entry| entry.name == client("broken")).unwrap().node;
    tree.directories.remove(&broken.get());
    let mut rootless = Memory::new(&files);
    rootless.directories.remove(&1);
    let put = |minute, tree| {
        let at = Stored { client: &alice, item: &item, minute, key: "key" };
        index.put(&at, || Ok(Arc::new(tree)), &mut |_| (), &AtomicBool::new(false))
    };

    assert!(matches!(put(1, tree), Ok(Some(Counts { entries: 3, damaged: 1 }))));
    assert!(matches!(put(2, rootless), Err(Stop::Item(error)) if error.kind() == ErrorKind::Corrupt));
}

#[test]
fn another_image_of_the_same_minute_takes_the_place_of_the_first() {
    let (_directory, index) = index();
    let (alice, item) = (client("alice"), client("C"));
    put(&index, &alice, 1, &some_files(&["old", "both"]));
    let files = some_files(&["new", "both"]);
    let at = Stored { client: &alice, item: &item, minute: 1, key: "another" };

    index
        .put(&at, || Ok(Arc::new(Memory::new(&files))), &mut |_| (), &AtomicBool::new(false))
        .map_err(|_| ())
        .unwrap();

    let everything = Query { limit: usize::MAX, ..Query::default() };
    assert_eq!(found(&index, &everything), expected(&BTreeMap::from([(1, files)]), &everything));
}

#[test]
fn what_is_no_index_is_refused_and_left_as_it_is() {
    let directory = Directory::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("text"), [b'x'; 5000]).unwrap();
    Connection::open(path("other")).unwrap().execute("CREATE TABLE t (x)", []).unwrap();
    drop(Index::open(&path("newer")).unwrap());
    Connection::open(path("newer")).unwrap().pragma_update(None, "user_version", VERSION + 1).unwrap();
    let before = ["text", "other"].map(|name| std::fs::read(path(name)).unwrap());

    let kind = |name: &str| Index::open(&path(name)).map(drop).map_err(|error| error.kind());

    assert_eq!(kind("text"), Err(ErrorKind::Corrupt));
    assert_eq!(kind("other"), Err(ErrorKind::Corrupt));
    assert_eq!(kind("newer"), Err(ErrorKind::Unsupported));
    assert_eq!(kind("no/such/folder"), Err(ErrorKind::NotFound));
    assert_eq!(["text", "other"].map(|name| std::fs::read(path(name)).unwrap()), before);
}

#[test]
fn an_index_is_read_while_it_is_written_and_only_by_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let (directory, index) = index();
    put(&index, &client("alice"), 1, &some_files(&["one"]));
    let other = Index::open(&directory.path().join("index.sqlite")).unwrap();
    let query = Query::default();

    let mut writer = index.writer();
    let transaction = write(&mut writer).unwrap();
    transaction.execute("DELETE FROM block", []).unwrap();
    let totals = [&index, &other].map(|index| index.search(&query, |_| true).unwrap().total);
    transaction.rollback().unwrap();

    assert_eq!(totals, [1, 1]);
    for file in std::fs::read_dir(directory.path()).unwrap().flatten() {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
    }
}

#[test]
fn names_of_one_directory_are_all_there_however_many_blocks_they_fill() {
    let (_directory, index) = index();
    let names: Vec<String> = (0..1000).map(|number| format!("{number}.txt")).collect();
    let files = some_files(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let all: BTreeSet<Vec<u8>> = files.keys().cloned().collect();
    put(&index, &client("alice"), 1, &files);

    let query = Query { extension: Some("txt".to_owned()), limit: usize::MAX, ..Query::default() };
    let found: BTreeSet<Vec<u8>> =
        index.search(&query, |_| true).unwrap().hits.into_iter().map(|hit| hit.path).collect();

    assert_eq!(found, all);
}
