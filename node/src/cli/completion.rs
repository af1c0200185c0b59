//! `covey completion`: the script that lets a shell complete verbs and options.

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;
use super::trouble::Trouble;

/// Options of `covey completion`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    covey completion bash > ~/.local/share/bash-completion/completions/covey\n  \
    covey completion zsh > ~/.zfunc/_covey\n  \
    covey completion fish > ~/.config/fish/completions/covey.fish")]
pub(super) struct Completion {
    /// The shell
    shell: Shell,
}

impl Completion {
    #[allow(clippy::unnecessary_wraps)] // Every verb answers alike.
    pub(super) fn run(self) -> Result<(), Trouble> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "covey", &mut script);
        super::output::say(&String::from_utf8_lossy(&script));
        Ok(())
    }
}
