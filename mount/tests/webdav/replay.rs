//! What Windows and macOS send, request by request, and what they need to hear.

use super::Server;
use super::memory_tree::{MemoryTree, directory, file};
use spelunk_tree::Time;

fn tree() -> MemoryTree {
    let mut tree = MemoryTree::new();
    let dir = tree.add("Backup 1", directory());
    let mut letter = file(b"Dear Sir");
    letter.attr.dos_attributes = Some(0x22);
    letter.attr.modified = Some(Time::from_seconds(1_700_000_000));
    tree.add_to(dir, "letter.docx", letter);
    tree.add_to(dir, "._letter.docx", file(b"resource fork"));
    tree
}

const WINDOWS: &str = "User-Agent: Microsoft-WebDAV-MiniRedir/10.0.19045\ntranslate: f\n";
const FINDER: &str = "User-Agent: WebDAVFS/3.0.0 (03008000) Darwin/23.6.0 (arm64)\nAccept: */*\n";

const LOCK: &str = r#"<?xml version="1.0" encoding="utf-8" ?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype><D:owner><D:href>PC\user</D:href></D:owner></D:lockinfo>"#;

#[test]
fn windows_walks_from_the_servers_root_and_opens_a_file() {
    let server = Server::new(tree());
    let ask = |request: &str, headers: &str| server.ask(request, &format!("{WINDOWS}{headers}"), "");

    let options = ask("OPTIONS /", "");
    assert_eq!((options.status, options.header("dav")), (200, "1, 2"));
    assert_eq!(options.header("ms-author-via"), "DAV");
    assert!(options.header("allow").contains("PROPFIND"));
    let root = ask("PROPFIND /", "Depth: 0");
    assert_eq!((root.status, root.hrefs()), (207, vec!["/"]));
    assert!(root.text().contains("<D:multistatus xmlns:D=\"DAV:\""));
    assert_eq!(ask("PROPFIND /", "Depth: 1").hrefs(), ["/", "/dav/"]);
    // Without a slash at the end, and no redirection.
    let dav = ask("PROPFIND /dav", "Depth: 0");
    assert_eq!((dav.status, dav.hrefs()), (207, vec!["/dav/"]));
    assert!(dav.text().contains("<D:collection/>"));
    assert_eq!(ask("PROPFIND /dav", "Depth: 1").hrefs(), ["/dav/", "/dav/Backup%201/"]);
    let listed = ask("PROPFIND /dav/Backup%201", "Depth: 1");
    let letter = listed.text().split("/letter.docx</D:href>").nth(1).unwrap();
    let letter = letter.split("</D:response>").next().unwrap();
    for property in [
        "<Z:Win32FileAttributes>00000022</Z:Win32FileAttributes>",
        "<Z:Win32LastModifiedTime>Tue, 14 Nov 2023 22:13:20 GMT</Z:Win32LastModifiedTime>",
        "<D:getcontentlength>8</D:getcontentlength>",
        "<D:supportedlock><D:lockentry>",
    ] {
        assert!(letter.contains(property), "{property}: {letter}");
    }
    for probe in ["desktop.ini", "Thumbs.db", "AutoRun.inf", "folder.jpg"] {
        let answer = ask(&format!("PROPFIND /dav/Backup%201/{probe}"), "Depth: 0");
        assert_eq!((answer.status, answer.text(), answer.header("cache-control")), (404, "", "no-store"));
    }
    assert_eq!(ask("GET /dav/Backup%201/letter.docx", "").text(), "Dear Sir");
}

#[test]
fn office_gets_its_lock_and_cannot_save() {
    let server = Server::new(tree());
    let path = "/dav/Backup%201/letter.docx";
    let ask = |method: &str, headers: &str, body: &str| {
        server.ask(&format!("{method} {path}"), &format!("{WINDOWS}{headers}"), body)
    };

    let lock = ask("LOCK", "Timeout: Second-3600\nDepth: 0", LOCK);
    assert_eq!(lock.status, 200);
    let token = lock.header("lock-token").to_owned();
    assert!(lock.text().contains(&format!("<D:href>{}</D:href>", token.trim_matches(['<', '>']))));
    assert!(lock.text().contains("<D:owner>PC\\user</D:owner>") && lock.text().contains("<D:exclusive/>"));
    let again = ask("LOCK", &format!("If: ({token})\nTimeout: Second-3600"), "");
    assert_eq!(again.status, 200);
    assert!(again.text().contains(token.trim_matches(['<', '>'])));
    assert_eq!(ask("PUT", &format!("If: ({token})"), "changed").status, 405);
    let patch = r#"<?xml version="1.0" encoding="utf-8" ?><D:propertyupdate xmlns:D="DAV:" xmlns:Z="urn:schemas-microsoft-com:"><D:set><D:prop><Z:Win32LastAccessTime>Tue, 14 Nov 2023 22:13:20 GMT</Z:Win32LastAccessTime></D:prop></D:set></D:propertyupdate>"#;
    assert_eq!(ask("PROPPATCH", &format!("If: ({token})"), patch).status, 405);
    assert_eq!(ask("UNLOCK", &format!("Lock-Token: {token}"), "").status, 204);
    assert_eq!(ask("GET", "", "").text(), "Dear Sir");
    let new = server.ask("LOCK /dav/Backup%201/~$letter.docx", WINDOWS, LOCK);
    assert_eq!(new.status, 403);
    assert_eq!(server.propfind("/dav/Backup%201/", 1).hrefs().len(), 3);
}

#[test]
fn finder_mounts_it_read_only_and_leaves_no_litter() {
    let server = Server::new(tree());
    let ask =
        |request: &str, headers: &str, body: &str| server.ask(request, &format!("{FINDER}{headers}"), body);
    let stat = r#"<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop><D:getlastmodified/><D:getcontentlength/><D:creationdate/><D:resourcetype/></D:prop></D:propfind>"#;
    let space = r#"<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop><D:quota-available-bytes/><D:quota-used-bytes/><D:quota/><D:quotaused/></D:prop></D:propfind>"#;

    // Class 1 only: so it mounts read-only.
    assert_eq!(ask("OPTIONS /dav/", "", "").header("dav"), "1");
    let root = ask("PROPFIND /dav/", "Depth: 0", stat);
    assert!(root.text().contains("<D:resourcetype><D:collection/></D:resourcetype>"));
    let space = ask("PROPFIND /dav/", "Depth: 0", space);
    assert!(space.text().contains("<D:quota-available-bytes>0</D:quota-available-bytes>"));
    assert!(space.text().contains("<quota xmlns=\"DAV:\"/>"));
    for probe in ["._.", ".DS_Store", "._Backup%201", ".ql_disablethumbnails", ".hidden"] {
        assert_eq!(ask(&format!("PROPFIND /dav/{probe}"), "Depth: 0", stat).status, 404, "{probe}");
    }
    // Keeps the search from reading all backups; it is no file that anybody sees.
    assert_eq!(ask("PROPFIND /dav/.metadata_never_index", "Depth: 0", stat).status, 207);
    assert_eq!(ask("HEAD /dav/.metadata_never_index", "", "").status, 200);
    assert_eq!(server.get("/dav/.metadata_never_index", "").status, 404);
    let listed = ask("PROPFIND /dav/Backup%201/", "Depth: 1", stat);
    assert_eq!(listed.hrefs(), ["/dav/Backup%201/", "/dav/Backup%201/letter.docx"]);
    assert_eq!(ask("GET /dav/Backup%201/._letter.docx", "", "").status, 404);
    assert_eq!(ask("GET /dav/Backup%201/letter.docx", "Range: bytes=5-", "").text(), "Sir");
    assert_eq!(server.get("/dav/Backup%201/._letter.docx", "").text(), "resource fork");
}
