//! The help of all commands as one page: `docs/kubectl-belay.md`.

use clap::Command;

/// The width of the page, in columns.
const WIDTH: usize = 100;

const HEAD: &str = "# kubectl belay

<!-- Made from the program's own help: make generate. -->

Put `kubectl-belay` into a folder of your `PATH`, and kubectl has it as `kubectl belay`. This page is `--help` of every
command.
";

/// Returns the help of all commands of a program, as Markdown.
pub fn page(mut root: Command) -> String {
    root.build();
    let mut page = HEAD.to_owned();
    add(&mut page, &root, "kubectl belay", true);
    page
}

fn add(page: &mut String, command: &Command, name: &str, is_root: bool) {
    let mut shown = command.clone().term_width(WIDTH);
    if !is_root {
        // Global flags are listed once, with the root command.
        shown = shown.mut_args(|arg| {
            let is_global = arg.is_global_set() || arg.get_id() == "help";
            arg.hide(is_global)
        });
    }
    let help = shown.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    let help = help.join("\n");
    page.push_str(&["\n## ", name, "\n\n```text\n", help.trim_end(), "\n```\n"].concat());
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        add(page, sub, &format!("{name} {}", sub.get_name()), false);
    }
}
