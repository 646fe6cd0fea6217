//! How things are shown: how wide, in colour or not, and which flags a command that is suggested carries.

use console::{Style, Term};

/// The narrowest that is written for.
const NARROWEST: usize = 60;

/// How things are shown.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// How many columns there are; none where it isn't a terminal: then no line is broken or cut.
    pub width: Option<usize>,
    /// Whether there are colours.
    pub colour: bool,
    /// The flags that lead to the same cluster and namespace, such as ` -n team-a`.
    pub flags: String,
}

impl Look {
    /// The width that the terminal has now.
    #[must_use]
    pub fn now(&self) -> Self {
        let is_wide_as = |_| usize::from(Term::stdout().size().1).max(NARROWEST);
        Self {
            width: self.width.map(is_wide_as),
            ..self.clone()
        }
    }

    fn styled(&self, style: Style, text: &str) -> String {
        let style = style.force_styling(self.colour);
        style.apply_to(text).to_string()
    }

    /// What matters most.
    pub fn bold(&self, text: &str) -> String {
        self.styled(Style::new().bold(), text)
    }

    /// What is as it should be.
    pub fn good(&self, text: &str) -> String {
        self.styled(Style::new().green(), text)
    }

    /// What someone should look at.
    pub fn warn(&self, text: &str) -> String {
        self.styled(Style::new().yellow(), text)
    }

    /// What went wrong.
    pub fn bad(&self, text: &str) -> String {
        self.styled(Style::new().red(), text)
    }

    /// What can be typed.
    pub fn command(&self, words: &str) -> String {
        self.styled(
            Style::new().cyan(),
            &format!("kubectl belay {words}{}", self.flags),
        )
    }

    /// A command of another tool that can be typed.
    pub fn other_command(&self, words: &str) -> String {
        self.styled(Style::new().cyan(), words)
    }

    /// A sentence, broken into lines where it is too long; all but the first begin with `indent`.
    pub fn wrap(&self, first: &str, indent: &str, text: &str) -> String {
        let Some(width) = self.width else {
            return format!("{first}{text}");
        };
        let options = textwrap::Options::new(width)
            .initial_indent(first)
            .subsequent_indent(indent)
            .word_splitter(textwrap::WordSplitter::NoHyphenation)
            .break_words(false)
            .wrap_algorithm(textwrap::WrapAlgorithm::FirstFit);
        textwrap::fill(text, options)
    }

    /// A line, cut where it is too long.
    pub fn cut(&self, line: &str) -> String {
        match self.width {
            Some(width) => console::truncate_str(line, width, "…").into_owned(),
            None => line.to_owned(),
        }
    }
}
