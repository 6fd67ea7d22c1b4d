//! What users do: find a file, look at it and its versions, get it back.

use super::open;
use super::site::{PASSWORD, VOLUME, report};
use fantoccini::key::Key;
use sha2::{Digest, Sha256};
use spelunk_testkit::{skip, tool};
use std::fs;

#[test]
fn a_file_is_found_compared_looked_at_and_got_back() {
    let Some((site, browser)) = open() else { return };
    site.set_up(&browser);
    browser.run("return fetch('api/v1/logout', {method: 'POST', headers: {'x-spelunk-csrf': '1'}})");
    site.go(&browser, "login");
    browser.run("location.reload()");
    browser.fill("input[autocomplete=username]", "admin");
    browser.fill("input[type=password]", PASSWORD);
    browser.click("button[type=submit]");
    browser.wait("document.querySelectorAll('.card').length === 2");

    // The index is made by itself.
    browser.wait(
        "(window.asked ??= setInterval(() => fetch('api/v1/index').then(a => a.json()).then(a => { window.done = a.done === a.items }), 200)) && window.done",
    );
    browser.fill(".hero input", "report");
    browser.click(".hero button");
    browser.wait("document.querySelector('.hit')");
    browser.click(".hit .hit-actions a.button");
    browser.wait("document.querySelectorAll('.version').length === 3");
    // Size and times are the same: only the contents tell.
    browser.click(".versions > .button");
    browser.wait("document.querySelectorAll('.version .hash').length === 3");
    assert_eq!(
        browser.text("[...document.querySelectorAll('.version .state')].map(e => e.textContent).join()"),
        "changed,unchanged,first seen"
    );

    // The oldest version.
    browser.click(".version:last-child a");
    browser.wait("location.hash.includes('tab=preview') && document.querySelector('pre.text')");
    assert_eq!(browser.text("document.querySelector('pre.text').textContent"), report(0));
    assert!(browser.text("document.querySelector('.preview-foot').textContent").contains("UTF-8"));
    browser.click(".panel-actions a.primary");

    let saved = fs::read(browser.downloaded("report.txt")).expect("the file");
    assert_eq!(Sha256::digest(saved), Sha256::digest(report(0)));
}

#[test]
fn three_folders_are_selected_and_got_as_one_zip() {
    let Some((site, browser)) = open() else { return };
    if !skip::unless_found(&["unzip"]) {
        return;
    }
    site.set_up(&browser);
    site.go(&browser, &format!("browse/{VOLUME}/docs"));
    for name in ["one", "two", "three"] {
        browser.click(&format!("[aria-label='Select {name}']"));
    }
    browser.wait("document.querySelector('.selection strong').textContent === '3 selected'");
    browser.click(".download-selection");

    let zip = browser.downloaded(".zip");
    let target = browser.downloads.path().join("unpacked");
    tool::run("unzip", ["-q".as_ref(), zip.as_os_str(), "-d".as_ref(), target.as_os_str()]).expect("unzip");
    for name in ["one", "two", "three"] {
        for file in 0..3 {
            let content = fs::read(target.join(name).join(format!("file {file}.txt"))).expect("a file");
            assert_eq!(Sha256::digest(content), Sha256::digest(format!("{name} {file}").repeat(500)));
        }
    }
    assert!(!target.join("four").exists());
}

#[test]
fn all_of_it_can_be_done_by_keys() {
    let Some((site, browser)) = open() else { return };
    site.set_up(&browser);
    site.go(&browser, VOLUME_ROUTE);
    browser.wait("document.querySelector('.row .name')?.textContent === 'docs'");

    browser.key(Key::Enter);
    browser.wait("location.hash.endsWith('/docs') && document.querySelectorAll('.row .name').length === 6");
    browser.key(Key::Down);
    browser.keys(" ");
    browser.wait("document.querySelector('.row.cursor').getAttribute('aria-selected') === 'true'");
    browser.keys("f");
    browser.keys("repo");
    browser.wait("document.querySelectorAll('.row .name').length === 1");
    browser.key(Key::Enter);
    browser.key(Key::Enter);
    browser.wait("document.querySelector('pre.text')");
    browser.key(Key::Escape);
    browser.wait("!document.querySelector('.panel')");
    // The same folder, a backup earlier.
    browser.keys("[");
    browser.wait("location.hash.includes('2026-01-03_0304') && location.hash.endsWith('/docs')");
    browser.wait("document.querySelectorAll('.row .name').length === 6");
    browser.key(Key::Backspace);
    browser.wait("location.hash.endsWith('C.img')");
    browser.keys("?");
    browser.wait("document.querySelector('dialog[open] kbd')");
    browser.key(Key::Escape);
    browser.wait("!document.querySelector('dialog')");
    browser.keys("/");
    browser.wait("document.activeElement.matches('form[role=search] input')");
}

const VOLUME_ROUTE: &str = "browse/pc/2026-01-04_0304/C.img";

#[test]
fn a_share_link_shows_one_folder_and_nothing_else() {
    let Some((site, browser)) = open() else { return };
    site.set_up(&browser);
    site.go(&browser, &format!("browse/{VOLUME}/docs/one"));
    browser.click("[aria-label^='Share link of this folder']");
    browser.click("dialog button[type=submit]");
    browser.wait("document.querySelector('.secret')");
    let link = browser.text("document.querySelector('.secret').value");
    assert!(link.starts_with(&site.url) && link.contains("/s/"), "{link}");

    browser.go(&link);
    browser.wait("document.querySelectorAll('.row .name').length === 3");
    assert_eq!(browser.text("document.querySelector('.crumbs').innerText.trim()"), "one");
    browser.run("location.hash = '#/browse/pc/2026-01-04_0304/C.img/docs'");
    browser.wait("location.hash.endsWith('/docs/one')");
    assert_eq!(browser.number("document.querySelectorAll('.menu, .timeline, form[role=search]').length"), 0);
}
