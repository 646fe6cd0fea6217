//! A user's terminal: the plugin runs on a pseudo-terminal, and the test reads the screen.

use std::{
    process::ExitStatus,
    sync::{Arc, Mutex},
};

use pty_process::{OwnedWritePty, Size};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Child,
};

use super::belay::Belay;

/// Enough for all lines that the plugin shows at once.
const ROWS: u16 = 50;
/// The character that Ctrl-C sends.
pub const CTRL_C: &str = "\x03";

/// The plugin on a terminal.
pub struct Terminal {
    belay: Arc<Belay>,
    child: Child,
    keyboard: OwnedWritePty,
    screen: Arc<Mutex<vt100::Parser>>,
    reader: tokio::task::JoinHandle<()>,
}

impl Terminal {
    /// Runs the plugin in the namespace on a terminal with this many columns.
    pub fn run(belay: &Arc<Belay>, columns: u16, args: &[&str]) -> Self {
        let (pty, pts) = pty_process::open().expect("a pseudo-terminal");
        pty.resize(Size::new(ROWS, columns)).expect("resized");
        let child = pty_process::Command::new(env!("CARGO_BIN_EXE_kubectl-belay"))
            .args(args)
            .args(["-n", &belay.namespace])
            .env("KUBECONFIG", belay.world.kubeconfig.as_path())
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .kill_on_drop(true)
            .spawn(pts)
            .expect("started");
        let (mut output, keyboard) = pty.into_split();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(ROWS, columns, 0)));
        let shared_screen = screen.clone();
        let reader = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            // On Linux, the end is an error, because the other side is closed.
            while let Ok(read @ 1..) = output.read(&mut buffer).await {
                shared_screen
                    .lock()
                    .expect("the screen")
                    .process(&buffer[..read]);
            }
        });
        Self {
            belay: belay.clone(),
            child,
            keyboard,
            screen,
            reader,
        }
    }

    /// Returns the text on the screen.
    pub fn text(&self) -> String {
        self.screen.lock().expect("the screen").screen().contents()
    }

    /// Whether something on the screen is coloured.
    pub fn is_coloured(&self) -> bool {
        let parser = self.screen.lock().expect("the screen");
        let (rows, columns) = parser.screen().size();
        let cells = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        let mut cells = cells.filter_map(|(row, column)| parser.screen().cell(row, column));
        cells.any(|cell| cell.fgcolor() != vt100::Color::Default)
    }

    /// Waits until the screen shows a text. Line breaks count as spaces.
    pub async fn shows(&self, text: &str) {
        let what = format!("the terminal shows {text:?}");
        let is_shown = || async { words(&self.text()).contains(text) };
        self.belay.eventually(&what, is_shown).await;
    }

    /// Types a text.
    pub async fn types(&mut self, text: &str) {
        let typed = self.keyboard.write_all(text.as_bytes()).await;
        typed.expect("typed");
    }

    /// Waits for the end. Returns the exit status, and the final text on the screen.
    pub async fn end(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().await.expect("it ends");
        self.reader.await.expect("the output is read");
        let text = self.screen.lock().expect("the screen").screen().contents();
        (status, text)
    }
}

/// Returns a text as words separated by single spaces, regardless of line ends.
pub fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
