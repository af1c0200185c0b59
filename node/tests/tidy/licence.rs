//! Every dependency may be used under the licences that deny.toml allows.
//!
//! The list is cargo-deny's own, so both read one page. An expression is judged as SPDX means it: `OR` needs one side,
//! `AND` needs both, and a licence with an exception is a licence of its own.

use crate::metadata::{Metadata, Package};
use crate::tree::{SourceFile, Tree};
use crate::violation::Violation;

const LIST: &str = "deny.toml";
const LOCK: &str = "Cargo.lock";

/// One violation for each crate whose licence does not follow from the list.
pub(crate) fn check(tree: &Tree, metadata: &Metadata) -> Vec<Violation> {
    let allowed = tree.file(LIST).map(allowed_licences).unwrap_or_default();
    if allowed.is_empty() {
        let advice = "list the licences that dependencies may have: [licenses], then allow = [\"…\"]";
        return vec![Violation::new(LIST, 1, "licence", advice)];
    }
    let refused = metadata
        .packages
        .iter()
        .filter_map(|package| Some((package, refusal(package, &allowed)?)));
    refused
        .map(|(package, advice)| {
            let entry = format!("name = \"{}\"", package.name);
            let line = tree.file(LOCK).map_or(1, |lock| lock.line_of(&entry));
            Violation::new(LOCK, line, "licence", advice)
        })
        .collect()
}

/// The quoted strings of `allow = [ … ]` under `[licenses]`.
fn allowed_licences(file: &SourceFile) -> Vec<String> {
    let lines = file
        .text
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "[licenses]")
        .skip(1);
    lines
        .take_while(|line| !line.starts_with('[') || line.starts_with("[\""))
        .skip_while(|line| !line.starts_with("allow = ["))
        .take_while(|line| !line.starts_with(']'))
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| line.split('"').skip(1).step_by(2).map(str::to_owned))
        .collect()
}

fn refusal(package: &Package, allowed: &[String]) -> Option<String> {
    let Package {
        name,
        version,
        license,
        ..
    } = package;
    let Some(expression) = license else {
        return Some(format!("{name} {version} names no licence"));
    };
    let follows = Expression::new(expression, allowed).follows();
    (!follows).then(|| format!("{name} {version} is `{expression}`, which {LIST} does not allow"))
}

/// A licence expression while it is judged, token by token.
struct Expression<'a> {
    tokens: Vec<String>,
    at: usize,
    allowed: &'a [String],
}

impl<'a> Expression<'a> {
    /// Older manifests write `MIT/Apache-2.0` for `MIT OR Apache-2.0`.
    fn new(expression: &str, allowed: &'a [String]) -> Self {
        let spaced = expression
            .replace('/', " OR ")
            .replace('(', " ( ")
            .replace(')', " ) ");
        Self {
            tokens: spaced.split_whitespace().map(str::to_owned).collect(),
            at: 0,
            allowed,
        }
    }

    /// True when the whole expression is well formed and the list satisfies it.
    fn follows(mut self) -> bool {
        self.any() && self.at == self.tokens.len()
    }

    fn any(&mut self) -> bool {
        let mut holds = self.all();
        while self.take("OR") {
            holds |= self.all();
        }
        holds
    }

    fn all(&mut self) -> bool {
        let mut holds = self.one();
        while self.take("AND") {
            holds &= self.one();
        }
        holds
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let holds = self.any();
            return self.take(")") && holds;
        }
        let mut licence = self.next();
        if self.take("WITH") {
            licence = format!("{licence} WITH {}", self.next());
        }
        self.allowed.contains(&licence)
    }

    fn take(&mut self, token: &str) -> bool {
        let is_next = self.tokens.get(self.at).is_some_and(|next| next == token);
        self.at += usize::from(is_next);
        is_next
    }

    fn next(&mut self) -> String {
        let token = self.tokens.get(self.at).cloned().unwrap_or_default();
        self.at += 1;
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follows(expression: &str) -> bool {
        let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        Expression::new(expression, &allowed).follows()
    }

    #[test]
    fn one_side_of_or_and_both_of_and() {
        for expression in [
            "MIT",
            "MIT/GPL-3.0",
            "GPL-3.0 OR MIT",
            "(MIT OR Apache-2.0) AND Apache-2.0",
        ] {
            assert!(follows(expression), "{expression}");
        }
        for expression in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT OR GPL-3.0) AND ISC",
            "ISC/GPL-3.0",
            "",
        ] {
            assert!(!follows(expression), "{expression}");
        }
    }

    #[test]
    fn an_exception_makes_another_licence() {
        assert!(follows("Apache-2.0 WITH LLVM-exception"));
        assert!(!follows("MIT WITH LLVM-exception"));
    }

    #[test]
    fn a_malformed_expression_is_refused() {
        for expression in ["(MIT", "MIT)", "MIT MIT", "OR MIT"] {
            assert!(!follows(expression), "{expression}");
        }
    }

    #[test]
    fn the_list_is_the_one_under_licenses() {
        let text = "[bans]\nallow = [\"no\"]\n[licenses]\n# allow = [\"no\"]\nallow = [\n  \"MIT\", # why\n  \"ISC\",\n]\nx = [\"no\"]\n[sources]\n";
        assert_eq!(allowed_licences(&SourceFile::sample(LIST, text)), ["MIT", "ISC"]);
    }

    #[test]
    fn a_crate_without_a_licence_is_refused() {
        let text = r#"{"id": "a", "name": "a", "version": "1.0.0", "license": null, "dependencies": []}"#;
        let package: Package = serde_json::from_str(text).expect("a package as cargo prints it");
        assert_eq!(
            refusal(&package, &["MIT".to_owned()]).as_deref(),
            Some("a 1.0.0 names no licence")
        );
    }
}
