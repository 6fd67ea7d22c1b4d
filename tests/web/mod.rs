//! The page, in a browser, the way of a user.
//!
//! ```text
//! site     a library of small disks, and the server that shows it
//! browser  Chromium, through its WebDriver
//! journey  what users do: find, look, compare, download
//! media    audio and video in the preview
//! look     what must hold wherever they are: size, scrolling, harmlessness, accessibility
//! ```

mod browser;
mod journey;
mod look;
mod media;
mod site;

use browser::Browser;
use site::Site;
use spelunk_testkit::skip;

/// A server and a browser, or the reason why there is none.
fn open() -> Option<(Site, Browser)> {
    open_with(Site::start)
}

fn open_with(start: fn() -> Site) -> Option<(Site, Browser)> {
    if !crate::fixture::can_be_made() || !skip::unless_found(&["chromium", "chromedriver"]) {
        return None;
    }
    Some((start(), Browser::start()))
}
