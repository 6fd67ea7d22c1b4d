//! Chromium without a window, through its WebDriver.

use fantoccini::{Client, ClientBuilder, Locator, key::Key};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use spelunk_testkit::peer::Directory;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How long the page may take for anything.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Browser {
    runtime: Runtime,
    client: Option<Client>,
    driver: Child,
    pub downloads: Directory,
}

impl Browser {
    pub fn start() -> Browser {
        let downloads = Directory::new().expect("a directory");
        let mut driver = Command::new("chromedriver")
            .args(["--port=0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a driver");
        let mut lines = BufReader::new(driver.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let line =
            lines.by_ref().find(|line| line.contains("successfully on port")).expect("the driver's port");
        let port = line.rsplit("on port ").next().expect("a port").trim_end_matches('.').to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        let capabilities = json!({
            "goog:chromeOptions": {
                "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,900", "--lang=en-US"],
                "prefs": { "download.default_directory": downloads.path(), "download.prompt_for_download": false },
            },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let Value::Object(capabilities) = capabilities else { unreachable!("it is an object") };
        let runtime = Runtime::new().expect("threads");
        let client = runtime.block_on(async {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            builder.capabilities(capabilities).connect(&format!("http://127.0.0.1:{port}")).await
        });
        Browser { runtime, client: Some(client.expect("a browser")), driver, downloads }
    }

    /// Gives the window this size.
    pub fn resize(&self, width: u32, height: u32) {
        self.runtime.block_on(self.client().set_window_size(width, height)).expect("a window of that size");
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("it is open until it is dropped")
    }

    pub fn go(&self, url: &str) {
        self.runtime.block_on(self.client().goto(url)).expect("a page");
    }

    /// What `script`, which may say `return`, gives.
    pub fn run(&self, script: &str) -> Value {
        let ran = self.runtime.block_on(self.client().execute(script, Vec::new()));
        ran.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// What an expression is; of a promise, what it comes to.
    pub fn value(&self, expression: &str) -> Value {
        self.run(&format!("return ({expression})"))
    }

    pub fn text(&self, expression: &str) -> String {
        self.value(expression).as_str().unwrap_or_default().to_owned()
    }

    pub fn number(&self, expression: &str) -> u64 {
        self.value(&format!("Math.round({expression})")).as_u64().expect("a number")
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn wait(&self, condition: &str) {
        let start = Instant::now();
        while self.value(&format!("Boolean({condition})")) != Value::Bool(true) {
            let page = || self.text("location.hash + '\\n' + document.body.innerText");
            assert!(start.elapsed() < PATIENCE, "never: {condition}\n{}", page());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Clicks on what is to be seen there, as a mouse does; once more when the page put something else in its place
    /// meanwhile.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let start = Instant::now();
        loop {
            self.wait(&format!("document.querySelector({selector:?})"));
            let click = async { self.client().find(Locator::Css(selector)).await?.click().await };
            match self.runtime.block_on(click) {
                Ok(_) => return,
                Err(error) if error.is_stale_element_reference() && start.elapsed() < PATIENCE => {}
                Err(error) => panic!("{selector}: {error}"),
            }
        }
    }

    /// Types into a field, in place of what is there.
    #[track_caller]
    pub fn fill(&self, selector: &str, text: &str) {
        self.wait(&format!("document.querySelector({selector:?})"));
        let filled = self.runtime.block_on(async {
            let field = self.client().find(Locator::Css(selector)).await?;
            field.clear().await?;
            field.send_keys(text).await
        });
        filled.unwrap_or_else(|error| panic!("{selector}: {error}"));
    }

    /// Presses keys, wherever the focus is.
    #[track_caller]
    pub fn keys(&self, text: &str) {
        let pressed =
            self.runtime.block_on(async { self.client().active_element().await?.send_keys(text).await });
        pressed.unwrap_or_else(|error| panic!("{text:?}: {error}"));
    }

    #[track_caller]
    pub fn key(&self, key: Key) {
        self.keys(&char::from(key).to_string());
    }

    /// Waits for a download whose name ends so.
    #[track_caller]
    pub fn downloaded(&self, ending: &str) -> PathBuf {
        let start = Instant::now();
        loop {
            let entries = std::fs::read_dir(self.downloads.path()).expect("the directory").flatten();
            let found =
                entries.map(|entry| entry.path()).find(|path| path.to_string_lossy().ends_with(ending));
            match found {
                Some(path) => return path,
                None => assert!(start.elapsed() < PATIENCE, "no download {ending}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            // A browser that is gone needs no closing.
            _ = self.runtime.block_on(client.close());
        }
        _ = self.driver.kill();
        _ = self.driver.wait();
    }
}
