//! The systemd unit: sections and keys that systemd knows, and the hardening that a network service gets.

use std::fs;
use std::process::Command;

use super::violation;
use crate::tree::SourceFile;
use crate::violation::Violation;

/// The keys of each section that the unit may use. Not all that systemd has: all that we have read about.
const KEYS: [(&str, &[&str]); 3] = [
    (
        "Unit",
        &[
            "Description",
            "Documentation",
            "After",
            "Wants",
            "StartLimitIntervalSec",
            "StartLimitBurst",
        ],
    ),
    ("Service", &SERVICE_KEYS),
    ("Install", &["WantedBy"]),
];

const SERVICE_KEYS: [&str; 38] = [
    "AmbientCapabilities",
    "CapabilityBoundingSet",
    "DynamicUser",
    "EnvironmentFile",
    "ExecStart",
    "KillSignal",
    "LimitNOFILE",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "NoNewPrivileges",
    "OOMScoreAdjust",
    "PrivateDevices",
    "PrivateTmp",
    "PrivateUsers",
    "ProtectClock",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectProc",
    "ProtectSystem",
    "RemoveIPC",
    "Restart",
    "RestartSec",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "StateDirectory",
    "StateDirectoryMode",
    "SystemCallArchitectures",
    "SystemCallErrorNumber",
    "SystemCallFilter",
    "TimeoutStopSec",
    "Type",
    "UMask",
];

/// Settings of `[Service]` that must be there with exactly these values.
const HARDENING: [(&str, &str); 12] = [
    ("DynamicUser", "yes"),
    ("CapabilityBoundingSet", ""),
    ("MemoryDenyWriteExecute", "yes"),
    ("NoNewPrivileges", "yes"),
    ("PrivateDevices", "yes"),
    ("PrivateTmp", "yes"),
    ("ProtectHome", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectSystem", "strict"),
    ("RestrictNamespaces", "yes"),
    ("SystemCallArchitectures", "native"),
];

/// One `key=value` line and the section it stands in.
pub(super) struct Setting<'a> {
    pub(super) line: usize,
    pub(super) section: &'a str,
    pub(super) key: &'a str,
    pub(super) value: &'a str,
}

/// Malformed lines, unknown sections and keys, missing settings, and hardening that was dropped.
pub(super) fn check(file: &SourceFile) -> Vec<Violation> {
    let (settings, mut violations) = parse(file);
    for setting in &settings {
        let known = KEYS.iter().find(|(section, _)| *section == setting.section);
        if !known.is_some_and(|(_, keys)| keys.contains(&setting.key)) {
            let advice = format!(
                "[{}] {}: not a key that tidy knows; check systemd's manual, then add it",
                setting.section, setting.key
            );
            violations.push(violation(&file.path, setting.line, advice));
        }
    }
    let service = |key: &str| {
        settings
            .iter()
            .find(|setting| setting.section == "Service" && setting.key == key)
    };
    if !service("ExecStart").is_some_and(|setting| setting.value.starts_with('/')) {
        violations.push(violation(
            &file.path,
            1,
            "[Service] needs ExecStart with an absolute path",
        ));
    }
    for (key, value) in HARDENING {
        if service(key).is_none_or(|setting| setting.value != value) {
            violations.push(violation(
                &file.path,
                1,
                format!("hardening: [Service] needs {key}={value}"),
            ));
        }
    }
    violations
}

/// The settings of a unit, and a violation for each line that is none.
pub(super) fn parse(file: &SourceFile) -> (Vec<Setting<'_>>, Vec<Violation>) {
    let (mut settings, mut violations) = (Vec::new(), Vec::new());
    let mut section = "";
    for (index, line) in file.text.lines().enumerate() {
        let line_number = index + 1;
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if let Some((key, value)) = line.split_once('=') {
            settings.push(Setting {
                line: line_number,
                section,
                key: key.trim(),
                value: value.trim(),
            });
        } else {
            violations.push(violation(
                &file.path,
                line_number,
                "neither a section, a setting nor a comment",
            ));
        }
    }
    (settings, violations)
}

/// What `systemd-analyze verify` has to say, where it is installed. The binary is not: `true` stands in for it.
pub(super) fn ask_systemd(file: &SourceFile) -> Vec<Violation> {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let copy = directory.path().join("covey.service");
    fs::write(&copy, file.text.replace("/usr/bin/covey", "/bin/true")).expect("the copy can be written");
    let Ok(output) = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&copy)
        .output()
    else {
        return Vec::new();
    };
    if output.status.success() {
        return Vec::new();
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = words.lines().filter(|line| line.contains("covey.service"));
    said.map(|line| violation(&file.path, 1, format!("systemd-analyze: {line}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(text: &str) -> String {
        let violations = check(&SourceFile::sample("covey.service", text));
        violations
            .iter()
            .map(|violation| format!("{violation}\n"))
            .collect()
    }

    #[test]
    fn lines_and_keys_are_checked() {
        let advice = advice(
            "[Service]\nExecStart=/usr/bin/covey start\nExecSart=/bin/true\nwords\n[Servce]\nType=exec\n",
        );
        assert!(
            advice.contains("covey.service:3: deploy: [Service] ExecSart"),
            "{advice}"
        );
        assert!(advice.contains("covey.service:4: deploy: neither"), "{advice}");
        assert!(
            advice.contains("covey.service:6: deploy: [Servce] Type"),
            "{advice}"
        );
    }

    #[test]
    fn dropped_hardening_is_reported() {
        let advice = advice("[Service]\nExecStart=covey\nProtectSystem=full\n");
        assert!(advice.contains("needs ProtectSystem=strict"), "{advice}");
        assert!(advice.contains("needs NoNewPrivileges=yes"), "{advice}");
        assert!(
            advice.contains("needs ExecStart with an absolute path"),
            "{advice}"
        );
    }
}
