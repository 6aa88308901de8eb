//! Questions and answers on a terminal: a default in brackets, a bad answer is told and asked again.

use std::io::{self, BufRead, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::base::text;

/// Bad answers to one question, after which setup gives up.
const TRIES: usize = 5;
/// Longer than every sensible answer.
const LONGEST_BYTES: u64 = 4096;

/// The dialogue came to no end.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialogueError {
    /// Ctrl-D, or the terminal is gone.
    #[error("setup was left before all was answered; nothing is written")]
    Left,
    /// The same question, again and again.
    #[error("no usable answer in {TRIES} tries; nothing is written")]
    Hopeless,
    /// The terminal.
    #[error("the terminal cannot be used: {0}")]
    Terminal(#[from] io::Error),
}

/// Somebody who answers.
pub(super) struct Dialogue<'a> {
    input: &'a mut dyn BufRead,
    output: &'a mut dyn Write,
}

impl<'a> Dialogue<'a> {
    /// Questions go to `output`, answers come from `input`, a line each.
    pub fn new(input: &'a mut dyn BufRead, output: &'a mut dyn Write) -> Self {
        Self { input, output }
    }

    /// Tells something.
    pub fn say(&mut self, text: &str) -> Result<(), DialogueError> {
        Ok(writeln!(self.output, "{}", text::lines(text))?)
    }

    /// Asks until `check` takes the answer; an empty one is `default`.
    pub fn ask<T, E: std::fmt::Display>(
        &mut self,
        question: &str,
        default: &str,
        check: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, DialogueError> {
        for _ in 0..TRIES {
            write!(self.output, "{}", text::lines(&format!("{question} [{default}]: ")))?;
            self.output.flush()?;
            let line = self.line()?;
            let answer = if line.trim().is_empty() { default } else { line.trim() };
            match check(answer) {
                Ok(answer) => return Ok(answer),
                Err(error) => writeln!(self.output, "  {}", text::lines(&error.to_string()))?,
            }
        }
        Err(DialogueError::Hopeless)
    }

    /// Asks for something that the terminal must not show.
    pub fn ask_hidden(&mut self, question: &str) -> Result<String, DialogueError> {
        // Before the question: who answers it at once must neither be shown nor be flushed away.
        let hidden = Hidden::begin();
        write!(self.output, "{question} (not shown): ")?;
        self.output.flush()?;
        let line = self.line();
        drop(hidden);
        writeln!(self.output)?;
        Ok(line?.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn line(&mut self) -> Result<String, DialogueError> {
        let mut line = String::new();
        let read = Read::take(&mut *self.input, LONGEST_BYTES).read_line(&mut line);
        match read {
            Ok(0) => Err(DialogueError::Left),
            Ok(_) => Ok(line),
            // Not UTF-8: no answer to anything that is asked here.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(String::new()),
            Err(error) => Err(error.into()),
        }
    }
}

/// While it lives the terminal on stdin does not show what is typed.
struct Hidden(Option<Termios>);

impl Hidden {
    fn begin() -> Self {
        let Ok(before) = tcgetattr(io::stdin()) else { return Self(None) };
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        let is_silent = tcsetattr(io::stdin(), OptionalActions::Flush, &silent).is_ok();
        Self(is_silent.then_some(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // A terminal that is gone needs no echo.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Result<u32, std::num::ParseIntError> {
        text.parse()
    }

    fn asked(typed: &str) -> (Result<u32, DialogueError>, String) {
        let (mut input, mut output) = (typed.as_bytes(), Vec::new());
        let answer = Dialogue::new(&mut input, &mut output).ask("How many", "3", number);
        (answer, String::from_utf8(output).expect("text"))
    }

    #[test]
    fn enter_takes_what_is_in_the_brackets() {
        let (answer, shown) = asked("\n");
        assert_eq!(answer.expect("an answer"), 3);
        assert_eq!(shown, "How many [3]: ");
    }

    #[test]
    fn a_bad_answer_is_told_and_asked_again() {
        let (answer, shown) = asked("many\n 7 \n");
        assert_eq!(answer.expect("an answer"), 7);
        assert_eq!(shown.matches("How many").count(), 2);
        assert!(shown.contains("invalid digit"), "{shown}");
    }

    #[test]
    fn there_is_an_end_to_it() {
        assert!(matches!(asked(&"x\n".repeat(9)).0, Err(DialogueError::Hopeless)));
        assert!(matches!(asked("").0, Err(DialogueError::Left)));
    }
}
