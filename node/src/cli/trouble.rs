//! Why a verb did not do what it was asked, as people and scripts see it: a text, what to do next, and an exit code.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use tonic::{Code, Status};

use crate::error::Failure;

/// The metadata that carries the stable name of a refusal.
const CODE: &str = "covey-code";

/// What went wrong and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    kind: Kind,
    what: String,
    next: String,
}

/// What a script can tell apart by the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Refused,
    Usage,
    Unavailable,
}

impl Trouble {
    /// It was refused or it failed; exit code 1.
    pub(crate) fn refused(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            kind: Kind::Refused,
            what: what.into(),
            next: next.into(),
        }
    }

    /// The command line does not make sense; exit code 2.
    pub(crate) fn usage(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            kind: Kind::Usage,
            what: what.into(),
            next: next.into(),
        }
    }

    /// It may work later; exit code 3.
    pub(crate) fn unavailable(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            kind: Kind::Unavailable,
            what: what.into(),
            next: next.into(),
        }
    }

    /// Whether it may work later.
    pub(crate) fn is_unavailable(&self) -> bool {
        self.kind == Kind::Unavailable
    }

    /// What went wrong, without what to do about it.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// A local file that could not be read or written.
    pub(crate) fn file(path: &std::path::Path, error: &dyn Error) -> Self {
        let what = format!("file `{}`: {}", path.display(), chain(error));
        Self::refused(
            what,
            "check the path and its permissions, then repeat the command",
        )
    }

    /// The same trouble, with what was being done in front.
    #[must_use]
    pub(crate) fn during(mut self, doing: &str) -> Self {
        self.what = format!("{doing}: {}", self.what);
        self
    }

    /// The code that the process exits with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self.kind {
            Kind::Refused => ExitCode::from(1),
            Kind::Usage => ExitCode::from(2),
            Kind::Unavailable => ExitCode::from(3),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}\nnext:  {}", self.what, self.next)
    }
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        let what = status.message().to_owned();
        let name = status
            .metadata()
            .get(CODE)
            .and_then(|name| name.to_str().ok())
            .unwrap_or_default();
        match status.code() {
            Code::Unavailable => Self::unavailable(what, "see `covey status`, and repeat the command"),
            Code::DeadlineExceeded | Code::Cancelled => {
                let next =
                    "it may have been carried out: look, then repeat it, with a longer --timeout if need be";
                Self::unavailable(what, next)
            }
            Code::ResourceExhausted if name == "busy" => {
                Self::unavailable(what, "repeat the command in a moment")
            }
            Code::NotFound => Self::refused(what, "see what there is with the verb's `list`"),
            Code::InvalidArgument => Self::refused(what, "nothing has changed; correct the value and repeat"),
            Code::AlreadyExists => {
                Self::refused(what, "choose another name, or look at what is there with `show`")
            }
            Code::Aborted => {
                Self::refused(what, "somebody else was faster; look at what is there and repeat")
            }
            Code::FailedPrecondition => Self::refused(
                what,
                "nothing has changed; bring it into the state that the message asks for, then repeat",
            ),
            Code::Unimplemented => Self::refused(
                what,
                "the node runs another version of covey; compare `covey version` with `covey node list`",
            ),
            _ => Self::refused(what, "nothing more is known here; the node's log has the rest"),
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::from(Status::from(failure))
    }
}

/// The text of an error and of everything beneath it.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_work_later_is_told_from_what_will_not() {
        assert!(Trouble::from(Status::unavailable("no leader")).is_unavailable());
        assert!(Trouble::from(Status::deadline_exceeded("push")).is_unavailable());
        assert!(!Trouble::from(Status::not_found("model `m` does not exist")).is_unavailable());
    }

    #[test]
    fn every_trouble_ends_with_what_to_do_next() {
        let text = Trouble::from(Status::internal("x failed")).to_string();
        assert!(text.starts_with("error: x failed\nnext:  "), "{text}");
    }
}
