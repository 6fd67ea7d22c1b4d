//! What must hold wherever users are: the page is small, smooth, harmless, and for everybody.

use super::site::{HOSTILE, MANY, VOLUME};
use super::{Browser, Site, open, open_with};
use fantoccini::key::Key;
use spelunk_testkit::{cache, skip, tool};
use std::fs;
use std::process::Command;

/// Bytes of the first load, uncompressed.
const FIRST_LOAD_MAX: u64 = 200_000;

/// Rows that may be elements at once.
const ROWS_MAX: u64 = 100;

const AXE: &str = "axe-core@4";

#[test]
fn first_load_is_under_200_kb() {
    let Some((site, browser)) = open() else { return };
    browser.go(&site.setup);
    browser.wait("document.querySelector('input[type=password]')");

    let assets = "performance.getEntriesByType('resource').filter(e => e.name.includes('/assets/'))";
    let page = "performance.getEntriesByType('navigation')[0].decodedBodySize";
    let bytes = browser.number(&format!("{assets}.reduce((sum, e) => sum + e.decodedBodySize, {page})"));

    assert!(browser.number(&format!("{assets}.length")) > 10);
    assert!(bytes > 50_000 && bytes < FIRST_LOAD_MAX, "{bytes} bytes");
}

#[test]
fn a_folder_of_20_000_entries_has_few_elements_and_an_end() {
    let Some((site, browser)) = open_with(Site::of_many) else { return };
    site.set_up(&browser);
    site.go(&browser, "browse/big/latest/C.img/many");
    browser.wait("document.querySelector('.row .name')?.textContent === 'entry 00000'");
    assert_eq!(
        browser.number("+document.querySelector('.grid').getAttribute('aria-rowcount')"),
        MANY as u64 + 1
    );

    // A fling through all of it: never more than some rows, and the last one is there in the end.
    browser.run(
        "const grid = document.querySelector('.grid'); window.most = 0; window.slowest = 0; let step = 0, last = performance.now();
         const turn = (now) => { window.slowest = Math.max(window.slowest, step > 1 ? now - last : 0); last = now;
             window.most = Math.max(window.most, document.querySelectorAll('.row').length);
             grid.scrollTop = grid.scrollHeight * step / 120;
             if (step++ < 125) requestAnimationFrame(turn); else window.flung = true; };
         requestAnimationFrame(turn);",
    );
    browser.wait(
        "window.flung && [...document.querySelectorAll('.row .name')].at(-1)?.textContent === 'entry 19999'",
    );

    assert!(browser.number("window.most") < ROWS_MAX, "{} rows", browser.number("window.most"));
    println!("slowest of 125 frames: {} ms", browser.number("window.slowest"));
    browser.click(".grid .row:last-child .c-size");
    browser.wait("document.querySelector('.panel')");
    browser.key(Key::Escape);
    browser.key(Key::Home);
    browser.wait("[...document.querySelectorAll('.row.cursor .name')].at(-1)?.textContent === 'entry 00000'");
}

#[test]
fn hostile_names_are_shown_and_run_nothing() {
    let Some((site, browser)) = open() else { return };
    site.set_up(&browser);
    site.go(&browser, &format!("browse/{VOLUME}/strange"));
    browser.run("window.hacked = 0; window.reports = []; addEventListener('securitypolicyviolation', e => reports.push(e.violatedDirective + ' ' + e.blockedURI))");
    browser.wait(&format!("document.querySelectorAll('.row .name').length === {}", HOSTILE.len() + 1));

    let names =
        browser.text("[...document.querySelectorAll('.row .name')].map(e => e.innerText).join('\\n')");
    for shown in [
        "\"><script>window.hacked=1<",
        "evil\u{27e8}202E\u{27e9}txt.exe",
        "two\u{27e8}CR\u{27e9}\u{27e8}LF\u{27e9}lines.txt",
        "no utf-8 \u{fffd}.txt",
    ] {
        assert!(names.lines().any(|name| name == shown), "{shown} in\n{names}");
    }
    for row in 0..=HOSTILE.len() {
        browser.click(&format!("#row-{row} .c-size"));
        browser.wait("document.querySelector('.panel .preview :is(pre, img)')");
        for tab in ["details", "versions", "preview"] {
            browser.click(&format!("#tab-{tab}"));
        }
    }
    browser.run("document.title += ''");

    assert_eq!(browser.value("window.hacked"), 0);
    assert_eq!(browser.value("window.reports"), serde_json::json!([]));
    assert_eq!(browser.number("document.querySelectorAll('main script, main img[src=x]').length"), 0);
}

#[test]
fn every_view_passes_axe_in_light_and_dark() {
    let Some((site, browser)) = open() else { return };
    let Some(axe) = axe() else { return };
    browser.go(&site.setup);
    browser.wait("document.querySelector('form')");
    check(&browser, &axe, "set-up");
    site.set_up(&browser);
    let docs = format!("browse/{VOLUME}/docs");
    let item = |tab: &str| (format!("{docs}?item=report.txt&tab={tab}"), ".panel-body > :not(.loading)");
    let views = [
        (String::new(), ".card .has"),
        ("browse/pc".to_owned(), ".backup"),
        (docs.clone(), ".row .name"),
        item("preview"),
        item("details"),
        item("versions"),
        ("search?q=report".to_owned(), ".hit, .gap"),
        ("account".to_owned(), ".block .empty"),
        ("users".to_owned(), ".rows li"),
        ("audit".to_owned(), "td"),
        ("index".to_owned(), "progress"),
        (format!("browse/{VOLUME}/nothing"), ".problem"),
    ];
    let mut grounds = Vec::new();
    for theme in ["light", "dark"] {
        browser.run(&format!("localStorage.setItem('spelunk.theme', '{theme}')"));
        for (route, shown) in &views {
            visit(&site, &browser, route, shown);
            check(&browser, &axe, &format!("{route} ({theme})"));
        }
        grounds.push(browser.text("getComputedStyle(document.body).backgroundColor"));
    }
    assert_ne!(grounds[0], grounds[1], "light and dark look the same");
}

#[test]
fn every_dialog_passes_axe_in_a_narrow_window() {
    let Some((site, browser)) = open() else { return };
    let Some(axe) = axe() else { return };
    browser.resize(390, 844);
    browser.go(&site.setup);
    browser.wait("document.querySelector('form')");
    assert!(browser.number("innerWidth") <= 500, "the window is not narrow");
    check(&browser, &axe, "set-up, narrow");
    site.set_up(&browser);
    let docs = format!("browse/{VOLUME}/docs");
    let item = format!("{docs}?item=report.txt&tab=details");
    let press = |words: &str| {
        let button =
            format!("[...document.querySelectorAll('button')].find(e => e.textContent.includes('{words}'))");
        browser.wait(&button);
        browser.run(&format!("{button}.click()"));
    };
    for theme in ["light", "dark"] {
        browser.run(&format!("localStorage.setItem('spelunk.theme', '{theme}')"));
        visit(&site, &browser, &item, ".panel-body > :not(.loading)");
        check(&browser, &axe, &format!("details, narrow ({theme})"));
        visit(&site, &browser, &docs, ".row .name");
        browser.click("[aria-label^='Share link of this folder']");
        check_dialog(&browser, &axe, &format!("share ({theme})"));
        browser.keys("?");
        check_dialog(&browser, &axe, &format!("help ({theme})"));
        for (route, words) in [("account", "New token"), ("users", "New user")] {
            visit(&site, &browser, route, ".block, .rows li");
            press(words);
            check_dialog(&browser, &axe, &format!("{words} ({theme})"));
        }
    }
    browser.run("return fetch('api/v1/logout', {method: 'POST', headers: {'x-spelunk-csrf': '1'}})");
    visit(&site, &browser, "login", "input[type=password]");
    check(&browser, &axe, "login, narrow");
}

/// The same of the dialog that is opening, which is closed again.
#[track_caller]
fn check_dialog(browser: &Browser, axe: &str, dialog: &str) {
    browser.wait("document.querySelector('dialog[open]')");
    check(browser, axe, dialog);
    browser.key(Key::Escape);
    browser.wait("!document.querySelector('dialog')");
}

fn visit(site: &Site, browser: &Browser, route: &str, shown: &str) {
    site.go(browser, route);
    browser.run("location.reload()");
    browser.wait(&format!("document.querySelector({shown:?})"));
}

/// Holds what is shown against the rules of WCAG 2.2 AA that a program can check.
#[track_caller]
fn check(browser: &Browser, axe: &str, view: &str) {
    browser.run(axe);
    let found = browser.text(
        "axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }).then(found =>
             found.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html).join(' ')).join('\\n'))",
    );
    assert_eq!(found, "", "{view}");
}

/// axe-core, from the npm registry, kept beside what is built.
fn axe() -> Option<String> {
    if !skip::unless_found(&["npm"]) {
        return None;
    }
    let directory = cache::directory().join("axe");
    let script = directory.join("node_modules/axe-core/axe.min.js");
    if !script.exists() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
            .arg(&directory)
            .arg(AXE);
        if let Err(error) =
            fs::create_dir_all(&directory).map_err(Into::into).and_then(|()| tool::output(&mut npm))
        {
            skip::because(&format!("axe-core cannot be had: {error}"));
            return None;
        }
    }
    Some(fs::read_to_string(script).expect("axe-core"))
}
