//! How output looks: its width, its colours, and the flags that suggested commands carry.

use console::{Style, Term};

/// The smallest width that the output is laid out for, in columns.
const NARROWEST: usize = 60;

/// How output looks.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// The number of columns. None if the output isn't a terminal; then no line is wrapped or cut.
    pub width: Option<usize>,
    /// Whether to use colours.
    pub colour: bool,
    /// The flags that select the same cluster and namespace, such as ` -n team-a`.
    pub flags: String,
}

impl Look {
    /// Returns the look with the current width of the terminal.
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

    /// Styles the text that matters most.
    pub fn bold(&self, text: &str) -> String {
        self.styled(Style::new().bold(), text)
    }

    /// Styles a good state.
    pub fn good(&self, text: &str) -> String {
        self.styled(Style::new().green(), text)
    }

    /// Styles a text that someone should look at.
    pub fn warn(&self, text: &str) -> String {
        self.styled(Style::new().yellow(), text)
    }

    /// Styles a failure.
    pub fn bad(&self, text: &str) -> String {
        self.styled(Style::new().red(), text)
    }

    /// Styles a command of this plugin that can be typed.
    pub fn command(&self, words: &str) -> String {
        self.styled(
            Style::new().cyan(),
            &format!("kubectl belay {words}{}", self.flags),
        )
    }

    /// Styles a command of another tool that can be typed.
    pub fn other_command(&self, words: &str) -> String {
        self.styled(Style::new().cyan(), words)
    }

    /// Wraps a sentence into lines if it is too long. All lines but the first begin with `indent`.
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

    /// Cuts a line if it is too long.
    pub fn cut(&self, line: &str) -> String {
        match self.width {
            Some(width) => console::truncate_str(line, width, "…").into_owned(),
            None => line.to_owned(),
        }
    }
}
