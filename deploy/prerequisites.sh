#!/usr/bin/env bash
# Makes sure that Covey can be built here. As root it installs what is missing; as anybody else it names the exact
# packages, and how to get Rust, and stops. It changes nothing when nothing is missing.
# With --bench it also makes sure of what Covey is measured against, with --jepsen of what breaks networks and clocks.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
rust_wanted="$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$here/Cargo.toml")"
rustup_url="https://static.rust-lang.org/rustup/rustup-init.sh"
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

has() { command -v "$1" >/dev/null 2>&1; }

say() { printf '%s\n' "$*" >&2; }

against="${1:-}"

any_file() { compgen -G "$1" >/dev/null; }

# RocksDB's bindings are generated at build time, which loads libclang and reads the compiler's own headers.
has_libclang() {
    [ -z "${LIBCLANG_PATH:-}" ] || return 0
    { any_file '/usr/lib/llvm-*/lib/libclang[-.]*so*' || any_file '/usr/lib*/libclang[-.]*so*'; } &&
        { any_file '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' || any_file '/usr/lib*/clang/*/include/stddef.h'; }
}

# True when version $1 is at least version $2.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

rust_found() { if has cargo; then cargo --version 2>/dev/null | cut -d ' ' -f 2 || true; fi; }

rust_is_ready() {
    local found
    found="$(rust_found)"
    [ -n "$found" ] && at_least "$found" "$rust_wanted"
}

missing_packages() {
    if ! { has gcc && has g++ && has make; }; then echo build-essential; fi
    has_libclang || echo libclang-dev
    if [ "$against" = --bench ]; then has etcd || echo etcd-server; fi
    if [ "$against" = --jepsen ] && [ "$(id -u)" -eq 0 ]; then
        has ip || echo iproute2
        has iptables || echo iptables
        any_file '/usr/lib/*/faketime/libfaketimeMT.so.1' || echo libfaketime
    fi
    if ! rust_is_ready && ! has rustup; then
        has curl || echo curl
        [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
    fi
}

# ccache is a convenience: it keeps the compiled RocksDB when the target directory goes.
wanted_packages() {
    missing_packages
    has ccache || echo ccache
}

install_packages() {
    local packages
    mapfile -t packages < <(wanted_packages)
    [ "${#packages[@]}" -gt 0 ] || return 0
    if ! has apt-get; then
        [ -z "$(missing_packages)" ] || stop_and_name_what_is_missing
        return 0
    fi
    say "installing: ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq </dev/null
    apt-get install -y -qq --no-install-recommends "${packages[@]}" </dev/null >&2
}

# Whether it worked is judged by what is there afterwards.
install_rust() {
    rust_is_ready && return 0
    if has rustup; then
        say "updating Rust to $rust_wanted or newer"
        rustup update stable </dev/null || true
    else
        say "installing Rust $rust_wanted with rustup"
        curl --proto '=https' --tlsv1.2 -fsSL "$rustup_url" |
            sh -s -- -y --quiet --no-modify-path --profile minimal --component clippy,rustfmt --default-toolchain "$rust_wanted" || true
    fi
    hash -r
    rust_is_ready || stop_and_name_what_is_missing
}

stop_and_name_what_is_missing() {
    local packages found
    mapfile -t packages < <(missing_packages)
    found="$(rust_found)"
    say "Covey cannot be built here yet."
    if [ "${#packages[@]}" -gt 0 ]; then
        say ""
        say "Install these packages (Debian's names), as root:"
        say "    apt-get install -y ${packages[*]}"
    fi
    if ! rust_is_ready; then
        say ""
        say "Get Rust $rust_wanted or newer (found: ${found:-none}):"
        if has rustup; then
            say "    rustup update stable && rustup default stable"
        else
            say "    curl --proto '=https' --tlsv1.2 -sSf $rustup_url | sh -s -- -y --default-toolchain $rust_wanted"
        fi
    fi
    say ""
    say "Then run the same make target again."
    exit 1
}

main() {
    if [ "$(id -u)" -eq 0 ]; then
        install_packages
        install_rust
    elif [ -n "$(missing_packages)" ] || ! rust_is_ready; then
        stop_and_name_what_is_missing
    fi
}

main
