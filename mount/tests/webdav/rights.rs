//! What a user may see and read.

use super::memory_tree::{MemoryTree, directory, file};
use super::{Server, User};
use spelunk_mount::webdav::Options;
use spelunk_tree::{Attr, Kind};

fn server(hidden: Vec<&'static str>, unreadable: Vec<&'static str>) -> Server {
    let mut tree = MemoryTree::new();
    for client in ["alice", "bob"] {
        let dir = tree.add(client, directory());
        tree.add_to(dir, "letter", file(b"private"));
    }
    let link = super::memory_tree::Node { attr: Attr::new(Kind::Symlink), ..file(b"bob/letter") };
    tree.add("link", link);
    Server::with(tree, Options::default(), User { hidden, unreadable, ..User::default() })
}

#[test]
fn hidden_directories_are_not_there_in_any_way() {
    let server = server(vec!["bob"], vec![]);

    assert_eq!(server.propfind("/dav/", 1).hrefs(), ["/dav/", "/dav/alice/"]);
    for path in ["/dav/bob", "/dav/bob/", "/dav/bob/letter", "/dav/bob/none", "/dav/link"] {
        let hidden = server.propfind(path, 1);
        let missing = server.propfind("/dav/missing", 1);
        assert_eq!((hidden.status, &hidden.body), (missing.status, &missing.body), "{path}");
        assert_eq!(server.get(path, "").status, 404, "{path}");
    }
    let lock =
        "<lockinfo xmlns='DAV:'><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>";
    assert_eq!(server.ask("LOCK /dav/bob/letter", "", lock).status, 403);
    assert_eq!(server.ask("LOCK /dav/alice/letter", "", lock).status, 200);
}

#[test]
fn content_that_may_not_be_read_is_listed_and_refused_by_every_way() {
    let server = server(vec![], vec!["bob/letter"]);

    assert_eq!(server.propfind("/dav/bob", 1).hrefs().len(), 2);
    assert_eq!(server.get("/dav/bob/letter", "").status, 403);
    assert_eq!(server.get("/dav/link", "").status, 403);
    assert_eq!(server.ask("HEAD /dav/bob/letter", "", "").status, 403);
    assert!(server.downloads().is_empty());
}

#[test]
fn downloads_are_told_with_what_went_out() {
    let server = server(vec![], vec![]);

    server.get("/dav/link", "");
    server.get("/dav/alice/letter", "Range: bytes=0-2");
    server.ask("HEAD /dav/alice/letter", "", "");

    assert_eq!(server.downloads(), [("bob/letter".to_owned(), 7), ("alice/letter".to_owned(), 3)]);
}
