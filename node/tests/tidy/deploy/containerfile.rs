//! The Containerfile: instructions that exist, stages that are named before they are used, and a final image that runs
//! as an ordinary user from pinned bases.

use super::violation;
use crate::tree::{SourceFile, Tree};
use crate::violation::Violation;

const INSTRUCTIONS: [&str; 17] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// One instruction with its continuation lines joined.
pub(super) struct Instruction {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) arguments: String,
}

/// Everything wrong with the file.
pub(super) fn check(file: &SourceFile, tree: &Tree) -> Vec<Violation> {
    let instructions = parse(file);
    let mut problems = check_each(&instructions);
    problems.extend(check_stages(&instructions));
    problems.extend(check_rust_version(&instructions, tree.file("Cargo.toml")));
    problems
        .into_iter()
        .map(|(line, advice)| violation(&file.path, line, advice))
        .collect()
}

/// A line and what is wrong there.
type Problem = (usize, String);

/// The instructions in order; comments and blank lines left out.
pub(super) fn parse(file: &SourceFile) -> Vec<Instruction> {
    let mut instructions: Vec<Instruction> = Vec::new();
    let mut continues = false;
    for (index, line) in file.text.lines().enumerate() {
        let words = line.trim();
        if words.is_empty() || words.starts_with('#') {
            continue;
        }
        let body = words.strip_suffix('\\').unwrap_or(words).trim_end();
        match instructions.last_mut().filter(|_| continues) {
            Some(instruction) => {
                instruction.arguments.push(' ');
                instruction.arguments.push_str(body);
            }
            None => {
                let (name, arguments) = body.split_once(' ').unwrap_or((body, ""));
                let (name, arguments) = (name.to_owned(), arguments.trim().to_owned());
                instructions.push(Instruction {
                    line: index + 1,
                    name,
                    arguments,
                });
            }
        }
        continues = words.ends_with('\\');
    }
    instructions
}

fn check_each(instructions: &[Instruction]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for Instruction {
        line,
        name,
        arguments,
    } in instructions
    {
        if !INSTRUCTIONS.contains(&name.as_str()) {
            problems.push((*line, format!("`{name}` is no instruction")));
        }
        if arguments.is_empty() {
            problems.push((*line, format!("{name} needs arguments")));
        }
        if ["CMD", "ENTRYPOINT"].contains(&name.as_str()) && words_of(arguments).is_none() {
            problems.push((
                *line,
                format!("{name} needs the form [\"program\", \"argument\"]: a shell eats signals"),
            ));
        }
        if name == "EXPOSE"
            && arguments
                .split_whitespace()
                .any(|port| port.parse::<u16>().is_err())
        {
            problems.push((*line, "EXPOSE needs port numbers".to_owned()));
        }
    }
    problems
}

fn check_stages(instructions: &[Instruction]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut stages: Vec<&str> = Vec::new();
    let mut user = "root";
    for Instruction {
        line,
        name,
        arguments,
    } in instructions
    {
        match name.as_str() {
            "FROM" => {
                problems.extend(unpinned_base(arguments, &stages).map(|advice| (*line, advice)));
                stages.push(arguments.split_once(" AS ").map_or("", |(_, stage)| stage.trim()));
                user = "root";
            }
            "USER" => user = arguments,
            "COPY" => {
                let from = arguments
                    .split_whitespace()
                    .find_map(|word| word.strip_prefix("--from="));
                if let Some(stage) = from.filter(|stage| !stages.contains(stage)) {
                    problems.push((
                        *line,
                        format!("COPY --from={stage}: no earlier stage has that name"),
                    ));
                }
            }
            _ if stages.is_empty() && name != "ARG" => {
                problems.push((*line, format!("{name} before the first FROM")))
            }
            _ => {}
        }
    }
    let last_line = instructions.last().map_or(1, |instruction| instruction.line);
    if stages.len() < 2 {
        problems.push((
            last_line,
            "build in one stage and run in another: the compiler stays out of the image".to_owned(),
        ));
    }
    if ["root", "0"].contains(&user.split(':').next().unwrap_or_default()) {
        problems.push((
            last_line,
            "the last stage runs as root; give it a USER".to_owned(),
        ));
    }
    problems
}

/// A base is an earlier stage, or an image with a tag other than `latest`.
fn unpinned_base(arguments: &str, stages: &[&str]) -> Option<String> {
    let base = arguments
        .split_whitespace()
        .find(|word| !word.starts_with("--"))
        .unwrap_or_default();
    let tag = base
        .rsplit('/')
        .next()
        .and_then(|name| name.split_once(':'))
        .map(|(_, tag)| tag);
    let pinned = tag.is_some_and(|tag| tag != "latest") || (!base.is_empty() && stages.contains(&base));
    (!pinned).then(|| format!("FROM {base}: pin the base with a tag"))
}

/// The image builds with the Rust that Cargo.toml asks for.
fn check_rust_version(instructions: &[Instruction], manifest: Option<&SourceFile>) -> Option<Problem> {
    let wanted = manifest?
        .text
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))?
        .trim_matches('"');
    let from = instructions
        .iter()
        .find(|each| each.name == "FROM" && each.arguments.contains("/rust:"))?;
    let tag = from.arguments.split("/rust:").nth(1)?;
    let is_wanted = tag
        .strip_prefix(wanted)
        .is_some_and(|rest| rest.starts_with(['-', '.', ' ']) || rest.is_empty());
    (!is_wanted).then(|| {
        (
            from.line,
            format!("Cargo.toml says rust-version {wanted}; use rust:{wanted}"),
        )
    })
}

/// The words of `["a", "b"]`.
pub(super) fn words_of(arguments: &str) -> Option<Vec<String>> {
    serde_json::from_str(arguments).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Words.\nFROM a/rust:1.95-x AS build\nRUN a \\\n    # why\n    && b\nFROM debian:12\nCOPY --from=build /a /b\nUSER covey\nENTRYPOINT [\"b\"]\n";

    fn problems(text: &str) -> Vec<String> {
        let instructions = parse(&SourceFile::sample("Containerfile", text));
        let manifest = SourceFile::sample("Cargo.toml", "rust-version = \"1.95\"\n");
        let mut problems = check_each(&instructions);
        problems.extend(check_stages(&instructions));
        problems.extend(check_rust_version(&instructions, Some(&manifest)));
        problems
            .into_iter()
            .map(|(line, advice)| format!("{line}: {advice}"))
            .collect()
    }

    /// What is wrong once `from` in the good file has become `to`.
    fn problem(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "{from}");
        problems(&GOOD.replace(from, to)).join("; ")
    }

    #[test]
    fn a_good_file_has_no_problems_and_its_lines_are_joined() {
        assert_eq!(problems(GOOD), Vec::<String>::new());
        assert_eq!(
            parse(&SourceFile::sample("Containerfile", GOOD))[1].arguments,
            "a && b"
        );
    }

    #[test]
    fn instructions_are_checked() {
        assert!(problem("RUN a", "RUNS a").starts_with("3: `RUNS` is no instruction"));
        assert!(problem("[\"b\"]", "b").starts_with("9: ENTRYPOINT needs the form"));
        assert!(problem("USER covey", "USER covey\nEXPOSE api").contains("EXPOSE needs port numbers"));
    }

    #[test]
    fn stages_are_checked() {
        assert!(problem("--from=build", "--from=bild").starts_with("7: COPY --from=bild: no earlier stage"));
        assert!(problem("USER covey\n", "").contains("runs as root"));
        assert!(problem("debian:12", "debian:latest").starts_with("6: FROM debian:latest: pin"));
        assert!(problem("FROM debian:12\n", "").contains("build in one stage"));
    }

    #[test]
    fn the_image_builds_with_the_rust_of_the_manifest() {
        assert!(problem("rust:1.95-x", "rust:1.9-x").contains("use rust:1.95"));
    }
}
