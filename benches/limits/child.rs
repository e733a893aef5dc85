//! Processes of this same program that do a part of a bench, told by lines what to do.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use console::print_stdout;

use crate::rounds::variable;

/// A process that was started, and ends when it is dropped.
pub struct Child {
    process: std::process::Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// Starts this program in another role, and waits until it is ready.
    pub fn start(role: &str, arguments: &[&str]) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args(arguments)
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let mut child = Self { process, input, output };
        assert_eq!(child.hear(), READY);
        child
    }

    /// Tells it to do its part once.
    pub fn tell(&mut self, what: &str) {
        let input = self.input.as_mut().expect("its input");
        writeln!(input, "{what}").expect("a process that listens");
    }

    /// Waits for what it answers.
    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a process that answers");
        line.trim_end().to_owned()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // At the end of its input it ends.
        self.input = None;
        let _ = self.process.wait();
    }
}

/// Returns the role that this process was started in, if it is a child.
pub fn role() -> Option<String> {
    variable(ROLE)
}

/// Answers each line that this process is told.
pub async fn answer(mut each: impl AsyncFnMut(&str) -> String) {
    print_stdout(&READY);
    // Nothing else runs on this thread, which is none of the runtime's workers.
    for line in std::io::stdin().lines() {
        print_stdout(&each(&line.expect("a line")).await);
    }
}

const ROLE: &str = "EDDYLINE_BENCH_ROLE";
const READY: &str = "ready";
