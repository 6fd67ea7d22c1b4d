//! Audio and video in the preview: the browser itself says that it can play them.

use super::{Browser, Site};
use crate::fixture;
use spelunk_testkit::{skip, tool};
use std::path::Path;

/// Samples a second of the sound that is made here, which lasts for a second.
const RATE: u32 = 8000;

/// A second of sound as a WAV file: 8 bits, mono.
fn wav() -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(b"RIFF");
    bytes.extend((36 + RATE).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16u32.to_le_bytes());
    bytes.extend([1u16, 1].into_iter().flat_map(u16::to_le_bytes));
    bytes.extend([RATE, RATE].into_iter().flat_map(u32::to_le_bytes));
    bytes.extend([1u16, 8].into_iter().flat_map(u16::to_le_bytes));
    bytes.extend(b"data");
    bytes.extend(RATE.to_le_bytes());
    bytes.extend((0..RATE).map(|sample| if sample / 10 % 2 == 0 { 96 } else { 160 }));
    bytes
}

/// A second of each kind that ffmpeg makes.
fn fill(root: &Path) {
    fixture::write(root, "media/sound.wav", &wav());
    if !skip::unless_found(&["ffmpeg"]) {
        return;
    }
    let sine = "sine=duration=1";
    let picture = "testsrc=duration=1:size=64x48:rate=10";
    for (source, codec, name) in
        [(sine, ["-c:a", "libvorbis"], "sound.ogg"), (picture, ["-c:v", "libvpx"], "moving.webm")]
    {
        let target = root.join("media").join(name);
        let target = target.to_str().expect("a path in UTF-8");
        let words = ["-loglevel", "error", "-f", "lavfi", "-i", source, codec[0], codec[1], target];
        tool::run("ffmpeg", words).expect("ffmpeg");
    }
}

#[test]
fn sound_and_pictures_that_move_play_in_the_preview() {
    if !fixture::can_be_made() || !skip::unless_found(&["chromium", "chromedriver"]) {
        return;
    }
    let (site, browser) = (Site::of_files(fill), Browser::start());
    site.set_up(&browser);
    let folder = "browse/pc/latest/C.img/media";
    site.go(&browser, folder);
    browser.wait("document.querySelector('.row .name')");
    let names = browser.text("[...document.querySelectorAll('.row .name')].map(e => e.textContent).join()");
    assert!(names.contains("sound.wav"), "{names}");
    for name in names.split(',') {
        site.go(&browser, &format!("{folder}?item={name}&tab=preview"));
        let media = format!(
            "[...document.querySelectorAll('.preview :is(audio, video)')].find(e => decodeURIComponent(e.currentSrc).includes('{name}'))"
        );
        browser.wait(&format!("{media}?.readyState >= 2"));
        // A container may say a little more than the second that is in it.
        let milliseconds = browser.number(&format!("{media}.duration * 1000"));
        assert!((900..1200).contains(&milliseconds), "{name}: {milliseconds} ms");
        assert_eq!(browser.text(&format!("String({media}.error)")), "null", "{name}");
        browser.run(&format!("const media = {media}; media.muted = true; return media.play()"));
        browser.wait(&format!("{media}.currentTime > 0.1"));
    }
}
